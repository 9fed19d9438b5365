"""Filters interactions and orders each user's sequence."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from llara_core import columns as c
from llara_core.config import LogSection, SubsampleConfig
from llara_core.readers.interaction_log import Counts, count, one_of_each_pair
from llara_core.runtime.seeding import numpy_stream

MIN_SEQUENCE = 2  # one item of history and one target


def filter_interactions(interactions: pd.DataFrame, config: LogSection) -> tuple[pd.DataFrame, dict[str, Counts]]:
    """Drops interactions step by step; returns the others, without ratings, and the counts after each step.

    1. ``rating`` (with a ``min_rating``): interactions rated below ``min_rating``;
    2. ``repeats`` (``repeats: first`` or ``last``): all but a user's earliest or latest interaction with an item, ties by row
       order;
    3. ``items``: items with fewer than ``min_item_interactions`` of the remaining interactions;
    4. ``users``: users with fewer than ``min_user_interactions`` of the remaining interactions;
       or, with ``min_counts: k_core``, steps 3 and 4 in turn until nothing changes, as one step ``k_core``;
    5. ``subsample`` (Steam): all but a random part of the remaining users and items;
    6. ``sequences``: users with a single interaction, which leaves nothing to predict from.

    Every step except ``k_core`` runs once, so an item that met its minimum may fall below it when users are dropped.

    Args:
        interactions: ``user_id`` and ``item_id`` (integers >= 0), ``timestamp`` and perhaps ``rating``; row order is kept.

    Source: the order in which the released LastFM data were made (items before users, one pass each); MovieLens uses step 1
    alone; Steam steps 4 and 5 (paper, section 5.1.1).
    """
    kept, steps = filter_rows(interactions, config)
    kept = kept.drop(columns=c.RATING, errors="ignore")

    minima = {c.ITEM: config.min_item_interactions, c.USER: config.min_user_interactions}
    if config.is_k_core:
        # The last step drops users with a single interaction, which must not break the k-core.
        kept = _k_core(kept, {**minima, c.USER: max(minima[c.USER], MIN_SEQUENCE)})
        steps["k_core"] = count(kept)
    else:
        for name, column in (("items", c.ITEM), ("users", c.USER)):
            kept = _with_count(kept, column, minima[column])
            steps[name] = count(kept)
    if config.sample is not None:
        kept = _subsample(kept, config.sample)
        steps["subsample"] = count(kept)
    kept = _with_count(kept, c.USER, MIN_SEQUENCE)
    steps["sequences"] = count(kept)
    return kept, steps


def users_with_one_interaction(steps: Mapping[str, Counts]) -> int:
    """Returns the number of users that the step ``sequences`` of :func:`filter_interactions` dropped."""
    before = next(steps[name] for name in ("subsample", "k_core", "users") if name in steps)
    return before["users"] - steps["sequences"]["users"]


def filter_rows(interactions: pd.DataFrame, config: LogSection) -> tuple[pd.DataFrame, dict[str, Counts]]:
    """Applies steps 1 and 2 of :func:`filter_interactions`, which need no counts; without ratings, step 2 alone."""
    kept, steps = interactions, dict[str, Counts]()
    if config.lowest_rating is not None and c.RATING in kept:
        kept = kept[kept[c.RATING] >= config.lowest_rating]
        steps["rating"] = count(kept)
    if config.kept_repeat is not None:
        kept = one_of_each_pair(kept, config.kept_repeat)
        steps["repeats"] = count(kept)
    return kept, steps


def sort_sequences(interactions: pd.DataFrame, *, by_time: bool = True) -> pd.DataFrame:
    """Sorts rows by user and time, and adds ``position``, the 0-based place in the user's sequence.

    The sort is stable: interactions of one user with equal timestamps stay in file order. Equal timestamps are frequent in
    MovieLens, and the released frames order them otherwise for most users. If the log has a split (codes into
    :data:`columns.SPLITS`), a user's interactions of an earlier split go first, whatever their time, so that no held-out
    interaction is in the history of a training target.

    Args:
        by_time: whether to sort by time; otherwise a user's interactions stay in file order.
    """
    users, times = interactions[c.USER].to_numpy(), interactions[c.TIMESTAMP].to_numpy()
    keys = [users, *([interactions[c.SPLIT].to_numpy()] if c.SPLIT in interactions else []), *([times] if by_time else [])]
    order = np.lexsort(keys[::-1])
    rows = interactions.take(order).reset_index(drop=True)
    return rows.assign(**{c.POSITION: rows.groupby(c.USER).cumcount().astype("int32")})


def _with_count(frame: pd.DataFrame, column: str, minimum: int) -> pd.DataFrame:
    ids = frame[column].to_numpy()
    return frame[np.bincount(ids)[ids] >= minimum] if minimum > 1 else frame


def _k_core(frame: pd.DataFrame, minima: dict[str, int]) -> pd.DataFrame:
    before = -1
    while before != len(frame):
        before = len(frame)
        for column, minimum in minima.items():
            frame = _with_count(frame, column, minimum)
    return frame


def _subsample(frame: pd.DataFrame, config: SubsampleConfig) -> pd.DataFrame:
    """Keeps the rows whose user and item are both drawn; each side has its own random stream."""
    for column, share in ((c.USER, config.users), (c.ITEM, config.items)):
        drawn = numpy_stream(config.seed, "subsample", column).permutation(np.unique(frame[column]))
        frame = frame[frame[column].isin(drawn[: round(share * len(drawn))])]
    return frame
