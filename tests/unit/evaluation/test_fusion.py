import numpy as np
import pytest
from scipy.special import log_softmax

from llara_core import columns as c
from llara_core import paths
from llara_core.answers import predictions
from llara_core.answers.held_out import read_held_out
from llara_core.errors import DataError
from llara_core.evaluation import fusion
from llara_core.evaluation.results import SystemResults


def scored(run_name: str) -> fusion.Scored:
    folder = paths.recommender_predictions if run_name.startswith("sasrec") else paths.system_predictions
    return predictions.read_predictions(folder("movielens", run_name) / "score.parquet")


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(36, 5))


def test_fused_scores_are_weighted_log_probabilities(world) -> None:
    llm, recommender = world.target_is(1) + noise(0), world.target_is(2) + noise(1)
    world.put("sasrec-0", recommender)
    world.put("llara-0", llm, objective="generative")
    frame, metadata = fusion.fuse(scored("llara-0"), scored("sasrec-0"), read_held_out("movielens"))
    weight = metadata.llm_weight
    expected = (1 - weight) * log_softmax(recommender, axis=1) + weight * log_softmax(llm, axis=1)
    np.testing.assert_allclose(np.stack(frame[c.SCORES]), expected, atol=1e-5)
    assert metadata.model_dump() == {
        "dataset": "movielens",
        "system": "llara + sasrec",
        "mode": "fused",
        "history": "ordered",
        "objective": "generative",
        "seed": 0,
        "candidates_hash": world.candidates_hash,
        "llm_weight": pytest.approx(weight),
        "note": "",
        "hardware": "",
    }


@pytest.mark.parametrize(("llm_place", "recommender_place", "weight"), [(1, 5, 1.0), (5, 1, 0.0)])
def test_a_useless_partner_gets_no_weight(world, llm_place: int, recommender_place: int, weight: float) -> None:
    world.put("sasrec-0", world.target_is(recommender_place))
    world.put("llara-0", world.target_is(llm_place))
    _, metadata = fusion.fuse(scored("llara-0"), scored("sasrec-0"), read_held_out("movielens"))
    assert metadata.llm_weight == weight


def test_weight_comes_from_validation_alone(world) -> None:
    validation = world.candidates[c.EXAMPLE].to_numpy()[:, None] < 5
    # The LLM is right on validation and wrong on test: a weight that saw test would stay with the recommender.
    world.put("llara-0", np.where(validation, world.target_is(1), world.target_is(5)))
    world.put("sasrec-0", np.where(validation, world.target_is(5), world.target_is(1)))
    _, metadata = fusion.fuse(scored("llara-0"), scored("sasrec-0"), read_held_out("movielens"))
    assert metadata.llm_weight == 1.0


def test_chosen_weight_is_the_likelihoods_peak_on_the_grid() -> None:
    rng = np.random.default_rng(0)
    llm, recommender = (log_softmax(rng.normal(size=(400, 5)), axis=1) for _ in range(2))
    target = np.array([rng.choice(5, p=p / p.sum()) for p in np.exp(0.35 * llm + 0.65 * recommender)])
    chosen = fusion.choose_weight(llm, recommender, target)

    def likelihood(weight: float) -> float:
        fused = log_softmax((1 - weight) * recommender + weight * llm, axis=1)
        return float(fused[np.arange(400), target].mean())

    assert likelihood(chosen) == pytest.approx(max(likelihood(weight) for weight in np.arange(21) / 20))
    assert 0.05 < chosen < 0.7


def test_equal_systems_leave_the_recommender_alone() -> None:
    same = log_softmax(noise(0), axis=1)
    assert fusion.choose_weight(same, same, np.zeros(36, dtype=int)) == 0.0


def test_only_common_candidate_sets_are_answered(world) -> None:
    world.put("sasrec-0", world.target_is(1))
    world.put("llara-0", world.target_is(1), draws=1)
    frame, _ = fusion.fuse(scored("llara-0"), scored("sasrec-0"), read_held_out("movielens"))
    assert frame[c.DRAW].eq(0).all()
    assert len(frame) == 12


def test_other_candidate_sets_are_refused(world) -> None:
    world.put("sasrec-0", world.target_is(1))
    world.put("llara-0", world.target_is(1), candidates_hash="f" * 64)
    with pytest.raises(DataError, match="llara answers the candidate sets ffffffffffff, but sasrec answers"):
        fusion.fuse(scored("llara-0"), scored("sasrec-0"), read_held_out("movielens"))


def test_a_system_without_scores_is_refused(world) -> None:
    world.put("sasrec-0", world.target_is(1))
    frame = world.put("llara-0", world.target_is(1)).assign(**{c.SCORES: None})
    with pytest.raises(DataError, match="llara \\(score\\) has candidate sets without scores"):
        fusion.fuse((frame, scored("llara-0")[1]), scored("sasrec-0"), read_held_out("movielens"))


def fused_results(world, *weights: float | None) -> SystemResults:
    for seed, weight in enumerate(weights):
        for run_name in ("sasrec", "llara"):
            world.put(f"{run_name}-{seed}", world.target_is(1))
        world.put(f"fused-llara-{seed}", world.target_is(1), mode="fused", llm_weight=weight)
    return world.results(world.on_axes(baselines=[], seeds=list(range(len(weights)))))[-1]


def test_a_fusion_whose_weights_are_all_zero_is_its_recommender(world) -> None:
    assert fusion.is_recommender_alone(fused_results(world, 0.0, 0.0))
    some = fused_results(world, 0.0, 0.15)
    assert not fusion.is_recommender_alone(some)
    assert fusion.weights(some) == [0.0, 0.15]


def test_a_fusion_that_does_not_say_its_weight_is_an_error(world) -> None:
    with pytest.raises(
        DataError, match=r"llara \+ sasrec: its predictions do not say the LLM weight of each run; run `dvc repro`"
    ):
        fusion.weights(fused_results(world, 0.5, None))


def test_every_seed_of_every_system_with_a_recommender_and_scores_is_fused(world) -> None:
    params = world.on_axes(systems=["zero_shot", "tallrec", "llara", "llara_direct"], seeds=[0, 1])
    zero_shot = params.system("zero_shot").model_copy(update={"recommender": "sasrec"})
    params = params.model_copy(update={"systems": {**params.systems, "zero_shot": zero_shot}})
    for seed in (0, 1):
        world.put(f"llara-{seed}", world.target_is(1))
        world.put(f"llara_direct-{seed}", world.target_is(1), mode="constrained")
    world.put("zero_shot-0", world.target_is(1))
    found = {
        pair.run_name: (pair.llm.parent.name, pair.recommender.parent.parent.name) for pair in fusion.pairs("movielens", params)
    }
    assert found == {
        "fused-zero_shot-0": ("zero_shot-0", "sasrec-0"),  # without tuning there is one run
        "fused-zero_shot-1": ("zero_shot-0", "sasrec-1"),
        "fused-llara-0": ("llara-0", "sasrec-0"),
        "fused-llara-1": ("llara-1", "sasrec-1"),
    }
