"""Calibration: how well a system's scores serve as probabilities of the candidates, before and after temperature scaling.

The probability of a candidate is the softmax of the scores over its set. A *temperature* divides the scores first: above 1 it
makes an over-confident system less confident, without changing any ranking. It is chosen on validation by maximum likelihood.

In all functions, ``scores`` are ``(N, C)`` and ``targets`` are the indices ``(N,)`` of the targets among the candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import brentq
from scipy.special import log_softmax

from llara_core import columns as c
from llara_core.answers.held_out import HeldOut

N_BINS = 10
_MAX_FACTOR = 1e4  # limit for standardised scores, reached where every target has the highest score

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """Calibration of a run's scores on the test sets."""

    # factor of the scores that maximises the likelihood of the validation targets; 0 if none beats chance
    inverse_temperature: float
    log_likelihood: float  # mean log-probability of the target, in nats
    calibrated_log_likelihood: float  # mean log-probability after temperature scaling, in nats
    calibration_error: float  # expected calibration error (:func:`calibration_error`)
    calibrated_calibration_error: float  # expected calibration error after temperature scaling


def calibrate(predictions: pd.DataFrame, held_out: HeldOut) -> Calibration | None:
    """Calibrates the scores of a predictions table; None if a candidate set has no scores or a split is not answered.

    Args:
        predictions: rows of :data:`tables.PREDICTIONS`.
        held_out: questions that the predictions answer.
    """
    if predictions[c.SCORES].isna().any():
        return None
    rows = predictions.merge(held_out.candidates, on=c.SET_KEYS).merge(
        held_out.examples[[c.EXAMPLE, c.SPLIT, c.TARGET]], on=c.EXAMPLE
    )
    if set(rows[c.SPLIT]) != set(c.HELD_OUT):
        return None
    scores = np.stack(rows[c.SCORES].to_list()).astype(float)  # (N, C)
    targets = (np.stack(rows[c.CANDIDATES].to_list()) == rows[[c.TARGET]].to_numpy()).argmax(axis=1)  # (N,)
    validation = (rows[c.SPLIT] == c.VALIDATION).to_numpy()
    factor = inverse_temperature(scores[validation], targets[validation])
    test = scores[~validation], targets[~validation]
    return Calibration(
        factor,
        log_likelihood(*test),
        log_likelihood(factor * test[0], test[1]),
        calibration_error(*test),
        calibration_error(factor * test[0], test[1]),
    )


def log_likelihood(scores: Floats, targets: npt.NDArray[np.integer]) -> float:
    """Returns the mean log-probability of the targets, in nats; ``-log(C)`` where all candidates have equal scores."""
    return float(_of_targets(log_softmax(scores, axis=1), targets).mean())


def calibration_error(scores: Floats, targets: npt.NDArray[np.integer]) -> float:
    """Returns the expected calibration error: the distance between the probability of first choices and their hit ratio.

    Sets are divided into :data:`N_BINS` bins of equal width by the probability of the first choice; the error is the mean over
    sets of the distance between their bin's mean probability and its hit ratio.

    Source: Guo et al. (2017), equation 3.

    >>> round(calibration_error(np.log([[0.8, 0.2], [0.8, 0.2]]), np.array([0, 1])), 9)  # 0.8 confident, right in 1 of 2
    0.3
    """
    shares = np.exp(log_softmax(scores, axis=1))
    confidence, right = shares.max(axis=1), shares.argmax(axis=1) == targets
    of_bin = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
    distances = np.bincount(of_bin, weights=confidence - right)  # per bin, times its number of sets
    return float(np.abs(distances).sum() / len(scores))


def inverse_temperature(scores: Floats, targets: npt.NDArray[np.integer]) -> float:
    """Returns the factor of the scores that maximises the likelihood of the targets.

    The log-likelihood is concave in the factor, so its slope has at most one root. If it is not positive at 0, the scores are
    no better than chance and the factor is 0.
    """
    centred = scores - scores.mean(axis=1, keepdims=True)
    spread = float(centred.std())
    if spread == 0:
        return 0.0
    unit = centred / spread

    def slope(factor: float) -> float:
        shares = np.exp(log_softmax(factor * unit, axis=1))
        return float((_of_targets(unit, targets) - (shares * unit).sum(axis=1)).mean())

    if slope(0.0) <= 0:
        return 0.0
    upper = 1.0
    while slope(upper) > 0 and upper < _MAX_FACTOR:
        upper *= 2
    return (float(brentq(slope, 0.0, upper)) if slope(upper) < 0 else upper) / spread


def _of_targets(values: Floats, targets: npt.NDArray[np.integer]) -> Floats:
    return np.take_along_axis(values, targets[:, None], axis=1)[:, 0]
