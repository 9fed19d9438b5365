"""How well a system's scores serve as probabilities of the candidates, as they are and scaled by one number.

The share of a candidate is the softmax of the scores over its set. A *temperature* divides the scores first: above 1 it makes
an over-confident system less sure, and it never changes a ranking. It is chosen on validation, by maximum likelihood.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import brentq
from scipy.special import log_softmax

from llara_core import columns as c
from llara_core.held_out import HeldOut

N_BINS = 10
_MAX_SHARPNESS = 1e4  # of scores with a standard deviation of 1, where the target always scores highest

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """What a run's scores are worth as probabilities, on the test sets.

    Attributes:
        inverse_temperature: that makes the validation targets most likely; 0 where no use of the scores beats chance.
        log_likelihood: mean of the target's log share, in nats.
        calibrated_log_likelihood: the same with the temperature.
        calibration_error: expected calibration error (:func:`calibration_error`).
        calibrated_calibration_error: the same with the temperature.
    """

    inverse_temperature: float
    log_likelihood: float
    calibrated_log_likelihood: float
    calibration_error: float
    calibrated_calibration_error: float


def calibrate(predictions: pd.DataFrame, held_out: HeldOut) -> Calibration | None:
    """The calibration of a predictions table; None where a candidate set of it has no scores, or a split is not answered.

    Args:
        predictions: rows of :data:`tables.PREDICTIONS`.
        held_out: that they answer.
    """
    if predictions[c.SCORES].isna().any():
        return None
    rows = predictions.merge(held_out.candidates, on=[c.EXAMPLE, c.DRAW]).merge(
        held_out.examples[[c.EXAMPLE, c.SPLIT, c.TARGET]], on=c.EXAMPLE
    )
    if set(rows[c.SPLIT]) != set(c.HELD_OUT):
        return None
    scores = np.stack(rows[c.SCORES].to_list()).astype(float)  # [N, C]
    targets = (np.stack(rows[c.CANDIDATES].to_list()) == rows[[c.TARGET]].to_numpy()).argmax(axis=1)  # [N]
    validation = (rows[c.SPLIT] == c.VALIDATION).to_numpy()
    sharpness = inverse_temperature(scores[validation], targets[validation])
    test = scores[~validation], targets[~validation]
    return Calibration(
        sharpness,
        log_likelihood(*test),
        log_likelihood(sharpness * test[0], test[1]),
        calibration_error(*test),
        calibration_error(sharpness * test[0], test[1]),
    )


def log_likelihood(scores: Floats, targets: npt.NDArray[np.integer]) -> float:
    """Mean log share of the targets; ``-log(C)`` where all candidates score alike.

    Args:
        scores: ``(N, C)``.
        targets: ``(N,)``, each target's place among the candidates.
    """
    return float(_of_targets(log_softmax(scores, axis=1), targets).mean())


def calibration_error(scores: Floats, targets: npt.NDArray[np.integer]) -> float:
    """Expected calibration error: how far the share of a first choice lies from how often such first choices are right.

    The sets are put into :data:`N_BINS` bins of equal width by the share of the first choice; it is the mean over the sets of
    the distance between their bin's mean share and its hit ratio.

    Args:
        scores: ``(N, C)``.
        targets: ``(N,)``, each target's place among the candidates.

    Source: Guo et al. (2017), equation 3.

    >>> round(calibration_error(np.log([[0.8, 0.2], [0.8, 0.2]]), np.array([0, 1])), 9)  # sure to 0.8, right in 1 of 2
    0.3
    """
    shares = np.exp(log_softmax(scores, axis=1))
    confidence, right = shares.max(axis=1), shares.argmax(axis=1) == targets
    of_bin = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
    distances = np.bincount(of_bin, weights=confidence - right)  # per bin, times its number of sets
    return float(np.abs(distances).sum() / len(scores))


def inverse_temperature(scores: Floats, targets: npt.NDArray[np.integer]) -> float:
    """The factor of the scores under which the targets are most likely.

    The likelihood is concave in the factor, so its slope falls through zero once. Where it falls from the start, the scores are
    no better than chance, and the factor is 0.

    Args:
        scores: ``(N, C)``.
        targets: ``(N,)``, each target's place among the candidates.
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
    while slope(upper) > 0 and upper < _MAX_SHARPNESS:
        upper *= 2
    return (float(brentq(slope, 0.0, upper)) if slope(upper) < 0 else upper) / spread


def _of_targets(values: Floats, targets: npt.NDArray[np.integer]) -> Floats:
    return np.take_along_axis(values, targets[:, None], axis=1)[:, 0]
