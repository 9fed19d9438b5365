"""Intervals and tests that respect that one user's candidate sets, and the users of one training run, are not independent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

POWER = 0.8  # of the smallest difference that is called detectable
MAX_ENUMERATED = 16  # users with a difference; 2**16 sign patterns are enumerated in milliseconds
_ROUNDING = 1e-24  # of a variance
_CHUNK_CELLS = 4_000_000  # numbers at once, which bounds the memory for any number of users and of pairs


def bootstrap_interval(
    values: npt.ArrayLike, users: npt.ArrayLike, samples: int, confidence: float, generator: np.random.Generator
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of ``values``, with users as the resampled units.

    Several candidate draws of one user share history and target and hence rise and fall together. Resampling users with all
    their rows keeps that: drawing more candidate sets per user removes the noise of the draws, never the noise of the users.
    Each resample's mean is a ratio, its users' sum over its users' row count, so users may have different numbers of rows.
    Where all values are equal the interval has no width; it is then no statement about the spread.

    Args:
        values: ``(N,)``, e.g. hits.
        users: ``(N,)``, the user of each value.
        samples: number of resamples.
        confidence: coverage, between 0 and 1.
        generator: random stream.

    Returns:
        Lower and upper end.

    >>> bootstrap_interval([1, 1, 0, 0], [7, 7, 8, 8], 100, 0.95, np.random.default_rng(0))
    (0.0, 1.0)
    """
    _, index = np.unique(np.asarray(users), return_inverse=True)
    sums = np.bincount(index, weights=np.asarray(values, dtype=float))  # [n_users]
    counts = np.bincount(index)  # [n_users]
    resamples = _resamples(len(sums), samples, generator)
    low, high = _ends(np.concatenate([(chosen @ sums) / (chosen @ counts) for chosen in resamples]), confidence)
    return float(low), float(high)


def paired_bootstrap_intervals(
    values: npt.NDArray[np.floating], samples: int, confidence: float, generator: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Intervals of several means over the same users, from one set of resamples for all of them.

    Args:
        values: ``(M, n_users)``, e.g. one row of users' differences per pair of systems.
        samples: number of resamples.
        confidence: coverage, between 0 and 1.
        generator: random stream.

    Returns:
        ``(M, 2)``, lower and upper ends.
    """
    n_users = values.shape[1]
    means = np.concatenate([chosen @ values.T / n_users for chosen in _resamples(n_users, samples, generator)])  # [samples, M]
    return _ends(means, confidence).T


def sign_flip_p_values(differences: npt.ArrayLike, samples: int, generator: np.random.Generator) -> npt.NDArray[np.float64]:
    """Two-sided p-values of paired permutation tests: could each user's difference just as well have the other sign?

    Under the null hypothesis both systems are exchangeable within a user, so the sign of each difference is a fair coin. It
    needs no normality, which differences of hit ratios with many zeros do not have. The user is the unit, with one number: the
    mean over the user's candidate sets. The sets of a user share history and target, so a test that counts each set, such as
    McNemar's on each draw, would count one user's luck several times.

    Where at most :data:`MAX_ENUMERATED` users differ, all sign patterns are enumerated and the p-value is exact; else patterns
    are drawn, and one is added to both counts, since the observed pattern is one of them and a p-value of zero would claim too
    much. All rows see the same drawn patterns: each p-value is as valid as with patterns of its own, and hundreds of pairs
    take seconds.

    Args:
        differences: ``(M, n_users)``, per pair the mean of the first system minus that of the second, on identical candidate
            sets.
        samples: number of random sign patterns where enumeration is not feasible.
        generator: random stream.

    Returns:
        ``(M,)``.

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
            block = max(1, _CHUNK_CELLS // size)  # pairs at a time
            for start in range(0, len(drawn), block):
                pairs = slice(start, start + block)
                as_extreme[pairs] += (np.abs(signs @ drawn[pairs].T) >= observed[pairs]).sum(axis=0)
        p_values[~enumerated] = (as_extreme + 1) / (samples + 1)
    return p_values


@dataclass(frozen=True)
class CrossedMean:
    """A mean over users and training runs.

    Attributes:
        mean: the estimate.
        variance: of the estimate, over the choice of users and over training again.
        dof: degrees of freedom of that variance.
        is_truncated: whether some source of training variance showed no more than the noise of single users in single runs.
    """

    mean: float
    variance: float
    dof: float
    is_truncated: bool = False

    def interval(self, confidence: float) -> tuple[float, float]:
        """The t interval of the mean."""
        half = float(stdtrit(self.dof, (1 + confidence) / 2)) * self.variance**0.5
        return self.mean - half, self.mean + half

    def p_value(self) -> float:
        """Two-sided, of a mean of zero."""
        if self.variance == 0:
            return float(self.mean == 0)
        return float(2 * stdtr(self.dof, -abs(self.mean) / self.variance**0.5))

    def detectable(self, confidence: float) -> float:
        """The smallest true mean that a test at the level ``1 - confidence`` finds with probability :data:`POWER`."""
        quantiles = float(stdtrit(self.dof, (1 + confidence) / 2) + stdtrit(self.dof, POWER))
        return quantiles * float(self.variance**0.5)


def crossed_mean(users: npt.NDArray[np.floating], runs: Sequence[npt.NDArray[np.floating]]) -> CrossedMean:
    """The mean over users, with a variance that covers both users and training runs.

    Users and runs are crossed random effects: every run answers for every user. The users' part is ``s^2 / U`` of the users'
    means. Each source of training variance adds its own part: the variance of the mean over its runs, ``s^2 / S``, minus the
    noise of single users in single runs (the residual mean square over ``S U``), which the users' part already contains; never
    less than zero. The degrees of freedom are Satterthwaite's, so that three runs count as three where training dominates, and
    almost nothing is lost where users do.

    A few runs may lie close together by luck, so that their part comes out as zero where training does vary. The variance then
    rests on these runs, too, and gets at most twice their degrees of freedom, ``2 (S - 1)``: with those of the users, equal
    systems would be called different in up to a quarter of such cases.

    Resampling the runs would not work instead: a resample of three runs usually repeats one, so that the percentile bootstrap
    over runs understates their variance by a third and ignores its own uncertainty.

    Args:
        users: ``(U,)``, each user's value, averaged over the runs; of two systems their difference.
        runs: one array ``(S, U)`` per independent source of training variance, with at least two runs each.

    Source:
        The two-way random-effects analysis of multi-reader studies (Obuchowski and Rockette 1995; Hillis 2007), with runs as
        readers and users as cases, with the variance component of the readers truncated at zero, and with the limit on the
        degrees of freedom, which is ours.
        ``benchmarks/seed_tests.py`` measures how often it rejects where there is no difference.

    >>> found = crossed_mean(np.array([0.0, 1.0]), [np.array([[-0.25, 0.75], [0.25, 1.25]])])  # means of the runs: 1/4, 3/4
    >>> found.mean, found.variance  # users 1/2 / 2, runs 1/8 / 2
    (0.5, 0.3125)
    """
    n_users = len(users)
    if n_users < 2:  # one user says nothing of the spread over users
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
        elif residual > _ROUNDING:  # without any, the runs say the same of every user
            most = min(most, 2.0 * (n_runs - 1))
    of_variance = variance**2 / of_squares if of_squares else n_users - 1.0
    return CrossedMean(float(np.mean(users)), variance, min(of_variance, most), is_truncated=most < np.inf)


def further_run(runs: npt.NDArray[np.floating], confidence: float) -> tuple[float, float]:
    """Ends of the interval in which the mean of one further training run over the same users is expected.

    The t interval of one more value beside ``S`` others, with ``S - 1`` degrees of freedom. A few runs may agree by luck, so
    their deviation counts as no smaller than what single users' answers that change from run to run would give by themselves.

    Args:
        runs: ``(S, U)``, at least two runs.
        confidence: share of further runs inside.

    >>> low, high = further_run(np.array([[0.0, 0.75], [0.25, 1.25]]), 0.95)  # means 3/8 and 3/4; t with one degree: 12.7
    >>> round(float(stdtrit(1, 0.975)) * (9 / 64 / 2 * 1.5) ** 0.5, 6) == round((high - low) / 2, 6)
    True
    """
    n_runs = len(runs)
    deviation = max(_variances_of_one_run(runs)) ** 0.5
    half = float(stdtrit(n_runs - 1, (1 + confidence) / 2)) * deviation * (1 + 1 / n_runs) ** 0.5
    return float(runs.mean()) - half, float(runs.mean()) + half


def holm(p_values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """P-values adjusted for testing a family of hypotheses (Holm's step-down method).

    It bounds the chance of any false claim in the family as Bonferroni's correction does, and is never less powerful; unlike
    step-up methods it assumes nothing about how the tests depend, and here all of them share users.

    Args:
        p_values: ``(M,)``.

    Returns:
        ``(M,)``, in the order given; compare each with the level of the whole family.

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
    """Variance of the mean over users of one run: as the runs ``(S, U)`` show it, and as the noise of single users in single
    runs alone would give it."""
    n_runs, n_users = values.shape
    run, user = values.mean(axis=1, keepdims=True), values.mean(axis=0)
    noise = float(np.sum((values - run - user + values.mean()) ** 2)) / ((n_runs - 1) * (n_users - 1)) / n_users
    return float(np.var(run, ddof=1)), noise


def _exact_p_value(decisive: npt.NDArray[np.float64]) -> float:
    patterns = np.arange(2 ** len(decisive))[:, None] >> np.arange(len(decisive)) & 1  # [2**n, n]
    return float(np.mean(np.abs((2 * patterns - 1) @ decisive) >= _observed(decisive.sum())))


def _observed(total: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """What a pattern has to reach; the same sum in another order may differ in its last bits."""
    size: npt.NDArray[np.float64] = np.abs(total) - 1e-9
    return size


def _resamples(n_users: int, samples: int, generator: np.random.Generator) -> Iterator[npt.NDArray[np.float64]]:
    """How often each user is in each bootstrap resample, ``(size, n_users)`` a piece."""
    for size in _chunks(samples, n_users):
        chosen = generator.integers(n_users, size=(size, n_users)) + n_users * np.arange(size)[:, None]
        yield np.bincount(chosen.ravel(), minlength=size * n_users).reshape(size, n_users).astype(float)


def _ends(means: npt.NDArray[np.float64], confidence: float) -> npt.NDArray[np.float64]:
    tail = (1 - confidence) / 2
    ends: npt.NDArray[np.float64] = np.quantile(means, [tail, 1 - tail], axis=0)
    return ends


def _chunks(samples: int, width: int) -> list[int]:
    size = max(1, min(samples, _CHUNK_CELLS // width))
    return [min(size, samples - start) for start in range(0, samples, size)]
