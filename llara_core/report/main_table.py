"""Report sections that list all systems, by system and by system and mode."""

from __future__ import annotations

from collections.abc import Sequence

from llara_core.answers.predictions import NOT_TUNED
from llara_core.evaluation.comparison import ComparedSystem
from llara_core.evaluation.results import SystemResults
from llara_core.report import plots, system_columns, verdict
from llara_core.report.comparisons import Comparisons
from llara_core.report.layout import Figure, ReportSection, Table
from llara_core.report.wording import count, joined


def summary(rows: Sequence[ComparedSystem], zero_weight_fusions: Sequence[SystemResults], level: float) -> str:
    """Says which system leads, whether an LLM system differs from its opponent, and which weights the fusions chose.

    Args:
        zero_weight_fusions: fusions that chose LLM weight 0 and are not among the rows.
        level: significance level of the tests.
    """
    return joined(verdict.leader(rows), *_comparisons(rows, zero_weight_fusions, level))


def systems(comparisons: Comparisons) -> ReportSection:
    """Lists the systems, each in its primary mode."""
    rows, params = comparisons.primary_rows, comparisons.params
    columns = [
        system_columns.SYSTEM,
        system_columns.mode(rows),
        *([system_columns.tuned_on(comparisons.tuned_on)] if comparisons.tuned_on else []),
        *system_columns.marked(rows, system_columns.VALIDATION, system_columns.HIT_RATIO),
        *system_columns.by_score(comparisons.rows, rows),
        *system_columns.versus(rows),
        *system_columns.marked(rows, system_columns.VALID, system_columns.CATALOGUE),
        system_columns.SIZES,
    ]
    caption = joined(
        "Bold: best on validation. Figures are for the test split unless a column says validation. Brackets hold "
        f"{params.evaluation.confidence:.0%} intervals; an interval without width means that all users had the same value, "
        "and says nothing about the spread.",
        system_columns.mark_in_words(rows),
        f"The language model is {params.llm.model}." if params.run.systems else "",
        "Chat models are named in their rows." if params.run.chat_models else "",
    )
    figure = Figure(
        "Hit ratio@1 of every system on test, with intervals; the table above has the numbers. Outlined: best on validation. "
        "Bars on fewer candidate sets are comparable only with bars on the same sets.",
        lambda: plots.bars_figure(rows, params.candidates.n_candidates, params.evaluation.confidence),
    )
    table = Table(columns, system_columns.by_kind(rows), caption)
    tests = _comparisons(rows, comparisons.zero_weight_fusions, comparisons.level)
    notes = [each for each in (*tests, verdict.among_all_items(rows), comparisons.reproduction) if each]
    return ReportSection("Systems", verdict.leader(rows), notes=notes, tables=[table], figures=[figure])


def modes(comparisons: Comparisons) -> ReportSection:
    """Lists every system in every mode, with all metrics."""
    rows = comparisons.rows
    best = next(row for row in comparisons.primary_rows if row.is_best)
    columns = [
        system_columns.SYSTEM,
        system_columns.mode(rows),
        *([system_columns.OBJECTIVE] if any(row.objective != NOT_TUNED for row in rows) else []),
        *system_columns.details(rows),
        system_columns.SIZES,
    ]
    caption = joined("Every system in every mode, on test. Bold: best on validation.", system_columns.mark_in_words(rows))
    table = Table(columns, system_columns.by_kind(rows), caption)
    return ReportSection(
        "All modes",
        f"{count(len(comparisons.primary_rows), 'system')} in {count(len(rows), 'row')}: the first row of a system is the "
        f"mode in which it is compared with others. {best.name} is best on validation.",
        tables=[table],
        is_folded=True,
    )


def _comparisons(rows: Sequence[ComparedSystem], zero_weight: Sequence[SystemResults], level: float) -> list[str]:
    llms = [row for row in rows if row.system.is_llm and row.system.kind != "fused"]
    fused = [row for row in rows if row.system.kind == "fused"]
    return [verdict.compared(llms, "LLM system", level), verdict.fusions(fused, zero_weight)]
