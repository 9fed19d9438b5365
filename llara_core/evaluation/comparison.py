"""All systems of one dataset side by side: each against the best conventional recommender, and any two of them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from llara_core import columns as c
from llara_core.config import EvaluationConfig
from llara_core.evaluation import metrics
from llara_core.evaluation.paired import Difference, paired_differences
from llara_core.evaluation.results import user_interval
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
        difference: to the reference; None for the reference itself, where there is none, and in other modes than the headline.
        is_reference: whether the others of the table are compared with it.
    """

    answers: Answers
    is_headline: bool
    seed_deviation: float | None
    test: dict[str, float]
    validation: dict[str, float]
    difference: Difference | None = None
    is_reference: bool = False

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
    def note(self) -> str:
        """What a reader should know besides, of all seeds."""
        return "; ".join(dict.fromkeys(seed.facts.note for seed in self.answers.seeds if seed.facts.note))


def compare(answers: Sequence[Answers], config: EvaluationConfig) -> list[SystemResult]:
    """Measure all answers with ordered histories, and test every system against the best recommender or baseline.

    The best is the one with the highest hit ratio@1 on validation, so the choice does not profit from test.

    Args:
        answers: as of :func:`systems.read_answers`.
        config: of intervals and tests.
    """
    ordered = [of_mode for of_mode in answers if not of_mode.shuffled]
    systems = [of_mode.system for of_mode in ordered]
    rows = [
        _summarise(of_mode, config, is_headline=systems.index(of_mode.system) == place) for place, of_mode in enumerate(ordered)
    ]
    conventional = [row for row in headlines(rows) if row.answers.system.kind in ("baseline", "recommender")]
    if not conventional:
        return rows
    best = max(conventional, key=lambda row: row.validation["hit_ratio@1"])
    tested = iter(against(best, headlines(rows), config))
    return [next(tested) if row.is_headline else row for row in rows]


def headlines(results: Sequence[SystemResult]) -> list[SystemResult]:
    """One row per system: in the mode that it is judged by."""
    return [result for result in results if result.is_headline]


def against(reference: SystemResult, results: Sequence[SystemResult], config: EvaluationConfig) -> list[SystemResult]:
    """``results`` with their differences to ``reference``, which is one of them; the family of tests is all the others."""
    others = [result for result in results if result is not reference]
    differences = iter(paired_differences([(result.answers, reference.answers) for result in others], config))
    return [
        replace(result, difference=None, is_reference=True)
        if result is reference
        else replace(result, difference=next(differences), is_reference=False)
        for result in results
    ]


def all_pairs(results: Sequence[SystemResult], config: EvaluationConfig) -> Pairs:
    """Any two of ``results`` by their names, in the order of ``results``; the family of tests is all of these pairs."""
    pairs = list(itertools.combinations(results, 2))
    differences = paired_differences([(first.answers, second.answers) for first, second in pairs], config)
    return {(first.name, second.name): found for (first, second), found in zip(pairs, differences, strict=True)}


def _summarise(answers: Answers, config: EvaluationConfig, *, is_headline: bool) -> SystemResult:
    dataset = answers.seeds[0].facts.dataset
    test, validation = (
        metrics.aggregate(answers.split(split), user_interval(config, dataset, split)) for split in (c.TEST, c.VALIDATION)
    )
    per_seed = pd.Series([seed.split(c.TEST)[metrics.HIT].mean() for seed in answers.seeds])
    deviation = float(per_seed.std()) if len(answers.seeds) > 1 else None
    return SystemResult(answers, is_headline, deviation, test, validation)
