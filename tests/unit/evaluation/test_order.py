import numpy as np

from llara_core import columns as c
from llara_core.evaluation import results
from llara_core.evaluation.comparison import compare
from llara_core.evaluation.order import order_effects
from llara_core.evaluation.systems import read_answers


def test_the_effect_is_shuffled_minus_ordered_on_the_same_test_sets(world) -> None:
    world.put("popularity", "popularity", world.target_is(2))
    world.put("sasrec-0", "sasrec", world.target_is(1))
    first_draw = world.candidates[c.DRAW].to_numpy()[:, None] == 0
    world.put("sasrec-0", "sasrec", np.where(first_draw, world.target_is(1), world.target_is(2)), shuffled=True)
    answers = read_answers(results.read_ground("movielens"), world.on_axes(systems=[], llm_recommenders=[]).run)
    (effect,) = order_effects(answers, world.params.evaluation)  # popularity was not asked again
    assert effect.answers.system.name == "sasrec"
    assert (effect.change.reference, effect.change.system) == (1.0, 1 / 3)
    assert effect.change.p_value == 2 / 2**7  # all 7 users lose the same
    assert [row.mode for row in compare(answers, world.params.evaluation)] == ["score", "score"]  # no row for shuffled answers


def test_a_system_that_does_not_look_at_the_order_loses_nothing(world) -> None:
    world.put("sasrec-0", "sasrec", world.target_is(3), draws=1)
    world.put("sasrec-0", "sasrec", world.target_is(3), draws=1, shuffled=True)
    axes = {"systems": [], "llm_recommenders": [], "baselines": []}
    answers = read_answers(results.read_ground("movielens"), world.on_axes(**axes).run)
    (effect,) = order_effects(answers, world.params.evaluation)
    assert (effect.change.mean, effect.change.low, effect.change.high, effect.change.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_shuffled_answers_have_test_metrics_alone(world) -> None:
    world.put("sasrec-0", "sasrec", world.target_is(1), shuffled=True)
    (cell,) = results.read_cell(results.read_ground("movielens"), "sasrec-0")
    record = results.metrics_record(cell, world.params.evaluation)
    assert record["test"]["hit_ratio@1"] == 1.0
    assert "validation" not in record
    assert record["history"] == "shuffled"
