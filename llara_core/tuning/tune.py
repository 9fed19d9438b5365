"""A tuning run, from training data to a finished adapter (paper, section 4.3, equation 11)."""

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
import torch

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
from llara_core.runtime import compute, processes, progress
from llara_core.runtime.curves import write_curves
from llara_core.tuning.plan import make_plan
from llara_core.tuning.rows import PlanDataset, reference_log_likelihoods
from llara_core.tuning.setting import TuningSetting
from llara_core.tuning.trainer import Curves, micro_batches_per_step, train

logger = logging.getLogger(__name__)

# Progress of a run after encoding texts and after computing reference log-likelihoods.
_ENCODED, _REFERENCE = 0.1, 0.4
_LIBRARIES = ("torch", "transformers", "peft", "accelerate")


@dataclass(frozen=True)
class _Run:
    """A prepared tuning run."""

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
    """Tunes one system and writes its adapter. An interrupted run resumes from its last checkpoint.

    Several processes share the rows of one plan, and the first of them writes.

    Args:
        system: key of ``systems``.
        config: configuration of the system.
        setting: data, base model and item vectors.
        start: system ``config.start`` and its adapter, from which tuning continues; None starts from the language model.
        adapter_folder: folder for the finished adapter.
        curves_folder: folder for the training curves.

    Returns:
        Training curves of :func:`llara_core.tuning.trainer.train`.

    Raises:
        ConfigError: the micro-batches of a step cannot be divided equally among the processes.
    """
    micro_batches_per_step(config.tune)  # raises before anything is loaded
    run = _prepare_run(system, config, setting, start)
    curves = _train_along_plan(run)
    if not processes.is_first():
        return curves
    adapters.save_adapter(adapter_folder, run.model, run.metadata)
    adapters.assert_round_trip(adapter_folder, run.model)
    write_curves(curves_folder, curves)
    # Deleted last, so that a run killed before this line can still be resumed.
    shutil.rmtree(run.checkpoints, ignore_errors=True)
    return curves


def _prepare_run(system: str, config: SystemConfig, setting: TuningSetting, start: Start | None) -> _Run:
    """Builds the plan and the model of one run."""
    seed = setting.seed
    plan = make_plan(
        setting.data.sizes,
        config.tune,
        config.curriculum,
        sample_templates=config.prompt.templates == "sampled",
        seed=seed,
        first_epoch=0 if start is None else start.system.tune.epochs,
    )
    if config.prompt.representation != "hybrid":
        plan = plan.assign(p_hybrid=0.0, hybrid=False)  # without a hard task there is no curriculum
    by_objective = plan["objective"].value_counts()
    counts = ", ".join(f"{n} {objective}" for objective, n in by_objective.items())
    logger.info("%d rows (%s), %d of them hybrid", len(plan), counts, plan["hybrid"].sum())

    encoder = PromptEncoder(loading.load_tokenizer(setting.llm_folder), chat_template=config.prompt.chat_template)
    data = setting.data.planned(plan)
    data = replace(data, labels=encoder.safe_labels(data.labels), texts=encoder.safe_labels(data.texts))
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
        item_embeddings=setting.embeddings_hash,
        rows=len(plan),
        dtype=str(base.dtype).removeprefix("torch."),
        hardware=compute.hardware() + ("" if processes.count() == 1 else f", {processes.count()} processes"),
        versions={library: version(library) for library in _LIBRARIES},
        start=start_adapter,
    )
    encoded = None
    if config.prompt.representation == "compact" and config.prompt.text_dim:
        texts = data.labels if config.prompt.item_text == "title" else data.texts
        with progress.phase("encoding texts", 0, _ENCODED):
            encoded = encode_texts(base, encoder, texts, config.prompt.text_dim)
    if start is None:
        model = _new_model(base, encoder, config, setting, data, has_head=has_head, encoded=encoded)
    else:
        model = adapters.load_adapter(
            start.adapter,
            base,
            encoder,
            setting.item_vectors,
            llm=metadata.llm,
            item_embeddings=metadata.item_embeddings,
            trainable=True,
        )
    n_trained = sum(tensor.numel() for tensor in adapters.trained_tensors(model).values())
    logger.info("training %s of %s parameters", f"{n_trained:,}", f"{sum(p.numel() for p in model.parameters()):,}")

    # A resumed run encodes texts again; on a machine that rounds them differently it must not use the old checkpoints.
    texts_hash = None if encoded is None else hashlib.sha256(encoded.vectors.numpy().tobytes()).hexdigest()
    inputs: list[str | int | None] = [setting.data_hash, setting.head_dim, texts_hash]
    key = processes.broadcast(_run_key(config, setting.llm_config, metadata, data.wording, inputs, plan))
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
    """Builds an untrained model."""
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
    """Predicts popularity and, unless ``text_vectors`` are given, vectors of new items from their texts by a regression."""
    vectors, popularity = unit_scale(item_vectors), log_popularity(torch.from_numpy(n_interactions))
    targets = torch.cat([vectors, popularity[:, None]], dim=1).numpy()
    new_items = NewItems(len(vectors), vectors.shape[1], d_llm, encoded.vectors.shape[1])
    new_items.start_from(fit_text_regression(encoded.vectors.numpy(), targets, n_interactions), n_interactions)
    new_items.text_weight.copy_(encoded.weight)
    new_items.text_bias.copy_(encoded.bias)
    if text_vectors is not None:
        new_items.vectors.copy_(text_vectors / rms(item_vectors))
    return new_items


def _train_along_plan(run: _Run) -> Curves:
    """Trains the model on the rows of the plan."""
    config, plan = run.config, run.plan
    rows, done = PlanDataset(plan, run.data, run.encoder, config.prompt), _ENCODED
    if config.tune.compares_with_start:
        # A resumed run computes them again, before it loads the checkpoint.
        with progress.phase("reference", done, _REFERENCE):
            reference = reference_log_likelihoods(run.model, rows, run.encoder, config.tune.micro_batch_size)
        done = _REFERENCE
        rows = PlanDataset(plan.assign(reference=pd.Series(reference, dtype=object)), run.data, run.encoder, config.prompt)
    with progress.phase("tuning", done, 1):
        return train(run.model, plan, rows, run.encoder, config.tune, seed=run.metadata.seed, scratch=run.checkpoints)


def _run_key(
    config: SystemConfig,
    llm_config: LlmConfig,
    metadata: adapters.AdapterMetadata,
    wording: ItemWording,
    other_inputs: list[str | int | None],
    plan: pd.DataFrame,
) -> str:
    """Returns the name of the checkpoint folder, which differs for other parameters, inputs or library versions."""
    words = [RANKING_TEMPLATES, HISTORY_TEMPLATES, asdict(wording)]
    # The hardware is left out, so that a run can be resumed on another machine.
    inputs = [config.model_dump(), llm_config.model_dump(), metadata.model_dump(exclude={"hardware"}), words, other_inputs]
    rows = pd.util.hash_pandas_object(plan, index=False).to_numpy()
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode() + rows.tobytes()).hexdigest()[:16]
