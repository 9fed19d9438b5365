import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t as student

from benchmarks import seed_tests
from llara_core.evaluation.significance import (
    MAX_ENUMERATED,
    CrossedMean,
    bootstrap_interval,
    crossed_mean,
    holm,
    paired_bootstrap_intervals,
    sign_flip_p_values,
)


def stream() -> np.random.Generator:
    return np.random.default_rng(0)


def sign_flip_p_value(differences: object, samples: int, generator: np.random.Generator) -> float:
    return float(sign_flip_p_values(np.array([differences]), samples, generator)[0])


def test_same_stream_same_interval() -> None:
    values, users = np.array([0, 1, 1, 0, 1]), np.arange(5)
    assert bootstrap_interval(values, users, 500, 0.9, stream()) == bootstrap_interval(values, users, 500, 0.9, stream())


def test_repeating_a_users_draws_does_not_narrow_the_interval() -> None:
    hits, users = stream().integers(2, size=40), np.arange(40)
    once = bootstrap_interval(hits, users, 1000, 0.95, stream())
    tenfold = bootstrap_interval(np.repeat(hits, 10), np.repeat(users, 10), 1000, 0.95, stream())
    assert tenfold == pytest.approx(once)
    as_if_independent = bootstrap_interval(np.repeat(hits, 10), np.arange(400), 1000, 0.95, stream())
    assert as_if_independent[1] - as_if_independent[0] < 0.5 * (once[1] - once[0])


def test_users_with_more_rows_weigh_more() -> None:
    low, high = bootstrap_interval([1, 1, 1, 0], [7, 7, 7, 8], 2000, 0.999, stream())
    assert (low, high) == (0.0, 1.0)
    draws = [bootstrap_interval([1, 1, 1, 0], [7, 7, 7, 8], 1, 0.5, np.random.default_rng(seed))[0] for seed in range(50)]
    assert set(draws) == {0.0, 3 / 4, 1.0}  # both users once: (3 + 0) hits of (3 + 1) rows


def test_interval_covers_the_true_mean_about_as_often_as_its_confidence() -> None:
    rng = stream()
    covered = 0
    for _ in range(300):
        taste = rng.beta(2, 2, size=60)  # users differ, so draws of one user go together
        hits = rng.random((60, 5)) < taste[:, None]
        low, high = bootstrap_interval(hits.ravel(), np.repeat(np.arange(60), 5), 300, 0.9, rng)
        covered += low <= 0.5 <= high
    assert 0.84 <= covered / 300 <= 0.95  # 0.9 with a standard error of 0.017


def test_a_small_chunk_size_changes_nothing_but_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    values, users = stream().random(30), np.arange(30)
    whole = bootstrap_interval(values, users, 100, 0.9, stream())
    monkeypatch.setattr("llara_core.evaluation.significance._CHUNK_SIZE", 90)
    assert bootstrap_interval(values, users, 100, 0.9, stream()) == whole


def test_p_value_is_exact_against_full_enumeration() -> None:
    differences = [0.5, -0.2, 0.1, 0.3, 0.0, 0.4]
    sums = [abs(np.dot(signs, differences)) for signs in itertools.product([-1, 1], repeat=6)]
    expected = np.mean(np.array(sums) >= abs(sum(differences)) - 1e-9)
    assert sign_flip_p_value(differences, 10, stream()) == expected


def test_p_value_is_symmetric_and_one_for_no_difference() -> None:
    differences = np.array([0.5, -0.2, 0.1, 0.3])
    assert sign_flip_p_value(differences, 10, stream()) == sign_flip_p_value(-differences, 10, stream())
    assert sign_flip_p_value([0.0, 0.0], 10, stream()) == 1.0
    assert sign_flip_p_value([0.3, -0.3], 10, stream()) == 1.0


def test_random_flips_agree_with_the_exact_value_and_are_never_zero() -> None:
    few = np.r_[np.ones(11), -np.ones(5)]  # 16 users: enumerated
    exact = sign_flip_p_value(few, 10, stream())
    # |sum| >= 6 of 16 signs: at most 5 or at least 11 positive
    assert exact == pytest.approx(2 * sum(_choose(16, k) for k in range(6)) / 2**16)
    many = np.r_[few, -1e-9]  # 17 users: drawn, with a difference that decides nothing
    assert len(few) <= MAX_ENUMERATED < len(many)
    assert sign_flip_p_value(many, 20_000, stream()) == pytest.approx(exact, abs=0.02)
    assert sign_flip_p_value(np.ones(60), 99, stream()) == 1 / 100


def test_many_pairs_have_the_p_values_that_each_has_alone() -> None:
    rows = np.array([[1.0] * 3 + [0.0] * 37, [0.1] * 30 + [-0.1] * 10, [0.0] * 40])  # exact, drawn, no difference
    together = sign_flip_p_values(rows, 500, stream())
    assert together.tolist() == [2 / 2**3, sign_flip_p_value(rows[1], 500, stream()), 1.0]


def test_pairs_in_blocks_have_the_same_p_values(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.round(stream().normal(size=(100, 40)), 1)
    whole = sign_flip_p_values(rows, 200, stream())
    monkeypatch.setattr("llara_core.evaluation.significance._CHUNK_SIZE", 50 * 40)  # 50 patterns and 40 pairs at a time
    assert sign_flip_p_values(rows, 200, stream()).tolist() == whole.tolist()


def test_paired_intervals_are_those_of_each_row_with_the_users_as_units() -> None:
    rows = stream().normal(size=(3, 20))
    together = paired_bootstrap_intervals(rows, 300, 0.9, stream())
    alone = [bootstrap_interval(row, np.arange(20), 300, 0.9, stream()) for row in rows]
    np.testing.assert_allclose(together, alone)
    assert paired_bootstrap_intervals(np.ones((1, 5)), 50, 0.9, stream()).tolist() == [[1.0, 1.0]]


def test_holm_multiplies_by_the_number_of_hypotheses_left_and_never_decreases() -> None:
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.01 * 3, 0.03 * 2, 0.03 * 2, 0.005 * 4])
    assert holm([0.6, 0.7]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []


USERS = np.array([0.0, 0.5, 1.0])  # mean 1/2, variance 1/4
LEVEL = np.array([[-0.3], [0.0], [0.3]])  # of three runs: variance .09


def test_runs_that_differ_alike_for_all_users_add_their_variance() -> None:
    found = crossed_mean(USERS, [USERS + LEVEL])
    of_users, of_runs = 1 / 4 / 3, 0.09 / 3
    assert found.mean == pytest.approx(1 / 2)
    assert found.variance == pytest.approx(of_users + of_runs)
    assert found.dof == pytest.approx((of_users + of_runs) ** 2 / (of_users**2 / 2 + of_runs**2 / 2))  # Satterthwaite


def test_independent_sources_of_training_variance_add_up() -> None:
    found = crossed_mean(USERS, [USERS + LEVEL, LEVEL[:2] + 0 * USERS])  # the second: runs -.3 and 0, variance .045
    assert found.variance == pytest.approx(1 / 4 / 3 + 0.09 / 3 + 0.045 / 2)


def test_noise_of_single_users_in_single_runs_is_not_counted_twice() -> None:
    """The mean of the users holds it already, so runs add only what goes beyond it, and here nothing does."""
    noise = 0.3 * np.array([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0], [-1.0, 0.0, 1.0]])  # of mean zero for each user and run
    found = crossed_mean(USERS, [USERS + noise])
    assert (found.variance, found.dof) == (pytest.approx(1 / 4 / 3), pytest.approx(2))
    assert found.is_truncated


def test_a_truncated_variance_of_runs_still_limits_the_degrees_of_freedom() -> None:
    users, noise = np.arange(60) / 60, np.tile([0.1, -0.1, 0.0], 20)
    runs = users + np.array([noise, np.roll(noise, 1), np.roll(noise, 2)])
    found = crossed_mean(users, [runs])
    assert found.variance == pytest.approx(np.var(users, ddof=1) / 60)
    assert found.dof == 2 * (3 - 1)  # not the 59 of the users


def test_interval_and_p_value_are_those_of_the_t_distribution() -> None:
    found = crossed_mean(USERS, [USERS + 0 * LEVEL])
    error = (1 / 4 / 3) ** 0.5
    assert found.interval(0.9) == pytest.approx(student.interval(0.9, 2, loc=0.5, scale=error))
    assert found.p_value() == pytest.approx(2 * student.sf(0.5 / error, 2))


def test_equal_users_have_no_variance_and_one_user_has_an_infinite_one() -> None:
    same = np.full((3, 4), 0.25)
    assert crossed_mean(same[0], [same]).p_value() == 0.0
    assert crossed_mean(0 * same[0], [0 * same]).p_value() == 1.0
    assert crossed_mean(same[0, :1], [same[:, :1]]).p_value() == 1.0


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("n_sets", [10, 1])
def test_equal_systems_with_three_runs_each_are_called_different_about_as_often_as_the_level(n_sets: int, shared: bool) -> None:
    """Or less often; ``python -m benchmarks.seed_tests`` has all settings and enough worlds for the second decimal."""
    rng = stream()
    worlds = [seed_tests.world(rng, n_sets, 3, 0.03, shared=shared) for _ in range(300)]
    found, _ = seed_tests.p_values(worlds, rng, shared=shared)
    assert 0.003 < np.mean(np.array(found) < 0.05) < 0.095  # .05 with a standard error of .013


@pytest.mark.parametrize("n_sets", [10, 1])
def test_runs_that_agree_by_chance_claim_no_more(n_sets: int) -> None:
    """With the degrees of freedom of the users about .15 of these equal systems would be called different."""
    rng = stream()
    found = [seed_tests.crossed(seed_tests.world(rng, n_sets, 3, 0.05, shared=True), shared=True) for _ in range(1500)]
    zero = [each for each in found if each.is_truncated]
    assert len(zero) > 60
    of_users = [replace(each, dof=94).p_value() < 0.05 for each in zero]
    assert np.mean(of_users) > 0.1
    assert np.mean([each.p_value() < 0.05 for each in zero]) < 0.09


def test_the_detectable_difference_is_found_with_the_power_that_it_names() -> None:
    found = CrossedMean(0.0, 0.05**2, 12.0)
    rng = stream()
    error = 0.05 * np.sqrt(rng.chisquare(12, 4000) / 12)
    means = rng.normal(found.detectable(0.95), 0.05, 4000)
    rejected = np.abs(means) / error > student.isf(0.025, 12)
    assert np.mean(rejected) == pytest.approx(0.8, abs=0.02)


def test_users_alone_and_resampled_runs_alone_claim_differences_that_are_not_there() -> None:
    rng = stream()
    worlds = [seed_tests.world(rng, 10, 3, 0.03) for _ in range(300)]
    _, flips = seed_tests.p_values(worlds, rng, shared=False)
    assert np.mean(np.array(flips) < 0.05) > 0.1
    assert np.mean([seed_tests.bootstrap_rejects(hits, rng, users=False) for hits in worlds]) > 0.25


def _choose(n: int, k: int) -> int:
    return len(list(itertools.combinations(range(n), k)))
