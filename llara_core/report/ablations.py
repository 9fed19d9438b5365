"""Systems that differ in one respect, each against the one that it was taken from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llara_core.config import ComparisonConfig, EvaluationConfig, Params
from llara_core.evaluation.comparison import SystemResult, against


@dataclass(frozen=True)
class Ablation:
    """One table: the rows are headlines, their differences those to ``reference`` of the configuration.

    Attributes:
        title: heading.
        recommender: whose item embeddings the systems read; None where none of them reads any.
        rows: the reference first.
    """

    title: str
    recommender: str | None
    rows: list[SystemResult]


def ablations(results: Sequence[SystemResult], params: Params) -> list[Ablation]:
    """The tables of ``report.ablations`` that this run has rows for, one per recommender under the systems.

    Args:
        results: headline rows of one dataset.
        params: of the run.
    """
    tables = []
    for config in params.report.ablations.values():
        found = [_ablation(config, recommender, results, params.evaluation) for recommender in _recommenders(params)]
        # Without a row that reads item embeddings, the table is the same for every recommender.
        tables += list({tuple(row.name for row in table.rows): table for table in found if table is not None}.values())
    return tables


def find(results: Sequence[SystemResult], key: str, recommender: str | None) -> SystemResult | None:
    """The LLM system called ``key`` on the axes, on ``recommender`` or without any."""
    for result in results:
        system = result.answers.system
        if system.kind in ("tuned", "untuned") and system.key == key and system.recommender in (recommender, None):
            return result
    return None


def _recommenders(params: Params) -> Sequence[str | None]:
    return params.run.llm_recommenders or [None]


def _ablation(
    config: ComparisonConfig, recommender: str | None, results: Sequence[SystemResult], evaluation: EvaluationConfig
) -> Ablation | None:
    rows = [row for name in (config.reference, *config.systems) if (row := find(results, name, recommender)) is not None]
    if len(rows) < 2 or rows[0].answers.system.key != config.reference:
        return None
    used = recommender if any(row.answers.system.recommender for row in rows) else None
    return Ablation(config.title, used, against(rows[0], rows, evaluation))
