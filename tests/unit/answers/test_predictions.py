"""The predictions table that every system writes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.answers import predictions
from llara_core.answers.held_out import HeldOut, held_out_candidates, read_positions
from llara_core.answers.predictions import (
    Answers,
    PredictionMetadata,
    Questions,
    answer_held_out,
    from_scores,
    read_predictions,
    write_predictions,
)
from llara_core.config import ShuffledHistories
from llara_core.errors import DataError
from llara_core.runtime import memory

METADATA = PredictionMetadata(dataset="tiny", system="sasrec", mode="score", objective="none", seed=3, candidates_hash="abc")


def candidate_sets() -> pd.DataFrame:
    return pd.DataFrame({c.EXAMPLE: [10, 11], c.DRAW: [0, 4], c.CANDIDATES: [[7, 1, 2], [5, 3, 9]]})


def test_the_best_scored_candidate_is_the_answer() -> None:
    frame = from_scores(candidate_sets(), np.array([[0.1, 0.3, 0.2], [-1.0, -2.0, -3.0]]))
    assert frame[c.PREDICTED].tolist() == [1, 5]
    assert frame[c.VALID].tolist() == [True, True]
    assert frame[c.EXAMPLE].tolist() == [10, 11]
    assert frame[c.DRAW].tolist() == [0, 4]
    assert frame[c.TEXT].isna().all()
    assert frame[c.CATALOGUE_RANK].isna().all()


def test_a_tie_goes_to_the_first_candidate() -> None:
    frame = from_scores(candidate_sets(), np.array([[0.5, 0.5, 0.5], [0.0, 1.0, 1.0]]))
    assert frame[c.PREDICTED].tolist() == [7, 3]


@pytest.mark.parametrize(
    ("module", "name", "number"),
    [(predictions, "PREDICT_BLOCK", 2), (memory, "SCORES_AT_A_TIME", 2 * 9 + 1)],
    ids=["a small catalogue", "a large catalogue"],
)
def test_examples_are_scored_in_blocks(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str, number: int) -> None:
    """The scorer puts item ``history + 1`` on top; examples, sets and an example without sets come in disorder."""

    class Successor:
        def score_catalogue(self, histories: Any) -> npt.NDArray[np.float32]:
            assert len(histories) <= 2
            return -np.abs(np.arange(9) - np.array([[history[-1] + 1.0] for history in histories])).astype(np.float32)

    monkeypatch.setattr(module, name, number)
    examples = pd.DataFrame({c.EXAMPLE: [5, 6, 7, 8, 9], c.HISTORY: [[0], [1], [2], [3], [4]], c.TARGET: [1, 2, 3, 6, 5]})
    sets = {c.EXAMPLE: [9, 5, 8, 8, 7], c.DRAW: [0, 0, 0, 1, 0], c.CANDIDATES: [[5, 0], [3, 1], [6, 5], [0, 6], [7, 3]]}
    asked = HeldOut("tiny", examples, pd.DataFrame(sets), "abc", ["title"] * 9)
    frame = predictions.CatalogueAnswerer(Successor()).answer(asked).tables["score"]
    assert frame[c.PREDICTED].tolist() == [5, 1, 5, 6, 3]
    assert frame[c.CATALOGUE_RANK].tolist() == [1, 1, 4, 4, 1]  # of target 6 behind 4, 5 and (a tie) 2: 4


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(DataError, match=r"1 of 2 rows of scores are not finite \(first: example_id 11\)"):
        from_scores(candidate_sets(), np.array([[0.1, 0.3, 0.2], [0.0, bad, 0.0]]))


def test_predictions_come_back_with_their_metadata(tmp_path: Path) -> None:
    path = write_predictions(tmp_path, from_scores(candidate_sets(), np.eye(3)[:2], np.array([1, 40])), METADATA)
    assert path == tmp_path / "score.parquet"
    frame, metadata = read_predictions(path)
    assert metadata == METADATA
    assert frame[c.PREDICTED].tolist() == [7, 3]
    assert frame[c.CATALOGUE_RANK].tolist() == [1, 40]
    assert list(frame[c.SCORES][1]) == [0.0, 1.0, 0.0]


def test_a_candidates_subset_with_its_own_index_is_fine(tmp_path: Path) -> None:
    subset = candidate_sets().iloc[1:]
    frame = from_scores(subset, np.array([[0.0, 0.0, 1.0]]), np.array([2]))
    write_predictions(tmp_path, frame, METADATA)
    back, _ = read_predictions(tmp_path / "score.parquet")
    assert back[[c.EXAMPLE, c.PREDICTED, c.CATALOGUE_RANK]].to_numpy().tolist() == [[11, 9, 2]]


def test_a_table_without_metadata_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "score.parquet"
    tables.write_table(path, from_scores(candidate_sets(), np.eye(3)[:2]), tables.PREDICTIONS)
    with pytest.raises(DataError, match=r"score\.parquet: holds no metadata of predictions"):
        read_predictions(path)


def test_held_out_candidates_are_validation_then_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = paths.candidates("tiny")
    tables.write_table(folder / "validation.parquet", candidate_sets().iloc[:1], tables.CANDIDATE_SETS)
    tables.write_table(folder / "test.parquet", candidate_sets().iloc[1:], tables.CANDIDATE_SETS)
    frame, digest = held_out_candidates("tiny")
    assert frame[c.EXAMPLE].tolist() == [10, 11]
    assert frame.index.tolist() == [0, 1]
    tables.write_table(folder / "test.parquet", candidate_sets().iloc[:1], tables.CANDIDATE_SETS)
    assert held_out_candidates("tiny")[1] != digest


def held_out_examples() -> pd.DataFrame:
    return pd.DataFrame(
        {
            c.EXAMPLE: [10, 11, 12],
            c.SPLIT: [c.VALIDATION, c.TEST, c.TEST],
            c.HISTORY: [np.arange(3), np.arange(10), np.array([7])],
            c.TARGET: [1, 9, 2],
        }
    )


def held_out(examples: pd.DataFrame | None = None) -> HeldOut:
    return HeldOut("tiny", held_out_examples() if examples is None else examples, candidate_sets(), "abc", ["A", "B"])


def test_questions_are_the_first_draws_with_their_histories_in_the_order_of_the_sets() -> None:
    def asked(held_out: HeldOut) -> list[tuple[int, list[int]]]:
        questions = Questions.of(held_out)
        rows = zip(questions.ids or (), questions.of_history, strict=True)
        return [(example, questions.histories[row].tolist()) for (example, _), row in rows]

    assert asked(held_out().first_draws(4)) == [(10, [0, 1, 2])]  # the set of example 11 is of draw 4
    assert asked(held_out().first_draws(5)) == [(10, [0, 1, 2]), (11, list(range(10)))]
    backwards = replace(held_out(), candidates=candidate_sets().iloc[::-1])
    assert asked(backwards) == [(11, list(range(10))), (10, [0, 1, 2])]


class Asked:
    """Answers with a constant, and keeps the orders in which it was asked."""

    objective = "none"

    def __init__(self, *, scores_catalogue: bool) -> None:
        self.scores_catalogue = scores_catalogue
        self.orders: list[str] = []

    def answer(self, held_out: HeldOut) -> Answers:
        self.orders.append(held_out.order)
        n_sets = len(held_out.candidates)
        return Answers({"score": from_scores(held_out.candidates, np.eye(3)[:n_sets])}, note=f"{n_sets} sets")


@pytest.mark.parametrize(
    ("wanted", "scores_catalogue", "orders"),
    [
        ("none", True, ["ordered"]),
        ("catalogue", False, ["ordered"]),
        ("catalogue", True, ["ordered", "shuffled"]),
        ("all", False, ["ordered", "shuffled"]),
    ],
)
def test_every_order_that_is_wanted_is_asked_written_and_described(
    tmp_path: Path, wanted: ShuffledHistories, scores_catalogue: bool, orders: list[str]
) -> None:
    asked = Asked(scores_catalogue=scores_catalogue)
    options: dict[str, Any] = {"system": "sasrec", "seed": 3, "shuffled_histories": wanted, "hardware": "an abacus"}
    answer_held_out(asked, held_out(), tmp_path, **options)
    assert asked.orders == orders
    assert len(list(tmp_path.iterdir())) == len(orders)
    for order in orders:
        frame, metadata = read_predictions(tmp_path / predictions.file_name("score", order))  # type: ignore[arg-type]
        n_sets = 2 if order == "ordered" else 1
        assert len(frame) == n_sets
        assert metadata == METADATA.model_copy(update={"history": order, "note": f"{n_sets} sets", "hardware": "an abacus"})


def at_positions() -> HeldOut:
    examples = held_out_examples().assign(**{c.EXAMPLE: [0, 1, 2], c.POSITION: [3, 5, 6], c.TURN: [0, 1, 0]})
    sets = pd.DataFrame({c.EXAMPLE: [0, 1, 2], c.DRAW: 0, c.CANDIDATES: [[1, 2, 3], [4, 9, 8], [2, 3, 4]]})
    return HeldOut("tiny", examples, sets, "def", ["A", "B"], scope="positions")


def test_answers_at_positions_lie_in_a_folder_of_their_own(tmp_path: Path) -> None:
    options: dict[str, Any] = {"system": "sasrec", "seed": 3, "shuffled_histories": "all", "hardware": ""}
    answer_held_out(Asked(scores_catalogue=True), held_out(), tmp_path / "without", **options)
    asked = Asked(scores_catalogue=True)
    answer_held_out(asked, held_out(), tmp_path / "with", **options, positions=at_positions())
    assert asked.orders == ["ordered", "shuffled", "ordered"]  # never both at positions and shuffled
    frame, metadata = read_predictions(tmp_path / "with" / "positions" / "score.parquet")
    assert frame[c.EXAMPLE].tolist() == [0, 1, 2]
    assert metadata.candidates_hash == "def"
    for name in ("score.parquet", "score-shuffled.parquet"):
        assert (tmp_path / "with" / name).read_bytes() == (tmp_path / "without" / name).read_bytes()


def test_what_is_not_asked_now_does_not_stay_from_an_earlier_run(tmp_path: Path) -> None:
    options: dict[str, Any] = {"system": "sasrec", "seed": 3, "hardware": ""}
    asked = Asked(scores_catalogue=True)
    answer_held_out(asked, held_out(), tmp_path, **options, shuffled_histories="all", positions=at_positions())
    answer_held_out(asked, held_out(), tmp_path, **options, shuffled_histories="none")
    assert [path.name for path in tmp_path.iterdir()] == ["score.parquet"]


def test_a_limit_asks_for_the_first_turns_of_each_user() -> None:
    limited = at_positions().limited(1)
    assert limited.examples[c.EXAMPLE].tolist() == limited.candidates[c.EXAMPLE].tolist() == [0, 2]
    assert (limited.candidates_hash, limited.scope) == ("def", "positions")


def test_without_questions_at_positions_there_is_nothing_to_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_positions("tiny") is None
    items = pd.DataFrame({c.ITEM: [0], c.RAW_ITEM: "0", c.TITLE: "A", c.LABEL: "A", c.TEXT: "A", c.N_INTERACTIONS: 1})
    tables.write_table(paths.prepared("tiny") / "items.parquet", items, tables.ITEMS)
    asked = at_positions()
    examples = asked.examples.assign(**{c.USER: 0})
    tables.write_table(paths.positions("tiny") / "questions.parquet", examples[tables.POSITIONS.names], tables.POSITIONS)
    tables.write_table(paths.positions("tiny") / "candidates.parquet", asked.candidates, tables.CANDIDATE_SETS)
    every, none, one = (read_positions("tiny", limit) for limit in (None, 0, 1))
    assert none is None
    assert every is not None
    assert one is not None
    assert (len(every.examples), len(one.examples)) == (3, 2)
    assert every.candidates_hash == one.candidates_hash


def test_shuffled_questions_are_the_test_sets_with_the_same_items_in_another_order() -> None:
    asked = held_out().shuffled()
    assert (asked.order, asked.candidates_hash) == ("shuffled", "abc")
    assert asked.examples[c.EXAMPLE].tolist() == [11, 12]
    assert asked.candidates[c.EXAMPLE].tolist() == [11]
    shuffled = asked.examples[c.HISTORY][0].tolist()
    assert sorted(shuffled) == list(range(10))
    assert shuffled != list(range(10))
    assert asked.examples[c.HISTORY][1].tolist() == [7]


def test_the_random_order_belongs_to_the_question() -> None:
    """Neither the other questions nor a repetition change it, so all systems and seeds read the same."""
    examples = held_out_examples()
    one = held_out(examples.iloc[[1]]).shuffled().examples[c.HISTORY][0]
    other = held_out(examples).shuffled().examples[c.HISTORY][0]
    assert one.tolist() == other.tolist()


def test_shuffled_answers_lie_beside_the_ordered_ones(tmp_path: Path) -> None:
    frame = from_scores(candidate_sets(), np.eye(3)[:2])
    path = write_predictions(tmp_path, frame, METADATA.model_copy(update={"history": "shuffled"}))
    assert path == tmp_path / "score-shuffled.parquet"
    assert read_predictions(path)[1].history == "shuffled"
