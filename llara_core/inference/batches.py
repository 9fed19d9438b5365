"""Batches of prompts of similar length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llara_core.runtime import processes


def own_batches(lengths: Sequence[int], batch_size: int, *, is_sharded: bool) -> list[np.ndarray]:
    """Returns the row numbers of this process's batches, or of all batches if the model is sharded.

    A batch holds prompts of similar length, which need the least padding.
    """
    order = np.argsort(lengths, kind="stable")
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    return batches if is_sharded else processes.own_share(batches)
