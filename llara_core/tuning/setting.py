"""The setting of a tuning run: its data, base model and item vectors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from llara_core import paths
from llara_core.config import LlmConfig, SystemConfig, Weights
from llara_core.llm.inputs import SystemInputs
from llara_core.llm.item_vectors import item_vectors_for, load_text_vectors
from llara_core.llm.prompts.rendering import ItemWording
from llara_core.tuning.data import StoredTrainingData, load_training_data


@dataclass(frozen=True)
class TuningSetting:
    """Data, base model and item vectors of a tuning run.

    Attributes:
        dataset: key in ``params.yaml``.
        recommender: recommender of the item vectors; None if there are none.
        seed: training seed.
        llm_folder: folder of the base model.
        llm_config: loading options of the base model.
        data: training data, of which only the rows of the plan are read.
        item_vectors: ``(n_items, D_rec)`` float32; None if prompts show no behaviour tokens.
        data_hash: hash of the tables of ``data``.
        embeddings_hash: hash of the recommender's embedding table; None if it was not read.
        head_dim: width of the head's item table if there are no item vectors to initialise it with.
        scratch: parent of the checkpoint folders; a run deletes its own when it ends.
        text_vectors: ``(n_items, D_rec)`` float32, vectors that the recommender derives from the items' texts alone, or None.
        weights: whether each process holds all weights of the base model or a shard.
    """

    dataset: str
    recommender: str | None
    seed: int
    llm_folder: Path
    llm_config: LlmConfig
    data: StoredTrainingData
    item_vectors: torch.Tensor | None
    data_hash: str
    embeddings_hash: str | None
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
    """Reads the setting of one training run.

    Args:
        dataset, seed, head_dim, weights: attributes of :class:`TuningSetting`.
        config: configuration of the system.
        inputs: input folder of the training run.
        wording: words for items and interactions.
        llm: loading options of the base model.

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
        data_hash=data_hash,
        embeddings_hash=embeddings_hash,
        head_dim=head_dim,
        scratch=paths.scratch(),
        text_vectors=text_vectors,
        weights=weights,
    )
