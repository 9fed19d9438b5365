"""Calibration of scores as probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax

from llara_core import columns as c
from llara_core.evaluation.calibration import calibration_error, inverse_temperature, log_likelihood
from llara_core.report import beyond_accuracy


def drawn(scores: np.ndarray, seed: int = 0) -> np.ndarray:
    """A target of each set, drawn with the shares of the candidates."""
    rng = np.random.default_rng(seed)
    return np.array([rng.choice(len(row), p=row) for row in np.exp(log_softmax(scores, axis=1))])


def test_the_log_likelihood_is_the_mean_log_probability_of_the_targets() -> None:
    scores = np.log([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]]) + 7.0
    assert log_likelihood(scores, np.array([1, 1])) == pytest.approx((np.log(0.25) + np.log(0.8)) / 2)
    assert log_likelihood(np.zeros((4, 20)), np.arange(4)) == pytest.approx(-np.log(20))


def test_the_calibration_error_is_the_distance_between_probabilities_and_hit_ratios_in_their_bins() -> None:
    # Two sets in the bin from .6 to .7, one of them right; two in that from .9, both right.
    scores = np.log([[0.62, 0.38], [0.68, 0.32], [0.95, 0.05], [0.91, 0.09]])
    expected = 2 / 4 * abs((0.62 + 0.68) / 2 - 1 / 2) + 2 / 4 * abs((0.95 + 0.91) / 2 - 1)
    assert calibration_error(scores, np.array([0, 1, 0, 0])) == pytest.approx(expected)
    assert calibration_error(np.array([[0.0, -1e6]]), np.array([0])) == 0.0  # a share of 1 is in the last bin


@pytest.mark.parametrize("temperature", [0.25, 1.0, 4.0])
def test_the_temperature_undoes_a_scale(temperature: float) -> None:
    honest = np.random.default_rng(1).normal(size=(20_000, 5))
    assert 1 / inverse_temperature(temperature * honest, drawn(honest)) == pytest.approx(temperature, rel=0.05)


def test_the_temperature_is_where_the_likelihood_is_highest() -> None:
    scores, targets = np.random.default_rng(2).normal(size=(50, 4)), np.random.default_rng(3).integers(4, size=50)
    scores[np.arange(50), targets] += 0.5
    best = inverse_temperature(scores, targets)
    around = [log_likelihood(factor * scores, targets) for factor in (0.99 * best, best, 1.01 * best)]
    assert around[1] == max(around)
    assert best > 0


def test_scores_no_better_than_chance_are_not_used() -> None:
    scores = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert inverse_temperature(scores, np.array([1, 1, 1])) == 0.0
    assert inverse_temperature(np.zeros((3, 2)), np.array([0, 1, 1])) == 0.0


def test_scores_that_are_always_right_are_scaled_by_a_bounded_factor() -> None:
    scores, targets = np.array([[2.0, 0.0], [0.0, 2.0]]), np.array([0, 1])
    factor = inverse_temperature(scores, targets)
    assert np.isfinite(factor)
    assert log_likelihood(factor * scores, targets) == pytest.approx(0.0, abs=1e-12)


def test_the_report_fits_on_validation_and_measures_on_test(world) -> None:
    validation = world.candidates[c.EXAMPLE].to_numpy()[:, None] < 5
    # Scaled by 8: on validation the target is always second, on test always first.
    scores = 8 * np.where(validation, world.target_is(2), world.target_is(1)) / 5
    world.put("sasrec-0", scores)
    comparisons = world.compared(world.on_axes(baselines=[], systems=[]))
    (row,) = beyond_accuracy.calibrations(comparisons)
    (run,) = row.runs
    shares = np.exp(log_softmax(8 * np.arange(5, 0, -1.0) / 5))
    assert row.mean("log_likelihood") == pytest.approx(np.log(shares[0]), abs=1e-5)
    scaled = log_softmax(8 * np.arange(5, 0, -1.0) / 5 * run.inverse_temperature)
    assert run.calibrated_log_likelihood == pytest.approx(scaled[0], abs=1e-5)
    # The likelihood of a second place peaks where the mean score under the shares is the second score.
    assert np.exp(scaled) @ np.arange(5, 0, -1.0) == pytest.approx(4.0, abs=1e-4)
    assert run.calibration_error == pytest.approx(1 - shares[0], abs=1e-5)


def test_a_system_without_scores_has_no_calibration(world) -> None:
    world.put("sasrec-0", world.target_is(1))
    world.put("llara-0", world.target_is(1), mode="generate", texts=["?"] * 36)
    world.put("llara-0", world.target_is(1), mode="score", draws=1)
    world.put("fused-llara-0", world.target_is(1), mode="fused", llm_weight=0.3)
    comparisons = world.compared(world.on_axes(baselines=[]))
    assert [(each.row.name, each.row.mode) for each in beyond_accuracy.calibrations(comparisons)] == [
        ("sasrec", "score"),
        ("llara", "score"),
        ("llara + sasrec", "fused"),
    ]


def test_the_section_names_misleading_scores(world) -> None:
    """Always second, 8 nats behind: a log-probability of about -8; uniform probabilities have -1.61."""
    world.put("popularity", 100 * world.target_is(2))
    world.put("sasrec-0", 8 * world.target_is(2))
    section = beyond_accuracy.section(world.compared(world.on_axes(systems=[])))
    assert section is not None
    (part,) = section.parts
    assert "Read as probabilities, the scores of sasrec (score) are worse than uniform ones." in part.verdict
    assert [line["Log-likelihood"] for line in part.tables[0].lines] == ["-100.000", "-8.000"]
