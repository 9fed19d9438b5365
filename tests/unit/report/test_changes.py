"""Where an LLM departs from its recommender's first choice, and whether it is right to."""

import numpy as np
import pytest

from llara_core import columns as c
from llara_core import paths, predictions
from llara_core.evaluation import results
from llara_core.evaluation.comparison import compare, headlines
from llara_core.evaluation.systems import read_answers
from llara_core.report.changes import Change, changes


def changes_of(world, **axes: object) -> dict[str, Change]:
    params = world.on_axes(baselines=[], **axes)
    rows = headlines(compare(read_answers(results.read_ground("movielens"), params), params.evaluation))
    return {change.result.name: change for change in changes(rows)}


def put(world, name: str, hits: tuple[int, ...], *, draws: int = 3, seed: int = 0, **facts: object):
    """A system that is right in the sets of these examples, and elsewhere names the candidate that all others name, too."""
    right = world.candidates[c.EXAMPLE].isin(hits).to_numpy()[:, None]
    return world.put(f"{name}-{seed}", np.where(right, world.target_is(1), world.target_is(2)), draws=draws, **facts)


def test_departures_are_right_wrong_or_neither(world) -> None:
    put(world, "sasrec", (5, 6, 7))
    put(world, "llara-sasrec", (7, 8), draws=2)
    put(world, "fused-llara-sasrec", (5, 6, 7), draws=2, mode="fused", note="LLM weight 0.30")
    found = changes_of(world)
    llara, fused = found["llara-sasrec"], found["fused-llara-sasrec"]
    # Examples 5 and 6 are lost, 8 is won; on 7 and on 9 to 11 both say the same.
    assert (llara.departs, llara.right, llara.wrong) == pytest.approx((3 / 7, 1 / 7, 2 / 7))
    assert (llara.recommender, llara.system) == pytest.approx((3 / 7, 2 / 7))
    assert llara.system == pytest.approx(llara.recommender + llara.right - llara.wrong)
    assert llara.n_draws == 2
    assert (fused.departs, fused.right, fused.wrong) == (0, 0, 0)


def test_an_answer_that_names_no_candidate_departs(world) -> None:
    put(world, "sasrec", ())
    put(world, "llara-sasrec", ())
    put(world, "fused-llara-sasrec", (), mode="fused", note="LLM weight 0.30")
    assert changes_of(world)["llara-sasrec"].departs == 0
    folder = paths.predictions("movielens", "llara-0")
    frame, facts = predictions.read_predictions(folder / "score.parquet")
    frame.loc[frame[c.EXAMPLE] == 5, c.VALID] = False
    predictions.write_predictions(folder, frame, facts)
    found = changes_of(world)["llara-sasrec"]
    assert (found.departs, found.right, found.wrong) == pytest.approx((1 / 7, 0, 0))


def test_runs_of_the_same_seed_are_set_side_by_side(world) -> None:
    for seed, hits in enumerate([(5, 6, 7), (8, 9, 10)]):
        put(world, "sasrec", hits)
        put(world, "llara-sasrec", hits)
        put(world, "fused-llara-sasrec", hits, mode="fused", note="LLM weight 0.30")
    assert changes_of(world, seeds=[0, 1])["llara-sasrec"].departs == 0


def test_systems_without_a_recommender_are_left_out(world) -> None:
    put(world, "sasrec", (5,))
    put(world, "tallrec", (5,))
    assert changes_of(world, systems=[], llm_recommenders=[], text_systems=["tallrec"]) == {}
