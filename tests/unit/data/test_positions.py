"""Which further items of held-out users are asked for."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from llara_core import columns as c
from llara_core.data import positions
from llara_core.data.positions import position_questions
from llara_core.data.splitting import make_examples


def log(*lengths: int, splits: list[str] | None = None) -> pd.DataFrame:
    """A user per length, each interaction with an item of its own; the first is for training, the second for validation."""
    users = np.repeat(np.arange(len(lengths)), lengths)
    splits = splits or [c.TRAIN, c.VALIDATION, *[c.TEST] * (len(lengths) - 2)]
    return pd.DataFrame(
        {
            c.USER: users,
            c.ITEM: np.arange(len(users)),
            c.TIMESTAMP: np.arange(len(users)),
            c.POSITION: np.concatenate([np.arange(length) for length in lengths]),
            c.SPLIT: [splits[user] for user in users] if len(splits) == len(lengths) else splits,
        }
    )


def asked(interactions: pd.DataFrame, wanted: object, max_history_len: int = 10) -> pd.DataFrame:
    return position_questions(interactions, max_history_len, wanted, 0, "tiny").to_pandas()  # type: ignore[arg-type]


def test_every_held_out_item_with_one_before_it_is_a_question() -> None:
    questions = asked(log(3, 2, 1, 4), "all", max_history_len=2)  # items 0-2 | 3-4 | 5 | 6-9
    assert questions[c.TARGET].to_list() == [4, 7, 8, 9]
    assert [list(history) for history in questions[c.HISTORY]] == [[3], [6], [6, 7], [7, 8]]
    assert questions[c.POSITION].to_list() == [1, 1, 2, 3]
    assert questions[c.USER].to_list() == [1, 3, 3, 3]
    assert questions[c.SPLIT].to_list() == [c.VALIDATION, *[c.TEST] * 3]
    assert questions[c.EXAMPLE].to_list() == [0, 1, 2, 3]


def test_a_period_asks_for_its_own_items_with_histories_from_earlier_ones() -> None:
    interactions = log(5, splits=[c.TRAIN, c.TRAIN, c.VALIDATION, c.VALIDATION, c.TEST])
    questions = asked(interactions, "all")
    assert list(zip(questions[c.SPLIT], questions[c.TARGET], strict=True)) == [
        (c.VALIDATION, 2),
        (c.VALIDATION, 3),
        (c.TEST, 4),
    ]
    assert [list(history) for history in questions[c.HISTORY]] == [[0, 1], [0, 1, 2], [0, 1, 2, 3]]


def test_the_papers_questions_are_among_them() -> None:
    interactions = log(4, 3, 2, 6)
    typed = interactions.assign(**{c.SPLIT: pd.Categorical(interactions[c.SPLIT], list(c.SPLITS))})
    last = make_examples(typed, 3).to_pandas()
    last = last[last[c.SPLIT] != c.TRAIN]
    both = last.merge(asked(interactions, "all", 3), on=[c.USER, c.SPLIT, c.TARGET])
    assert len(both) == len(last) == 3
    assert [list(row) for row in both[f"{c.HISTORY}_x"]] == [list(row) for row in both[f"{c.HISTORY}_y"]]


def test_turns_number_the_positions_of_each_user_and_split_in_a_random_order() -> None:
    questions = asked(log(2, 9, 31, 31), "all")
    for _, rows in questions.groupby([c.SPLIT, c.USER]):
        assert sorted(rows[c.TURN]) == list(range(len(rows)))
    ranks = [rows[c.TURN].to_list() for _, rows in questions[questions[c.SPLIT] == c.TEST].groupby(c.USER)]
    assert ranks[0] != ranks[1] != sorted(ranks[1])


def test_a_number_takes_so_many_of_each_user_and_fewer_are_a_part_of_more() -> None:
    interactions = log(2, 9, 3, 31)
    every, five, two = (asked(interactions, wanted) for wanted in ("all", 5, 2))
    assert five.groupby(c.USER).size().to_dict() == {1: 5, 2: 2, 3: 5}
    assert two.groupby(c.USER).size().to_dict() == {1: 2, 2: 2, 3: 2}
    assert set(two[c.TARGET]) < set(five[c.TARGET]) < set(every[c.TARGET])
    pd.testing.assert_frame_equal(
        five.drop(columns=c.EXAMPLE), every[every[c.TURN] < 5].drop(columns=c.EXAMPLE).reset_index(drop=True)
    )


@pytest.mark.parametrize(("limit", "n_turns"), [(13, 8), (12, 7), (11, 6), (8, 3), (3, 1), (1, 1)])
def test_a_large_log_is_asked_for_fewer_positions_of_every_user(
    monkeypatch: pytest.MonkeyPatch, limit: int, n_turns: int
) -> None:
    """Test users with 2, 3 and 8 questions: the first three of each are 2 + 3 + 3 = 8, every further one is one more."""
    monkeypatch.setattr(positions, "MAX_QUESTIONS", limit)
    test = asked(log(2, 2, 3, 4, 9), "all").query("split == 'test'")
    assert test[c.TURN].max() + 1 == n_turns
    assert test.groupby(c.USER).size().to_list() == [min(2, n_turns), min(3, n_turns), min(8, n_turns)]


def test_a_log_without_further_positions_gives_an_empty_table() -> None:
    assert len(asked(log(3, 1, 1), "all")) == 0


def test_the_test_period_changes_no_validation_question() -> None:
    short, long = (asked(log(3, 20, length), 4) for length in (2, 30))
    ours, other = (questions[questions[c.SPLIT] == c.VALIDATION] for questions in (short, long))
    assert ours[[c.TARGET, c.TURN]].to_numpy().tolist() == other[[c.TARGET, c.TURN]].to_numpy().tolist()
