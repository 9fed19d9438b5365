"""Paired comparison of two systems on the candidate sets that both answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from llara_core import columns as c
from llara_core.config import EvaluationConfig
from llara_core.evaluation import significance
from llara_core.evaluation.results import SystemResults
from llara_core.evaluation.systems import share_training
from llara_core.runtime.seeding import numpy_stream

MIN_RUNS = 3  # runs of a trained system that a test needs

Side = npt.NDArray[np.float64]  # (n_runs, n_users)


@dataclass(frozen=True)
class Difference:
    """Hit ratio@1 of a system minus that of its reference, on the test candidate sets that both answer."""

    hit_ratio: float  # hit ratio@1 of the system on these sets, mean over users
    reference_hit_ratio: float  # hit ratio@1 of the reference on these sets, mean over users
    low: float  # lower end of the interval of their difference
    high: float  # upper end of that interval
    n_runs: int | None  # number of training runs, the smaller of the two; None if neither system is trained
    p_value: float | None  # p-value, Holm-adjusted for the family of tests; None if there are too few runs to test
    # smallest true difference that the test detects with probability :data:`significance.POWER` under the variance observed,
    # before adjustment; None if nothing is tested
    detectable: float | None = None

    @property
    def mean(self) -> float:
        """Mean of the users' differences."""
        return self.hit_ratio - self.reference_hit_ratio

    def is_below(self, level: float) -> bool:
        """Returns whether the difference was tested and its p-value is below ``level``."""
        return self.p_value is not None and self.p_value < level


def level(config: EvaluationConfig) -> float:
    """Returns the significance level of the tests, rounded, since 1 - 0.95 is slightly more than 0.05."""
    return round(1 - config.confidence, 12)


def paired_differences(pairs: Sequence[tuple[SystemResults, SystemResults]], config: EvaluationConfig) -> list[Difference]:
    """Compares the systems of each pair and adjusts the p-values for the number of pairs that are tested.

    The unit is the user, with the mean over the user's candidate sets. Every system answers at least the first candidate set of
    every example (:func:`metrics.per_set_results` checks it), so any two share sets of all users. The method depends on the
    training runs of the pair:

    - Neither system is trained (baselines, untuned LLMs, chat models): bootstrap interval and sign-flip test over users.
    - A trained system with fewer than :data:`MIN_RUNS` runs: an interval over users, for these particular runs, and no test,
      since the spread between runs is unknown.
    - Otherwise interval and test cover users and runs (:func:`significance.crossed_mean`). Two systems on the same recommender,
      or a system and the one that it continues from, share training in runs of equal seeds, so their difference is one source
      of training variance; other systems are trained independently and are two sources. The p-value is never below that of the
      sign-flip test, which needs no normality where few users differ.

    Resamples and sign patterns depend only on the data set: a pair has the same interval and the same unadjusted p-value in
    every family of tests.

    Args:
        pairs: family of comparisons on one data set.
    """
    if not pairs:
        return []
    sides = _sides(pairs)
    # Rounded, so that equal means computed in different orders have a difference of zero.
    differences = np.round([first.mean(axis=0) - second.mean(axis=0) for first, second in sides], 12)  # (n_pairs, n_users)
    dataset = pairs[0][0].runs[0].metadata.dataset
    bootstrap, flips = (numpy_stream(config.seed, name, dataset, c.TEST) for name in ("bootstrap", "sign flips"))
    ends = significance.paired_bootstrap_intervals(differences, config.bootstrap_samples, config.confidence, bootstrap)
    p_values = significance.sign_flip_p_values(differences, config.permutation_samples, flips)
    unadjusted = []
    for pair, (first, second), users, (low, high), p_value in zip(pairs, sides, differences, ends, p_values, strict=True):
        n_runs = min((len(side.runs) for side in pair if side.system.is_trained), default=None)
        tested: float | None = None
        detectable: float | None = None
        if n_runs is None or n_runs >= MIN_RUNS:
            sources = [] if n_runs is None else _sources(pair, first, second)
            crossed = significance.crossed_mean(users, sources)
            tested, detectable = float(p_value), crossed.detectable(config.confidence)
            if n_runs is not None:
                low, high = np.clip(crossed.interval(config.confidence), -1, 1)
                tested = max(tested, crossed.p_value())
        unadjusted.append(
            Difference(float(first.mean()), float(second.mean()), float(low), float(high), n_runs, tested, detectable)
        )
    adjusted = iter(significance.holm([each.p_value for each in unadjusted if each.p_value is not None]))
    return [each if each.p_value is None else replace(each, p_value=float(next(adjusted))) for each in unadjusted]


def _sources(pair: tuple[SystemResults, SystemResults], first: Side, second: Side) -> list[Side]:
    """Returns the independent sources of training variance in the difference of two systems, ``(n_runs, n_users)`` each."""
    if share_training(pair[0].system, pair[1].system):
        return [np.round(first - second, 12)]
    return [side for results, side in zip(pair, (first, second), strict=True) if results.system.is_trained]


def _sides(pairs: Sequence[tuple[SystemResults, SystemResults]]) -> list[tuple[Side, Side]]:
    """Computes the mean hit per run and user of both systems of each pair, over the sets that both answer."""
    distinct = list({id(side): side for pair in pairs for side in pair}.values())
    tables = {id(side): side.hits(c.TEST) for side in distinct}
    sets = pd.concat(tables.values(), axis=1).index  # candidate sets that any system answers
    _, user = np.unique(sets.get_level_values(c.USER), return_inverse=True)  # (n_sets,)
    hits = {key: table.reindex(sets).to_numpy().T for key, table in tables.items()}  # (n_runs, n_sets), NaN: not answered

    def means(values: Side, common: npt.NDArray[np.bool_]) -> Side:
        n_sets = np.bincount(user[common])
        asked = np.flatnonzero(n_sets)  # results of one kind of targets lack some users
        return np.array([np.bincount(user[common], weights=run[common])[asked] for run in values]) / n_sets[asked]

    sides = []
    for first, second in pairs:
        both = hits[id(first)], hits[id(second)]
        common = ~np.isnan(np.concatenate(both)).any(axis=0)
        sides.append((means(both[0], common), means(both[1], common)))
    return sides
