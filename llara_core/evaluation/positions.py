"""The comparison at further positions of held-out users: the same rules as for their last items, with means over users of means
over positions.

Users have different numbers of positions. Each user counts once, as in the paired tests, so that long histories do not decide.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from llara_core import columns as c
from llara_core import paths
from llara_core.config import EvaluationConfig
from llara_core.evaluation.comparison import ComparedSystem, compare
from llara_core.evaluation.metrics import Interval, discounted_gains
from llara_core.evaluation.results import SystemResults, is_made, read_cell, require_same_candidates, same_modes
from llara_core.evaluation.systems import System


def user_means(runs: Sequence[pd.DataFrame], interval: Interval) -> dict[str, float]:
    """Hit ratio@1 with its interval, NDCG@10 where the targets are ranked, and how many users and questions there are.

    Args:
        runs: rows of :func:`metrics.per_set_results` of one split, a table per run.
        interval: from values ``(N,)`` and their users ``(N,)`` to the ends of an interval of the mean; it gets a value per user
            and run.

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
    """As :func:`comparison.compare`, of answers at positions; the validation questions there choose the reference."""
    return compare(results, config, user_means)


def read_position_results(dataset: str, systems: Sequence[System]) -> list[SystemResults]:
    """The results at positions of every system that has some, headline modes first.

    Raises:
        DataError: results differ between the runs of a system, or belong to different candidate sets.
    """
    folder = paths.results(dataset)
    found = []
    for system in systems:
        folders = [paths.at_positions(folder / cell) for cell in system.cells]
        if is_made(system, lambda cell: folder / cell) and any(each.exists() for each in folders):
            found += same_modes(system, [read_cell(each) for each in folders])
    require_same_candidates([run for mode in found for run in mode.runs])
    return found


def _by_user(results: pd.DataFrame) -> pd.DataFrame:
    return results.assign(ndcg=discounted_gains(results[c.RANK], 10)).groupby(c.USER)[[c.HIT, "ndcg"]].mean()
