"""Questions at further positions of held-out users, in addition to the paper's one question per user about the last item."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from llara_core import columns as c
from llara_core import tables
from llara_core.data.splitting import lists, slices
from llara_core.runtime import seeding

# Limit per split, which bounds time and memory on large logs. It is part of the protocol: another number changes the questions.
MAX_QUESTIONS = 200_000


def position_questions(
    interactions: pd.DataFrame, max_history_len: int, positions: Literal["all"] | int, seed: int, dataset: str
) -> pa.Table:
    """Returns a question per held-out interaction that has an earlier one of its user, or for a random subset per user.

    A history ends right before the target, as in :func:`splitting.make_examples`. The positions of a user are ranked in a
    random order (the column ``turn``); ``positions`` limits the rank, so that fewer positions are a subset of more. If the
    questions of a split exceed :data:`MAX_QUESTIONS`, the last ranks are left out for all users alike, but never the first. The
    table (:data:`tables.POSITIONS`) is sorted by split, user and position, and may be empty.

    Args:
        interactions: rows of :data:`tables.INTERACTIONS`, of every split, each user's in order.
        max_history_len: longest history, in items.
    """
    streams = {split: seeding.numpy_stream(seed, "positions", dataset, split) for split in c.HELD_OUT}
    parts = [_of_split(interactions, split, positions, stream) for split, stream in streams.items()]
    rows, ranks = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    items = interactions[c.ITEM].to_numpy(dtype=np.int32)
    targets = interactions.iloc[rows]
    lengths = np.minimum(targets[c.POSITION].to_numpy(), max_history_len)
    columns = {
        c.EXAMPLE: np.arange(len(rows), dtype=np.int32),
        c.USER: targets[c.USER].to_numpy(dtype=np.int32),
        c.SPLIT: targets[c.SPLIT].astype(str).to_numpy(dtype=object),
        c.HISTORY: lists(slices(items, rows - lengths, lengths), lengths),
        c.TARGET: items[rows],
        c.POSITION: targets[c.POSITION].to_numpy(dtype=np.int32),
        c.TURN: ranks.astype(np.int32),
    }
    return pa.table(columns, schema=tables.POSITIONS)


def _of_split(
    interactions: pd.DataFrame, split: str, positions: Literal["all"] | int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Returns the rows of the interactions that become questions, ascending, and their ranks in the random order."""
    rows = np.flatnonzero((interactions[c.SPLIT] == split).to_numpy() & (interactions[c.POSITION] > 0).to_numpy())
    users = interactions[c.USER].to_numpy()[rows]
    order = np.lexsort((rng.random(len(rows)), users))
    ranks = np.empty(len(rows), dtype=np.int64)
    first = np.flatnonzero(np.diff(users[order], prepend=-1))  # first row of each user
    ranks[order] = np.arange(len(rows)) - np.repeat(first, np.diff(np.append(first, len(rows))))
    n_ranks = max(1, int(np.searchsorted(np.cumsum(np.bincount(ranks)), MAX_QUESTIONS, side="right")))
    kept = ranks < (n_ranks if positions == "all" else min(n_ranks, positions))
    return rows[kept], ranks[kept]
