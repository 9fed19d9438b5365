"""Training data from the tables of earlier stages; scores belong to the candidates with which they are shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.config import ScoreSource
from llara_core.errors import DataError
from llara_core.llm.score_features import normalise_scores, shuffled_score_features
from llara_core.tuning.data import Lists, StoredTrainingData, load_training_data
from tests.helpers.llm import LABELS, WORDING, plan_of

SETS = [[2, 5, 7], [4, 2, 6]]
LOGITS = [[0.0, 1.0, 3.0], [2.0, 0.5, 1.0]]


@pytest.fixture(autouse=True)
def _workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One user with items 0, 1 and 2, who has one example with two draws."""
    monkeypatch.chdir(tmp_path)
    folder, steps = paths.prepared("tiny"), range(3)
    interactions = {c.USER: 0, c.ITEM: steps, c.TIMESTAMP: steps, c.POSITION: steps, c.SPLIT: c.TRAIN}
    examples = {c.EXAMPLE: [9], c.USER: [0], c.SPLIT: [c.TRAIN], c.HISTORY: [[0, 1]], c.TARGET: [2]}
    n = range(len(LABELS))
    items = {c.ITEM: n, c.RAW_ITEM: map(str, n), c.TITLE: LABELS, c.LABEL: LABELS, c.TEXT: LABELS, c.N_INTERACTIONS: 1}
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


def _load(scores: Path | None, source: ScoreSource = "in_sample") -> StoredTrainingData:
    return load_training_data("tiny", WORDING, scores, source, 0)[0]


def _many_examples(n_users: int, n_draws: int) -> None:
    """Users ``u`` with items ``u``, ``u + 1`` and ``u + 2`` and two examples each; those of every third are held out.

    Row groups have five rows, so that a plan needs some rows of one group and none of another.
    """
    users, places = np.repeat(np.arange(n_users), 3), np.tile(np.arange(3), n_users)
    split = np.where(users % 3 == 1, c.TEST, c.TRAIN)
    log = {c.USER: users, c.ITEM: users + places, c.TIMESTAMP: 0, c.POSITION: places, c.SPLIT: split}
    asked = places > 0
    histories = [list(range(user, user + place)) for user, place in zip(users[asked], places[asked], strict=True)]
    examples = {
        c.EXAMPLE: np.arange(2 * n_users) + 100,
        c.USER: users[asked],
        c.SPLIT: split[asked],
        c.HISTORY: histories,
        c.TARGET: (users + places)[asked],
    }
    train = pd.DataFrame(examples).query("split == 'train'")
    sets = {
        c.EXAMPLE: np.repeat(train[c.EXAMPLE], n_draws),
        c.DRAW: np.tile(np.arange(n_draws), len(train)),
        c.CANDIDATES: [[target, 1000 + draw, 2000] for target in train[c.TARGET] for draw in range(n_draws)],
    }
    folder = paths.prepared("tiny")
    for file, content, schema in (
        (folder / "interactions.parquet", log, tables.INTERACTIONS),
        (folder / "examples.parquet", examples, tables.EXAMPLES),
        (paths.candidates("tiny") / "train.parquet", sets, tables.CANDIDATE_SETS),
    ):
        rows = pa.Table.from_pandas(pd.DataFrame(content), schema, preserve_index=False)
        pq.write_table(rows, file, row_group_size=5)


def test_scores_are_bound_to_their_candidates() -> None:
    scores = _score({"candidates_hash": tables.tables_hash(_draw(SETS))})
    data = _load(scores).planned(plan_of({"source": 0, "draw": 0}, {"source": 0, "draw": 1}))
    assert data.candidates == {(0, 0): SETS[0], (0, 1): SETS[1]}
    assert data.scores is not None
    for draw in (0, 1):
        np.testing.assert_array_equal(data.scores[0, draw], normalise_scores(np.array(LOGITS, dtype=np.float32))[draw])


def test_only_the_rows_of_a_plan_are_read_from_all_row_groups() -> None:
    """The training users are 0, 2, 3, 5, 6, ...; example 6 is the first of user 5, in row 10 of the table."""
    _many_examples(n_users=30, n_draws=2)
    stored = _load(None)
    assert stored.sizes.n_draws == 2
    assert list(stored.sizes.history_lens) == [1, 2] * 20
    assert list(stored.sizes.sequence_lens) == [3] * 20
    data = stored.planned(plan_of({"source": 6, "draw": 1}, {"source": 39, "draw": 0}, {"objective": "next_item", "source": 2}))
    assert (data.histories, data.targets) == ({6: [5], 39: [29, 30]}, {6: 6, 39: 31})
    assert data.candidates == {(6, 1): [6, 1001, 2000], (39, 0): [31, 1000, 2000]}
    assert data.sequences[2] == [3, 4, 5]
    with pytest.raises(KeyError):
        data.candidates[6, 0]


def test_a_plan_that_shows_no_candidates_reads_none() -> None:
    data = _load(None).planned(plan_of({"objective": "next_item", "source": 0}))
    assert (len(data.histories), len(data.candidates)) == (0, 0)
    assert list(data.sequences) == [[0, 1, 2]]


def test_candidates_out_of_order_are_refused() -> None:
    file = _draw(SETS)
    tables.write_table(file, tables.read_table(file, tables.CANDIDATE_SETS)[::-1], tables.CANDIDATE_SETS)
    with pytest.raises(DataError, match=r"train\.parquet: row 0 is not that of example 9, draw 0: .* run `dvc repro`"):
        _load(None).planned(plan_of({"source": 0, "draw": 0}))


def test_unequal_numbers_of_candidate_sets_are_refused() -> None:
    _many_examples(n_users=3, n_draws=1)
    _draw([SETS[0]] * 3)
    with pytest.raises(DataError, match="the 4 training examples have unequal numbers of sets"):
        _load(None)


def test_sequences_have_two_interactions_and_one_user() -> None:
    """Users 5 and 3 alternate, and user 4 occurs once."""
    log = {c.USER: [5, 3, 4, 5, 3], c.ITEM: [1, 2, 3, 4, 5], c.TIMESTAMP: 0, c.POSITION: [0, 0, 0, 1, 1], c.SPLIT: c.TRAIN}
    tables.write_table(paths.prepared("tiny") / "interactions.parquet", pd.DataFrame(log), tables.INTERACTIONS)
    data = _load(None)
    assert list(data.sequences) == [[2, 5], [1, 4]]
    assert list(data.sizes.sequence_lens) == [2, 2]


def test_lists_in_one_array_are_read_like_lists() -> None:
    lists = Lists(np.array([4, 5, 6, 7]), np.array([1, 0, 3]))
    assert list(lists) == [[4], [], [5, 6, 7]]
    assert lists[-1] == [5, 6, 7]
    with pytest.raises(IndexError):
        lists[3]


def test_shuffled_scores_of_some_rows_are_those_of_the_whole_table() -> None:
    score_features = np.random.default_rng(0).random((50, 4, 2)).astype(np.float32)
    whole, rows = shuffled_score_features(score_features, 3, "train"), np.array([0, 1, 17, 49])
    np.testing.assert_array_equal(shuffled_score_features(score_features[rows], 3, "train", rows), whole[rows])
    assert not np.array_equal(whole, score_features)


def test_scores_of_other_candidates_of_the_same_examples_and_draws_are_refused() -> None:
    scores = _score({"candidates_hash": tables.tables_hash(_draw(SETS))})
    _draw([SETS[0], [4, 2, 8]])
    with pytest.raises(
        DataError, match=r"training_scores\.parquet: scores other candidate sets than .*train\.parquet; run `dvc repro`"
    ):
        _load(scores)


def test_scores_without_a_candidates_hash_are_refused() -> None:
    with pytest.raises(DataError, match="scores other candidate sets"):
        _load(_score({}))


def test_units_are_the_sizes_of_the_data() -> None:
    sizes = _load(_score({"candidates_hash": tables.tables_hash(_draw(SETS))})).sizes
    assert (list(sizes.history_lens), sizes.n_draws, list(sizes.sequence_lens)) == ([2], 2, [3])
