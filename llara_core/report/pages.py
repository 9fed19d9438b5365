"""The report: one Markdown and one self-contained HTML page, a summary for the terminal, and the tables behind ``dvc plots``.

It says what its inputs decide and nothing else: no dates, no state of the Git repository or of the environment.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import pandas as pd
from jinja2 import Environment, StrictUndefined

from llara_core import paths, tables
from llara_core.config import Params
from llara_core.evaluation.results import short_hash
from llara_core.report import (
    ablations,
    at_positions,
    beyond_accuracy,
    cases,
    changes,
    main_table,
    new_items,
    order,
    pairs,
    protocol,
    slices,
    table_2,
    terminal,
    training,
)
from llara_core.report.comparisons import Comparisons, compare_systems
from llara_core.report.layout import Figure, Section
from llara_core.report.training import TrainingCurves, training_curves

PAGES = ("report.md", "report.html")
SCREEN = "summary.txt"  # for a terminal


@dataclass(frozen=True)
class DatasetReport:
    """What the report says about one data set: what it is made from, and the sections of its page."""

    found: Comparisons
    curves: TrainingCurves
    sections: list[Section]


def build(params: Params) -> list[DatasetReport]:
    """Read the results and curves of all systems of the axes and compare them on each data set.

    Raises:
        DataError: results are missing, incomplete, or belong to different candidate sets.
    """
    return [dataset_report(compare_systems(dataset, params)) for dataset in params.run.datasets]


def dataset_report(found: Comparisons) -> DatasetReport:
    """The sections that the systems of one data set fill."""
    curves = training_curves(found)
    sections = [
        main_table.systems(found),
        new_items.section(found),
        new_items.section_at_positions(found),
        at_positions.section(found),
        slices.section_at_positions(found),
        table_2.section(found),
        pairs.section(found),
        changes.section(found),
        slices.section(found),
        beyond_accuracy.section(found),
        order.section(found),
        ablations.section(found),
        cases.section(found),
        main_table.modes(found),
        training.section(curves),
        Section("Protocol", points=protocol.protocol(found.params, found.dataset)),
    ]
    return DatasetReport(found, curves, [section for section in sections if section is not None])


def write(reports: Sequence[DatasetReport], params: Params) -> None:
    """Write the pages, the plot tables and the table of pairs into ``metrics``."""
    for page in PAGES:
        _write_text(paths.REPORT / page, render(reports, params, page))
    _write_text(paths.REPORT / SCREEN, f"{screens(reports)}\n")
    pairs_table = pairs.pairs_table([report.found for report in reports])
    for name, table in {**plot_tables(reports), "pairs": pairs_table}.items():
        _write_text(paths.PLOTS / f"{name}.tsv", table.to_csv(sep="\t", index=False))


def render(reports: Sequence[DatasetReport], params: Params, page: str) -> str:
    """One page as text.

    Args:
        page: of :data:`PAGES`.
    """
    environment = Environment(
        undefined=StrictUndefined,
        autoescape=page.endswith(".html"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"literal": _literal, "base64": _base64}
    template = environment.from_string(files(__package__).joinpath(f"{page}.jinja").read_text(encoding="utf-8"))
    return template.render(reports=reports, provenance=provenance(reports, params))


def provenance(reports: Sequence[DatasetReport], params: Params) -> list[str]:
    """What the results came from."""
    return [
        "Code, parameters and data of every stage: by hash in dvc.lock, which is committed with this page; libraries: "
        "requirements.lock",
        *(
            line
            for report in reports
            for line in (
                f"{report.found.dataset}: held-out candidate sets sha256 {report.found.candidates_hash}",
                *_at_positions(report.found),
                *(f"{report.found.dataset}, predictions made on: {machine}" for machine in report.found.hardware),
            )
        ),
        f"Seeds: {', '.join(map(str, params.run.seeds))} (training), {params.candidates.seed} (candidate sets), "
        f"{params.evaluation.seed} (intervals and tests)",
    ]


def _at_positions(found: Comparisons) -> list[str]:
    runs = [run for row in found.at_positions for run in row.results.runs][:1]
    return [f"{found.dataset}, at further positions: questions and sets sha256 {run.metadata.candidates_hash}" for run in runs]


def screens(reports: Sequence[DatasetReport]) -> str:
    """The results of all data sets for a terminal."""
    return "\n\n".join(
        terminal.screen(
            f"{report.found.dataset}, candidate sets {short_hash(report.found.candidates_hash)}",
            main_table.summary(report.found),
            report.found.rows,
            report.found.beside,
        )
        for report in reports
    )


def plot_tables(reports: Sequence[DatasetReport]) -> dict[str, pd.DataFrame]:
    """Long tables for the plots that ``metrics/dvc.yaml`` defines, by file name; a table without data has its header alone."""
    bars = [
        (f"{report.found.dataset} {row.name} ({row.mode})", round(row.test["hit_ratio@1"], 4))
        for report in reports
        for row in report.found.headlines
    ]
    curves = training.curve_plots([report.curves for report in reports])
    return {"hit_ratio": pd.DataFrame(bars, columns=["system", "hit_ratio@1"]), **curves}


def _literal(text: str) -> str:
    """Text as one line of Markdown that shows it as it is; an underscore inside a word means nothing there, nor does a bracket
    that begins no target of a link, such as an interval's."""
    return re.sub(r"[\\`*<>|&~]|\](?=[(\[:])|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", " ".join(text.split()))


def _base64(figure: Figure) -> str:
    return base64.b64encode(figure.draw()).decode()


def _write_text(path: Path, text: str) -> None:
    with tables.atomic_path(path) as staged:
        staged.write_text(text, encoding="utf-8")
