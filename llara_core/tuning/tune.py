"""One tuning run, from training data to a finished adapter (paper, section 4.3, equation 11)."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import shutil
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from llara_core import tables
from llara_core.config import OBJECTIVES, LlmConfig, SystemConfig
from llara_core.curves import write_curves
from llara_core.llm import adapters, loading
from llara_core.llm.encoding import PromptEncoder
from llara_core.llm.hybrid import seed_part
from llara_core.llm.item_texts import encode_titles
from llara_core.objectives.base import TrainingSource
from llara_core.prompts.rendering import ItemWording
from llara_core.prompts.templates import HISTORY_TEMPLATES, RANKING_TEMPLATES
from llara_core.runtime import provenance
from llara_core.tuning.plan import make_plan
from llara_core.tuning.rows import PlanDataset
from llara_core.tuning.trainer import Curves, train

logger = logging.getLogger(__name__)

_LIBRARIES = ("torch", "transformers", "peft", "accelerate")


def tune(
    config: SystemConfig,
    llm_config: LlmConfig,
    data: TrainingSource,
    item_vectors: torch.Tensor | None,
    *,
    cell: tuple[str, str, str | None, int],
    hashes: dict[str, str | None],
    head_dim: int,
    llm_folder: Path,
    adapter_folder: Path,
    curves_folder: Path,
    scratch: Path,
) -> Curves:
    """Tune one system and write its adapter; killed and started again, it goes on where it was.

    Args:
        config: the system's sections.
        llm_config: how the base model is loaded.
        data: training data, of which is read what the plan names.
        item_vectors: ``(n_items, D_rec)`` float32, or None for prompts without behaviour tokens.
        cell: (dataset, system, recommender or None, seed).
        hashes: of the inputs, ``data`` and ``item_embeddings`` (None where there are none).
        head_dim: width of the head's item table where there are no item vectors to start it from.
        llm_folder: the base model.
        adapter_folder: where the finished adapter goes.
        curves_folder: where its curves go.
        scratch: root of the checkpoint folders; this run's own is deleted when it ends.

    Returns:
        The curves as written, see :func:`llara_core.tuning.trainer.train`.
    """
    dataset, system, recommender, seed = cell
    sample_templates = config.prompt.templates == "sampled"
    plan = make_plan(data.units, config.tune, config.curriculum, sample_templates=sample_templates, seed=seed)
    if config.prompt.representation != "hybrid":
        plan = plan.assign(p_hybrid=0.0, hybrid=False)  # an ablation without a hard task has no curriculum to walk
    by_objective = plan["objective"].value_counts()
    rows_of = ", ".join(f"{n} {objective}" for objective, n in by_objective.items())
    logger.info("%d rows (%s), %d of them hybrid", len(plan), rows_of, plan["hybrid"].sum())

    encoder = PromptEncoder(loading.load_tokenizer(llm_folder), chat_template=config.prompt.chat_template)
    planned = data.planned(plan)
    planned = replace(planned, labels=encoder.safe_labels(planned.labels))
    random_seed = seed if config.ablation.llm_weights == "random" else None
    base = loading.load_base_model(llm_folder, llm_config, random_seed=random_seed)
    metadata = adapters.AdapterMetadata(
        dataset=dataset,
        system=system,
        recommender=recommender,
        seed=seed,
        objective=config.tune.objective,
        prompt=config.prompt,
        ablation=config.ablation,
        has_head=any(OBJECTIVES[objective].needs_head for objective in by_objective.index),
        llm=loading.fingerprint(llm_folder),
        item_embeddings=hashes["item_embeddings"],
        rows=len(plan),
        dtype=str(base.dtype).removeprefix("torch."),
        hardware=provenance.hardware(),
        versions={library: version(library) for library in _LIBRARIES},
    )
    n_items = len(planned.labels)
    head_vectors = None
    if metadata.has_head:
        seed_part(seed, "head vectors")
        head_vectors = torch.randn(n_items, head_dim) if item_vectors is None else item_vectors
    item_texts = None
    if config.prompt.representation == "compact" and config.prompt.text_dim:
        item_texts = encode_titles(base, encoder, planned.labels, config.prompt.text_dim)
    model = adapters.build_model(
        base, encoder, config, item_vectors, head_vectors=head_vectors, item_texts=item_texts, seed=seed
    )
    if model.head is not None:
        items = np.fromiter(itertools.chain.from_iterable(planned.sequences), dtype=np.int64)
        model.head.set_prior(torch.from_numpy(np.bincount(items, minlength=n_items)))
    n_trained = sum(tensor.numel() for tensor in adapters.trained_tensors(model).values())
    logger.info("%s of %s parameters are trained", f"{n_trained:,}", f"{sum(p.numel() for p in model.parameters()):,}")

    # Encoded titles are computed anew by a run that is resumed: on a machine that rounds otherwise it has to start afresh.
    texts_hash = None if item_texts is None else hashlib.sha256(item_texts.numpy().tobytes()).hexdigest()
    inputs = [hashes["data"], head_dim, texts_hash]
    checkpoints = scratch / "tune" / _run_key(config, llm_config, metadata, planned.wording, inputs, plan)
    rows = PlanDataset(plan, planned, encoder, config.prompt)
    curves = train(model, plan, rows, encoder, config.tune, seed=seed, scratch=checkpoints)
    adapters.save_adapter(adapter_folder, model, metadata)
    adapters.assert_round_trip(adapter_folder, model)
    write_curves(curves_folder, curves)
    # Last of all: a run that is killed before this line can still be resumed.
    shutil.rmtree(checkpoints, ignore_errors=True)
    return curves


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
