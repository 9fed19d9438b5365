"""The summary for the README: per data set the verdict and a table of the leading systems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llara_core.evaluation.comparison import ComparedSystem
from llara_core.report import main_table, system_columns
from llara_core.report.comparisons import Comparisons
from llara_core.report.layout import Column, Table
from llara_core.report.table_2 import beside_ours, counted_as_theirs
from llara_core.report.wording import count, joined, number

MAX_ROWS = 14  # systems; with what stands around them, some 20 lines


@dataclass(frozen=True)
class Summary:
    """The summary of one data set; ``notes`` holds the conditions under which the numbers were measured."""

    dataset: str
    verdict: str
    table: Table[ComparedSystem]
    notes: list[str]


def summary(found: Comparisons) -> Summary:
    """The verdict of the main table and its leading rows, beside the paper's figures."""
    rows, params = system_columns.leading(found.headlines, MAX_ROWS), found.params
    paper = _paper_column(found)
    n_left_out = len(found.headlines) - len(rows)
    caption = joined(
        f"Bold: best on validation. Intervals cover {params.evaluation.confidence:.0%}; training seeds: "
        f"{', '.join(map(str, params.run.seeds))}.",
        "Differences are on the sets that both answer, and so need not be those of the HR@1 shown.",
        "Last column: the paper's HR@1, on other candidate sets, and ours with answers counted as in the paper's code."
        if paper
        else "",
        f"Left out: {count(n_left_out, 'system')} lower on validation." if n_left_out else "",
    )
    conditions = joined(
        f"Language model: {params.llm.model}." if params.run.systems else "",
        *found.budgets,
        f"Predictions made on: {'; '.join(found.hardware)}." if found.hardware else "",
    )
    columns = [*_columns(rows), *paper]
    table = Table(columns, [("", rows)], caption)
    return Summary(found.dataset, main_table.summary(found), table, [conditions] if conditions else [])


def _columns(rows: Sequence[ComparedSystem]) -> list[Column[ComparedSystem]]:
    return [
        system_columns.SYSTEM,
        system_columns.mode(rows),
        system_columns.VALIDATION,
        system_columns.HIT_RATIO,
        *system_columns.versus(rows)[:1],
        system_columns.VALID,
        system_columns.SIZES,
    ]


def _paper_column(found: Comparisons) -> list[Column[ComparedSystem]]:
    published = {ours.name: theirs for theirs, ours in beside_ours(found) if ours is not None}

    def beside(row: ComparedSystem) -> str:
        return f"{published[row.name].hit_ratio:.4f} / {number(counted_as_theirs(row)[1])}" if row.name in published else ""

    return [Column("Paper / counted alike", "", beside)] if published else []
