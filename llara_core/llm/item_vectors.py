"""A recommender's exported item embeddings, as the tensor that the projector reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from llara_core import columns as c
from llara_core import tables
from llara_core.errors import DataError


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
