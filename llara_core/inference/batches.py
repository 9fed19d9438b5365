"""Batches of prompts of similar length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llara_core.runtime import processes


def batches(lengths: Sequence[int], batch_size: int) -> list[np.ndarray]:
    """Returns row numbers in batches of prompts of similar length, which need the least padding."""
    order = np.argsort(lengths, kind="stable")
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def own_batches(lengths: Sequence[int], batch_size: int, *, is_sharded: bool) -> list[np.ndarray]:
    """Returns this process's batches: its share, or all of them if the model is sharded."""
    parts = batches(lengths, batch_size)
    return parts if is_sharded else processes.own_share(parts)
