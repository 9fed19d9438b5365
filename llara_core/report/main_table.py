"""The sections with all systems: one row per system, and one row per system and mode."""

from __future__ import annotations

from collections.abc import Sequence

from llara_core.evaluation.comparison import ComparedSystem
from llara_core.evaluation.results import SystemResults
from llara_core.report import plots, system_columns, verdict
from llara_core.report.comparisons import Comparisons
from llara_core.report.layout import Figure, Section, Table
from llara_core.report.wording import count, joined


def summary(found: Comparisons) -> str:
    """Who leads, whether an LLM differs from what it is compared with, and what the fusions chose."""
    return verdict_of(found.headlines, found.idle, found.level)


def verdict_of(rows: Sequence[ComparedSystem], idle: Sequence[SystemResults], level: float) -> str:
    """The same of one row per system; ``idle``: fusions that are left out, ``level``: of the tests."""
    return joined(verdict.leader(rows), *_comparisons(rows, idle, level))


def systems(found: Comparisons) -> Section:
    """One row per system, in the mode in which it is compared."""
    rows, params = found.headlines, found.params
    columns = [
        system_columns.SYSTEM,
        system_columns.mode(rows),
        *([system_columns.tuned_on(found.tuned_on)] if found.tuned_on else []),
        *system_columns.marked(rows, system_columns.VALIDATION, system_columns.HIT_RATIO),
        *system_columns.by_score(found.rows, rows),
        *system_columns.versus(rows),
        *system_columns.marked(rows, system_columns.VALID, system_columns.CATALOGUE),
        system_columns.SIZES,
    ]
    caption = joined(
        "Bold: best on validation. Figures are for the test split unless a column says validation. Intervals in brackets "
        f"cover {params.evaluation.confidence:.0%}; one without width means that all users had the same value, and says "
        "nothing about the spread.",
        system_columns.mark_in_words(rows),
        f"The language model is {params.llm.model}." if params.run.systems else "",
        "Chat models are named in their rows." if params.run.chat_models else "",
    )
    figure = Figure(
        "Hit ratio@1 of every system on test, with intervals; the table above has the numbers. Outlined: best on validation. A "
        "bar on fewer candidate sets compares only with others on the same sets.",
        lambda: plots.bars_figure(rows, params.candidates.n_candidates, params.evaluation.confidence),
    )
    table = Table(columns, system_columns.by_kind(rows), caption)
    comparisons = _comparisons(rows, found.idle, found.level)
    notes = [each for each in (*comparisons, verdict.among_all_items(rows), found.beside) if each]
    return Section("Systems", verdict.leader(rows), notes=notes, tables=[table], figures=[figure])


def modes(found: Comparisons) -> Section:
    """One row per system and mode, with all metrics."""
    rows = found.rows
    best = next(row for row in found.headlines if row.is_best)
    columns = [
        system_columns.SYSTEM,
        system_columns.mode(rows),
        *([system_columns.OBJECTIVE] if any(row.objective != "none" for row in rows) else []),
        *system_columns.marked(rows, *system_columns.DETAILS, *system_columns.contained(rows, system_columns.CONTAINED)),
        system_columns.SIZES,
    ]
    caption = joined("Every system in every mode, on test. Bold: best on validation.", system_columns.mark_in_words(rows))
    table = Table(columns, system_columns.by_kind(rows), caption)
    return Section(
        "All modes",
        f"{count(len(found.headlines), 'system')} in {count(len(rows), 'row')}: the first row of a system is the mode in which "
        f"it is compared with others. {best.name} is best on validation.",
        tables=[table],
        is_folded=True,
    )


def _comparisons(rows: Sequence[ComparedSystem], idle: Sequence[SystemResults], level: float) -> list[str]:
    llms = [row for row in rows if row.system.is_llm and row.system.kind != "fused"]
    fused = [row for row in rows if row.system.kind == "fused"]
    return [verdict.compared(llms, "LLM system", level), verdict.fusions(fused, idle)]
