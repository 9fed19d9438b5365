"""Parts of a system of a finished run."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import NoReturn

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.answers.ranking import CatalogueScorer
from llara_core.baselines.fitting import fit_baseline
from llara_core.config import Params, SystemConfig
from llara_core.errors import ConfigError, ModelError
from llara_core.llm.adapters import METADATA_FILE
from llara_core.llm.inputs import adapter_of, read_inputs
from llara_core.llm.prompts.rendering import ItemWording
from llara_core.recommenders import checkpoints
from llara_core.serving.new_items import ItemReading
from llara_core.serving.parts import Retriever, SystemParts

logger = logging.getLogger(__name__)


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
