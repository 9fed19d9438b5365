import numpy as np

from llara_core import columns as c
from llara_core.evaluation.evaluate import metrics_record
from llara_core.report import order
from llara_core.report.order import OrderEffect


def effects_of(world, **axes: object) -> list[OrderEffect]:
    comparisons = world.compared(world.on_axes(**{"systems": [], "baselines": [], **axes}))
    assert not any(row.results.is_shuffled for row in comparisons.rows)
    return order.order_effects(comparisons)


def test_the_effect_is_shuffled_minus_ordered_on_the_same_test_sets(world) -> None:
    world.put("popularity", world.target_is(2))
    world.put("sasrec-0", world.target_is(1))
    first_draw = world.candidates[c.DRAW].to_numpy()[:, None] == 0
    world.put("sasrec-0", np.where(first_draw, world.target_is(1), world.target_is(2)), shuffled=True)
    (effect,) = effects_of(world, baselines=["popularity"])  # popularity was not asked again
    assert effect.row.name == "sasrec"
    assert (effect.change.reference_hit_ratio, effect.change.hit_ratio) == (1.0, 1 / 3)
    assert (effect.change.n_runs, effect.change.p_value) == (1, None)  # another run might lose nothing


def test_a_system_that_does_not_look_at_the_order_loses_nothing(world) -> None:
    world.put("sasrec-0", world.target_is(3), draws=1)
    world.put("sasrec-0", world.target_is(3), draws=1, shuffled=True)
    (effect,) = effects_of(world)
    assert (effect.change.mean, effect.change.low, effect.change.high) == (0.0, 0.0, 0.0)


def test_a_system_that_is_not_trained_is_tested(world) -> None:
    for shuffled, place in ((False, 1), (True, 2)):
        world.put("zero_shot-0", world.target_is(place), mode="generate", draws=1, shuffled=shuffled)
    (effect,) = effects_of(world, systems=["zero_shot"], recommenders=[])
    assert effect.change.p_value == 2 / 2**7  # all 7 users lose


def test_three_runs_that_all_lose_are_tested(world) -> None:
    for seed in range(3):
        for shuffled, place in ((False, 1), (True, 2)):
            world.put(f"sasrec-{seed}", world.target_is(place), shuffled=shuffled)
    (effect,) = effects_of(world, seeds=[0, 1, 2])
    assert (effect.change.n_runs, effect.change.p_value) == (3, 2 / 2**7)


def test_a_system_that_answers_in_several_ways_is_compared_by_one(world) -> None:
    for mode in ("score", "generate", "constrained"):
        for shuffled in (False, True):
            world.put("zero_shot-0", world.target_is(1), mode=mode, draws=1, shuffled=shuffled)
    assert [effect.row.mode for effect in effects_of(world, systems=["zero_shot"], recommenders=[])] == ["generate"]


def test_shuffled_answers_have_only_test_metrics(world) -> None:
    world.put("sasrec-0", world.target_is(1))
    world.put("sasrec-0", world.target_is(1), shuffled=True)
    results = world.compared(world.on_axes(systems=[], baselines=[])).last
    (shuffled,) = [each for each in results if each.is_shuffled]
    record = metrics_record(shuffled.runs[0], world.params.evaluation)
    assert record["test"]["hit_ratio@1"] == 1.0
    assert "validation" not in record
    assert record["history"] == "shuffled"


def test_the_verdict_states_what_was_tested_and_what_cannot_be_claimed(world) -> None:
    for run_name in ("sasrec-0", "zero_shot-0"):
        for shuffled, place in ((False, 1), (True, 2)):
            world.put(run_name, world.target_is(place), shuffled=shuffled)
    section = order.section(world.compared(world.on_axes(systems=["zero_shot"], baselines=[])))
    assert section.verdict == (
        "Shuffling the histories changes HR@1 by -1.000 (sasrec) to -1.000 (zero_shot). 1 system tested; significant changes "
        "(p < 0.05 after Holm's correction): zero_shot. No claim is made that the change of a trained system exceeds chance: "
        "there is one run, and a test needs 3."
    )
    assert [line["p"] for line in section.tables[0].lines] == ["one run", "0.016"]  # 2 / 2**7
