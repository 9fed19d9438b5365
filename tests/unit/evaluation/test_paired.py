"""Paired comparisons of two systems, by their number of training runs."""

import numpy as np
import pytest

from llara_core import columns as c
from llara_core.evaluation import significance
from llara_core.evaluation.means import user_interval
from llara_core.evaluation.paired import Difference, paired_differences
from llara_core.evaluation.systems import share_training, systems_of

N_TEST = 7  # users


def differences(world, *pairs: tuple[str, str], **axes: object) -> list[Difference]:
    params = world.on_axes(**{"systems": [], **axes})
    by_name = {each.system.name: each for each in world.results(params)}
    return paired_differences([(by_name[first], by_name[second]) for first, second in pairs], params.evaluation)


def hit_by(world, *examples: int) -> np.ndarray:
    """Scores that are right in the sets of these examples; test examples are 5 to 11."""
    of_these = world.candidates[c.EXAMPLE].isin(examples).to_numpy()[:, None]
    return np.where(of_these, world.target_is(1), world.target_is(2))


def test_untrained_systems_are_tested_over_users_alone(world) -> None:
    world.put("popularity", world.target_is(1))
    world.put("zero_shot-0", world.target_is(2), draws=1)
    (found,) = differences(world, ("popularity", "zero_shot"), recommenders=[], systems=["zero_shot"])
    assert (found.mean, found.n_runs, found.p_value) == (1.0, None, 2 / 2**N_TEST)


@pytest.mark.parametrize("seeds", [[0], [0, 1]])
def test_a_trained_system_with_fewer_than_three_runs_is_not_tested(world, seeds: list[int]) -> None:
    world.put("popularity", world.target_is(2))
    for seed in seeds:
        world.put(f"sasrec-{seed}", hit_by(world, 5, 6, 7, 8))
    (found,) = differences(world, ("sasrec", "popularity"), seeds=seeds)
    assert found.mean == pytest.approx(4 / 7)
    assert (found.n_runs, found.p_value) == (len(seeds), None)
    config = world.params.evaluation
    users = np.repeat([1.0, 0.0], [4, 3])
    alone = user_interval(config, "movielens", "test")(users, np.arange(N_TEST))
    assert (found.low, found.high) == pytest.approx(alone)  # over users, of these very runs


def test_three_runs_are_tested_over_users_and_runs(world) -> None:
    world.put("popularity", hit_by(world))
    hits = [(5, 6, 7, 8, 9, 10, 11), (5, 6, 7), (5, 6, 7, 8, 9)]
    for seed, examples in enumerate(hits):
        world.put(f"sasrec-{seed}", hit_by(world, *examples))
    (found,) = differences(world, ("sasrec", "popularity"), seeds=[0, 1, 2])
    runs = np.array([[float(example in examples) for example in range(5, 12)] for examples in hits])
    expected = significance.crossed_mean(runs.mean(axis=0), [runs])
    assert found.mean == pytest.approx((7 + 3 + 5) / 3 / 7)
    assert (found.n_runs, found.p_value) == (3, pytest.approx(expected.p_value()))
    assert found.p_value > 2 / 2**N_TEST  # what the users alone would say
    low, high = expected.interval(0.95)
    assert (found.low, found.high) == pytest.approx((low, min(high, 1.0)))


def test_runs_on_the_same_recommender_are_compared_seed_by_seed(world) -> None:
    """What both inherit from the recommender's run is no difference of theirs."""
    llm = {"systems": ["llara"], "baselines": []}
    for seed, examples in enumerate([(5, 6, 7, 8), (5, 6), (5, 6, 7, 8, 9, 10)]):
        world.put(f"sasrec-{seed}", hit_by(world, *examples))
        world.put(f"llara-{seed}", hit_by(world, *examples, 11))
        world.put(f"fused-llara-{seed}", hit_by(world), mode="fused", llm_weight=0.1)
    params = world.on_axes(**llm, seeds=[0, 1, 2])
    by_name = {each.system.name: each for each in world.results(params)}
    (found,) = paired_differences([(by_name["llara"], by_name["sasrec"])], params.evaluation)
    # Every run gains the one user, so training adds nothing to the users' spread: 1/7 for one of seven.
    users = np.array([0, 0, 0, 0, 0, 0, 1.0])
    low, high = significance.crossed_mean(users, []).interval(0.95)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.p_value == 1.0  # one user that differs is none to the sign flips


def test_which_systems_share_their_training(world) -> None:
    params = world.on_axes(
        recommenders=["sasrec", "caser"],
        systems=["zero_shot", "tallrec", "llara", "llara_direct", "llara_index", "titles_after", "titles_before"],
    )
    # Two systems that go on from the adapter of tallrec, which reads no recommender.
    going_on = params.system("tallrec").model_copy(update={"start": "tallrec"})
    params = params.model_copy(update={"systems": {**params.systems, "titles_after": going_on, "titles_before": going_on}})
    on_caser = params.system("llara_direct").model_copy(update={"recommender": "caser"})
    fused_alone = params.system("llara_index").model_copy(update={"recommender": "sasrec"})
    params = params.model_copy(update={"systems": {**params.systems, "llara_direct": on_caser, "llara_index": fused_alone}})
    by_name = {system.name: system for system in systems_of(params)}

    def shared(first: str, second: str) -> bool:
        return share_training(by_name[first], by_name[second])

    assert shared("sasrec", "llara")
    assert shared("llara + sasrec", "llara")
    assert shared("tallrec", "tallrec")
    assert not shared("sasrec", "llara_direct")
    assert not shared("llara", "llara_direct")
    assert not shared("sasrec", "llara_index")  # it reads numbers alone
    assert shared("sasrec", "llara_index + sasrec")
    assert shared("llara_index", "llara_index + sasrec")  # the adapter
    assert not shared("tallrec", "popularity")
    assert shared("titles_after", "tallrec")
    assert shared("titles_after", "titles_before")
    assert not shared("titles_after", "llara")
    assert not shared("titles_after", "popularity")


def test_no_p_value_is_below_that_of_the_sign_flips(world) -> None:
    """All users differ by the same in all runs, so that nothing varies; still there are but seven of them."""
    world.put("popularity", world.target_is(2))
    for seed in range(3):
        world.put(f"sasrec-{seed}", world.target_is(1))
    (found,) = differences(world, ("sasrec", "popularity"), seeds=[0, 1, 2])
    assert found.p_value == 2 / 2**N_TEST


def test_the_correction_counts_the_pairs_that_are_tested(world) -> None:
    for name, place in (("popularity", 1), ("random", 2), ("item_knn", 3)):
        world.put(name, world.target_is(place))
    world.put("sasrec-0", world.target_is(2))
    pairs = [("popularity", "random"), ("popularity", "item_knn"), ("popularity", "sasrec")]
    found = differences(world, *pairs, baselines=["popularity", "random", "item_knn"])
    assert [each.p_value for each in found] == [2 * 2 / 2**N_TEST, 2 * 2 / 2**N_TEST, None]
