"""Splits interactions into training, validation and test, and forms examples.

Sequences are rows with ``user_id``, ``item_id``, ``timestamp`` and ``position``, sorted by user and position; splitting adds
the column ``split``. An example is a history (up to ``max_history_len`` items, oldest first) and the item that followed it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from llara_core import columns as c
from llara_core import tables
from llara_core.config import ColdItemsConfig, SplitConfig
from llara_core.errors import DataError
from llara_core.runtime import seeding

LEAKS = {
    "user_chronological": "This split can leak over time: training users go on after the moment at which a held-out user is "
    "asked, so that models may know which items become popular later. Held-out users are new to every model.",
    "global_time": "This split leaks nothing over time but what comes from the whole log: the catalogue, the minimum counts "
    "and the two points in time.",
    "date": "This split leaks nothing over time but what comes from the whole log: the catalogue and the minimum counts.",
    "leave_one_out": "This split can leak over time: what others do after the moment at which a user is asked is part of the "
    "training, so that models may know which items become popular later. Everybody who is asked was also trained on, so the "
    "figures say nothing about new users.",
    "files": "This split was given, and can leak what its makers let it leak: the order in time is not checked between users. "
    "Within a user, held-out interactions always follow the training ones.",
    "released": "This split, the authors', can leak over time: training users go on after the moment at which a held-out user "
    "is asked, so that models may know which items become popular later.",
}
"""Possible leaks of each split strategy; ``released`` is the split of the released frames."""
MIN_LEFT_OUT = 3  # interactions of a user with two held-out ones
MAX_LISTED = 2**31 - 1  # Arrow's lists have 32-bit offsets
_USERS_SEED = 0
SPLIT_DTYPE = pd.CategoricalDtype(list(c.SPLITS))


def split_by_user(sequences: pd.DataFrame, train: float, validation: float) -> pd.DataFrame:
    """Divides the users by the time of their first interaction, and marks all interactions of a user with the user's split.

    Users are sorted by their earliest interaction, ties by user id; the first ``int(train * n)`` are for training, those up
    to ``int((train + validation) * n)`` for validation, the rest for test. No user is in two splits, but training users may
    have training interactions later than held-out ones; :func:`split_by_time` excludes that.

    Source: reproduces the released MovieLens and LastFM splits, user by user.
    """
    firsts = sequences.groupby(c.USER)[c.TIMESTAMP].min().sort_values(kind="stable")
    codes = np.searchsorted(_cuts(len(firsts), train, validation), np.arange(len(firsts)), side="right").astype(np.int8)
    return _with_split(sequences, sequences[c.USER].map(pd.Series(codes, index=firsts.index)).to_numpy())


def split_by_time(sequences: pd.DataFrame, train: float, validation: float) -> pd.DataFrame:
    """Cuts all interactions at two points in time, and marks each with its period.

    The cuts are the timestamps at the quantiles ``train`` and ``train + validation`` of all interactions. Interactions at
    exactly a cut belong to the later period, so every training interaction is strictly earlier than every validation one,
    and that than every test one; with many ties the earlier period is smaller than its share.
    """
    times = np.sort(sequences[c.TIMESTAMP].to_numpy())
    return split_by_date(sequences, *times[np.minimum(_cuts(len(times), train, validation), len(times) - 1)])


def split_by_date(sequences: pd.DataFrame, train_until: int, validation_until: int) -> pd.DataFrame:
    """Cuts all interactions at two given points in time, in the ticks of ``timestamp``, and marks each with its period.

    Interactions at exactly a cut belong to the later period, as in :func:`split_by_time`.
    """
    cuts = np.array([train_until, validation_until])
    return _with_split(sequences, np.searchsorted(cuts, sequences[c.TIMESTAMP].to_numpy(), side="right"))


def leave_one_out(sequences: pd.DataFrame) -> pd.DataFrame:
    """Marks a user's last interaction for test, the one before it for validation, and the others for training.

    Users with fewer than three interactions are for training as a whole, since a question about them would need earlier
    training interactions. A user's training interactions precede the user's held-out ones, but not those of others.

    Source: W.-C. Kang and J. McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018, section IV.
    """
    length = sequences.groupby(c.USER)[c.POSITION].transform("size").to_numpy()
    from_end = length - 1 - sequences[c.POSITION].to_numpy()
    codes = np.where(length < MIN_LEFT_OUT, 0, np.maximum(2 - from_end, 0))
    return _with_split(sequences, codes)


def hold_back_items(interactions: pd.DataFrame, cold: ColdItemsConfig) -> pd.DataFrame:
    """Leaves out the training interactions of uniformly drawn items, so that these are new to every model.

    Held-out interactions stay, as targets and in histories. Users without remaining interactions are dropped, and users and
    positions are renumbered from 0.

    Source: the strict item cold start, e.g. M. Volkovs, G. Yu and T. Poutanen, "DropoutNet", NeurIPS 2017, section 5.
    """
    items = np.unique(interactions[c.ITEM])
    drawn = seeding.numpy_stream(cold.seed, "cold items").permutation(items)[: round(cold.share * len(items))]
    gone = (interactions[c.SPLIT] == c.TRAIN).to_numpy() & np.isin(interactions[c.ITEM].to_numpy(), drawn)
    return _numbered(interactions[~gone])


def keep_training_users(interactions: pd.DataFrame, share: float) -> pd.DataFrame:
    """Keeps a uniformly drawn share of the training users, at least one, for learning curves; renumbers users from 0.

    Each user must be in one split. A smaller share keeps a subset of the users of a larger one.
    """
    users = interactions[c.USER].to_numpy()
    trained = np.unique(users[(interactions[c.SPLIT] == c.TRAIN).to_numpy()])
    drawn = seeding.numpy_stream(_USERS_SEED, "training users").permutation(trained)
    return _numbered(interactions[~np.isin(users, drawn[max(1, round(share * len(trained))) :])])


def out_of_time_order(sequences: pd.DataFrame) -> int:
    """Counts interactions that are earlier than the one before them in their user's sequence."""
    users, times = sequences[c.USER].to_numpy(), sequences[c.TIMESTAMP].to_numpy()
    return int(((users[1:] == users[:-1]) & (times[1:] < times[:-1])).sum())


def make_examples(sequences: pd.DataFrame, max_history_len: int) -> pa.Table:
    """Returns the examples of a split table, in the order training, validation, test, by user and position in each.

    Training: every training interaction that has an earlier one is a target. Validation and test: one example per user, the
    user's last interaction of that split, if any interaction came before it. A history ends right before the target. With all
    strategies but :func:`split_by_user` it may reach into earlier splits, and for validation and test also holds interactions
    of the same split: they are known when the question is asked, and are never trained on. A user may then have an example in
    each split.

    Args:
        sequences: sequences with ``split``; a user's rows of one split are consecutive, training first and test last.

    Raises:
        DataError: a split has no example.

    Source: the released frames also hold one row per first interaction, with an empty history, which no prompt can show:
    68,389 training rows on MovieLens, where this yields 68,389 - 754 users = 67,635.
    """
    users, items = sequences[c.USER].to_numpy(dtype=np.int32), sequences[c.ITEM].to_numpy(dtype=np.int32)
    position, split = sequences[c.POSITION].to_numpy(), sequences[c.SPLIT].cat.codes.to_numpy()
    last = np.append((users[1:] != users[:-1]) | (split[1:] != split[:-1]), True)
    is_target = (position > 0) & (last | (split == c.SPLITS.index(c.TRAIN)))
    rows = np.concatenate([np.flatnonzero(is_target & (split == code)) for code in range(len(c.SPLITS))])
    lengths = np.minimum(position[rows], max_history_len)
    return examples_table(users[rows], split[rows], slices(items, rows - lengths, lengths), lengths, items[rows])


def examples_table(
    users: npt.NDArray[np.int32],
    split: npt.NDArray[np.int8],
    histories: npt.NDArray[np.int32],
    lengths: npt.NDArray[np.integer],
    targets: npt.NDArray[np.int32],
) -> pa.Table:
    """Returns ``N`` examples as a table of :data:`tables.EXAMPLES`.

    Args:
        users, targets: ``(N,)``.
        split: ``(N,)`` indices into :data:`columns.SPLITS`, ascending.
        histories: items of all histories, concatenated.
        lengths: ``(N,)`` lengths of the histories.

    Raises:
        DataError: a split has no example, or the histories do not fit into one table.
    """
    counts = {name: int((split == code).sum()) for code, name in enumerate(c.SPLITS)}
    if not all(counts.values()):
        raise DataError(
            f"the split leaves {counts} examples, but each of {', '.join(c.SPLITS)} needs at least one; "
            "lower the minima of the filter, change what cuts the split (its shares or dates), or use more data"
        )
    columns = {
        c.EXAMPLE: np.arange(len(users), dtype=np.int32),
        c.USER: users,
        c.SPLIT: pa.DictionaryArray.from_arrays(pa.array(split), list(c.SPLITS)).cast(pa.string()),
        c.HISTORY: lists(histories, lengths),
        c.TARGET: targets,
    }
    return pa.table(columns, schema=tables.EXAMPLES)


def lists(items: npt.NDArray[np.int32], lengths: npt.NDArray[np.integer]) -> pa.ListArray:
    """Returns histories, given as concatenated items and lengths, as one column.

    Raises:
        DataError: the histories do not fit into one table.
    """
    if (n_listed := int(lengths.sum())) > MAX_LISTED:
        raise DataError(
            f"the histories hold {n_listed} items, but a table takes {MAX_LISTED}; lower max_history_len or filter more"
        )
    return pa.ListArray.from_arrays(np.append(0, np.cumsum(lengths)).astype(np.int32), items)


def slices(
    values: npt.NDArray[np.int32], starts: npt.NDArray[np.integer], lengths: npt.NDArray[np.integer], block: int = 1 << 20
) -> npt.NDArray[np.int32]:
    """Concatenates ``values[start : start + length]`` over all slices.

    The slices are copied in blocks, so that the indices, twice as wide as the values, are not in memory for all at once.
    """
    ends = np.cumsum(lengths)
    sliced = np.empty(ends[-1] if len(ends) else 0, dtype=values.dtype)
    for first in range(0, len(starts), block):
        part = slice(first, first + block)
        begin, end = ends[first] - lengths[first], ends[part][-1]
        shifts = starts[part] - (ends[part] - lengths[part])
        sliced[begin:end] = values[np.repeat(shifts, lengths[part]) + np.arange(begin, end)]
    return sliced


def _ticks(moment: datetime, ticks_per_second: int) -> int:
    """Returns the first tick since 1970 that is not before ``moment``."""
    microseconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return -(-microseconds * ticks_per_second // 10**6)


STRATEGIES: dict[str, Callable[[pd.DataFrame, SplitConfig, int], pd.DataFrame]] = {
    "user_chronological": lambda sequences, split, _: split_by_user(sequences, *split.shares),
    "global_time": lambda sequences, split, _: split_by_time(sequences, *split.shares),
    "date": lambda sequences, split, per_second: split_by_date(sequences, *(_ticks(end, per_second) for end in split.dates)),
    "leave_one_out": lambda sequences, *_: leave_one_out(sequences),
    "files": lambda sequences, *_: _with_split(sequences, sequences[c.SPLIT].to_numpy()),  # codes from the raw data
}
"""Functions of sequences, the section ``split`` and the ticks per second of timestamps; each adds the column ``split``."""


def divide(sequences: pd.DataFrame, split: SplitConfig, ticks_per_second: int, strategy: str | None = None) -> pd.DataFrame:
    """Adds the column ``split`` by ``strategy`` (None: the section's), and drops the training interactions of cold items."""
    interactions = STRATEGIES[strategy or split.strategy](sequences, split, ticks_per_second)
    return interactions if split.cold_items is None else hold_back_items(interactions, split.cold_items)


def _numbered(kept: pd.DataFrame) -> pd.DataFrame:
    """Renumbers users and positions of a split table from 0."""
    rows = kept.reset_index(drop=True)
    numbered = rows.assign(**{c.USER: np.unique(rows[c.USER].to_numpy(), return_inverse=True)[1].astype(np.int32)})
    return numbered.assign(**{c.POSITION: numbered.groupby(c.USER).cumcount().astype("int32")})


def _cuts(n: int, train: float, validation: float) -> tuple[int, int]:
    # Rounding is needed because 0.7 + 0.1 is slightly below 0.8, and int(0.7999... * 10) would be 7.
    return int(round(train * n, 6)), int(round((train + validation) * n, 6))


def _with_split(sequences: pd.DataFrame, codes: npt.NDArray[np.integer]) -> pd.DataFrame:
    return sequences.assign(**{c.SPLIT: pd.Categorical.from_codes(codes, dtype=SPLIT_DTYPE)})
