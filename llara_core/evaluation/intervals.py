"""Confidence intervals of a system's means, over users or over users and training runs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from llara_core.config import EvaluationConfig
from llara_core.evaluation import significance
from llara_core.evaluation.metrics import Interval
from llara_core.runtime.seeding import numpy_stream


def user_interval(config: EvaluationConfig, dataset: str, split: str) -> Interval:
    """Returns a function for bootstrap intervals over users; all systems see the same resamples of a split's users."""

    def interval(values: npt.ArrayLike, users: npt.ArrayLike) -> tuple[float, float]:
        stream = numpy_stream(config.seed, "bootstrap", dataset, split)
        return significance.bootstrap_interval(values, users, config.bootstrap_samples, config.confidence, stream)

    return interval


def run_interval(config: EvaluationConfig, n_runs: int) -> Interval:
    """Returns a function for intervals over users and training runs; its values list the same sets for one run after the
    other."""

    def interval(values: npt.ArrayLike, users: npt.ArrayLike) -> tuple[float, float]:
        by_run = np.reshape(values, (n_runs, -1))
        _, user = np.unique(np.reshape(users, (n_runs, -1))[0], return_inverse=True)
        means = np.array([np.bincount(user, weights=run) for run in by_run]) / np.bincount(user)  # [n_runs, n_users]
        low, high = significance.crossed_mean(means.mean(axis=0), [means]).interval(config.confidence)
        return max(low, 0.0), min(high, 1.0)

    return interval
