"""The splits and the examples they ask."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from llara_core.config import ColdItemsConfig, SplitConfig
from llara_core.data import splitting
from llara_core.data.filtering import sort_sequences
from llara_core.data.splitting import LEAKS, STRATEGIES, leave_one_out, split_by_date, split_by_time, split_by_user
from llara_core.errors import DataError


def sequences(users: dict[int, list[int]]) -> pd.DataFrame:
    """A sequence per user from its timestamps; every interaction is with an item of its own."""
    rows = [(user, time, position) for user, times in users.items() for position, time in enumerate(sorted(times))]
    frame = pd.DataFrame(rows, columns=["user_id", "timestamp", "position"])
    return frame.assign(item_id=range(len(frame)))


LOGS = st.dictionaries(st.integers(0, 30), st.lists(st.integers(0, 50), min_size=2, max_size=12), min_size=3, max_size=20).map(
    lambda users: sequences(dict(sorted(users.items())))
)


def make_examples(frame: pd.DataFrame, max_history_len: int) -> pd.DataFrame:
    split = pd.Categorical(frame["split"], categories=["train", "validation", "test"])
    return splitting.make_examples(frame.assign(split=split), max_history_len).to_pandas()


def split_of(frame: pd.DataFrame) -> dict[int, str]:
    return dict(zip(frame["user_id"], frame["split"], strict=True))


def test_users_are_cut_by_their_first_interaction() -> None:
    frame = sequences({user: [100 - user, 200] for user in range(10)})  # user 9 is the earliest
    split = split_of(split_by_user(frame, 0.7, 0.1))  # 0.7 + 0.1 < 0.8 in floating point
    assert [user for user in split if split[user] == "train"] == [3, 4, 5, 6, 7, 8, 9]
    assert split[2] == "validation"
    assert (split[1], split[0]) == ("test", "test")


def test_user_cut_of_the_released_movielens() -> None:
    split = split_of(split_by_user(sequences({user: [5, 6] for user in range(943)}), 0.8, 0.1))
    assert pd.Series(split).value_counts().to_dict() == {"train": 754, "validation": 94, "test": 95}
    assert [split[user] for user in (753, 754, 847, 848)] == ["train", "validation", "validation", "test"]  # ties by id


def test_examples_of_a_user_split() -> None:
    frame = sequences({0: [1, 2, 3, 4], 1: [5, 6, 7], 2: [8, 9, 10]})  # items 0-3, 4-6, 7-9
    examples = make_examples(frame.assign(split=np.repeat(["train", "validation", "test"], [4, 3, 3])), max_history_len=2)
    assert examples["example_id"].to_list() == list(range(3 + 1 + 1))
    assert [list(history) for history in examples["history"]] == [[0], [0, 1], [1, 2], [4, 5], [7, 8]]
    assert examples["target"].to_list() == [1, 2, 3, 6, 9]
    assert examples["split"].to_list() == ["train"] * 3 + ["validation", "test"]


def test_time_cut_sends_ties_to_the_later_period() -> None:
    frame = sequences({0: [0, 1, 2, 3, 4, 5, 6, 8, 9, 9], 1: [7, 8, 8, 9, 9, 9, 9, 9, 9, 9]})
    # 20 interactions: sorted number 8 is the first of three at time 8, number 18 is one of the nine at time 9.
    split = split_by_time(frame, 0.4, 0.5)
    assert split.groupby("split", observed=True)["timestamp"].agg(["min", "max", "size"]).to_dict("index") == {
        "train": {"min": 0, "max": 7, "size": 8},
        "validation": {"min": 8, "max": 8, "size": 3},
        "test": {"min": 9, "max": 9, "size": 20 - 8 - 3},
    }


def test_time_split_asks_for_the_last_of_each_period_and_remembers_earlier_ones() -> None:
    frame = sequences({0: [0, 1, 10, 11, 20, 21], 1: [12], 2: [2, 13], 3: [22, 23]})
    split = frame.assign(split=pd.cut(frame["timestamp"], [-1, 9, 19, 99], labels=["train", "validation", "test"]).astype(str))
    examples = make_examples(split, max_history_len=3)
    rows = {
        (row.split, row.user_id): (list(row.history), row.target) for row in examples.itertuples()
    }  # user 0 has items 0-5, user 1 item 6, user 2 items 7-8, user 3 items 9-10
    assert rows == {
        ("train", 0): ([0], 1),
        ("validation", 0): ([0, 1, 2], 3),
        ("validation", 2): ([7], 8),
        ("test", 0): ([2, 3, 4], 5),
        ("test", 3): ([9], 10),  # new in the period, yet with a history; user 1 has none and is not asked
    }


@pytest.mark.parametrize("strategy", [split_by_user, split_by_time])
def test_an_empty_split_is_an_error(strategy) -> None:  # type: ignore[no-untyped-def]
    frame = sequences({0: [1, 1, 1], 1: [1, 1, 1]})
    with pytest.raises(DataError, match="each of train, validation, test needs at least one"):
        make_examples(strategy(frame, 0.8, 0.1), max_history_len=10)


@given(LOGS, st.floats(0.1, 0.8), st.floats(0.05, 0.15))
def test_no_user_is_in_two_splits(frame: pd.DataFrame, train: float, validation: float) -> None:
    split = split_by_user(frame, train, validation)
    assert (split.groupby("user_id")["split"].nunique() == 1).all()
    first = split.groupby("split", observed=True)["timestamp"].min()  # of the period = of its earliest user
    order = [first[name] for name in ("train", "validation", "test") if name in first]
    assert order == sorted(order)


@given(LOGS, st.floats(0.1, 0.8), st.floats(0.05, 0.15))
def test_nothing_in_training_is_later_than_anything_held_out(frame: pd.DataFrame, train: float, validation: float) -> None:
    split = split_by_time(frame, train, validation)
    periods = [split.loc[split["split"] == name, "timestamp"] for name in ("train", "validation", "test")]
    present = [period for period in periods if len(period)]
    for earlier, later in pairwise(present):
        assert earlier.max() < later.min()
    assert len(periods[0]) <= train * len(frame) + 1e-6


@given(LOGS, st.sampled_from([split_by_user, split_by_time]), st.integers(1, 4))
def test_a_history_is_what_came_right_before_its_target(frame: pd.DataFrame, strategy, max_len: int) -> None:  # type: ignore[no-untyped-def]
    split = strategy(frame, 0.5, 0.25)
    try:
        examples = make_examples(split, max_len)
    except DataError:
        assume(False)
    place = split.set_index("item_id")  # items are unique here
    for row in examples.itertuples():
        target = place.loc[row.target]
        assert (target["user_id"], target["split"]) == (row.user_id, row.split)
        assert len(row.history) == min(max_len, target["position"]) >= 1
        assert [place.loc[item, "position"] for item in row.history] == list(
            range(target["position"] - len(row.history), target["position"])
        )
        if row.split == "train":  # what training reads is all training data
            assert {place.loc[item, "split"] for item in row.history} == {"train"}
    trained = split[split["split"] == "train"]
    assert (examples["split"] == "train").sum() == len(trained) - trained["user_id"].nunique()
    held_out = examples[examples["split"] != "train"]
    assert not held_out.duplicated(["user_id", "split"]).any()


def test_leaving_one_out_holds_back_the_last_two() -> None:
    frame = sequences({0: [1, 2, 3, 4], 1: [9, 10, 11], 2: [5, 6], 3: [8]})  # items 0-3, 4-6, 7-8, 9
    split = leave_one_out(frame)
    assert dict(zip(split["item_id"], split["split"], strict=True)) == {
        0: "train",
        1: "train",
        2: "validation",
        3: "test",
        4: "train",
        5: "validation",
        6: "test",
        **dict.fromkeys([7, 8, 9], "train"),  # too few to ask anything
    }
    examples = make_examples(split, max_history_len=10)
    rows = [(row.split, row.user_id, list(row.history), row.target) for row in examples.itertuples()]
    assert rows == [
        ("train", 0, [0], 1),
        ("train", 2, [7], 8),
        ("validation", 0, [0, 1], 2),
        ("validation", 1, [4], 5),
        ("test", 0, [0, 1, 2], 3),
        ("test", 1, [4, 5], 6),
    ]


@given(LOGS, st.integers(1, 4))
def test_what_is_left_out_is_in_no_training_example(frame: pd.DataFrame, max_len: int) -> None:
    split = leave_one_out(frame)  # every interaction is with an item of its own
    try:
        examples = make_examples(split, max_len)
    except DataError:
        assume(False)
    held_out = set(split.loc[split["split"] != "train", "item_id"])
    training = examples[examples["split"] == "train"]
    assert not held_out & {*training["target"], *(item for history in training["history"] for item in history)}
    asked = examples[examples["split"] != "train"]
    assert set(asked["target"]) == held_out
    long = frame.groupby("user_id").filter(lambda rows: len(rows) >= 3)
    assert len(asked) == 2 * long["user_id"].nunique()
    in_test = examples[examples["split"] == "test"]
    assert not set(in_test["target"]) & {item for history in examples["history"] for item in history}


def test_dates_cut_before_the_tick_that_they_name() -> None:
    frame = sequences({0: [0, 9, 10, 11, 19, 20, 21]})
    split = split_by_date(frame, 10, 20)
    assert split.groupby("split", observed=True)["timestamp"].agg(list).to_dict() == {
        "train": [0, 9],
        "validation": [10, 11, 19],
        "test": [20, 21],
    }


@pytest.mark.parametrize(
    ("train_until", "ticks_per_second", "first_of_validation"),
    [
        ("1970-01-02", 1, 86_400),
        ("1970-01-02T00:00:00+02:00", 1, 86_400 - 7_200),
        ("1970-01-02", 1000, 86_400_000),
        ("1970-01-01T00:00:00.250", 1000, 250),
        ("1970-01-01T00:00:00.250", 1, 1),  # second 0 is earlier, second 1 is not
        ("1969-12-31T23:59:59", 1, -1),
    ],
)
def test_dates_are_turned_into_ticks(train_until: str, ticks_per_second: int, first_of_validation: int) -> None:
    config = SplitConfig(strategy="date", train_until=train_until, validation_until="1980-01-01")
    times = [first_of_validation - 1, first_of_validation]
    split = STRATEGIES["date"](sequences({0: times}), config, ticks_per_second)
    assert split["split"].to_list() == ["train", "validation"]


def test_a_given_split_puts_training_first_and_counts_what_time_says_otherwise() -> None:
    log = pd.DataFrame({"user_id": [0, 0, 0, 1, 1], "item_id": [5, 6, 7, 8, 9], "timestamp": [3, 1, 2, 1, 1]})
    log["split"] = np.array([0, 1, 2, 1, 0], dtype=np.int8)  # user 0 was trained on at 3, after what is held out
    ordered = sort_sequences(log)
    assert ordered["item_id"].to_list() == [5, 6, 7, 9, 8]  # of user 1, ties, the training interaction goes first
    assert splitting.out_of_time_order(ordered) == 1
    split = STRATEGIES["files"](ordered, SplitConfig(strategy="files", column="part"), 1)
    assert split["split"].to_list() == ["train", "validation", "test", "train", "validation"]


def test_cold_items_lose_their_training_interactions_and_nothing_else() -> None:
    # Items 0 to 9 of six users in turn; users 4 and 5 are held out.
    items = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 1], [2, 3, 4], [5, 6, 7, 8, 9, 0], [1, 2, 3, 4]]
    frame = sequences({user: list(range(10 * user, 10 * user + len(listed))) for user, listed in enumerate(items)})
    frame = frame.assign(item_id=[item for listed in items for item in listed])
    split = {"strategy": "user_chronological", "train": 0.6, "validation": 0.2}
    whole = splitting.divide(frame, SplitConfig(**split), 1)
    cold = splitting.divide(frame, SplitConfig(**split, cold_items={"share": 0.3, "seed": 4}), 1)
    lost = set(whole["item_id"]) - set(cold.loc[cold["split"] == "train", "item_id"])
    assert len(lost) == 3
    kept = whole[(whole["split"] != "train") | ~whole["item_id"].isin(lost)]
    for column in ("timestamp", "item_id", "split"):
        assert cold[column].to_list() == kept[column].to_list()
    assert sorted(set(cold["user_id"])) == list(range(kept["user_id"].nunique()))
    assert cold["position"].to_list() == kept.groupby("user_id").cumcount().to_list()
    other = splitting.divide(frame, SplitConfig(**split, cold_items={"share": 0.3, "seed": 5}), 1)
    assert set(other.loc[other["split"] == "train", "item_id"]) != set(cold.loc[cold["split"] == "train", "item_id"])


def test_a_share_of_the_training_users_is_kept_and_all_held_out_ones() -> None:
    # Ten users of two interactions each, with the items 2u and 2u + 1; users 8 and 9 are held out.
    frame = sequences({user: [10 * user, 10 * user + 1] for user in range(10)}).assign(item_id=range(20))
    whole = splitting.divide(frame, SplitConfig(strategy="user_chronological", train=0.8, validation=0.1), 1)
    kept = {}
    for share in (0.5, 0.25, 0.01):
        few = splitting.keep_training_users(whole, share)
        kept[share] = set(few.loc[few["split"] == "train", "item_id"])
        assert few["item_id"].to_list() == [item for item in range(20) if item in kept[share] or item >= 16]
        assert few["user_id"].to_list() == [place // 2 for place in range(len(few))]
        assert few["position"].to_list() == [0, 1] * (len(few) // 2)
    assert [len(items) for items in kept.values()] == [2 * 4, 2 * 2, 2 * 1]  # of eight training users, at least one
    assert kept[0.01] < kept[0.25] < kept[0.5]


def test_only_a_split_by_user_has_training_users_to_leave_out() -> None:
    with pytest.raises(ValueError, match=r"train_users 0.5 needs strategy user_chronological.*with global_time leave it at 1"):
        SplitConfig(strategy="global_time", train=0.8, validation=0.1, train_users=0.5)


def test_users_who_lose_everything_go() -> None:
    frame = sequences({0: [1], 1: [2, 3], 2: [4, 5], 3: [6, 7]}).assign(item_id=[0, 1, 1, 2, 2, 0, 0])
    split = frame.assign(split=pd.Categorical(["train"] * 5 + ["test"] * 2, categories=["train", "validation", "test"]))
    cold = next(  # the draw in which item 0 alone is cold
        held
        for held in (splitting.hold_back_items(split, ColdItemsConfig(share=0.3, seed=seed)) for seed in range(20))
        if 0 not in set(held.loc[held["split"] == "train", "item_id"])
    )
    assert cold["user_id"].to_list() == [0, 0, 1, 1, 2, 2]
    assert cold["item_id"].to_list() == [1, 1, 2, 2, 0, 0]


def test_every_strategy_says_what_it_can_leak() -> None:
    strategies = SplitConfig.model_fields["strategy"].annotation.__args__  # type: ignore[union-attr]
    assert set(STRATEGIES) == set(strategies)
    assert set(LEAKS) == {*strategies, "released"}
