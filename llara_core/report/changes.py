"""Report section on how the first choices of LLM systems differ from those of their recommenders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from llara_core import columns as c
from llara_core.evaluation.comparison import ComparedSystem
from llara_core.report.comparisons import Comparisons
from llara_core.report.layout import Column, ReportSection, Table
from llara_core.report.system_columns import OF_ROW, mark_in_words, marked_of, number_column
from llara_core.report.verdict import best_of
from llara_core.report.wording import joined, sizes


@dataclass(frozen=True)
class ChangedAnswers:
    """Answers of a system compared with those of its recommender on the test sets that both answer, over all seeds."""

    row: ComparedSystem  # the system
    n_draws: int  # candidate sets per example that both answer
    recommender_hit_ratio: float  # hit ratio@1 of the recommender
    hit_ratio: float  # hit ratio@1 of the system, equal to ``recommender_hit_ratio + gained - lost``
    differing: float  # share of sets on which the system's answer is not the recommender's, or is invalid
    gained: float  # share of sets on which the system is right and the recommender wrong
    lost: float  # share of sets on which the recommender is right and the system wrong


FIGURES: list[Column[ChangedAnswers]] = [
    number_column("Recommender's HR@1", "hit ratio of its recommender on these sets", "recommender_hit_ratio"),
    number_column("HR@1", "hit ratio of the system on these sets", "hit_ratio"),
    number_column("Differs", "share of sets with an answer other than the recommender's, or none", "differing"),
    number_column("Gained", "share of sets where the system is right and the recommender wrong", "gained"),
    number_column("Lost", "share of sets where the recommender is right and the system wrong", "lost"),
]
SIZES: Column[ChangedAnswers] = Column(
    "Users x sets",
    "test users times candidate sets per user that both answer (times seeds)",
    lambda change: sizes(change.row, change.n_draws),
)


def section(comparisons: Comparisons) -> ReportSection | None:
    """Compares LLM systems with their recommenders; None where no LLM system has one in the run."""
    rows = changed_answers(comparisons.primary_rows)
    if not rows:
        return None
    caption = joined(
        "First choices of each system and its recommender on the test sets that both answer; runs are paired by seed. All "
        "shares are shares of these sets.",
        mark_in_words([each.row for each in rows]),
    )
    columns = [*OF_ROW, *marked_of(lambda each: each.row, rows, *FIGURES), SIZES]
    return ReportSection("What the LLM changes", _verdict(rows), tables=[Table(columns, [("", rows)], caption)])


def changed_answers(rows: Sequence[ComparedSystem]) -> list[ChangedAnswers]:
    """Compares every LLM system of ``rows`` that has a recommender there with it, in the order of ``rows``."""
    return [_changed_answers(row, recommender) for row, recommender in with_recommenders(rows)]


def with_recommenders(rows: Sequence[ComparedSystem]) -> list[tuple[ComparedSystem, ComparedSystem]]:
    """Pairs each LLM system that reads a recommender of ``rows`` (one per system), or is fused with one, with that
    recommender."""
    recommenders = {row.name: row for row in rows if row.system.kind == "recommender"}
    pairs = [(row, recommenders.get(str(row.system.recommender))) for row in rows if row.system.is_llm]
    return [(row, recommender) for row, recommender in pairs if recommender is not None]


def common_sets(row: ComparedSystem, recommender: ComparedSystem) -> pd.DataFrame:
    """Joins the results of two systems on the test candidate sets that both answer, pairing runs by seed.

    Returns:
        The columns of :data:`tables.RESULTS`; those of the recommender have the suffix ``_recommender``.
    """
    runs = zip(row.results.runs, recommender.results.runs, strict=True)
    return pd.concat(
        [one.split(c.TEST).merge(other.split(c.TEST), on=c.SET_KEYS, suffixes=("", "_recommender")) for one, other in runs],
        ignore_index=True,
    )


def _changed_answers(row: ComparedSystem, recommender: ComparedSystem) -> ChangedAnswers:
    both = common_sets(row, recommender)
    own, other = both[c.HIT] == 1, both[f"{c.HIT}_recommender"] == 1
    same = (both[c.VALID] == 1) & (both[c.PREDICTED] == both[f"{c.PREDICTED}_recommender"])
    return ChangedAnswers(
        row=row,
        n_draws=int(both[c.DRAW].nunique()),
        recommender_hit_ratio=float(other.mean()),
        hit_ratio=float(own.mean()),
        differing=float((~same).mean()),
        gained=float((own & ~other).mean()),
        lost=float((other & ~own).mean()),
    )


def _verdict(rows: Sequence[ChangedAnswers]) -> str:
    """Describes the system that is best on validation."""
    best = max(rows, key=lambda each: each.row.selection_value)
    recommender = best.row.system.recommender
    which = best_of(best.row, len(rows), "system")
    return (
        f"{best.row.name}{which} answers differently from {recommender} on {best.differing:.0%} of the sets: on "
        f"{best.gained:.1%} only {best.row.name} is right, on {best.lost:.1%} only {recommender} is."
    )
