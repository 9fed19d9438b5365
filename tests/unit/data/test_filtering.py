"""The filter's four steps, in their order, and the tie rule."""

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from llara_core.data.filtering import filter_interactions, sort_sequences

COLUMNS = ["user_id", "item_id", "rating", "timestamp"]


def log(*rows: tuple[int, int, float, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=COLUMNS).astype({"rating": "float64"})


LOGS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 6), st.sampled_from([1.0, 2.5, 3.0, 5.0]), st.integers(0, 4)), max_size=40
).map(lambda rows: pd.DataFrame(rows, columns=COLUMNS).astype({"user_id": int, "item_id": int, "rating": float}))


def test_steps_run_once_and_in_order() -> None:
    interactions = log(
        *[(1, item, 5, item) for item in (1, 2, 3)],
        *[(2, item, 5, item) for item in (1, 2)],
        (3, 1, 5, 1),
        (3, 3, 2, 2),  # the rating step takes it, so item 3 is left with one interaction
        (4, 4, 5, 1),
    )
    kept, steps = filter_interactions(interactions, min_rating=3, min_user_interactions=2, min_item_interactions=2)
    assert steps == {
        "raw": {"users": 4, "items": 4, "interactions": 3 + 2 + 2 + 1},
        "rating": {"users": 4, "items": 4, "interactions": 8 - 1},
        "items": {"users": 3, "items": 2, "interactions": 7 - 2},  # items 3 and 4 have one each
        "users": {"users": 2, "items": 2, "interactions": 5 - 1},  # user 3 has one left
        "sequences": {"users": 2, "items": 2, "interactions": 4},
    }
    assert kept[["user_id", "item_id"]].to_numpy().tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]


def test_no_second_pass() -> None:
    """Dropping user 2 leaves item 1 with one interaction; it stays."""
    interactions = log((1, 1, 5, 1), (1, 2, 5, 2), (1, 2, 5, 3), (2, 1, 5, 1))
    kept, _ = filter_interactions(interactions, min_rating=0, min_user_interactions=2, min_item_interactions=2)
    assert kept["item_id"].to_list() == [1, 2, 2]


def test_users_with_one_interaction_are_dropped_and_counted() -> None:
    interactions = log((1, 1, 5, 1), (1, 2, 5, 2), (2, 1, 5, 1))
    kept, steps = filter_interactions(interactions, min_rating=0, min_user_interactions=0, min_item_interactions=0)
    assert steps["users"]["users"] - steps["sequences"]["users"] == 1
    assert set(kept["user_id"]) == {1}


@given(LOGS, st.sampled_from([0.0, 3.0]), st.integers(0, 4), st.integers(0, 4))
def test_what_is_kept_meets_the_bounds(frame: pd.DataFrame, min_rating: float, min_user: int, min_item: int) -> None:
    kept, steps = filter_interactions(
        frame, min_rating=min_rating, min_user_interactions=min_user, min_item_interactions=min_item
    )
    assert (kept["rating"] >= min_rating).all()
    assert (kept.groupby("user_id").size() >= max(min_user, 2)).all()
    assert kept.index.is_monotonic_increasing
    sizes = [step["interactions"] for step in steps.values()]
    assert sizes == sorted(sizes, reverse=True)
    assert (sizes[0], sizes[-1]) == (len(frame), len(kept))


@given(LOGS)
def test_sequences_are_chronological_and_ties_keep_file_order(frame: pd.DataFrame) -> None:
    marked = frame.assign(line=range(len(frame)))
    for _, rows in sort_sequences(marked).groupby("user_id"):
        assert rows["position"].to_list() == list(range(len(rows)))
        order = list(zip(rows["timestamp"], rows["line"], strict=True))
        assert order == sorted(order)
