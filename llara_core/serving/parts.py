"""Parts of a system, wherever they are stored: in the folders of a run or in an exported folder."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import pandas as pd

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.answers.ranking import CatalogueScorer
from llara_core.baselines.fitting import fit_baseline
from llara_core.config import LlmConfig, Params, PromptConfig, SystemConfig
from llara_core.errors import ConfigError, ModelError
from llara_core.inference.llm_systems import AnswerLimits, load_system
from llara_core.llm.adapters import METADATA_FILE
from llara_core.llm.inputs import adapter_of, read_inputs
from llara_core.llm.prompts.rendering import ItemWording
from llara_core.recommenders import checkpoints
from llara_core.serving.new_items import ItemReading
from llara_core.serving.ranking import Ranker

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Retriever:
    """A recommender or baseline that retrieves items."""

    name: str  # name of the recommender or baseline
    load: Callable[[], CatalogueScorer]  # returns the scorer
    checkpoint: Path | None  # folder of a trained recommender; None for a baseline, which is fitted when it is loaded

    @classmethod
    def trained(cls, name: str, checkpoint: Path, data_hash: str) -> Retriever:
        """Returns a trained recommender; ``data_hash`` as in :func:`checkpoints.load`."""
        return cls(name, lambda: checkpoints.load(checkpoint, name, data_hash), checkpoint)


@dataclass(frozen=True)
class SystemParts:
    """Parts of one system."""

    dataset: str  # key in ``params.yaml``
    system: str  # name of the LLM system, recommender or baseline
    seed: int | None  # training seed; None for a baseline
    wording: ItemWording  # wording of the data set for its items
    max_history_len: int  # most recent items that are read
    n_candidates: int  # items that are retrieved for prompts with candidates
    items: Path  # file of :data:`tables.ITEMS`
    item_reading: ItemReading  # rules by which items, including new ones, are read
    # adapter folder of a tuned LLM system, prompt of an untuned one; None without a language model
    llm: Path | PromptConfig | None
    item_embeddings: Path | None  # file of the embeddings that the adapter requires, if any
    retriever: Retriever | None  # recommender or baseline that retrieves or ranks; None if nothing does

    def read_items(self) -> pd.DataFrame:
        return tables.read_table(self.items, tables.ITEMS)

    def load(self, llm_folder: Path | None, llm: LlmConfig | None, batch_size: int, *, retrieve_only: bool = False) -> Ranker:
        """Loads the parts into memory.

        Args:
            llm_folder: folder written by ``fetch_llm``; None without a language model.
            llm: settings for loading the language model; None without one.
            batch_size: histories per pass of the language model.

        Raises:
            ModelError: a part is missing or damaged, or does not match the others.
        """
        items = self.read_items()
        system = None
        if self.llm is not None and not retrieve_only:
            if llm_folder is None or llm is None:
                raise ModelError(f"{self.system} requires its language model: name the folder")
            limits = AnswerLimits(batch_size)
            system = load_system(self.llm, llm_folder, llm, limits, self.wording, len(items), embeddings=self.item_embeddings)
        retriever = None if self.retriever is None else self.retriever.load()
        labels, texts = items[c.LABEL].to_list(), items[c.TEXT].to_list()
        return Ranker(labels, texts, self.max_history_len, self.n_candidates, retriever, system)


def parts_of_run(params: Params, dataset: str, system: str, seed: int, retriever: str | None = None) -> SystemParts:
    """Finds the parts of one system in the folders of a run.

    Args:
        dataset: one of ``run.datasets``.
        system: one of ``run.systems``, ``run.recommenders`` or ``run.baselines``.
        seed: one of ``run.seeds``.
        retriever: recommender or baseline of the run that retrieves items for an LLM system; None: the system's own
            recommender, or else the first of ``run.recommenders``.

    Raises:
        ConfigError: the run has no such system, data set, seed or retriever.
        ModelError: the system has not been tuned yet.
    """
    config, run = params.dataset(dataset), params.run
    if dataset not in run.datasets:
        raise ConfigError(f"{dataset} is not in run.datasets {run.datasets}: add it and run `dvc repro`")
    if seed not in run.seeds:
        raise ConfigError(f"seed {seed} is not in run.seeds {run.seeds}: add it and run `dvc repro`")
    parts = SystemParts(
        dataset=dataset,
        system=system,
        seed=None if system in run.baselines else seed,
        wording=ItemWording.of(config),
        max_history_len=config.max_history_len,
        n_candidates=params.candidates.n_candidates,
        items=paths.items(dataset),
        item_reading=ItemReading.of(config),
        llm=None,
        item_embeddings=None,
        retriever=None,
    )
    if system in (*run.recommenders, *run.baselines):
        if retriever not in (None, system):
            raise ConfigError(f"{system} ranks all items itself and needs no retriever; leave {retriever} out")
        return replace(parts, retriever=_retriever(params, dataset, system, seed))
    if system not in run.systems:
        _refuse(params, system)
    run_name = paths.run_name(system, seed)
    inputs = read_inputs(dataset, run_name)
    adapter = adapter_of(dataset, run_name, inputs.system) if isinstance(inputs.system, SystemConfig) else None
    if adapter is not None and not (adapter / METADATA_FILE).is_file():
        raise ModelError(f"{adapter}: {system} is not tuned yet on {dataset} with seed {seed}; run `dvc repro`")
    name = _retriever_name(params, system, inputs.system.recommender, inputs.system.prompt.recommender_scores, retriever)
    return replace(
        parts,
        llm=adapter or inputs.system.prompt,
        item_embeddings=inputs.item_embeddings,
        retriever=None if name is None else _retriever(params, dataset, name, seed),
    )


def _retriever_name(params: Params, system: str, own: str | None, shows_scores: bool, wanted: str | None) -> str | None:
    if wanted is not None and shows_scores and wanted != own:
        raise ConfigError(f"the prompts of {system} show the scores of {own}, so only {own} can retrieve; leave {wanted} out")
    if wanted is not None or own is not None:
        return wanted or own
    if not params.run.recommenders:
        return None
    first = params.run.recommenders[0]
    logger.info("%s reads no recommender: %s, the first of run.recommenders, retrieves for it", system, first)
    return first


def _retriever(params: Params, dataset: str, name: str, seed: int) -> Retriever:
    run = params.run
    if name in run.recommenders:
        checkpoint = paths.checkpoint(dataset, paths.run_name(name, seed))
        if not checkpoint.is_dir():
            raise ModelError(f"{checkpoint}: {name} is not trained yet on {dataset} with seed {seed}; run `dvc repro`")
        return Retriever.trained(name, checkpoint, checkpoints.data_hash(dataset))
    if name in run.baselines:
        return Retriever(name, lambda: _fitted(dataset, name), None)
    raise ConfigError(
        f"{name} is neither in run.recommenders {run.recommenders} nor in run.baselines {run.baselines}: name one of these, or "
        "add it and run `dvc repro`"
    )


def _fitted(dataset: str, baseline: str) -> CatalogueScorer:
    interactions = tables.read_table(paths.interactions(dataset), tables.INTERACTIONS)
    catalogue = tables.read_table(paths.items(dataset), tables.ITEMS)
    return fit_baseline(baseline, interactions[interactions[c.SPLIT] == c.TRAIN], catalogue)


def _refuse(params: Params, system: str) -> NoReturn:
    run = params.run
    if system.startswith(paths.fused("")):
        llm = system.removeprefix(paths.fused(""))
        own = params.systems[llm].recommender if llm in params.systems else None
        parts = f"{llm} and {own}" if own else "its LLM system and its recommender"
        raise ConfigError(f"{system} is a fusion, which only ranks candidate sets; recommend with one of its parts: {parts}")
    if system in run.chat_models:
        raise ConfigError(f"{system} is a chat model, which only answers candidate sets; name an LLM system or a recommender")
    if system in params.systems:
        raise ConfigError(f"{system} is not in run.systems {run.systems}: add it and run `dvc repro`")
    raise ConfigError(
        f"unknown system {system!r}; the run has the LLM systems {run.systems}, the recommenders {run.recommenders} and the "
        f"baselines {run.baselines}"
    )
