"""The filter's steps, in their order, and the tie rule."""

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from llara_core.data.filtering import filter_interactions
from tests.helpers.datasets import dataset_config

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
    kept, steps = filter_interactions(interactions, dataset_config(min_user_interactions=2, min_item_interactions=2))
    assert steps == {
        "rating": {"users": 4, "items": 4, "interactions": 8 - 1},
        "items": {"users": 3, "items": 2, "interactions": 7 - 2},  # items 3 and 4 have one each
        "users": {"users": 2, "items": 2, "interactions": 5 - 1},  # user 3 has one left
        "sequences": {"users": 2, "items": 2, "interactions": 4},
    }
    assert kept[["user_id", "item_id"]].to_numpy().tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]


def test_no_second_pass() -> None:
    """Dropping user 2 leaves item 1 with one interaction; it stays."""
    interactions = log((1, 1, 5, 1), (1, 2, 5, 2), (1, 2, 5, 3), (2, 1, 5, 1))
    kept, _ = filter_interactions(interactions, dataset_config(min_rating=0, min_user_interactions=2, min_item_interactions=2))
    assert kept["item_id"].to_list() == [1, 2, 2]


def test_users_with_one_interaction_are_dropped_and_counted() -> None:
    interactions = log((1, 1, 5, 1), (1, 2, 5, 2), (2, 1, 5, 1))
    kept, steps = filter_interactions(interactions, dataset_config(min_rating=0))
    assert steps["users"]["users"] - steps["sequences"]["users"] == 1
    assert set(kept["user_id"]) == {1}


@given(LOGS, st.sampled_from([0.0, 3.0]), st.integers(0, 4), st.integers(0, 4))
def test_what_is_kept_meets_the_bounds(frame: pd.DataFrame, min_rating: float, min_user: int, min_item: int) -> None:
    bounds = {"min_rating": min_rating, "min_user_interactions": min_user, "min_item_interactions": min_item}
    kept, steps = filter_interactions(frame, dataset_config(**bounds))
    assert (frame.loc[kept.index, "rating"] >= min_rating).all()
    assert (kept.groupby("user_id").size() >= max(min_user, 2)).all()
    assert kept.index.is_monotonic_increasing
    sizes = [step["interactions"] for step in steps.values()]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == (frame["rating"] >= min_rating).sum()
    assert sizes[-1] == len(kept)


@given(LOGS, st.integers(0, 4), st.integers(0, 4))
def test_a_k_core_meets_both_bounds_and_is_the_largest_that_does(frame: pd.DataFrame, min_user: int, min_item: int) -> None:
    bounds = {"min_user_interactions": min_user, "min_item_interactions": min_item}
    kept, steps = filter_interactions(frame, dataset_config("log", min_counts="k_core", **bounds))
    assert (kept.groupby("user_id").size() >= max(min_user, 2)).all()
    expected = frame
    min_user = max(min_user, 2)  # one interaction makes no sequence
    for _ in range(len(frame) + 1):  # one user or item at a time, in another order
        by_user, by_item = expected.groupby("user_id").size(), expected.groupby("item_id").size()
        bad_users, bad_items = by_user.index[by_user < min_user], by_item.index[by_item < min_item]
        expected = expected[~expected["user_id"].isin(bad_users[:1])] if len(bad_users) else expected
        expected = expected[~expected["item_id"].isin(bad_items[-1:])] if len(bad_items) else expected
    assert steps["k_core"]["interactions"] == len(expected)
    assert kept.index.to_list() == expected.index.to_list()
    assert (kept.groupby("item_id").size() >= min_item).all()


@given(LOGS)
def test_repeats_leave_the_earliest_of_each_pair(frame: pd.DataFrame) -> None:
    kept, steps = filter_interactions(frame, dataset_config("log", repeats="first"))
    assert not kept.duplicated(["user_id", "item_id"]).any()
    assert steps["repeats"]["interactions"] == len(frame.drop_duplicates(["user_id", "item_id"]))
    for index, row in kept.iterrows():
        same = frame[(frame["user_id"] == row["user_id"]) & (frame["item_id"] == row["item_id"])]
        assert index == same["timestamp"].idxmin()  # the first of equal ones


def test_a_subsample_is_the_same_each_time_and_has_its_shares() -> None:
    frame = log(*[(user, item, 5, item) for user in range(30) for item in range(20)])

    def draw(seed: int) -> pd.DataFrame:
        config = dataset_config("steam", subsample={"users": 1 / 3, "items": 0.5, "seed": seed})
        return filter_interactions(frame, config)[0]

    assert (draw(0)["user_id"].nunique(), draw(0)["item_id"].nunique()) == (10, 10)
    assert draw(0).equals(draw(0))
    assert set(draw(0)["user_id"]) != set(draw(1)["user_id"])
