"""The predictions table of a recommender."""

import numpy as np
import pandas as pd
import pytest

from llara_core import columns as c
from llara_core.answers.held_out import HeldOut
from llara_core.answers.predictions import CatalogueAnswerer, Questions
from llara_core.baselines.simple import Popularity
from llara_core.errors import DataError

# Items 0..4 are chosen 1, 3, 2, 0, 0 times.
POPULARITY = Popularity(np.zeros(6, dtype=int), np.array([1, 2, 1, 0, 1, 2]), pd.DataFrame(index=range(5)))
EXAMPLES = pd.DataFrame(
    {
        c.EXAMPLE: [4, 7, 9],
        c.USER: [0, 1, 2],
        c.SPLIT: [c.TRAIN, c.VALIDATION, c.TEST],
        c.HISTORY: [np.array([0]), np.array([1]), np.array([3])],
        c.TARGET: [1, 2, 4],
    }
)
CANDIDATES = pd.DataFrame({c.EXAMPLE: [9, 7, 9], c.DRAW: [0, 0, 1], c.CANDIDATES: [[4, 0], [3, 2], [2, 4]]})


def test_predictions_follow_the_candidates() -> None:
    answers = CatalogueAnswerer(POPULARITY).answer(HeldOut("tiny", EXAMPLES, CANDIDATES, "hash", []))
    frame = answers.tables["score"]
    assert frame[c.EXAMPLE].tolist() == [9, 7, 9]
    assert [row.tolist() for row in frame[c.SCORES]] == [[0, 1], [0, 2], [2, 0]]
    assert frame[c.PREDICTED].tolist() == [0, 2, 2]
    # Example 9: without its history {3}, items 1, 2, 0 rank before target 4. Example 7: without {1}, nothing before item 2.
    assert frame[c.CATALOGUE_RANK].tolist() == [4, 1, 4]


def test_candidates_without_an_example_are_an_error() -> None:
    with pytest.raises(DataError, match="example_id 5"):
        Questions.of(HeldOut("tiny", EXAMPLES, CANDIDATES.assign(**{c.EXAMPLE: [9, 5, 9]}), "hash", []))
