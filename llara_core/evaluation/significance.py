"""Intervals and paired tests that respect that the answers to one user's candidate sets are not independent."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

MAX_ENUMERATED = 16  # users with a difference; 2**16 sign patterns are enumerated in milliseconds
_CHUNK_CELLS = 4_000_000  # random numbers drawn at once, which bounds the memory for any number of users


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
    n_users = len(sums)
    means = []
    for size in _chunks(samples, n_users):
        chosen = generator.integers(n_users, size=(size, n_users))
        means.append(sums[chosen].sum(axis=1) / counts[chosen].sum(axis=1))  # [size]
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return float(low), float(high)


def sign_flip_p_value(differences: npt.ArrayLike, samples: int, generator: np.random.Generator) -> float:
    """Two-sided p-value of a paired permutation test: could the sign of each user's difference as well be the other?

    Under the null hypothesis both systems are exchangeable within a user, so the sign of each difference is a fair coin. It
    needs no normality, which differences of hit ratios with many zeros do not have. With at most :data:`MAX_ENUMERATED`
    users that differ, all sign patterns are enumerated and the p-value is exact; else patterns are drawn, and one is added to
    both counts, since the observed pattern is one of them and a p-value of zero would claim too much.

    Args:
        differences: ``(n_users,)``, mean of the first system minus mean of the second per user, on identical candidate sets.
        samples: number of random sign patterns where enumeration is not feasible.
        generator: random stream.

    >>> sign_flip_p_value([1.0, 1.0, 1.0], 100, np.random.default_rng(0))  # +++ and --- of 8 patterns
    0.25
    """
    decisive = np.asarray(differences, dtype=float)
    decisive = decisive[decisive != 0]  # a flipped zero changes nothing
    if not len(decisive):
        return 1.0
    observed = abs(decisive.sum()) * (1 - 1e-12)  # the same sum in another order may differ in the last bit
    if len(decisive) <= MAX_ENUMERATED:
        patterns = np.arange(2 ** len(decisive))[:, None] >> np.arange(len(decisive)) & 1  # [2**n, n]
        return float(np.mean(np.abs((2 * patterns - 1) @ decisive) >= observed))
    as_extreme = 0
    for size in _chunks(samples, len(decisive)):
        signs = 2 * generator.integers(2, size=(size, len(decisive)), dtype=np.int8) - 1
        as_extreme += int(np.sum(np.abs(signs @ decisive) >= observed))
    return (as_extreme + 1) / (samples + 1)


def holm(p_values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """P-values adjusted for testing several systems against one (Holm's step-down method).

    It bounds the chance of any false claim in the family as Bonferroni's correction does, and is never less powerful; unlike
    step-up methods it assumes nothing about how the tests depend, and here all of them share users and the reference.

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


def _chunks(samples: int, width: int) -> list[int]:
    size = max(1, min(samples, _CHUNK_CELLS // width))
    return [min(size, samples - start) for start in range(0, samples, size)]
