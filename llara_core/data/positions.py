"""Questions at further positions of held-out users, beside the paper's one question per user about the last item."""

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

# Per split. It bounds time and memory on large logs; part of the protocol: another number gives other questions to these.
MAX_QUESTIONS = 200_000


def position_questions(
    interactions: pd.DataFrame, max_history_len: int, positions: Literal["all"] | int, seed: int, dataset: str
) -> pa.Table:
    """Every held-out interaction that has an earlier one of its user is a question, or as many per user as are wanted.

    A history is what the user did right before the target, as in :func:`splitting.make_examples`. The positions of a user are
    ranked in a random order, their *turn*; a number asks for the first so many turns, so that fewer positions are a part of
    more. Where the questions of a split would be more than :data:`MAX_QUESTIONS`, the last turns are left out for all users
    alike, but never the first.

    Args:
        interactions: rows of :data:`tables.INTERACTIONS`, of every split, each user's in order.
        max_history_len: longest history, in items.
        positions: how many per user and split.
        seed: of the order of the turns.
        dataset: names the random stream.

    Returns:
        A table of :data:`tables.POSITIONS`, by split, user and position; empty where no held-out item has one before it.
    """
    streams = {split: seeding.numpy_stream(seed, "positions", dataset, split) for split in c.HELD_OUT}
    parts = [_of_split(interactions, split, positions, stream) for split, stream in streams.items()]
    rows, turns = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    items = interactions[c.ITEM].to_numpy(dtype=np.int32)
    asked = interactions.iloc[rows]
    lengths = np.minimum(asked[c.POSITION].to_numpy(), max_history_len)
    columns = {
        c.EXAMPLE: np.arange(len(rows), dtype=np.int32),
        c.USER: asked[c.USER].to_numpy(dtype=np.int32),
        c.SPLIT: asked[c.SPLIT].astype(str).to_numpy(dtype=object),
        c.HISTORY: lists(slices(items, rows - lengths, lengths), lengths),
        c.TARGET: items[rows],
        c.POSITION: asked[c.POSITION].to_numpy(dtype=np.int32),
        c.TURN: turns.astype(np.int32),
    }
    return pa.table(columns, schema=tables.POSITIONS)


def _of_split(
    interactions: pd.DataFrame, split: str, positions: Literal["all"] | int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows of the interactions that are asked for, ascending, and their turns."""
    rows = np.flatnonzero((interactions[c.SPLIT] == split).to_numpy() & (interactions[c.POSITION] > 0).to_numpy())
    users = interactions[c.USER].to_numpy()[rows]
    order = np.lexsort((rng.random(len(rows)), users))
    turns = np.empty(len(rows), dtype=np.int64)
    first = np.flatnonzero(np.diff(users[order], prepend=-1))  # of each user
    turns[order] = np.arange(len(rows)) - np.repeat(first, np.diff(np.append(first, len(rows))))
    per_turn = np.cumsum(np.bincount(turns))
    n_turns = max(1, int(np.searchsorted(per_turn, MAX_QUESTIONS, side="right")))
    if positions != "all":
        n_turns = min(n_turns, positions)
    kept = turns < n_turns
    return rows[kept], turns[kept]
