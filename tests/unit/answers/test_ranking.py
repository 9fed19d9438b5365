"""Catalogue ranks by hand, and the expected hit ratio against the count of all candidate sets."""

from itertools import combinations

import numpy as np
import pytest

from llara_core.answers.ranking import catalogue_rank, expected_hit_ratio
from llara_core.errors import DataError

SCORES = np.array([[0.9, 0.5, 0.7, 0.5, 0.1]])


@pytest.mark.parametrize(
    ("target", "history", "rank"),
    [
        (2, [], 2),
        (2, [0], 1),  # history items are left out
        (2, [0, 0, 4], 1),
        (1, [], 4),  # the tie with item 3 counts against the target
        (3, [1, 2], 2),
        (2, [2, 0], 1),  # a target in its own history is ranked all the same
    ],
)
def test_catalogue_rank(target: int, history: list[int], rank: int) -> None:
    ranks = catalogue_rank(SCORES, np.array([target]), [history])
    assert ranks.tolist() == [rank]
    assert ranks.dtype == np.int32


def test_rows_are_independent() -> None:
    ranks = catalogue_rank(np.repeat(SCORES, 3, axis=0), np.array([4, 0, 2]), [[0, 1, 2, 3], [], np.array([0])])
    assert ranks.tolist() == [1, 1, 1]
    assert catalogue_rank(np.empty((0, 5)), np.empty(0, dtype=int), []).tolist() == []


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_ranks_nothing(bad: float) -> None:
    """NaN of all items would put every target first."""
    scores = np.array([[0.9, 0.5, 0.7], [bad, bad, bad], [0.1, bad, 0.2]])
    with pytest.raises(DataError, match=r"2 of 3 rows of scores are not finite.*lower learning rate"):
        catalogue_rank(scores, np.array([0, 0, 0]), [[1], [1], [1]])


@pytest.mark.parametrize("rank", [1, 2, 3, 4, 5, 6])
def test_expected_hit_ratio_counts_all_candidate_sets(rank: int) -> None:
    negatives = range(5)  # the first rank - 1 of them rank before the target
    draws = list(combinations(negatives, 3))
    hits = sum(all(negative >= rank - 1 for negative in draw) for draw in draws)
    expected = expected_hit_ratio(np.array([rank]), np.array([5]), 3)
    assert expected.tolist() == pytest.approx([hits / len(draws)])
