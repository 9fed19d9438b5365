"""Paired comparison of two systems on the candidate sets that both answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from llara_core import columns as c
from llara_core.config import EvaluationConfig
from llara_core.evaluation import significance
from llara_core.evaluation.systems import Answers
from llara_core.seeding import numpy_stream


@dataclass(frozen=True)
class Difference:
    """Hit ratio@1 of a system minus that of another, on the test candidate sets that both answer.

    Attributes:
        system: hit ratio@1 of the first on these sets, mean over users.
        reference: the same of the second.
        low: lower end of the interval of their difference.
        high: upper end.
        p_value: of the sign-flip test, adjusted for the family of comparisons that it was made in (Holm).
    """

    system: float
    reference: float
    low: float
    high: float
    p_value: float

    @property
    def mean(self) -> float:
        """Of the users' differences."""
        return self.system - self.reference


def paired_differences(pairs: Sequence[tuple[Answers, Answers]], config: EvaluationConfig) -> list[Difference]:
    """Compare the systems of each pair, and adjust the p-values for the number of pairs.

    Seeds are averaged first, then a user's candidate sets; the user's difference is the unit of interval and test. Every
    system answers at least the first candidate set of every example (:func:`metrics.per_set_results` refuses others), so two
    always have sets of all users in common. Resamples and sign patterns depend on the data set alone: a pair has the same
    interval and the same p-value, before adjustment, in whatever family it stands.

    Args:
        pairs: a family of comparisons on one data set.
        config: of intervals and tests.
    """
    if not pairs:
        return []
    sides = _user_means(pairs)  # [2, n_pairs, n_users]
    # Rounded, so that equal means by different sums differ by nothing.
    differences = np.round(sides[0] - sides[1], 12)
    dataset = pairs[0][0].seeds[0].facts.dataset
    bootstrap, flips = (numpy_stream(config.seed, name, dataset, c.TEST) for name in ("bootstrap", "sign flips"))
    ends = significance.paired_bootstrap_intervals(differences, config.bootstrap_samples, config.confidence, bootstrap)
    p_values = significance.holm(significance.sign_flip_p_values(differences, config.permutation_samples, flips))
    means = sides.mean(axis=2)  # [2, n_pairs]
    return [
        Difference(float(system), float(reference), float(low), float(high), float(p_value))
        for system, reference, (low, high), p_value in zip(*means, ends, p_values, strict=True)
    ]


def _user_means(pairs: Sequence[tuple[Answers, Answers]]) -> npt.NDArray[np.float64]:
    """Mean hit per user of both sides of each pair, over the sets that both answer: ``(2, n_pairs, n_users)``."""
    distinct = list({id(side): side for pair in pairs for side in pair}.values())
    table = pd.concat([side.hits() for side in distinct], axis=1)
    hits = table.to_numpy().T  # [n_sides, n_sets], NaN: not answered
    _, user = np.unique(table.index.get_level_values(c.USER), return_inverse=True)  # [n_sets]
    place = {id(side): number for number, side in enumerate(distinct)}
    means = []
    for pair in pairs:
        both = hits[[place[id(side)] for side in pair]]  # [2, n_sets]
        common = ~np.isnan(both).any(axis=0)
        n_sets = np.bincount(user[common])
        means.append([np.bincount(user[common], weights=side[common]) / n_sets for side in both])
    return np.swapaxes(np.array(means), 0, 1)
