"""Measures the type I error of tests of two equal systems that are trained a few times.

``python -m benchmarks.seed_tests --worlds 2000`` prints a line per setting: the share of simulated worlds without a difference
in which p is below .05 (near .05 for a valid test), by the test of the report and by three alternatives; the coverage of the
report's interval; and the first share among worlds in which the estimated variance of the runs is zero.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from scipy.stats import norm

from llara_core.evaluation.significance import CrossedMean, crossed_mean, sign_flip_p_values
from pipeline.stage import run

N_USERS = 95
LEVEL = 0.05
# Shares of the variance of the easiness of a candidate set: common to both systems (by user, by set), of one system (by user,
# by set), and of one training run.
USER, SET, OWN_USER, OWN_SET = 0.35, 0.15, 0.15, 0.15
RUN = 1 - USER - SET - OWN_USER - OWN_SET
SHARED = 0.5  # correlation of the runs with equal seeds of two systems on one recommender

Hits = npt.NDArray[np.float64]


def world(
    rng: np.random.Generator, n_sets: int, n_runs: int, deviation: float, hit_ratio: float = 0.5, *, shared: bool = False
) -> Hits:
    """Simulates hits of two equally good systems, ``(2, n_runs, N_USERS)``, averaged over each user's candidate sets.

    A set is a hit if its easiness, a sum of normal effects, exceeds the threshold for the hit ratio, which each training run
    shifts.

    Args:
        rng: random stream.
        n_sets: candidate sets of each user.
        n_runs: training runs of each system.
        deviation: standard deviation of the hit ratio over training runs, without the noise of single sets.
        hit_ratio: hit ratio of both systems.
        shared: whether runs with equal seeds are correlated.
    """
    threshold = norm.isf(hit_ratio)

    def effect(variance: float, *shape: int) -> Hits:
        return rng.normal(0, variance**0.5, shape)

    def of_runs(variance: float, *shape: int) -> Hits:
        common = SHARED if shared else 0.0
        return effect(common * variance, 1, n_runs, *shape) + effect((1 - common) * variance, 2, n_runs, *shape)

    easiness = effect(USER, 1, 1, N_USERS, 1) + effect(SET, 1, 1, N_USERS, n_sets)
    easiness = easiness + effect(OWN_USER, 2, 1, N_USERS, 1) + effect(OWN_SET, 2, 1, N_USERS, n_sets)
    shift = of_runs((deviation / norm.pdf(threshold)) ** 2, 1, 1)
    hits: Hits = (easiness + of_runs(RUN, N_USERS, n_sets) + shift > threshold).mean(axis=3)
    return hits


def p_values(worlds: list[Hits], rng: np.random.Generator, *, shared: bool) -> tuple[list[float], list[float]]:
    """Returns p-values of the report's test, and of sign flips over users alone."""
    flips = sign_flip_p_values([difference(hits).mean(axis=0) for hits in worlds], 999, rng).tolist()
    both = zip(flips, (crossed(hits, shared=shared) for hits in worlds), strict=True)
    return [max(flip, mean.p_value()) for flip, mean in both], flips


def difference(hits: Hits) -> Hits:
    """Returns the first minus the second system, ``(n_runs, N_USERS)``."""
    differences: Hits = np.round(hits[0] - hits[1], 12)
    return differences


def crossed(hits: Hits, *, shared: bool) -> CrossedMean:
    """Returns the mean difference with its variance, as in the report."""
    return crossed_mean(difference(hits).mean(axis=0), [difference(hits)] if shared else list(hits))


def bootstrap_rejects(hits: Hits, rng: np.random.Generator, *, users: bool) -> bool:
    """Whether the interval of the percentile bootstrap over runs, and optionally over ``users``, excludes zero."""
    weights = [rng.multinomial(n, np.full(n, 1 / n), size=500) / n for n in hits.shape[1:]]
    of_users = weights[1] if users else np.full((500, hits.shape[2]), 1 / hits.shape[2])
    means = ((weights[0] @ difference(hits)) * of_users).sum(axis=1)
    low, high = np.quantile(means, [LEVEL / 2, 1 - LEVEL / 2])
    return not low <= 0 <= high


def settings() -> Iterator[tuple[float, int, int, float, bool]]:
    """Yields hit ratio, candidate sets, runs, deviation over runs, and whether runs with equal seeds are correlated."""
    yield from itertools.product((0.5, 0.05), (10, 1), (3, 5), (0.007, 0.015, 0.03, 0.05, 0.08), (False, True))


def main(worlds: Annotated[int, typer.Option(help="Simulated worlds per setting.", min=1)] = 2000) -> None:
    """Prints the share of rejections by each test, per setting."""
    names = ("report", "covered", "zero runs", "report there", "users alone", "bootstrap of both", "bootstrap of runs")
    print("hit ratio  sets  runs  deviation  shared", *names, sep="  ")
    for hit_ratio, n_sets, n_runs, deviation, shared in settings():
        rng = np.random.default_rng(0)
        simulated = [world(rng, n_sets, n_runs, deviation, hit_ratio, shared=shared) for _ in range(worlds)]
        report, flips = (np.array(values) < LEVEL for values in p_values(simulated, rng, shared=shared))
        means = [crossed(hits, shared=shared) for hits in simulated]
        low, high = np.transpose([each.interval(1 - LEVEL) for each in means])
        zero = np.array([each.is_truncated for each in means])
        rejects = [[bootstrap_rejects(hits, rng, users=users) for hits in simulated] for users in (True, False)]
        there = report[zero] if zero.any() else np.nan
        shares = map(np.mean, (report, (low <= 0) & (high >= 0), zero, there, flips, *rejects))
        setting = f"{hit_ratio:9.2f} {n_sets:5} {n_runs:5} {deviation:10.3f}  {'yes' if shared else 'no':6}"
        print(setting, *(f"{share:{len(name)}.3f}" for share, name in zip(shares, names, strict=True)), sep="  ", flush=True)


if __name__ == "__main__":
    run(main)
