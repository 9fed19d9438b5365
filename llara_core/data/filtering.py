"""Which interactions count, and the order of a user's sequence."""

from __future__ import annotations

import pandas as pd

from llara_core import columns as c

MIN_SEQUENCE = 2  # one item of history and one target


def filter_interactions(
    interactions: pd.DataFrame, *, min_rating: float, min_user_interactions: int, min_item_interactions: int
) -> tuple[pd.DataFrame, dict[str, dict[str, int]]]:
    """Drop interactions in four steps, each once and in this order, and count what each leaves.

    1. ``rating``: interactions rated below ``min_rating``;
    2. ``items``: items with fewer than ``min_item_interactions`` of the remaining interactions;
    3. ``users``: users with fewer than ``min_user_interactions`` of the remaining interactions;
    4. ``sequences``: users with a single interaction, who have nothing to predict from.

    One pass, no iteration: after step 3 an item may again have fewer interactions than step 2 asked for.

    Args:
        interactions: ``user_id``, ``item_id``, ``rating``, ``timestamp``; row order is kept.

    Returns:
        The kept rows, and users, items and interactions left after each step, under the step's name, ``raw`` first.

    Source: the order in which the released LastFM data were made (items before users, one pass each); MovieLens uses step 1
    alone.
    """
    steps = {"raw": interactions}
    steps["rating"] = interactions[interactions[c.RATING] >= min_rating]
    steps["items"] = _with_count(steps["rating"], c.ITEM, min_item_interactions)
    steps["users"] = _with_count(steps["items"], c.USER, min_user_interactions)
    steps["sequences"] = _with_count(steps["users"], c.USER, MIN_SEQUENCE)
    return steps["sequences"], {name: _counts(frame) for name, frame in steps.items()}


def sort_sequences(interactions: pd.DataFrame) -> pd.DataFrame:
    """Rows by user and time, with ``position``, the 0-based place in the user's sequence.

    The sort is stable: interactions of one user with equal timestamps stay in file order. That is the tie rule; equal
    timestamps are frequent in MovieLens, and the released frames order them otherwise for most users.
    """
    rows = interactions.sort_values([c.USER, c.TIMESTAMP], kind="stable", ignore_index=True)
    return rows.assign(**{c.POSITION: rows.groupby(c.USER).cumcount()})


def _with_count(frame: pd.DataFrame, column: str, minimum: int) -> pd.DataFrame:
    return frame[frame.groupby(column)[column].transform("size") >= minimum]


def _counts(frame: pd.DataFrame) -> dict[str, int]:
    return {"users": frame[c.USER].nunique(), "items": frame[c.ITEM].nunique(), "interactions": len(frame)}
