"""All systems of one dataset side by side: each against one reference, and any two of them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from llara_core import columns as c
from llara_core.config import EvaluationConfig
from llara_core.evaluation import metrics
from llara_core.evaluation.paired import MIN_RUNS, Difference, paired_differences
from llara_core.evaluation.results import run_interval, user_interval
from llara_core.evaluation.systems import Answers

Pairs = Mapping[tuple[str, str], Difference]


@dataclass(frozen=True)
class SystemResult:
    """One row of the report: a system in one mode, over all its seeds.

    Attributes:
        answers: the system and what it answered.
        is_headline: whether the mode is the one that the system is judged by.
        seed_deviation: standard deviation of the test hit ratio@1 over the seeds, None for one seed.
        test: means of :func:`metrics.aggregate` on test.
        validation: the same on validation.
        difference: to the system ``versus``; None for the reference itself, where there is none, and in other modes than the
            headline.
        versus: the name of what it is compared with: the reference, or for a fusion its recommender.
        is_reference: whether others of the table are compared with it.
        lead: over the reference in hit ratio@1 on the validation sets that both answer; None without a reference.
        is_best: whether it has the largest lead of its table, or without a reference the highest hit ratio@1 on validation.
    """

    answers: Answers
    is_headline: bool
    seed_deviation: float | None
    test: dict[str, float]
    validation: dict[str, float]
    difference: Difference | None = None
    versus: str | None = None
    is_reference: bool = False
    lead: float | None = None
    is_best: bool = False

    @property
    def name(self) -> str:
        return self.answers.system.name

    @property
    def mode(self) -> str:
        return self.answers.mode

    @property
    def objective(self) -> str:
        return self.answers.seeds[0].facts.objective

    @property
    def n_runs(self) -> int | None:
        """Training runs; None of a system that is not trained."""
        return len(self.answers.seeds) if self.answers.system.is_trained else None

    @property
    def note(self) -> str:
        """What a reader should know besides, of all seeds."""
        return "; ".join(dict.fromkeys(seed.facts.note for seed in self.answers.seeds if seed.facts.note))


def compare(answers: Sequence[Answers], config: EvaluationConfig) -> list[SystemResult]:
    """Measure all answers with ordered histories, and compare every system with the best recommender or baseline.

    The best is the one with the highest hit ratio@1 on validation, so the choice does not profit from test. A fusion is
    compared with the recommender in it instead.

    Args:
        answers: as of :func:`systems.read_answers`, without the fusions that are no system of their own.
        config: of intervals and tests.
    """
    ordered = [of_mode for of_mode in answers if not of_mode.shuffled]
    systems = [of_mode.system for of_mode in ordered]
    rows = [
        _summarise(of_mode, config, is_headline=systems.index(of_mode.system) == place) for place, of_mode in enumerate(ordered)
    ]
    judged = headlines(rows)
    conventional = [row for row in judged if not row.answers.system.is_llm]
    reference = max(conventional, key=lambda row: row.validation["hit_ratio@1"], default=None)
    compared = iter(against(reference, judged, config))
    return [next(compared) if row.is_headline else row for row in rows]


def headlines(results: Sequence[SystemResult]) -> list[SystemResult]:
    """One row per system: in the mode that it is judged by."""
    return [result for result in results if result.is_headline]


def against(reference: SystemResult | None, results: Sequence[SystemResult], config: EvaluationConfig) -> list[SystemResult]:
    """``results`` with their differences to ``reference``, of a fusion to its recommender, and with the best one marked.

    Args:
        reference: one of ``results``; None compares no systems but fusions.
        results: a table; the family of tests is all that are compared.
        config: of intervals and tests.
    """
    recommenders = {row.name: row for row in results if row.answers.system.kind == "recommender"}

    def opponent(row: SystemResult) -> SystemResult | None:
        if row.answers.system.kind == "fused":
            return recommenders.get(str(row.answers.system.recommender))
        return None if row is reference else reference

    opponents = [opponent(row) for row in results]
    pairs = [(row.answers, other.answers) for row, other in zip(results, opponents, strict=True) if other is not None]
    differences = iter(paired_differences(pairs, config))
    leads = [None if reference is None else _lead(row, reference) for row in results]
    on_validation = [row.validation["hit_ratio@1"] if lead is None else lead for row, lead in zip(results, leads, strict=True)]
    best = on_validation.index(max(on_validation)) if results else None
    return [
        replace(
            row,
            difference=None if other is None else next(differences),
            versus=None if other is None else other.name,
            is_reference=row is reference,
            lead=lead,
            is_best=place == best,
        )
        for place, (row, other, lead) in enumerate(zip(results, opponents, leads, strict=True))
    ]


def all_pairs(results: Sequence[SystemResult], config: EvaluationConfig) -> Pairs:
    """Any two of ``results`` by their names, in the order of ``results``; the family of tests is all pairs that are tested."""
    pairs = list(itertools.combinations(results, 2))
    differences = paired_differences([(first.answers, second.answers) for first, second in pairs], config)
    return {(first.name, second.name): found for (first, second), found in zip(pairs, differences, strict=True)}


def _lead(row: SystemResult, reference: SystemResult) -> float:
    own, other = (result.answers.hits(c.VALIDATION).mean(axis=1) for result in (row, reference))
    return round(float((own - other).dropna().mean()), 12)


def _summarise(answers: Answers, config: EvaluationConfig, *, is_headline: bool) -> SystemResult:
    dataset, n_runs = answers.seeds[0].facts.dataset, len(answers.seeds)
    over_runs = answers.system.is_trained and n_runs >= MIN_RUNS
    test, validation = (
        metrics.aggregate(
            answers.split(split), run_interval(config, n_runs) if over_runs else user_interval(config, dataset, split)
        )
        for split in (c.TEST, c.VALIDATION)
    )
    per_seed = pd.Series([seed.split(c.TEST)[metrics.HIT].mean() for seed in answers.seeds])
    deviation = float(per_seed.std()) if n_runs > 1 else None
    return SystemResult(answers, is_headline, deviation, test, validation)
