"""Intervals and tests that account for dependence between a user's candidate sets and between users of a training run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

POWER = 0.8  # power of the test at the smallest difference that counts as detectable
MAX_ENUMERATED = 16  # differing users up to which all sign patterns are enumerated; 2**16 take milliseconds
_ROUNDING = 1e-24  # variances up to this are rounding errors
_CHUNK_SIZE = 4_000_000  # array elements per chunk, which bounds the memory for any number of users and pairs


def bootstrap_interval(
    values: npt.ArrayLike, users: npt.ArrayLike, samples: int, confidence: float, generator: np.random.Generator
) -> tuple[float, float]:
    """Returns the ends of the percentile bootstrap interval of the mean of ``values``, with users as the resampled units.

    A user's candidate sets share history and target, so their values are dependent. Resampling users with all their rows
    preserves this: more candidate sets per user reduce the noise of the draws, but not that of the users. The mean of a
    resample is its sum over its number of rows, so users may have different numbers of rows. If all values are equal, the
    interval has no width and says nothing about the spread.

    Args:
        values: ``(N,)`` values such as hits.
        users: ``(N,)`` user of each value.
        confidence: coverage, between 0 and 1.

    >>> bootstrap_interval([1, 1, 0, 0], [7, 7, 8, 8], 100, 0.95, np.random.default_rng(0))
    (0.0, 1.0)
    """
    _, index = np.unique(np.asarray(users), return_inverse=True)
    sums = np.bincount(index, weights=np.asarray(values, dtype=float))  # (n_users,)
    counts = np.bincount(index)  # (n_users,)
    resamples = _resamples(len(sums), samples, generator)
    low, high = _ends(np.concatenate([(chosen @ sums) / (chosen @ counts) for chosen in resamples]), confidence)
    return float(low), float(high)


def paired_bootstrap_intervals(
    values: npt.NDArray[np.floating], samples: int, confidence: float, generator: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Returns bootstrap intervals ``(M, 2)`` of several means over the same users, from the same resamples.

    Args:
        values: ``(M, n_users)``, such as one row of users' differences per pair of systems.
        confidence: coverage, between 0 and 1.
    """
    n_users = values.shape[1]
    means = np.concatenate([chosen @ values.T / n_users for chosen in _resamples(n_users, samples, generator)])  # (samples, M)
    return _ends(means, confidence).T


def sign_flip_p_values(differences: npt.ArrayLike, samples: int, generator: np.random.Generator) -> npt.NDArray[np.float64]:
    """Returns two-sided p-values ``(M,)`` of paired permutation tests that flip the signs of users' differences.

    Under the null hypothesis the two systems are exchangeable within a user, so each difference is equally likely with either
    sign. The test needs no normality, which differences of hit ratios with many zeros lack. The unit is the user, with the mean
    over the user's candidate sets: these share history and target, so a test per set, such as McNemar's on each draw, would
    count one user several times.

    Where at most :data:`MAX_ENUMERATED` users differ, all sign patterns are enumerated and the p-value is exact. Otherwise
    patterns are drawn, and one is added to both counts for the observed pattern, so that no p-value is zero. All rows share the
    drawn patterns, which keeps each p-value valid and makes hundreds of pairs fast.

    Args:
        differences: ``(M, n_users)``, for each pair the mean of the first system minus that of the second on identical sets.

    >>> sign_flip_p_values([[1.0, 1.0, 1.0]], 100, np.random.default_rng(0)).tolist()  # +++ and --- of 8 patterns
    [0.25]
    """
    rows = np.asarray(differences, dtype=float)
    n_decisive = np.count_nonzero(rows, axis=1)  # a flipped zero changes nothing
    p_values = np.empty(len(rows))
    enumerated = n_decisive <= MAX_ENUMERATED
    p_values[enumerated] = [_exact_p_value(row[row != 0]) for row in rows[enumerated]]
    drawn = rows[~enumerated]
    if len(drawn):
        observed = _observed(drawn.sum(axis=1))
        as_extreme = np.zeros(len(drawn))
        for size in _chunks(samples, rows.shape[1]):
            signs = 2.0 * generator.integers(2, size=(size, rows.shape[1]), dtype=np.int8) - 1
            block = max(1, _CHUNK_SIZE // size)  # pairs per block
            for start in range(0, len(drawn), block):
                pairs = slice(start, start + block)
                as_extreme[pairs] += (np.abs(signs @ drawn[pairs].T) >= observed[pairs]).sum(axis=0)
        p_values[~enumerated] = (as_extreme + 1) / (samples + 1)
    return p_values


@dataclass(frozen=True)
class CrossedMean:
    """A mean over users and training runs."""

    mean: float  # estimate
    variance: float  # variance of the estimate over the sampling of users and of training runs
    dof: float  # degrees of freedom of that variance
    is_truncated: bool = False  # whether the estimated variance of some source of training variance was truncated at zero

    def interval(self, confidence: float) -> tuple[float, float]:
        """Returns the t interval of the mean."""
        half = float(stdtrit(self.dof, (1 + confidence) / 2)) * self.variance**0.5
        return self.mean - half, self.mean + half

    def p_value(self) -> float:
        """Returns the two-sided p-value for a mean of zero."""
        if self.variance == 0:
            return float(self.mean == 0)
        return float(2 * stdtr(self.dof, -abs(self.mean) / self.variance**0.5))

    def detectable(self, confidence: float) -> float:
        """Returns the smallest true mean that a test at level ``1 - confidence`` detects with probability :data:`POWER`."""
        quantiles = float(stdtrit(self.dof, (1 + confidence) / 2) + stdtrit(self.dof, POWER))
        return quantiles * float(self.variance**0.5)


def crossed_mean(users: npt.NDArray[np.floating], runs: Sequence[npt.NDArray[np.floating]]) -> CrossedMean:
    """Computes the mean over users, with a variance that covers users and training runs.

    Users and runs are crossed random effects: every run answers for every user. The users contribute ``s^2 / U`` of the users'
    means. Each source of training variance contributes the variance of the mean over its runs, ``s^2 / S``, minus the noise of
    single users in single runs (the residual mean square over ``S U``), which the users' part already contains, truncated at
    zero. The degrees of freedom are Satterthwaite's: close to those of the runs where training dominates, and to those of the
    users where users do.

    A few runs may agree by chance, so that their part is truncated although training does vary. The degrees of freedom are then
    at most ``2 (S - 1)``: with those of the users, equal systems would be called different in up to a quarter of such cases.

    Resampling runs is no alternative: a resample of three runs usually repeats one, so the percentile bootstrap over runs
    understates their variance by a third and ignores its own uncertainty.

    Args:
        users: ``(U,)`` value of each user, averaged over the runs; for two systems, their difference.
        runs: one array ``(S, U)`` per independent source of training variance, with at least two runs each.

    Source:
        Two-way random-effects analysis of multi-reader studies (Obuchowski and Rockette 1995; Hillis 2007), with runs as
        readers, users as cases and the variance component of the readers truncated at zero; the limit on the degrees of freedom
        is ours. ``benchmarks/seed_tests.py`` measures the false-positive rate.

    >>> crossed = crossed_mean(np.array([0.0, 1.0]), [np.array([[-0.25, 0.75], [0.25, 1.25]])])  # means of the runs: 1/4, 3/4
    >>> crossed.mean, crossed.variance  # users 1/2 / 2, runs 1/8 / 2
    (0.5, 0.3125)
    """
    n_users = len(users)
    if n_users < 2:  # the spread over users is unknown
        return CrossedMean(float(np.mean(users)), np.inf, 1.0)
    of_users = float(np.var(users, ddof=1)) / n_users
    variance, of_squares, most = of_users, of_users**2 / (n_users - 1), np.inf
    for values in runs:
        n_runs = len(values)
        of_runs, residual = (each / n_runs for each in _variances_of_one_run(values))
        dof = (n_runs - 1) * (n_users - 1)
        if of_runs > residual:
            variance += of_runs - residual
            of_squares += of_runs**2 / (n_runs - 1) + residual**2 / dof
        elif residual > _ROUNDING:  # otherwise the runs agree on every user
            most = min(most, 2.0 * (n_runs - 1))
    of_variance = variance**2 / of_squares if of_squares else n_users - 1.0
    return CrossedMean(float(np.mean(users)), variance, min(of_variance, most), is_truncated=most < np.inf)


def further_run(runs: npt.NDArray[np.floating], confidence: float) -> tuple[float, float]:
    """Returns the interval in which the mean of one further training run over the same users is expected.

    This is the t interval of a further value given ``S`` others, with ``S - 1`` degrees of freedom. A few runs may agree by
    chance, so their deviation counts as at least that caused by the noise of single users in single runs.

    Args:
        runs: ``(S, U)`` hit ratios of at least two runs.
        confidence: expected share of further runs inside the interval, between 0 and 1.

    >>> low, high = further_run(np.array([[0.0, 0.75], [0.25, 1.25]]), 0.95)  # means 3/8 and 3/4; t with one degree: 12.7
    >>> round(float(stdtrit(1, 0.975)) * (9 / 64 / 2 * 1.5) ** 0.5, 6) == round((high - low) / 2, 6)
    True
    """
    n_runs = len(runs)
    deviation = max(_variances_of_one_run(runs)) ** 0.5
    half = float(stdtrit(n_runs - 1, (1 + confidence) / 2)) * deviation * (1 + 1 / n_runs) ** 0.5
    return float(runs.mean()) - half, float(runs.mean()) + half


def holm(p_values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Adjusts the p-values ``(M,)`` of a family of hypotheses by Holm's step-down method, in the given order.

    It bounds the probability of any false positive in the family as Bonferroni's correction does, and is never less powerful.
    Unlike step-up methods it assumes nothing about the dependence of the tests, which here share all users.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    raw = np.asarray(p_values, dtype=float)
    order = np.argsort(raw, kind="stable")
    stepped = np.maximum.accumulate(raw[order] * np.arange(len(raw), 0, -1))
    adjusted = np.empty_like(raw)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def _variances_of_one_run(values: npt.NDArray[np.floating]) -> tuple[float, float]:
    """Returns two variances of one run's mean over users: the estimate from the runs ``(S, U)``, and the part that the noise of
    single users in single runs causes."""
    n_runs, n_users = values.shape
    run, user = values.mean(axis=1, keepdims=True), values.mean(axis=0)
    noise = float(np.sum((values - run - user + values.mean()) ** 2)) / ((n_runs - 1) * (n_users - 1)) / n_users
    return float(np.var(run, ddof=1)), noise


def _exact_p_value(decisive: npt.NDArray[np.float64]) -> float:
    patterns = np.arange(2 ** len(decisive))[:, None] >> np.arange(len(decisive)) & 1  # (2**n, n)
    return float(np.mean(np.abs((2 * patterns - 1) @ decisive) >= _observed(decisive.sum())))


def _observed(total: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Returns the threshold for a pattern; the tolerance covers rounding, since the sum depends on the order."""
    size: npt.NDArray[np.float64] = np.abs(total) - 1e-9
    return size


def _resamples(n_users: int, samples: int, generator: np.random.Generator) -> Iterator[npt.NDArray[np.float64]]:
    """Yields the counts of each user in each bootstrap resample, in chunks ``(size, n_users)``."""
    for size in _chunks(samples, n_users):
        chosen = generator.integers(n_users, size=(size, n_users)) + n_users * np.arange(size)[:, None]
        yield np.bincount(chosen.ravel(), minlength=size * n_users).reshape(size, n_users).astype(float)


def _ends(means: npt.NDArray[np.float64], confidence: float) -> npt.NDArray[np.float64]:
    tail = (1 - confidence) / 2
    ends: npt.NDArray[np.float64] = np.quantile(means, [tail, 1 - tail], axis=0)
    return ends


def _chunks(samples: int, width: int) -> list[int]:
    size = max(1, min(samples, _CHUNK_SIZE // width))
    return [min(size, samples - start) for start in range(0, samples, size)]
