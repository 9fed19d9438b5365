import numpy as np

from llara_core import columns as c
from llara_core.evaluation import results
from llara_core.evaluation.comparison import compare, headlines
from llara_core.evaluation.systems import read_answers
from llara_core.report.order import OrderEffect, order_effects


def effects_of(world, **axes: list[str]) -> list[OrderEffect]:
    answers = read_answers(results.read_ground("movielens"), world.on_axes(**axes))
    rows = compare(answers, world.params.evaluation)
    assert not any(row.answers.shuffled for row in rows)
    return order_effects(headlines(rows), answers, world.params.evaluation)


def test_the_effect_is_shuffled_minus_ordered_on_the_same_test_sets(world) -> None:
    world.put("popularity", world.target_is(2))
    world.put("sasrec-0", world.target_is(1))
    first_draw = world.candidates[c.DRAW].to_numpy()[:, None] == 0
    world.put("sasrec-0", np.where(first_draw, world.target_is(1), world.target_is(2)), shuffled=True)
    (effect,) = effects_of(world, systems=[], llm_recommenders=[])  # popularity was not asked again
    assert effect.answers.system.name == "sasrec"
    assert (effect.change.reference, effect.change.system) == (1.0, 1 / 3)
    assert (effect.change.n_runs, effect.change.p_value) == (1, None)  # another run might lose nothing


def test_a_system_that_does_not_look_at_the_order_loses_nothing(world) -> None:
    world.put("sasrec-0", world.target_is(3), draws=1)
    world.put("sasrec-0", world.target_is(3), draws=1, shuffled=True)
    (effect,) = effects_of(world, systems=[], llm_recommenders=[], baselines=[])
    assert (effect.change.mean, effect.change.low, effect.change.high) == (0.0, 0.0, 0.0)


def test_a_system_that_is_not_trained_is_tested(world) -> None:
    for shuffled, place in ((False, 1), (True, 2)):
        world.put("zero_shot", world.target_is(place), mode="generate", draws=1, shuffled=shuffled)
    axes = {"systems": [], "llm_recommenders": [], "baselines": [], "recommenders": []}
    (effect,) = effects_of(world, untuned_systems=["zero_shot"], **axes)
    assert effect.change.p_value == 2 / 2**7  # all 7 users lose


def test_three_runs_that_all_lose_are_tested(world) -> None:
    for seed in range(3):
        for shuffled, place in ((False, 1), (True, 2)):
            world.put(f"sasrec-{seed}", world.target_is(place), shuffled=shuffled)
    (effect,) = effects_of(world, systems=[], llm_recommenders=[], baselines=[], seeds=[0, 1, 2])
    assert (effect.change.n_runs, effect.change.p_value) == (3, 2 / 2**7)


def test_a_system_that_answers_in_several_ways_is_judged_by_one(world) -> None:
    for mode in ("score", "generate", "constrained"):
        for shuffled in (False, True):
            world.put("zero_shot", world.target_is(1), mode=mode, draws=1, shuffled=shuffled)
    axes = {"systems": [], "llm_recommenders": [], "baselines": [], "recommenders": []}
    assert [effect.answers.mode for effect in effects_of(world, untuned_systems=["zero_shot"], **axes)] == ["generate"]


def test_shuffled_answers_have_test_metrics_alone(world) -> None:
    world.put("sasrec-0", world.target_is(1), shuffled=True)
    (cell,) = results.read_cell(results.read_ground("movielens"), "sasrec-0")
    record = results.metrics_record(cell, world.params.evaluation)
    assert record["test"]["hit_ratio@1"] == 1.0
    assert "validation" not in record
    assert record["history"] == "shuffled"
