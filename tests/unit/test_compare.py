"""The comparison of two runs; tests/pipeline/test_tiny_world.py reads them from Git and DVC's cache."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from llara_core import columns as c
from llara_core.config import Params
from llara_core.evaluation.evaluate import metrics_record
from llara_core.evaluation.results import RunResults
from pipeline import compare

DATASET = "movielens"


def revision(world, name: str, params: Params, *, values: dict[str, object] | None = None) -> compare.Revision:
    """Evaluates the predictions of the world."""
    results = {
        each.system.name: dict(zip(each.system.run_names, each.runs, strict=True))
        for each in world.results(params)
        if not each.is_shuffled
    }
    records = {
        system: [{**metrics_record(run, params.evaluation), "run_name": run_name} for run_name, run in of.items()]
        for system, of in results.items()
    }
    return compare.Revision(name, values or {}, {DATASET: records}, {DATASET: results})


@pytest.fixture
def params(world) -> Params:
    world.put("popularity", world.target_is(4))
    world.put("sasrec-0", world.target_is(2))
    world.put("llara-0", world.target_is(3), draws=1, objective="generative")
    world.put("fused-llara-0", world.target_is(2), mode="fused", llm_weight=0.1)
    return world.on_axes()


def right_in(world, *examples: int) -> np.ndarray:
    rows = world.candidates[c.EXAMPLE].isin(examples).to_numpy()[:, None]
    return np.where(rows, world.target_is(1), world.target_is(2))


def test_differences_have_intervals_and_equal_systems_are_listed(world, params: Params) -> None:
    before = revision(world, "HEAD~1", params, values={"curriculum.schedule": "linear", "run.seeds": [0]})
    world.put("sasrec-0", right_in(world, 0, 5, 6))  # one of 5 on validation, two of 7 users on test
    after = revision(world, "HEAD", params, values={"curriculum.schedule": "direct", "run.seeds": [0]})
    assert compare._parameters(before, after) == ["curriculum.schedule: linear -> direct"]
    lines = compare._of_dataset(DATASET, before, after, params.evaluation)
    assert lines[:2] == [DATASET, "system  test HR@1     difference [95%]      val    valid  top10"]
    assert lines[2].startswith("sasrec  .000 -> .286  +.286 [+.000, +.")  # 2/7; resamples without the two users have 0
    exact = compare._exact_figures(after, DATASET, "sasrec")
    assert exact["test"]["HR@1"] == pytest.approx(2 / 7, abs=1e-12)  # the record has 0.2857
    assert lines[2].split()[-3:] == ["+.200", "+.000", "-"]  # no catalogue is ranked here
    assert lines[3] == "Unchanged: popularity, llara, llara + sasrec."
    assert lines[4].startswith("Intervals are for the difference in test HR@1")
    assert max(map(len, lines)) <= compare.WIDTH


def test_parameters_that_affect_no_run_are_left_out() -> None:
    shared = {"run.datasets": ["shop"], "run.systems": ["guided_after"], "systems.guided_after.extends": "llara_guided"}
    before = compare.Revision("a", {**shared, "systems.llara_guided.tune.epochs": 5, "candidates.old": 1}, {}, {})
    changed = {"systems.llara_guided.tune.epochs": 3, "systems.other.tune.epochs": 1, "datasets.films.noun": "film"}
    after = compare.Revision("b", {**shared, **changed, "datasets.shop.noun": "thing", "report.n_cases": 1}, {}, {})
    assert compare._parameters(before, after) == [
        "systems.llara_guided.tune.epochs: 5 -> 3",  # which guided_after extends
        "candidates.old: 1, gone",
        "datasets.shop.noun: thing, new",
    ]


def test_without_results_there_are_plain_differences_and_the_reason(world, params: Params) -> None:
    before = dataclasses.replace(revision(world, "v1", params), results={DATASET: None})
    world.put("sasrec-0", right_in(world, 5, 6))
    lines = compare._of_dataset(DATASET, before, revision(world, "workspace", params), params.evaluation)
    assert lines[2] == "sasrec  .000 -> .286  +.286             +.000  +.000  -"
    assert lines[4].startswith("No intervals: the results per candidate set of v1 are not in DVC's cache.")


def test_other_candidate_sets_and_other_seeds_are_not_paired(world, params: Params) -> None:
    before = revision(world, "HEAD", params)

    def on_other_sets(run: RunResults) -> RunResults:
        return dataclasses.replace(run, metadata=run.metadata.model_copy(update={"candidates_hash": "0"}))

    world.put("sasrec-0", right_in(world, 5))
    after = revision(world, "workspace", params)
    results = after.results[DATASET]
    assert results is not None
    for runs in ({"sasrec-0": on_other_sets(results["sasrec"]["sasrec-0"])}, {"sasrec-1": results["sasrec"]["sasrec-0"]}):
        other = dataclasses.replace(after, results={DATASET: {**results, "sasrec": runs}})
        lines = compare._of_dataset(DATASET, before, other, params.evaluation)
        assert "No interval for sasrec: different candidate sets, or no common seed." in lines


def test_systems_of_only_one_run_are_listed(world, params: Params) -> None:
    both = revision(world, "HEAD~1", params)
    fewer = revision(world, "HEAD", world.on_axes(systems=[]))
    lines = compare._of_dataset(DATASET, both, fewer, params.evaluation)
    assert lines[1:] == ["No metric differs.", "Unchanged: popularity, sasrec.", "Only in HEAD~1: llara, llara + sasrec."]
