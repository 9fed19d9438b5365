"""The section on systems that differ in one respect, each compared with the one that it varies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llara_core.config import Params
from llara_core.evaluation.comparison import ComparedSystem, against
from llara_core.report import paper, plots, system_columns, verdict
from llara_core.report.comparisons import Comparisons
from llara_core.report.layout import Column, Figure, Section, Table
from llara_core.report.wording import joined


@dataclass(frozen=True)
class Ablation:
    """One table of ``report.ablations``.

    Attributes:
        title: heading.
        rows: headlines with their differences to the first of them, the reference of the configuration.
    """

    title: str
    rows: list[ComparedSystem]

    @property
    def heading(self) -> str:
        """The title, with the recommender where all rows that read one read the same."""
        recommenders = {row.system.recommender for row in self.rows} - {None}
        return f"{self.title}, on {recommenders.pop()}" if len(recommenders) == 1 else self.title


def section(found: Comparisons) -> Section | None:
    """The tables of the ablations that this run has systems for, and the titles of the others; None without any ablation."""
    if not found.params.report.ablations:
        return None
    made = ablations(found.headlines, found.params)
    titles = {ablation.title for ablation in made}
    others = [config.title for config in found.params.report.ablations.values() if config.title not in titles]
    explained = (
        "Each table compares its systems with the first. Bold: best on validation. p is adjusted for the rows tested (Holm)."
    )
    left_out = [f"Ablations whose systems are not part of this run: {'; '.join(others)}."] if others else []
    return Section(
        "Ablations", notes=[*([explained] if made else []), *left_out], parts=[_part(ablation, found) for ablation in made]
    )


def ablations(rows: Sequence[ComparedSystem], params: Params) -> list[Ablation]:
    """The tables of ``report.ablations`` whose reference and at least one other system are among ``rows``, the headlines."""
    llms = {row.system.key: row for row in rows if row.system.kind in ("tuned", "untuned")}
    made = []
    for config in params.report.ablations.values():
        own = [llms[name] for name in (config.reference, *config.systems) if name in llms]
        if config.reference in llms and len(own) > 1:
            made.append(Ablation(config.title, against(own[0], own, params.evaluation)))
    return made


def columns_of(ablation: Ablation, found: Comparisons) -> list[Column[ComparedSystem]]:
    """With the paper's Table 3 where two rows or more have a counterpart there, and with the budgets where they differ."""
    rows = ablation.rows
    columns = [
        system_columns.SYSTEM,
        system_columns.mode(rows),
        *system_columns.marked(rows, system_columns.VALIDATION, system_columns.HIT_RATIO),
        *system_columns.by_score(found.rows, rows),
        *system_columns.versus(rows),
        *system_columns.marked(rows, system_columns.VALID),
        system_columns.SIZES,
    ]
    published = {row.name: paper.curriculum_hit_ratio(row, found.params, found.dataset) for row in rows}
    if sum(value is not None for value in published.values()) > 1:
        text = {name: "" if value is None else f"{value:.4f}" for name, value in published.items()}
        columns.insert(4, Column("HR@1 (paper, Table 3)", "", lambda row: text[row.name]))
    budgets = system_columns.tuned_on(found.tuned_on)
    if len({budgets.text(row) for row in rows}) > 1:
        columns.insert(2, budgets)
    # What the columns mean stands below the table of all systems.
    return [Column(column.heading, "", column.text, column.is_prose) for column in columns]


def _part(ablation: Ablation, found: Comparisons) -> Section:
    rows, params = ablation.rows, found.params
    figure = Figure(
        f"{ablation.heading}: hit ratio@1 on test with intervals; outlined: best on validation.",
        lambda: plots.bars_figure(rows, params.candidates.n_candidates, params.evaluation.confidence),
    )
    caption = f"{ablation.heading}: hit ratio@1 on test with its interval, and paired differences."
    return Section(
        ablation.heading,
        joined(verdict.leader(rows), verdict.compared(rows, "system", found.level)),
        tables=[Table(columns_of(ablation, found), [("", rows)], caption)],
        figures=[figure],
    )
