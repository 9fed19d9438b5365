"""Schedules of the curriculum: the probability p(tau) of a hybrid prompt (paper, section 4.3, equation 9)."""

from __future__ import annotations

import math
from collections.abc import Callable

from llara_core.config import CurriculumConfig

_SIGMOID_STEEPNESS = 10.0


def _sigmoid(tau: float) -> float:
    # Rescaled, so that it starts at 0 and ends at 1 like the other schedules.
    def raw(x: float) -> float:
        return 1 / (1 + math.exp(-_SIGMOID_STEEPNESS * (x - 0.5)))

    return (raw(tau) - raw(0)) / (raw(1) - raw(0))


def schedule(config: CurriculumConfig, n_epochs: int = 1) -> Callable[[float], float]:
    """Returns the probability of a hybrid prompt as a function of progress.

    Args:
        config: section whose ``schedule`` is the paper's ``linear``; ``direct`` (always hybrid) or ``two_stage`` (text-only,
            then hybrid) of its Table 3; ``sqrt``, ``quadratic``, ``cosine`` or ``sigmoid``; or ``released``, the authors' code,
            which divides a step counter that restarts in every epoch by the steps of all epochs.
        n_epochs: number of epochs, for ``released``.

    Returns:
        ``p(tau)`` in [0, 1] for ``tau = row / rows`` in [0, 1].
    """
    functions: dict[str, Callable[[float], float]] = {
        "linear": lambda tau: tau,
        "direct": lambda tau: 1.0,
        "two_stage": lambda tau: float(tau >= config.two_stage_text_share),
        "sqrt": math.sqrt,
        "quadratic": lambda tau: tau**2,
        "cosine": lambda tau: (1 - math.cos(math.pi * tau)) / 2,
        "sigmoid": _sigmoid,
        "released": lambda tau: (tau * n_epochs) % 1 / n_epochs,
    }
    return functions[config.schedule]
