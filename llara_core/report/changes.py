"""The section on what an LLM changes in the first choices of its recommender."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from llara_core import columns as c
from llara_core.evaluation.comparison import ComparedSystem
from llara_core.report.comparisons import Comparisons
from llara_core.report.layout import Column, Section, Table
from llara_core.report.wording import described, number, sizes

_KEYS = [c.EXAMPLE, c.DRAW]


@dataclass(frozen=True)
class Change:
    """A system beside its recommender, on the test candidate sets that both answer, over all seeds.

    Attributes:
        row: the system.
        n_draws: candidate sets per example that both answer.
        recommender: hit ratio@1 of the recommender.
        system: hit ratio@1 of the system, which is ``recommender + right - wrong``.
        departs: share of sets with another answer than the recommender's, or with no valid one.
        right: share of sets where the system is right and the recommender wrong.
        wrong: share of sets where the recommender is right and the system wrong.
    """

    row: ComparedSystem
    n_draws: int
    recommender: float
    system: float
    departs: float
    right: float
    wrong: float


COLUMNS: list[Column[Change]] = [
    Column("System", "", lambda change: described(change.row), is_prose=True),
    Column("Answers by", "", lambda change: change.row.mode, is_prose=True),
    Column("Recommender's HR@1", "hit ratio of its recommender on these sets", lambda change: number(change.recommender)),
    Column("HR@1", "of the system on these sets: the former, plus right, minus wrong", lambda change: number(change.system)),
    Column(
        "Departs",
        "share of sets with another answer than the recommender's first choice, or with no valid one",
        lambda change: number(change.departs),
    ),
    Column("Right", "share of sets where the system is right and the recommender wrong", lambda change: number(change.right)),
    Column("Wrong", "share of sets where the recommender is right and the system wrong", lambda change: number(change.wrong)),
    Column(
        "Users x sets",
        "test users times candidate sets per user that both answer (times seeds)",
        lambda change: sizes(change.row, change.n_draws),
    ),
]


def section(found: Comparisons) -> Section | None:
    """What LLM systems change; None where none has a recommender in the run."""
    rows = changes(found.headlines)
    if not rows:
        return None
    caption = (
        "The first choices of a system and of its recommender, on the test sets that both answer; runs of the same seed are "
        "set side by side. Shares are of all these sets."
    )
    return Section("What the LLM changes", _verdict(rows), tables=[Table(COLUMNS, [("", rows)], caption)])


def changes(rows: Sequence[ComparedSystem]) -> list[Change]:
    """What every LLM system that reads a recommender, or is fused with one, changes, in the order of ``rows`` (headlines)."""
    return [_change(row, recommender) for row, recommender in beside_recommenders(rows)]


def beside_recommenders(rows: Sequence[ComparedSystem]) -> list[tuple[ComparedSystem, ComparedSystem]]:
    """Every LLM system that reads a recommender of ``rows`` (headlines), or is fused with one, and that recommender."""
    recommenders = {row.name: row for row in rows if row.system.kind == "recommender"}
    pairs = [(row, recommenders.get(str(row.system.recommender))) for row in rows if row.system.is_llm]
    return [(row, recommender) for row, recommender in pairs if recommender is not None]


def validation_rank(row: ComparedSystem) -> float:
    """By which the best on validation is chosen: the lead over the reference on common sets, where there is a reference."""
    return row.validation["hit_ratio@1"] if row.lead is None else row.lead


def common_sets(row: ComparedSystem, recommender: ComparedSystem) -> pd.DataFrame:
    """The test candidate sets that both answer, runs of the same seed side by side.

    Returns:
        The columns of :data:`tables.RESULTS`, those of the recommender with the suffix ``_recommender``.
    """
    runs = zip(row.results.runs, recommender.results.runs, strict=True)
    return pd.concat(
        [system.split(c.TEST).merge(other.split(c.TEST), on=_KEYS, suffixes=("", "_recommender")) for system, other in runs],
        ignore_index=True,
    )


def _change(row: ComparedSystem, recommender: ComparedSystem) -> Change:
    both = common_sets(row, recommender)
    own, other = both[c.HIT] == 1, both[f"{c.HIT}_recommender"] == 1
    same = (both[c.VALID] == 1) & (both[c.PREDICTED] == both[f"{c.PREDICTED}_recommender"])
    return Change(
        row=row,
        n_draws=int(both[c.DRAW].nunique()),
        recommender=float(other.mean()),
        system=float(own.mean()),
        departs=float((~same).mean()),
        right=float((own & ~other).mean()),
        wrong=float((other & ~own).mean()),
    )


def _verdict(rows: Sequence[Change]) -> str:
    """Of the one that is best on validation."""
    best = max(rows, key=lambda each: validation_rank(each.row))
    recommender = best.row.system.recommender
    which = f", the best on validation of the {len(rows)} systems below," if len(rows) > 1 else ""
    return (
        f"{best.row.name}{which} departs from the first choice of {recommender} on {best.departs:.0%} of the sets: on "
        f"{best.right:.1%} it is right where {recommender} is wrong, on {best.wrong:.1%} the other way round."
    )
