"""The projector's input for every item: a recommender's exported embeddings, substitutes for an ablation, or nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from llara_core import columns as c
from llara_core import tables
from llara_core.config import WITH_BEHAVIOR, AblationConfig, Representation
from llara_core.errors import DataError, ModelError
from llara_core.runtime import seeding


def item_vectors_for(
    representation: Representation, ablation: AblationConfig, embeddings: Path | None, n_items: int, seed: int
) -> tuple[torch.Tensor | None, str | None]:
    """Returns the item vectors that a system may see, ``(n_items, D_rec)`` float32 or None, and the hash of a trained table or
    None.

    Args:
        representation: representation of items in its prompts; without behaviour tokens no embeddings are read, so that
            nothing can leak in.
        ablation: ``item_vectors`` random replaces the table by normally distributed numbers, constant by ones.
        embeddings: table written by the stage ``export_embeddings``; None for a system without a recommender.
        seed: training seed, used for random vectors.

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
    return torch.from_numpy(random) * vectors.shape[1] ** -0.5, None  # the scale at which recommenders are initialised


def load_text_vectors(path: Path, n_items: int) -> torch.Tensor | None:
    """Returns the recommender's vectors of the items' texts alone, ``(n_items, D_rec)`` float32; None if it reads no texts.

    Raises:
        DataError: the table does not fit the data (:func:`load_item_vectors`).
    """
    column = _read_column(path, n_items, c.TEXT_VECTOR)
    return None if column.isna().any() else _stacked(path, column)


def load_item_vectors(path: Path, n_items: int) -> tuple[torch.Tensor, str]:
    """Returns the table of the stage ``export_embeddings``, ``(n_items, D_rec)`` float32, and the hash recorded in adapters.

    Raises:
        DataError: the table is of another catalogue, or holds values that are not finite.
    """
    return _stacked(path, _read_column(path, n_items, c.VECTOR)), tables.tables_hash(path)


def _read_column(path: Path, n_items: int, name: str) -> pd.Series:
    table = tables.read_table(path, tables.ITEM_EMBEDDINGS)
    if table[c.ITEM].to_list() != list(range(n_items)):
        raise DataError(f"{path}: has {len(table)} items, but the prepared data has {n_items}; run `dvc repro`")
    return table[name]


def _stacked(path: Path, column: pd.Series) -> torch.Tensor:
    vectors = np.stack(column.to_list()).astype(np.float32)
    if not np.isfinite(vectors).all():
        raise DataError(f"{path}: holds values that are not finite; train the recommender again")
    return torch.from_numpy(vectors)
