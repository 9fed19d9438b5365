"""Training data from the stages' tables: scores belong to the very candidates that they are shown with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.errors import DataError
from llara_core.objectives.base import TrainingData
from llara_core.ranking import opinion
from llara_core.tuning.data import load_training_data
from tests.helpers.llm import LABELS, WORDING

SETS = [[2, 5, 7], [4, 2, 6]]
LOGITS = [[0.0, 1.0, 3.0], [2.0, 0.5, 1.0]]


@pytest.fixture(autouse=True)
def _workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One user who does 0, 1, 2, which makes one example; it has two draws."""
    monkeypatch.chdir(tmp_path)
    folder, steps = paths.prepared("tiny"), range(3)
    interactions = {c.USER: 0, c.ITEM: steps, c.TIMESTAMP: steps, c.POSITION: steps, c.SPLIT: c.TRAIN}
    examples = {c.EXAMPLE: [9], c.USER: [0], c.SPLIT: [c.TRAIN], c.HISTORY: [[0, 1]], c.TARGET: [2]}
    n = range(len(LABELS))
    items = {c.ITEM: n, c.RAW_ITEM: map(str, n), c.TITLE: LABELS, c.LABEL: LABELS, c.N_INTERACTIONS: 1}
    tables.write_table(folder / "interactions.parquet", pd.DataFrame(interactions), tables.INTERACTIONS)
    tables.write_table(folder / "examples.parquet", pd.DataFrame(examples), tables.EXAMPLES)
    tables.write_table(folder / "items.parquet", pd.DataFrame(items), tables.ITEMS)
    _draw(SETS)


def _draw(sets: list[list[int]]) -> Path:
    file = paths.candidates("tiny") / "train.parquet"
    frame = pd.DataFrame({c.EXAMPLE: 9, c.DRAW: range(len(sets)), c.CANDIDATES: sets})
    tables.write_table(file, frame, tables.CANDIDATE_SETS)
    return file


def _score(metadata: dict[str, str]) -> Path:
    file = paths.training_scores("tiny", "sasrec-0")
    frame = pd.DataFrame({c.EXAMPLE: 9, c.DRAW: [0, 1], c.IN_SAMPLE: LOGITS, c.OUT_OF_FOLD: LOGITS[::-1]})
    tables.write_table(file, frame, tables.TRAINING_SCORES, metadata)
    return file


def _load(scores: Path) -> TrainingData:
    return load_training_data("tiny", LABELS, WORDING, scores, "in_sample", 0)[0]


def test_scores_are_bound_to_their_candidates() -> None:
    data = _load(_score({"candidates_hash": tables.tables_hash(_draw(SETS))}))
    assert data.candidates == {(0, 0): SETS[0], (0, 1): SETS[1]}
    assert data.scores is not None
    for draw in (0, 1):
        np.testing.assert_array_equal(data.scores[0, draw], opinion(np.array(LOGITS, dtype=np.float32))[draw])


def test_scores_of_other_candidates_of_the_same_examples_and_draws_are_refused() -> None:
    scores = _score({"candidates_hash": tables.tables_hash(_draw(SETS))})
    _draw([SETS[0], [4, 2, 8]])
    with pytest.raises(
        DataError, match=r"training_scores\.parquet: scores other candidate sets than .*train\.parquet; run `dvc repro`"
    ):
        _load(scores)


def test_scores_that_do_not_say_of_what_are_refused() -> None:
    with pytest.raises(DataError, match="scores other candidate sets"):
        _load(_score({}))


def test_units_are_the_sizes_of_the_data() -> None:
    units = _load(_score({"candidates_hash": tables.tables_hash(_draw(SETS))})).units
    assert (list(units.history_lens), units.n_draws, list(units.sequence_lens)) == ([2], 2, [3])
