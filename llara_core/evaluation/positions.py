"""Comparison at further positions of held-out users, by the rules for their last items.

Users have different numbers of positions. Metrics are means over users of means over positions, so that each user counts
once, as in the paired tests, and long histories do not dominate.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from llara_core import columns as c
from llara_core import paths
from llara_core.config import EvaluationConfig
from llara_core.evaluation.comparison import ComparedSystem, compare
from llara_core.evaluation.metrics import Interval, discounted_gains
from llara_core.evaluation.results import SystemResults, has_answers, read_run, require_same_candidates, same_modes
from llara_core.evaluation.systems import System


def user_means(runs: Sequence[pd.DataFrame], interval: Interval) -> dict[str, float]:
    """Computes hit ratio@1 with its interval, NDCG@10 for systems that rank, and the numbers of users and questions.

    Args:
        runs: rows of :func:`metrics.per_set_results` of one split, one table per run.
        interval: computes the ends of an interval of the mean from values ``(N,)``, one per user and run, and their users
            ``(N,)``.

    >>> results = pd.DataFrame({c.USER: [1, 1, 1, 2], c.EXAMPLE: range(4), c.HIT: [1.0, 0.0, 0.0, 1.0], c.RANK: float("nan")})
    >>> user_means([results], lambda values, users: (min(values), max(values)))["hit_ratio@1"]  # (1/3 + 1) / 2
    0.6666666666666666
    """
    users = pd.concat([_by_user(run) for run in runs])
    means = {"hit_ratio@1": float(users[c.HIT].mean())}
    means["hit_ratio@1_low"], means["hit_ratio@1_high"] = interval(users[c.HIT].to_numpy(), users.index.to_numpy())
    if users["ndcg"].notna().all():
        means["ndcg@10"] = float(users["ndcg"].mean())
    return means | {"n_users": users.index.nunique(), "n_questions": int(runs[0][c.EXAMPLE].nunique())}


def compare_positions(results: Sequence[SystemResults], config: EvaluationConfig) -> list[ComparedSystem]:
    """Compares systems as :func:`comparison.compare` does; validation questions at further positions choose the reference."""
    return compare(results, config, user_means)


def read_position_results(dataset: str, systems: Sequence[System]) -> list[SystemResults]:
    """Reads the results at further positions of every system that has some, primary modes first.

    Raises:
        DataError: results differ between the runs of a system, or belong to different candidate sets.
    """
    folder = paths.results(dataset)
    results = []
    for system in systems:
        folders = [paths.at_positions(folder / run_name) for run_name in system.run_names]
        if has_answers(system, lambda run_name: folder / run_name) and any(each.exists() for each in folders):
            results += same_modes(system, [read_run(each) for each in folders])
    require_same_candidates([run for mode in results for run in mode.runs])
    return results


def _by_user(results: pd.DataFrame) -> pd.DataFrame:
    return results.assign(ndcg=discounted_gains(results[c.RANK], 10)).groupby(c.USER)[[c.HIT, "ndcg"]].mean()
