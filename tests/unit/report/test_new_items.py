"""Metrics on new and known targets, and ranks among the new candidates."""

from __future__ import annotations

import numpy as np
import pytest

from llara_core import columns as c
from llara_core import paths
from llara_core.config import Params
from llara_core.evaluation import metrics
from llara_core.evaluation.evaluate import evaluate
from llara_core.evaluation.results import write_run
from llara_core.report import new_items
from llara_core.report.comparisons import compare_systems
from tests.helpers.positions import ask, put

FIRST_NEW = 20  # the last ten items of the world have no training interaction


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_items, "MIN_TARGETS", 1)


def candidates_of(world) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Candidates ``(N, C)``, targets ``(N,)`` and whether a set is of test, in the order of the sets."""
    rows = world.candidates.merge(world.examples, on=c.EXAMPLE)
    return np.stack(rows[c.CANDIDATES].to_list()), rows[c.TARGET].to_numpy(), (rows[c.SPLIT] == c.TEST).to_numpy()


def test_the_rank_among_new_candidates_leaves_the_known_ones_out(world) -> None:
    items, targets, _ = candidates_of(world)
    scores = np.random.default_rng(0).permuted(np.tile(np.arange(5.0), (len(items), 1)), axis=1)
    frame = world.put("sasrec-0", scores)
    is_new = np.arange(30) >= FIRST_NEW
    rows = metrics.per_set_results(frame, world.candidates, world.examples, ["film"] * 30, "these", is_new=is_new)
    for row, listed, of_set, target in zip(rows.itertuples(), items, scores, targets, strict=True):
        new = [score for item, score in zip(listed, of_set, strict=True) if item >= FIRST_NEW]
        assert row.n_new == len(new)
        own = of_set[listed.tolist().index(target)]
        assert np.isnan(row.new_rank) if target < FIRST_NEW else row.new_rank == 1 + sum(score > own for score in new)


def test_known_and_new_targets_are_told_apart(world, params: Params, few: None) -> None:
    items, targets, is_test = candidates_of(world)
    # sasrec finds the new targets alone; popularity has every target in the fourth place.
    scores = np.where((targets >= FIRST_NEW)[:, None], world.target_is(1), world.target_is(2))
    world.put("sasrec-0", scores)
    section = new_items.section(world.compared(params))
    assert section is not None
    lines = {line["System"]: line for line in section.tables[0].lines}
    sasrec, popularity = lines["sasrec"], lines["popularity"]
    asked = (targets >= FIRST_NEW)[is_test]
    first = items[np.arange(len(items)), scores.argmax(axis=1)][is_test]
    assert sasrec["HR@1"] == sasrec["Asks new"] == f"{asked.mean():.3f}"
    assert (sasrec["Known"], sasrec["New"].split()[0], sasrec["Among new"]) == ("0.000", "1.000", "1.000")
    assert sasrec["Picks new"] == f"{(first >= FIRST_NEW).mean():.3f}"
    assert (popularity["Known"], popularity["New"].split()[0]) == ("0.000", "0.000")
    # A set's share of the other new candidates ranked behind the fourth place, where there are others.
    behind: dict[int, list[float]] = {}  # by user, who has three sets
    for place in np.flatnonzero(is_test & (targets >= FIRST_NEW)):
        by_score = items[place][np.argsort(-world.target_is(4)[place])]
        others = [position for position, item in enumerate(by_score) if item >= FIRST_NEW and item != targets[place]]
        if others:
            behind.setdefault(place // 3, []).append(sum(position > 3 for position in others) / len(others))
    assert popularity["AUC"] == f"{np.mean([np.mean(values) for values in behind.values()]):.3f}"
    # The fusion is always right: as good as sasrec on new targets, and chosen for the others.
    assert section.verdict.startswith(
        "llara + sasrec is best on the new targets of validation (HR@1 1.000); on test it reaches 1.000 on new targets and "
        "1.000 on known ones: +0.000 and +1.000 against sasrec."
    )


def test_text_answers_have_no_ranks_among_new_candidates(world, params: Params, few: None) -> None:
    world.put("llara-0", world.target_is(2), mode="generate", draws=1, objective="generative", texts=["no film"] * 12)
    section = new_items.section(world.compared(params))
    assert section is not None
    (llara,) = [line for line in section.tables[0].lines if line["System"].startswith("llara (")]
    assert (llara["Answers by"], llara["Among new"].split()[0], llara["AUC"].split()[0]) == ("generate", "-", "-")


def test_few_new_targets_make_no_section(world, params: Params) -> None:
    assert new_items.section(world.compared(params)) is None  # 7 test targets at most, of 20
    assert new_items.section(world.compared(params), "positions") is None


def test_a_small_share_of_new_targets_makes_no_section(
    world, params: Params, few: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert new_items.section(world.compared(params)) is not None
    monkeypatch.setattr(new_items, "MIN_SHARE", 1.0)
    assert new_items.section(world.compared(params)) is None


def test_positions_have_a_section_of_their_own(world, params: Params, few: None) -> None:
    world.results(params)
    asked = ask(world.examples, [3] * 12)
    is_new = (asked.examples[c.TARGET] >= FIRST_NEW).to_numpy()
    put(asked, paths.baseline_predictions("movielens", "popularity"), ~is_new)
    put(asked, paths.recommender_predictions("movielens", "sasrec-0"), is_new)
    for run_name, run in evaluate(asked, params):
        write_run(asked.folder(paths.results("movielens") / run_name), run)
    section = new_items.section(compare_systems("movielens", params), "positions")
    assert section is not None
    assert section.heading == "New items: at every position"
    test = (asked.examples[c.SPLIT] == c.TEST).to_numpy()
    assert f"{(is_new & test).sum()} test questions with a new target" in section.tables[0].caption
    popularity, sasrec = section.tables[0].lines
    assert (popularity["Known"], popularity["New"].split()[0]) == ("1.000", "0.000")
    assert (sasrec["Known"], sasrec["New"].split()[0]) == ("0.000", "1.000")
    assert sasrec["Asks new"] == sasrec["HR@1"] == f"{is_new[test].mean():.3f}"
