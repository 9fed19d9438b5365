"""Training, validation and test: which interactions may be learnt from, and which examples are asked.

An example is a history (up to ``max_history_len`` items, oldest first) and the item that followed it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd

from llara_core import columns as c
from llara_core.errors import DataError


def split_by_user(sequences: pd.DataFrame, train: float, validation: float) -> pd.DataFrame:
    """Divide the users by the time of their first interaction, and mark all interactions of a user with the user's split.

    Users are sorted by their earliest interaction, ties by user id; the first ``int(train * n)`` are for training, those up
    to ``int((train + validation) * n)`` for validation, the rest for test. No user is in two splits; yet later events of
    training users stay in training, so that "no later interaction is trained on" does not hold (:func:`split_by_time`).

    Args:
        sequences: ``user_id``, ``item_id``, ``timestamp``, ``position``; sorted by user and position.
        train, validation: shares of the users.

    Returns:
        ``sequences`` with the column ``split``.

    Source: reproduces the released MovieLens and LastFM splits, user by user.
    """
    first = sequences.groupby(c.USER)[c.TIMESTAMP].min().sort_values(kind="stable")
    ends = _cuts(len(first), train, validation)
    return sequences.assign(**{c.SPLIT: sequences[c.USER].map(_by_rank(first.index, ends))})


def split_by_time(sequences: pd.DataFrame, train: float, validation: float) -> pd.DataFrame:
    """Cut all interactions at two points in time, and mark each with its period.

    The cuts are the timestamps at the quantiles ``train`` and ``train + validation`` of all interactions. Interactions at
    exactly a cut belong to the later period, so every training interaction is strictly earlier than every validation one,
    and that than every test one; with many ties the earlier period is smaller than its share.

    Args:
        sequences: as in :func:`split_by_user`.
        train, validation: shares of the interactions.

    Returns:
        ``sequences`` with the column ``split``, which holds the period.
    """
    times = np.sort(sequences[c.TIMESTAMP].to_numpy())
    cuts = times[list(_cuts(len(times), train, validation))]
    period = np.searchsorted(cuts, sequences[c.TIMESTAMP].to_numpy(), side="right")
    return sequences.assign(**{c.SPLIT: np.array(c.SPLITS, dtype=object)[period]})


def make_examples(sequences: pd.DataFrame, max_history_len: int) -> pd.DataFrame:
    """The examples of a split table, in the order training, validation, test, by user and position in each.

    Training: every interaction of the training split that has an earlier one is a target. Validation and test: one example
    per user, the user's last interaction of that split, if any interaction came before it. A history is what the user did
    right before the target. With :func:`split_by_time` it may reach into earlier periods, and for validation and test also
    holds interactions of the same period: they are known when the question is asked, and are never trained on. A user
    may then have an example in each split.

    Args:
        sequences: with ``split``, sorted by user and position, each user's positions counting from 0.
        max_history_len: longest history, in items.

    Returns:
        ``example_id``, ``user_id``, ``split``, ``history`` (int32 arrays) and ``target``.

    Raises:
        DataError: a split has no example.

    Source: the released frames also hold one row per first interaction, with an empty history, which no prompt can show:
    68,389 training rows on MovieLens, where this yields 68,389 - 754 users = 67,635.
    """
    position = sequences[c.POSITION].to_numpy()
    split = sequences[c.SPLIT].to_numpy()
    last = ~sequences.duplicated([c.USER, c.SPLIT], keep="last").to_numpy()
    asked = (position > 0) & (last | (split == c.TRAIN))
    rows = np.concatenate([np.flatnonzero(asked & (split == name)) for name in c.SPLITS])
    items = sequences[c.ITEM].to_numpy(dtype=np.int32)
    starts = rows - np.minimum(position[rows], max_history_len)
    examples = pd.DataFrame(
        {
            c.EXAMPLE: np.arange(len(rows)),
            c.USER: sequences[c.USER].to_numpy()[rows],
            c.SPLIT: split[rows],
            c.HISTORY: [items[start:end] for start, end in zip(starts, rows, strict=True)],
            c.TARGET: items[rows],
        }
    )
    counts = {name: int((examples[c.SPLIT] == name).sum()) for name in c.SPLITS}
    if not all(counts.values()):
        raise DataError(
            f"the split leaves {counts} examples, but each of {', '.join(c.SPLITS)} needs at least one; "
            "lower the minima of the filter, change split.train and split.validation, or use more data"
        )
    return examples


STRATEGIES: dict[str, Callable[[pd.DataFrame, float, float], pd.DataFrame]] = {
    "user_chronological": split_by_user,
    "global_time": split_by_time,
}


def _cuts(n: int, train: float, validation: float) -> tuple[int, int]:
    # Rounding first: 0.7 + 0.1 is a little less than 0.8, and int(0.7999... * 10) would be 7.
    return int(round(train * n, 6)), int(round((train + validation) * n, 6))


def _by_rank(users: pd.Index[int], ends: tuple[int, int]) -> dict[int, str]:
    rank: npt.NDArray[np.intp] = np.searchsorted(ends, np.arange(len(users)), side="right")
    return {user: c.SPLITS[k] for user, k in zip(users, rank, strict=True)}
