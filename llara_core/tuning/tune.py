"""One tuning run, from training data to a finished adapter (paper, section 4.3, equation 11)."""

from __future__ import annotations

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

from llara_core import tables
from llara_core.config import OBJECTIVES, LlmConfig, SystemConfig
from llara_core.llm import adapters, loading
from llara_core.llm.encoding import PromptEncoder
from llara_core.llm.hybrid import HybridLM, log_popularity, seed_part
from llara_core.llm.inputs import Start
from llara_core.llm.item_texts import EncodedTexts, encode_texts
from llara_core.llm.new_items import NewItems, fit_text_regression
from llara_core.llm.projector import rms, unit_scale
from llara_core.llm.prompts.rendering import ItemWording
from llara_core.llm.prompts.templates import HISTORY_TEMPLATES, RANKING_TEMPLATES
from llara_core.objectives.base import TrainingData
from llara_core.runtime import processes, progress, provenance
from llara_core.runtime.curves import write_curves
from llara_core.tuning.plan import make_plan
from llara_core.tuning.reference import reference_log_likelihoods
from llara_core.tuning.rows import PlanDataset
from llara_core.tuning.setting import TuningSetting
from llara_core.tuning.trainer import Curves, micro_batches_per_step, train

logger = logging.getLogger(__name__)

# Shares of a run's time when its titles are encoded, and when what its answers are compared with is known.
_PREPARED, _REFERENCE = 0.1, 0.4
_LIBRARIES = ("torch", "transformers", "peft", "accelerate")


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


def tune(
    system: str,
    config: SystemConfig,
    setting: TuningSetting,
    *,
    start: Start | None = None,
    adapter_folder: Path,
    curves_folder: Path,
) -> Curves:
    """Tune one system and write its adapter; killed and started again, it goes on where it was.

    Processes that work together train the rows of the same plan, and the first of them writes.

    Args:
        system: its name.
        config: its sections.
        setting: what it is tuned on and with.
        start: the system ``config.start`` and its adapter, from which this one goes on; None: from the language model.
        adapter_folder: where the finished adapter goes.
        curves_folder: where its curves go.

    Returns:
        The curves as written, see :func:`llara_core.tuning.trainer.train`.

    Raises:
        ConfigError: the rows of a step cannot be dealt out to the processes.
    """
    micro_batches_per_step(config.tune)  # before anything is loaded
    run = _prepare_run(system, config, setting, start)
    curves = _train_along_plan(run, setting)
    if not processes.is_first():
        return curves
    adapters.save_adapter(adapter_folder, run.model, run.metadata)
    adapters.assert_round_trip(adapter_folder, run.model)
    write_curves(curves_folder, curves)
    # Last of all: a run that is killed before this line can still be resumed.
    shutil.rmtree(run.checkpoints, ignore_errors=True)
    return curves


def _prepare_run(system: str, config: SystemConfig, setting: TuningSetting, start: Start | None) -> _Run:
    """The plan, the model and the names of one run."""
    seed, hashes = setting.seed, setting.hashes
    sample_templates = config.prompt.templates == "sampled"
    plan = make_plan(
        setting.data.units,
        config.tune,
        config.curriculum,
        sample_templates=sample_templates,
        seed=seed,
        first_epoch=0 if start is None else start.system.tune.epochs,
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
    has_head = any(OBJECTIVES[objective].needs_head for objective in by_objective.index)
    start_adapter = None
    if start is not None:
        has_head = adapters.read_metadata(start.adapter).has_head
        start_adapter = adapters.StartAdapter(system=start.name, sha256=adapters.adapter_sha256(start.adapter))
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
        start=start_adapter,
    )
    encoded = None
    if config.prompt.representation == "compact" and config.prompt.text_dim:
        texts = data.labels if config.prompt.item_text == "title" else encoder.safe_labels(data.texts)
        with progress.phase("encoding texts", 0, _PREPARED):
            encoded = encode_texts(base, encoder, texts, config.prompt.text_dim)
    if start is None:
        model = _new_model(base, encoder, config, setting, data, has_head=has_head, encoded=encoded)
    else:
        model, _ = adapters.load_adapter(
            start.adapter,
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
    return _Run(config, model, encoder, plan, data, metadata, setting.scratch / "tune" / key)


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
