"""Report section on ablations: each table compares systems with the reference system of an experiment."""

from __future__ import annotations

from dataclasses import dataclass

from llara_core.evaluation.comparison import ComparedSystem, compare_with_reference
from llara_core.report import paper, plots, system_columns, verdict
from llara_core.report.comparisons import Comparisons
from llara_core.report.layout import Column, Figure, ReportSection, Table
from llara_core.report.wording import joined


@dataclass(frozen=True)
class Ablation:
    """One table of ``report.ablations``."""

    title: str  # title of the table
    rows: list[ComparedSystem]  # systems in their primary modes, with differences to the first one, the configured reference

    @property
    def heading(self) -> str:
        """Title, followed by the recommender if all rows that read one read the same."""
        recommenders = {row.system.recommender for row in self.rows} - {None}
        return f"{self.title}, on {recommenders.pop()}" if len(recommenders) == 1 else self.title


def section(comparisons: Comparisons) -> ReportSection | None:
    """Shows the ablations whose systems are in this run and lists the others; None without configured ablations."""
    if not comparisons.params.report.ablations:
        return None
    shown = ablations(comparisons)
    titles = {ablation.title for ablation in shown}
    others = [config.title for config in comparisons.params.report.ablations.values() if config.title not in titles]
    notes = [
        "Each table compares its systems with the first. Bold: best on validation. p is Holm-adjusted over the rows tested."
    ]
    left_out = [f"Ablations whose systems are not part of this run: {'; '.join(others)}."] if others else []
    parts = [_part(ablation, comparisons) for ablation in shown]
    return ReportSection("Ablations", notes=[*(notes if shown else []), *left_out], parts=parts)


def ablations(comparisons: Comparisons) -> list[Ablation]:
    """Builds the tables of ``report.ablations`` whose reference and at least one other system are in the run."""
    llms = {row.system.key: row for row in comparisons.primary_rows if row.system.kind in ("tuned", "untuned")}
    shown = []
    for config in comparisons.params.report.ablations.values():
        own = [llms[name] for name in (config.reference, *config.systems) if name in llms]
        if config.reference in llms and len(own) > 1:
            shown.append(Ablation(config.title, compare_with_reference(own[0], own, comparisons.config)))
    return shown


def columns_of(ablation: Ablation, comparisons: Comparisons) -> list[Column[ComparedSystem]]:
    """Returns the columns of an ablation, with the paper's Table 3 if two rows have a counterpart, and differing budgets."""
    rows = ablation.rows
    columns = [
        system_columns.SYSTEM,
        system_columns.mode(rows),
        *system_columns.marked(rows, system_columns.VALIDATION, system_columns.HIT_RATIO),
        *system_columns.by_score(comparisons.rows, rows),
        *system_columns.versus(rows),
        *system_columns.marked(rows, system_columns.VALID),
        system_columns.SIZES,
    ]
    published = {row.name: paper.curriculum_hit_ratio(row, comparisons.params, comparisons.dataset) for row in rows}
    if sum(value is not None for value in published.values()) > 1:
        text = {name: "" if value is None else f"{value:.4f}" for name, value in published.items()}
        columns.insert(4, Column("HR@1 (paper, Table 3)", "", lambda row: text[row.name]))
    budgets = system_columns.tuned_on(comparisons.tuned_on)
    if len({budgets.text(row) for row in rows}) > 1:
        columns.insert(2, budgets)
    # The table of all systems already explains these columns.
    return [Column(column.heading, "", column.text, column.is_prose) for column in columns]


def _part(ablation: Ablation, comparisons: Comparisons) -> ReportSection:
    rows, params = ablation.rows, comparisons.params
    figure = Figure(
        f"{ablation.heading}: hit ratio@1 on test with intervals; outlined: best on validation.",
        lambda: plots.bars_figure(rows, params.candidates.n_candidates, params.evaluation.confidence),
    )
    caption = f"{ablation.heading}: hit ratio@1 on test with its interval, and paired differences."
    return ReportSection(
        ablation.heading,
        joined(verdict.leader(rows), verdict.compared(rows, "system", comparisons.level)),
        tables=[Table(columns_of(ablation, comparisons), [("", rows)], caption)],
        figures=[figure],
    )
