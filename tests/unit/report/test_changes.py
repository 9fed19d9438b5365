"""Comparison of the answers of LLM systems with those of their recommenders."""

import numpy as np
import pytest

from llara_core import columns as c
from llara_core import paths
from llara_core.answers import predictions
from llara_core.report import changes
from llara_core.report.changes import ChangedAnswers


def changes_of(world, **axes: object) -> dict[str, ChangedAnswers]:
    comparisons = world.compared(world.on_axes(baselines=[], **axes))
    return {change.row.name: change for change in changes.changed_answers(comparisons.primary_rows)}


def put(world, name: str, hits: tuple[int, ...], *, draws: int = 3, seed: int = 0, **facts: object):
    """A system that is right in the sets of these examples, and elsewhere names the candidate that all others name, too."""
    right = world.candidates[c.EXAMPLE].isin(hits).to_numpy()[:, None]
    return world.put(f"{name}-{seed}", np.where(right, world.target_is(1), world.target_is(2)), draws=draws, **facts)


def test_differing_answers_are_gains_losses_or_neither(world) -> None:
    put(world, "sasrec", (5, 6, 7))
    put(world, "llara", (7, 8), draws=2)
    put(world, "fused-llara", (5, 6, 7), draws=2, mode="fused", llm_weight=0.3)
    found = changes_of(world)
    llara, fused = found["llara"], found["llara + sasrec"]
    # Examples 5 and 6 are lost, 8 is won; on 7 and on 9 to 11 both give the same answer.
    assert (llara.differing, llara.gained, llara.lost) == pytest.approx((3 / 7, 1 / 7, 2 / 7))
    assert (llara.recommender_hit_ratio, llara.hit_ratio) == pytest.approx((3 / 7, 2 / 7))
    assert llara.hit_ratio == pytest.approx(llara.recommender_hit_ratio + llara.gained - llara.lost)
    assert llara.n_draws == 2
    assert (fused.differing, fused.gained, fused.lost) == (0, 0, 0)


def test_an_answer_that_names_no_candidate_differs(world) -> None:
    put(world, "sasrec", ())
    put(world, "llara", ())
    put(world, "fused-llara", (), mode="fused", llm_weight=0.3)
    assert changes_of(world)["llara"].differing == 0
    folder = paths.system_predictions("movielens", "llara-0")
    frame, metadata = predictions.read_predictions(folder / "score.parquet")
    frame.loc[frame[c.EXAMPLE] == 5, c.VALID] = False
    predictions.write_predictions(folder, frame, metadata)
    found = changes_of(world)["llara"]
    assert (found.differing, found.gained, found.lost) == pytest.approx((1 / 7, 0, 0))


def test_runs_of_the_same_seed_are_paired(world) -> None:
    for seed, hits in enumerate([(5, 6, 7), (8, 9, 10)]):
        put(world, "sasrec", hits, seed=seed)
        put(world, "llara", hits, seed=seed)
        put(world, "fused-llara", hits, seed=seed, mode="fused", llm_weight=0.3)
    assert changes_of(world, seeds=[0, 1])["llara"].differing == 0


def test_figures_on_fewer_sets_are_marked(world) -> None:
    put(world, "sasrec", (5, 6, 7))
    put(world, "llara", (7, 8), draws=1)
    put(world, "fused-llara", (5, 6, 7), mode="fused", llm_weight=0.3)
    (table,) = changes.section(world.compared(world.on_axes(baselines=[]))).tables
    assert [line["Recommender's HR@1"] for line in table.lines] == ["0.429 †", "0.429"]
    assert "†: on fewer candidate sets" in table.caption


def test_systems_that_read_no_recommender_are_left_out(world) -> None:
    put(world, "sasrec", (5,))
    put(world, "tallrec", (5,))
    assert changes_of(world, systems=["tallrec"]) == {}


def test_the_verdict_describes_the_best_on_validation(world) -> None:
    put(world, "sasrec", (0, 1, 5, 6, 7))
    put(world, "llara", (7, 8))
    put(world, "fused-llara", (0, 5, 6, 7), mode="fused", llm_weight=0.3)
    section = changes.section(world.compared(world.on_axes(baselines=[])))
    assert section.verdict == (
        "llara + sasrec, the best of these 2 systems by validation difference to the reference, answers differently from "
        "sasrec on 0% of the sets: on 0.0% only llara + sasrec is right, on 0.0% only sasrec is."
    )
    assert [(line["System"], line["Recommender's HR@1"], line["HR@1"]) for line in section.tables[0].lines] == [
        ("llara (on sasrec)", "0.429", "0.286"),  # 3 and 2 of 7
        ("llara + sasrec (LLM weight 0.30)", "0.429", "0.429"),
    ]
