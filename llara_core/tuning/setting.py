"""What a tuning run trains on and with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from llara_core import paths
from llara_core.config import LlmConfig, SystemConfig, Weights
from llara_core.llm.inputs import SystemInputs
from llara_core.llm.item_vectors import item_vectors_for, load_text_vectors
from llara_core.llm.prompts.rendering import ItemWording
from llara_core.objectives.base import TrainingSource
from llara_core.tuning.data import load_training_data


@dataclass(frozen=True)
class TuningSetting:
    """What a run trains on and with.

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
        scratch: root of the checkpoint folders, of which a run's own is deleted when it ends.
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


def read_setting(
    dataset: str,
    config: SystemConfig,
    seed: int,
    inputs: SystemInputs,
    *,
    wording: ItemWording,
    llm: LlmConfig,
    head_dim: int,
    weights: Weights,
) -> TuningSetting:
    """Read what one cell is tuned on.

    Args:
        dataset: key in ``params.yaml``.
        config: the system's sections.
        seed: training seed.
        inputs: what the system reads of its recommender.
        wording: what items and interactions are called.
        llm, head_dim, weights: as in :class:`TuningSetting`.

    Raises:
        DataError: a table is missing or malformed.
    """
    source = config.ablation.recommender_scores
    data, data_hash = load_training_data(dataset, wording, inputs.training_scores, source, seed)
    n_items = len(data.labels)
    item_vectors, embeddings_hash = item_vectors_for(
        config.prompt.representation, config.ablation, inputs.item_embeddings, n_items, seed
    )
    text_vectors = None
    if inputs.item_embeddings is not None and config.tune.new_share and config.ablation.item_vectors == "recommender":
        text_vectors = load_text_vectors(inputs.item_embeddings, n_items)
    return TuningSetting(
        dataset=dataset,
        recommender=config.recommender,
        seed=seed,
        llm_folder=paths.LLM,
        llm_config=llm,
        data=data,
        item_vectors=item_vectors,
        hashes={"data": data_hash, "item_embeddings": embeddings_hash},
        head_dim=head_dim,
        scratch=paths.scratch(),
        text_vectors=text_vectors,
        weights=weights,
    )
