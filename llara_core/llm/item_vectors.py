"""What the projector reads of every item: a recommender's exported embeddings, others for an ablation, or nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from llara_core import columns as c
from llara_core import tables
from llara_core.config import WITH_BEHAVIOR, AblationConfig, Representation
from llara_core.errors import DataError, ModelError
from llara_core.runtime import seeding


def item_vectors_for(
    representation: Representation, ablation: AblationConfig, embeddings: Path | None, n_items: int, seed: int
) -> tuple[torch.Tensor | None, str | None]:
    """The item vectors that a system may see, and the hash of the table they come from.

    Args:
        representation: of its prompts; without behaviour tokens nothing of a recommender is read, so that nothing can leak in.
        ablation: ``item_vectors`` random gives normally distributed numbers in the table's shape, constant ones alone.
        embeddings: written by the stage ``export_embeddings``; None for a system without a recommender.
        n_items: of the prepared data.
        seed: training seed, of the random vectors.

    Returns:
        ``(n_items, D_rec)`` float32 or None, and the hash that adapters are bound to, None where no trained table is read.

    Raises:
        ModelError: the prompts hold behaviour tokens, but there is no recommender.
        DataError: the table does not fit the data (:func:`load_item_vectors`).
    """
    if representation not in WITH_BEHAVIOR:
        return None, None
    if embeddings is None:
        raise ModelError(f"prompts of representation {representation} hold behaviour tokens: name a recommender")
    vectors, source = load_item_vectors(embeddings, n_items)
    if ablation.item_vectors == "recommender":
        return vectors, source
    if ablation.item_vectors == "constant":
        return torch.ones_like(vectors), None
    random = seeding.numpy_stream(seed, "untrained item vectors").standard_normal(tuple(vectors.shape), dtype=np.float32)
    return torch.from_numpy(random) * vectors.shape[1] ** -0.5, None  # as recommenders are initialised


def load_text_vectors(path: Path, n_items: int) -> torch.Tensor | None:
    """What the item vectors would be of items without interactions, by the recommender's reading of their texts.

    Args:
        path, n_items: as of :func:`load_item_vectors`, which also checks the table.

    Returns:
        ``(n_items, D_rec)`` float32; None where the recommender reads no texts.

    Raises:
        DataError: the table is of another catalogue.
    """
    load_item_vectors(path, n_items)
    column = tables.read_table(path, tables.ITEM_EMBEDDINGS)[c.TEXT_VECTOR]
    return None if column.isna().any() else torch.from_numpy(np.stack(column.to_list()).astype(np.float32))


def load_item_vectors(path: Path, n_items: int) -> tuple[torch.Tensor, str]:
    """The embedding table and its hash.

    Args:
        path: written by the stage ``export_embeddings``.
        n_items: of the prepared data.

    Returns:
        ``(n_items, D_rec)`` float32 and the hash that adapters are bound to.

    Raises:
        DataError: the table is of another catalogue, or holds values that are not finite.
    """
    table = tables.read_table(path, tables.ITEM_EMBEDDINGS)
    if table[c.ITEM].to_list() != list(range(n_items)):
        raise DataError(f"{path}: has {len(table)} items, but the prepared data has {n_items}; run `dvc repro`")
    vectors = np.stack(table[c.VECTOR].to_list()).astype(np.float32)
    if not np.isfinite(vectors).all():
        raise DataError(f"{path}: holds values that are not finite; train the recommender again")
    return torch.from_numpy(vectors), tables.tables_hash(path)
