"""Means of a system's results over candidate sets or over users, with intervals over users or over users and training runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from llara_core import columns as c
from llara_core.config import EvaluationConfig
from llara_core.evaluation import significance
from llara_core.evaluation.metrics import Interval, aggregate, discounted_gains
from llara_core.runtime.seeding import numpy_stream

# Computes metrics of one split from one table per run.
Means = Callable[[Sequence[pd.DataFrame], Interval], dict[str, float]]


def means_over_sets(runs: Sequence[pd.DataFrame], interval: Interval) -> dict[str, float]:
    """Computes the metrics over the candidate sets of all runs together."""
    return aggregate(pd.concat(runs, ignore_index=True), interval)


def user_means(runs: Sequence[pd.DataFrame], interval: Interval) -> dict[str, float]:
    """Computes hit ratio@1 with its interval, NDCG@10 for systems that rank, and the numbers of users and questions.

    At further positions users have different numbers of questions. These are means over users of means over positions, so that
    each user counts once, as in the paired tests, and long histories do not dominate.

    Args:
        runs: rows of :func:`metrics.per_set_results` of one split, one table per run.
        interval: computes the ends of an interval of the mean from values ``(N,)``, one per user and run, and their users
            ``(N,)``.

    >>> results = pd.DataFrame({c.USER: [1, 1, 1, 2], c.EXAMPLE: range(4), c.HIT: [1.0, 0.0, 0.0, 1.0], c.RANK: float("nan")})
    >>> user_means([results], lambda values, users: (min(values), max(values)))["hit_ratio@1"]  # (1/3 + 1) / 2
    0.6666666666666666
    """
    gains = [run.assign(ndcg=discounted_gains(run[c.RANK], 10)) for run in runs]
    users = pd.concat([run.groupby(c.USER)[[c.HIT, "ndcg"]].mean() for run in gains])
    means = {"hit_ratio@1": float(users[c.HIT].mean())}
    means["hit_ratio@1_low"], means["hit_ratio@1_high"] = interval(users[c.HIT].to_numpy(), users.index.to_numpy())
    if users["ndcg"].notna().all():
        means["ndcg@10"] = float(users["ndcg"].mean())
    return means | {"n_users": users.index.nunique(), "n_questions": int(runs[0][c.EXAMPLE].nunique())}


def user_interval(config: EvaluationConfig, dataset: str, split: str) -> Interval:
    """Returns a function for bootstrap intervals over users; all systems see the same resamples of a split's users."""

    def interval(values: npt.ArrayLike, users: npt.ArrayLike) -> tuple[float, float]:
        stream = numpy_stream(config.seed, "bootstrap", dataset, split)
        return significance.bootstrap_interval(values, users, config.bootstrap_samples, config.confidence, stream)

    return interval


def run_interval(config: EvaluationConfig, n_runs: int) -> Interval:
    """Returns a function for intervals over users and training runs, whose values list the same sets run by run."""

    def interval(values: npt.ArrayLike, users: npt.ArrayLike) -> tuple[float, float]:
        by_run = np.reshape(values, (n_runs, -1))
        _, user = np.unique(np.reshape(users, (n_runs, -1))[0], return_inverse=True)
        means = np.array([np.bincount(user, weights=run) for run in by_run]) / np.bincount(user)  # (n_runs, n_users)
        low, high = significance.crossed_mean(means.mean(axis=0), [means]).interval(config.confidence)
        return max(low, 0.0), min(high, 1.0)

    return interval
