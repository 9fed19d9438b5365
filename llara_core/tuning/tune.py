"""One tuning run, from training data to a finished adapter (paper, section 4.3, equation 11)."""

from __future__ import annotations

import gc
import hashlib
import itertools
import json
import logging
import shutil
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import torch

from llara_core import paths, tables
from llara_core.config import OBJECTIVES, LlmConfig, SystemConfig, Weights
from llara_core.curves import write_curves
from llara_core.llm import adapters, loading
from llara_core.llm.encoding import PromptEncoder
from llara_core.llm.hybrid import HybridLM, log_popularity, seed_part
from llara_core.llm.item_texts import EncodedTexts, encode_texts
from llara_core.llm.new_items import NewItems, fit_text_regression
from llara_core.llm.projector import rms, unit_scale
from llara_core.objectives.base import TrainingData, TrainingSource
from llara_core.prompts.rendering import ItemWording
from llara_core.prompts.templates import HISTORY_TEMPLATES, RANKING_TEMPLATES
from llara_core.runtime import processes, progress, provenance
from llara_core.tuning.kept import drop_older, keep_adapter, kept_adapter
from llara_core.tuning.plan import make_plan
from llara_core.tuning.reference import reference_log_likelihoods
from llara_core.tuning.rows import PlanDataset
from llara_core.tuning.trainer import Curves, micro_batches_per_step, train

logger = logging.getLogger(__name__)

# Shares of a run's time when its start is tuned, its titles are encoded, and what its answers are compared with is known.
_START, _PREPARED, _REFERENCE = 0.5, 0.1, 0.4
_LIBRARIES = ("torch", "transformers", "peft", "accelerate")


@dataclass(frozen=True)
class TuningSetting:
    """What the runs of one cell have in common: the system's own, and that of the system that it starts from.

    Attributes:
        dataset: key in ``params.yaml``.
        recommender: whose item vectors are read; None where there are none.
        seed: training seed.
        llm_folder: the base model.
        llm_config: how it is loaded.
        data: training data, of which is read what the plan names.
        item_vectors: ``(n_items, D_rec)`` float32, or None for prompts without behaviour tokens.
        hashes: of the inputs, ``data`` and ``item_embeddings`` (None where there are none).
        head_dim: width of the head's item table where there are no item vectors to start it from.
        scratch: root of the checkpoint folders, of which a run's own is deleted when it ends, and of kept adapters.
        text_vectors: ``(n_items, D_rec)`` float32, what the recommender makes of the items' texts alone, or None.
        weights: whether each of several processes holds all weights of the base model, or a part.
    """

    dataset: str
    recommender: str | None
    seed: int
    llm_folder: Path
    llm_config: LlmConfig
    data: TrainingSource
    item_vectors: torch.Tensor | None
    hashes: dict[str, str | None]
    head_dim: int
    scratch: Path
    text_vectors: torch.Tensor | None = None
    weights: Weights = "replicated"


@dataclass(frozen=True)
class _Run:
    """A tuning run that is ready to begin, or to go on."""

    config: SystemConfig
    model: HybridLM
    encoder: PromptEncoder
    plan: pd.DataFrame
    data: TrainingData
    metadata: adapters.AdapterMetadata
    checkpoints: Path
    kept: Path


def tune(
    system: str,
    config: SystemConfig,
    setting: TuningSetting,
    *,
    start: SystemConfig | None = None,
    adapter_folder: Path,
    curves_folder: Path,
) -> Curves:
    """Tune one system and write its adapter; killed and started again, it goes on where it was.

    Processes that work together train the rows of the same plan, and the first of them writes.

    Args:
        system: its name.
        config: its sections.
        setting: what it is tuned on and with.
        start: the system ``config.start``, from whose adapter this one goes on; it is tuned first, unless it is kept.
        adapter_folder: where the finished adapter goes.
        curves_folder: where its curves go.

    Returns:
        The curves as written, see :func:`llara_core.tuning.trainer.train`.

    Raises:
        ConfigError: the rows of a step cannot be dealt out to the processes.
    """
    for each in filter(None, (start, config)):
        micro_batches_per_step(each.tune)  # before anything is loaded
    start_folder, first_epoch, begun = None, 0, 0.0
    if start is not None and config.start is not None:
        begun = _START
        with progress.phase(f"start {config.start}", 0, begun):
            start_folder, first_epoch = _start_adapter(config.start, start, setting), start.tune.epochs
        gc.collect()  # the start's model refers to itself, and would be in memory beside the next
        torch.cuda.empty_cache()
    with progress.phase("", begun, 1):
        run = _prepare_run(system, config, setting, start_folder, first_epoch)
        curves = _train_along_plan(run, setting)
    if not processes.is_first():
        return curves
    adapters.save_adapter(adapter_folder, run.model, run.metadata)
    adapters.assert_round_trip(adapter_folder, run.model)
    write_curves(curves_folder, curves)
    keep_adapter(adapter_folder, run.kept)
    # Last of all: a run that is killed before this line can still be resumed.
    shutil.rmtree(run.checkpoints, ignore_errors=True)
    return curves


def _start_adapter(system: str, config: SystemConfig, setting: TuningSetting) -> Path:
    """The kept adapter of a system that another starts from, tuned now where there is none."""
    run = _prepare_run(system, config, setting)
    if processes.of_first(run.kept.is_dir()):
        logger.info("start: the adapter of %s that an earlier run kept in %s", system, run.kept)
        return run.kept
    logger.info("start: no adapter of %s is kept for these parameters, inputs and this code, so it is tuned first", system)
    _train_along_plan(run, setting)
    with processes.first_goes_ahead():
        if processes.is_first():
            adapters.save_adapter(run.kept, run.model, run.metadata)
            adapters.assert_round_trip(run.kept, run.model)
            drop_older(run.kept)
            shutil.rmtree(run.checkpoints, ignore_errors=True)
    return run.kept


def _prepare_run(
    system: str, config: SystemConfig, setting: TuningSetting, start_folder: Path | None = None, first_epoch: int = 0
) -> _Run:
    """The plan, the model and the names of one run.

    Args:
        start_folder: holds the adapter that it goes on from, None for a run from the language model.
        first_epoch: of its plan.
    """
    seed, hashes = setting.seed, setting.hashes
    sample_templates = config.prompt.templates == "sampled"
    plan = make_plan(
        setting.data.units,
        config.tune,
        config.curriculum,
        sample_templates=sample_templates,
        seed=seed,
        first_epoch=first_epoch,
    )
    if config.prompt.representation != "hybrid":
        plan = plan.assign(p_hybrid=0.0, hybrid=False)  # an ablation without a hard task has no curriculum to walk
    by_objective = plan["objective"].value_counts()
    rows_of = ", ".join(f"{n} {objective}" for objective, n in by_objective.items())
    logger.info("%d rows (%s), %d of them hybrid", len(plan), rows_of, plan["hybrid"].sum())

    encoder = PromptEncoder(loading.load_tokenizer(setting.llm_folder), chat_template=config.prompt.chat_template)
    data = setting.data.planned(plan)
    data = replace(data, labels=encoder.safe_labels(data.labels))
    random_seed = seed if config.ablation.llm_weights == "random" else None
    base = loading.load_base_model(setting.llm_folder, setting.llm_config, random_seed=random_seed, weights=setting.weights)
    start, has_head = None, any(OBJECTIVES[objective].needs_head for objective in by_objective.index)
    if start_folder is not None and config.start is not None:
        start = adapters.StartAdapter(system=config.start, sha256=adapters.adapter_sha256(start_folder))
        has_head = adapters.read_metadata(start_folder).has_head
    metadata = adapters.AdapterMetadata(
        dataset=setting.dataset,
        system=system,
        recommender=setting.recommender,
        seed=seed,
        objective=config.tune.objective,
        prompt=config.prompt,
        ablation=config.ablation,
        has_head=has_head,
        llm=loading.fingerprint(setting.llm_folder),
        item_embeddings=hashes["item_embeddings"],
        rows=len(plan),
        dtype=str(base.dtype).removeprefix("torch."),
        hardware=provenance.hardware() + ("" if processes.count() == 1 else f", {processes.count()} processes"),
        versions={library: version(library) for library in _LIBRARIES},
        start=start,
    )
    encoded = None
    if config.prompt.representation == "compact" and config.prompt.text_dim:
        texts = data.labels if config.prompt.item_text == "title" else encoder.safe_labels(data.texts)
        with progress.phase("encoding texts", 0, _PREPARED):
            encoded = encode_texts(base, encoder, texts, config.prompt.text_dim)
    if start_folder is None:
        model = _new_model(base, encoder, config, setting, data, has_head=has_head, encoded=encoded)
    else:
        model, _ = adapters.load_adapter(
            start_folder,
            base,
            encoder,
            setting.item_vectors,
            llm=metadata.llm,
            item_embeddings=metadata.item_embeddings,
            trainable=True,
        )
    n_trained = sum(tensor.numel() for tensor in adapters.trained_tensors(model).values())
    logger.info("%s of %s parameters are trained", f"{n_trained:,}", f"{sum(p.numel() for p in model.parameters()):,}")

    # Encoded titles are computed anew by a run that is resumed: on a machine that rounds otherwise it has to start afresh.
    texts_hash = None if encoded is None else hashlib.sha256(encoded.vectors.numpy().tobytes()).hexdigest()
    inputs = [hashes["data"], setting.head_dim, texts_hash]
    key = processes.of_first(_run_key(config, setting.llm_config, metadata, data.wording, inputs, plan))
    kept = kept_adapter(setting.scratch, setting.dataset, paths.cell(system, seed), key)
    return _Run(config, model, encoder, plan, data, metadata, setting.scratch / "tune" / key, kept)


def _new_model(
    base: Any,
    encoder: PromptEncoder,
    config: SystemConfig,
    setting: TuningSetting,
    data: TrainingData,
    *,
    has_head: bool,
    encoded: EncodedTexts | None,
) -> HybridLM:
    """A model that nothing has trained yet."""
    seed, n_items = setting.seed, len(data.labels)
    head_vectors = None
    if has_head:
        seed_part(seed, "head vectors")
        head_vectors = torch.randn(n_items, setting.head_dim) if setting.item_vectors is None else setting.item_vectors
    items = np.fromiter(itertools.chain.from_iterable(data.sequences), dtype=np.int64)
    n_interactions = np.bincount(items, minlength=n_items)
    new_items = None
    if encoded is not None and head_vectors is not None and config.tune.new_share:
        new_items = _new_items(encoded, head_vectors, setting.text_vectors, n_interactions, base.config.hidden_size)
    model = adapters.build_model(
        base,
        encoder,
        config,
        setting.item_vectors,
        head_vectors=head_vectors,
        item_texts=None if encoded is None else encoded.vectors,
        new_items=new_items,
        seed=seed,
    )
    if model.head is not None:
        model.head.set_prior(torch.from_numpy(n_interactions))
    return model


def _new_items(
    encoded: EncodedTexts,
    item_vectors: torch.Tensor,
    text_vectors: torch.Tensor | None,
    n_interactions: npt.NDArray[np.integer],
    d_llm: int,
) -> NewItems:
    """Vectors and popularity of items without interactions: those of a recommender that reads texts, else by a regression."""
    vectors, popularity = unit_scale(item_vectors), log_popularity(torch.from_numpy(n_interactions))
    targets = torch.cat([vectors, popularity[:, None]], dim=1).numpy()
    new_items = NewItems(len(vectors), vectors.shape[1], d_llm, encoded.vectors.shape[1])
    new_items.start_from(fit_text_regression(encoded.vectors.numpy(), targets, n_interactions), n_interactions)
    new_items.text_weight.copy_(encoded.weight)
    new_items.text_bias.copy_(encoded.bias)
    if text_vectors is not None:
        new_items.vectors.copy_(text_vectors / rms(item_vectors))
    return new_items


def _train_along_plan(run: _Run, setting: TuningSetting) -> Curves:
    """Train the model along the plan."""
    config, plan = run.config, run.plan
    rows, prepared = PlanDataset(plan, run.data, run.encoder, config.prompt), _PREPARED
    if config.tune.compares_with_start:
        # Before the first step, and again by a run that is resumed: its checkpoints hold what came after.
        with progress.phase("reference", prepared, _REFERENCE):
            known = reference_log_likelihoods(run.model, rows, run.encoder, config.tune.micro_batch_size)
        prepared = _REFERENCE
        rows = PlanDataset(plan.assign(reference=pd.Series(known, dtype=object)), run.data, run.encoder, config.prompt)
    with progress.phase("tuning", prepared, 1):
        return train(run.model, plan, rows, run.encoder, config.tune, seed=setting.seed, scratch=run.checkpoints)


def mark_untuned(adapter_folder: Path, curves_folder: Path) -> None:
    """Write, in place of an adapter and its curves, that there are none: the system answers without tuning."""
    for folder in (adapter_folder, curves_folder):
        with tables.atomic_path(folder) as staged:
            staged.mkdir()
            tables.write_json(staged / "untuned.json", {"tuned": False})


def _run_key(
    config: SystemConfig,
    llm_config: LlmConfig,
    metadata: adapters.AdapterMetadata,
    wording: ItemWording,
    other_inputs: list[str | int | None],
    plan: pd.DataFrame,
) -> str:
    """Names the checkpoints of this very run: another parameter, input or library version starts afresh."""
    words = [RANKING_TEMPLATES, HISTORY_TEMPLATES, asdict(wording)]
    # A run may go on where it can: on another machine of the same library versions.
    inputs = [config.model_dump(), llm_config.model_dump(), metadata.model_dump(exclude={"hardware"}), words, other_inputs]
    content = json.dumps(inputs, sort_keys=True)
    rows = tables.content_hash(pa.Table.from_pandas(plan, preserve_index=False))
    return hashlib.sha256((content + rows).encode()).hexdigest()[:16]
