"""All systems of one data set side by side: each against a reference, and every pair of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from llara_core import columns as c
from llara_core.config import EvaluationConfig
from llara_core.evaluation import metrics
from llara_core.evaluation.intervals import run_interval, user_interval
from llara_core.evaluation.paired import MIN_RUNS, Difference, paired_differences
from llara_core.evaluation.results import SystemResults
from llara_core.evaluation.systems import System

Pairs = Mapping[tuple[str, str], Difference]
Means = Callable[[Sequence[pd.DataFrame], metrics.Interval], dict[str, float]]  # of one split, a table per run


@dataclass(frozen=True)
class ComparedSystem:
    """One row of the report: a system in one mode, over all its runs.

    Attributes:
        results: the system, with its results per candidate set.
        is_headline: whether this is the mode in which the system is compared with others.
        seed_deviation: standard deviation of the test hit ratio@1 over the runs, None for one run.
        test: means of :func:`metrics.aggregate` on test.
        validation: the same means on validation.
        difference: to the system ``versus``; None for the reference, where there is no reference, and for modes other than
            the headline.
        versus: name of the system that it is compared with: of an LLM system that reads a recommender or is fused with one this
            recommender, of others the reference.
        is_own: whether that is its own recommender.
        is_reference: whether the others in the table are compared with it.
        lead: over the reference in hit ratio@1 on the validation sets that both answer; None without a reference.
        is_best: whether it has the largest lead of its table, or without a reference the highest hit ratio@1 on validation; a
            fusion can only have it where the interval of its lead over its recommender on validation is above zero.
    """

    results: SystemResults
    is_headline: bool
    seed_deviation: float | None
    test: dict[str, float]
    validation: dict[str, float]
    difference: Difference | None = None
    versus: str | None = None
    is_own: bool = False
    is_reference: bool = False
    lead: float | None = None
    is_best: bool = False

    @property
    def system(self) -> System:
        return self.results.system

    @property
    def name(self) -> str:
        return self.system.name

    @property
    def mode(self) -> str:
        return self.results.mode

    @property
    def objective(self) -> str:
        return self.results.runs[0].metadata.objective

    @property
    def n_runs(self) -> int | None:
        """Training runs; None for a system that is not trained."""
        return len(self.results.runs) if self.system.is_trained else None

    @property
    def note(self) -> str:
        """What a reader should also know, from all runs."""
        return "; ".join(dict.fromkeys(run.metadata.note for run in self.results.runs if run.metadata.note))


def over_sets(runs: Sequence[pd.DataFrame], interval: metrics.Interval) -> dict[str, float]:
    """The metrics over all candidate sets of all runs together."""
    return metrics.aggregate(pd.concat(runs, ignore_index=True), interval)


def compare(results: Sequence[SystemResults], config: EvaluationConfig, means: Means = over_sets) -> list[ComparedSystem]:
    """Measure every system in every mode, and compare its headline with the best recommender or baseline.

    The best is the one with the highest hit ratio@1 on validation, so the choice does not profit from test. An LLM system that
    reads a recommender, or is fused with one, is compared with this recommender instead, since it was told what that one knows.

    Args:
        results: of :func:`results.read_results`, with ordered histories; a system's headline mode comes first.
        config: of intervals and tests.
        means: measures one split of a system.
    """
    systems = [mode.system for mode in results]
    rows = [
        _measure(mode, config, means, is_headline=systems.index(mode.system) == place) for place, mode in enumerate(results)
    ]
    judged = headlines(rows)
    conventional = [row for row in judged if not row.system.is_llm]
    reference = max(conventional, key=lambda row: row.validation["hit_ratio@1"], default=None)
    compared = iter(against(reference, judged, config))
    return [next(compared) if row.is_headline else row for row in rows]


def headlines(rows: Sequence[ComparedSystem]) -> list[ComparedSystem]:
    """One row per system: its headline mode."""
    return [row for row in rows if row.is_headline]


def against(reference: ComparedSystem | None, rows: Sequence[ComparedSystem], config: EvaluationConfig) -> list[ComparedSystem]:
    """``rows`` with the best marked and the difference of each to its recommender, or where ``rows`` lacks it to ``reference``.

    Args:
        reference: one of ``rows``; None compares with recommenders only.
        rows: a table; all its comparisons are one family of tests.
        config: of intervals and tests.
    """
    recommenders = {row.name: row for row in rows if row.system.kind == "recommender"}

    def opponent(row: ComparedSystem) -> ComparedSystem | None:
        return None if row is reference else recommenders.get(str(row.system.recommender), reference)

    opponents = [opponent(row) for row in rows]
    pairs = [(row.results, other.results) for row, other in zip(rows, opponents, strict=True) if other is not None]
    differences = iter(paired_differences(pairs, config))
    leads = [None if reference is None else _lead(row, reference) for row in rows]
    on_validation = [row.validation["hit_ratio@1"] if lead is None else lead for row, lead in zip(rows, leads, strict=True)]
    may_lead = [
        value
        for value, row, other in zip(on_validation, rows, opponents, strict=True)
        if row.system.kind != "fused" or other is None or _is_above(row, other, config)
    ]
    best = on_validation.index(max(may_lead, default=max(on_validation))) if rows else None
    return [
        replace(
            row,
            difference=None if other is None else next(differences),
            versus=None if other is None else other.name,
            is_own=other is not None and other.name == row.system.recommender,
            is_reference=row is reference,
            lead=lead,
            is_best=place == best,
        )
        for place, (row, other, lead) in enumerate(zip(rows, opponents, leads, strict=True))
    ]


def all_pairs(rows: Sequence[ComparedSystem], config: EvaluationConfig) -> Pairs:
    """Every pair of ``rows`` by their names, in their order; all pairs that are tested are one family of tests."""
    pairs = list(itertools.combinations(rows, 2))
    differences = paired_differences([(first.results, second.results) for first, second in pairs], config)
    return {(first.name, second.name): found for (first, second), found in zip(pairs, differences, strict=True)}


def _lead(row: ComparedSystem, reference: ComparedSystem) -> float:
    return round(float(_leads(row, reference).mean()), 12)


def _is_above(row: ComparedSystem, reference: ComparedSystem, config: EvaluationConfig) -> bool:
    leads = _leads(row, reference)
    low, _ = user_interval(config, row.results.runs[0].metadata.dataset, c.VALIDATION)(leads, leads.index)
    return low > 0


def _leads(row: ComparedSystem, reference: ComparedSystem) -> pd.Series:
    """Of every user on the validation sets that both answer."""
    own, other = (each.results.hits(c.VALIDATION).mean(axis=1) for each in (row, reference))
    return (own - other).dropna().groupby(level=c.USER).mean()


def _measure(results: SystemResults, config: EvaluationConfig, means: Means, *, is_headline: bool) -> ComparedSystem:
    dataset, n_runs = results.runs[0].metadata.dataset, len(results.runs)
    over_runs = results.system.is_trained and n_runs >= MIN_RUNS
    test, validation = (
        means(
            [run.split(split) for run in results.runs],
            run_interval(config, n_runs) if over_runs else user_interval(config, dataset, split),
        )
        for split in (c.TEST, c.VALIDATION)
    )
    per_run = pd.Series([run.split(c.TEST).groupby(c.USER)[c.HIT].mean().mean() for run in results.runs])
    deviation = float(per_run.std()) if n_runs > 1 else None
    return ComparedSystem(results, is_headline, deviation, test, validation)
