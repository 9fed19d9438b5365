"""The summary for the README: per data set the verdict and a table of the leading systems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llara_core.evaluation.comparison import ComparedSystem
from llara_core.report import main_table, system_columns
from llara_core.report.comparisons import Comparisons
from llara_core.report.layout import Column, Table
from llara_core.report.table_2 import beside_ours, by_their_rules
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
        joined(system_columns.mark_in_words(rows), "Differences are on the sets that both answer.")
        if system_columns.answer_fewer(rows)
        else "",
        "Last column: the paper's HR@1, and ours by the rules of the paper's code for valid answers and, of recommenders, for "
        "negatives; of systems with a budget like the paper's."
        if paper
        else "",
        f"Left out: {count(n_left_out, 'system')} lower on validation." if n_left_out else "",
    )
    conditions = joined(
        f"Language model: {params.llm.model}." if params.run.systems else "",
        *found.budgets,
        f"Predictions made on: {'; '.join(found.hardware)}." if found.hardware else "",
    )
    columns = [*_columns(rows, found), *paper]
    table = Table(columns, [("", rows)], caption)
    return Summary(found.dataset, main_table.summary(found), table, [conditions] if conditions else [])


def _columns(rows: Sequence[ComparedSystem], found: Comparisons) -> list[Column[ComparedSystem]]:
    return [
        system_columns.SYSTEM,
        system_columns.mode(rows),
        *system_columns.marked(rows, system_columns.VALIDATION, system_columns.HIT_RATIO),
        *system_columns.by_score(found.rows, rows),
        *system_columns.differences(rows),
        *system_columns.marked(rows, system_columns.VALID),
        system_columns.SIZES,
    ]


def _paper_column(found: Comparisons) -> list[Column[ComparedSystem]]:
    published = {row.ours.name: row for row in beside_ours(found) if row.ours is not None}

    def beside(row: ComparedSystem) -> str:
        found = published.get(row.name)
        return "" if found is None else f"{found.theirs.hit_ratio:.4f} / {number(by_their_rules(found))}"

    return [Column("Paper / ours by its rules", "", beside)] if published else []
