"""Comparison of all systems of one data set: each with a reference, and every pair."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import pandas as pd

from llara_core import columns as c
from llara_core.config import EvaluationConfig
from llara_core.evaluation.fusion import is_recommender_alone
from llara_core.evaluation.means import Means, means_over_sets, run_interval, user_interval, user_means
from llara_core.evaluation.paired import MIN_RUNS, Difference, level, paired_differences
from llara_core.evaluation.results import SystemResults
from llara_core.evaluation.systems import System

Pairs = Mapping[tuple[str, str], Difference]


@dataclass(frozen=True)
class ComparedSystem:
    """A row of the report: a system in one mode, over all its runs."""

    results: SystemResults  # results of the system per candidate set
    is_primary: bool  # whether this is the mode in which the system is compared with others
    seed_deviation: float | None  # standard deviation of the test hit ratio@1 over the runs; None for one run
    test: dict[str, float]  # means from :func:`metrics.aggregate` on test
    validation: dict[str, float]  # means from :func:`metrics.aggregate` on validation
    # difference to the system ``versus``; None for the reference, without a reference, and for other modes
    difference: Difference | None = None
    # name of the system that this one is compared with: its recommender for an LLM system that reads one or is fused with one,
    # the reference for others
    versus: str | None = None
    is_versus_recommender: bool = False  # whether ``versus`` is the system's recommender
    is_reference: bool = False  # whether other rows of the table are compared with this one
    # hit ratio@1 minus that of the reference on the validation sets that both answer; None without a reference
    lead: float | None = None
    # whether the lead, or without a reference the validation hit ratio@1, is the highest of the table; a fusion is eligible
    # only if the interval of its lead over its recommender on validation is above zero
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
        """Number of training runs; None for an untrained system."""
        return len(self.results.runs) if self.system.is_trained else None

    @property
    def selection_value(self) -> float:
        """Value by which the best system on validation is chosen: its lead, or without a reference its hit ratio@1."""
        return self.validation["hit_ratio@1"] if self.lead is None else self.lead

    @property
    def note(self) -> str:
        """Notes of all runs for the reader."""
        return "; ".join(dict.fromkeys(run.metadata.note for run in self.results.runs if run.metadata.note))


@dataclass(frozen=True)
class ComparedResults:
    """Results of all systems on one data set, and their comparison.

    Rows are one per system and mode. Fusions with LLM weight 0 equal their recommenders and have none.
    """

    dataset: str  # key in ``params.yaml``
    config: EvaluationConfig  # settings of intervals and tests
    last: Sequence[SystemResults]  # results on users' last items
    at_positions: Sequence[SystemResults]  # results at further positions, which are combined with no other results

    @cached_property
    def rows(self) -> list[ComparedSystem]:
        """Systems on users' last items, with ordered histories."""
        return compare([each for each in self.last if not (each.is_shuffled or is_recommender_alone(each))], self.config)

    @cached_property
    def rows_at_positions(self) -> list[ComparedSystem]:
        """Systems at further positions."""
        return compare([each for each in self.at_positions if not is_recommender_alone(each)], self.config, user_means)

    @property
    def primary_rows(self) -> list[ComparedSystem]:
        """One row per system on users' last items, in its primary mode."""
        return [row for row in self.rows if row.is_primary]

    @property
    def primary_rows_at_positions(self) -> list[ComparedSystem]:
        """One row per system at further positions, in its primary mode."""
        return [row for row in self.rows_at_positions if row.is_primary]

    @property
    def zero_weight_fusions(self) -> list[SystemResults]:
        """Fusions with LLM weight 0, which have no row."""
        return [each for each in self.last if is_recommender_alone(each)]

    @property
    def hardware(self) -> list[str]:
        """Machines that computed predictions, sorted."""
        results = (*self.last, *self.at_positions)
        return sorted({run.metadata.hardware for each in results for run in each.runs} - {""})

    @property
    def level(self) -> float:
        """Significance level of the tests."""
        return level(self.config)


def compare(results: Sequence[SystemResults], config: EvaluationConfig, means: Means = means_over_sets) -> list[ComparedSystem]:
    """Measures every system in every mode and compares its primary mode with the reference or with its recommender.

    The reference is the baseline or recommender with the highest validation hit ratio@1, so that its choice does not profit
    from test. An LLM system that reads a recommender, or is fused with one, is compared with that recommender.

    Args:
        results: results from :func:`results.read_results` with ordered histories; a system's primary mode comes first.
        means: computes the metrics of one split of a system.
    """
    systems = [mode.system for mode in results]
    rows = [_measure(mode, config, means, is_primary=systems.index(mode.system) == place) for place, mode in enumerate(results)]
    primary = [row for row in rows if row.is_primary]
    conventional = [row for row in primary if not row.system.is_llm]
    reference = max(conventional, key=lambda row: row.validation["hit_ratio@1"], default=None)
    compared = iter(compare_with_reference(reference, primary, config))
    return [next(compared) if row.is_primary else row for row in rows]


def compare_with_reference(
    reference: ComparedSystem | None, rows: Sequence[ComparedSystem], config: EvaluationConfig
) -> list[ComparedSystem]:
    """Marks the best row and compares each row with its recommender, or with ``reference`` if its recommender is not a row.

    Args:
        reference: one of ``rows``; None compares only with recommenders.
        rows: rows of a table; all its comparisons are one family of tests.
    """
    recommenders = {row.name: row for row in rows if row.system.kind == "recommender"}

    def opponent(row: ComparedSystem) -> ComparedSystem | None:
        return None if row is reference else recommenders.get(str(row.system.recommender), reference)

    opponents = [opponent(row) for row in rows]
    pairs = [(row.results, other.results) for row, other in zip(rows, opponents, strict=True) if other is not None]
    differences = iter(paired_differences(pairs, config))
    # Rounded, so that equal leads computed in different orders are equal.
    leads = [None if reference is None else round(float(_leads(row, reference).mean()), 12) for row in rows]
    with_leads = [replace(row, lead=lead) for row, lead in zip(rows, leads, strict=True)]
    ranking = [row.selection_value for row in with_leads]
    eligible = [
        value
        for value, row, other in zip(ranking, rows, opponents, strict=True)
        if row.system.kind != "fused" or other is None or _is_above(row, other, config)
    ]
    best = ranking.index(max(eligible, default=max(ranking))) if rows else None
    return [
        replace(
            with_lead,
            difference=None if other is None else next(differences),
            versus=None if other is None else other.name,
            is_versus_recommender=other is not None and other.name == row.system.recommender,
            is_reference=row is reference,
            is_best=place == best,
        )
        for place, (row, other, with_lead) in enumerate(zip(rows, opponents, with_leads, strict=True))
    ]


def all_pairs(rows: Sequence[ComparedSystem], config: EvaluationConfig) -> Pairs:
    """Returns the differences of all pairs of ``rows``, by their names; all tested pairs are one family of tests."""
    pairs = list(itertools.combinations(rows, 2))
    differences = paired_differences([(first.results, second.results) for first, second in pairs], config)
    return {(first.name, second.name): each for (first, second), each in zip(pairs, differences, strict=True)}


def _is_above(row: ComparedSystem, reference: ComparedSystem, config: EvaluationConfig) -> bool:
    leads = _leads(row, reference)
    low, _ = user_interval(config, row.results.runs[0].metadata.dataset, c.VALIDATION)(leads, leads.index)
    return low > 0


def _leads(row: ComparedSystem, reference: ComparedSystem) -> pd.Series:
    """Returns each user's difference in hit ratio@1 on the validation sets that both systems answer."""
    own, other = (each.results.hits(c.VALIDATION).mean(axis=1) for each in (row, reference))
    return (own - other).dropna().groupby(level=c.USER).mean()


def _measure(results: SystemResults, config: EvaluationConfig, means: Means, *, is_primary: bool) -> ComparedSystem:
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
    return ComparedSystem(results, is_primary, deviation, test, validation)
