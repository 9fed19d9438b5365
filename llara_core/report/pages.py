"""The report: a Markdown page, a self-contained HTML page, a summary for the terminal, and the tables behind ``dvc plots``.

It depends only on its inputs: it holds no dates and no state of the Git repository or the environment.
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
from llara_core.report.layout import ReportSection

PAGES = ("report.md", "report.html")
SUMMARY = "summary.txt"


@dataclass(frozen=True)
class DatasetReport:
    """Report of one data set: its compared results, its training curves and the sections of its page."""

    comparisons: Comparisons
    curves: pd.DataFrame
    sections: list[ReportSection]


def build(params: Params) -> list[DatasetReport]:
    """Reads and compares the results and curves of all systems of the run on each data set.

    Raises:
        DataError: results are missing, incomplete, or belong to different candidate sets.
    """
    return [dataset_report(compare_systems(dataset, params)) for dataset in params.run.datasets]


def dataset_report(comparisons: Comparisons) -> DatasetReport:
    """Builds the sections that apply to one data set."""
    curves = training.read_curves(comparisons)
    sections = [
        main_table.systems(comparisons),
        new_items.section(comparisons),
        new_items.section(comparisons, "positions"),
        at_positions.section(comparisons),
        slices.section(comparisons, "positions"),
        table_2.section(comparisons),
        pairs.section(comparisons),
        changes.section(comparisons),
        slices.section(comparisons),
        beyond_accuracy.section(comparisons),
        order.section(comparisons),
        ablations.section(comparisons),
        cases.section(comparisons),
        main_table.modes(comparisons),
        training.section(curves),
        ReportSection("Protocol", points=protocol.protocol(comparisons.params, comparisons.dataset)),
    ]
    return DatasetReport(comparisons, curves, [section for section in sections if section is not None])


def write(reports: Sequence[DatasetReport], params: Params) -> None:
    """Writes the pages, the plot tables and the table of pairs into ``metrics``."""
    for page in PAGES:
        _write_text(paths.REPORT / page, render(reports, params, page))
    _write_text(paths.REPORT / SUMMARY, f"{terminal_text(reports)}\n")
    pairs_table = pairs.pairs_table([report.comparisons for report in reports])
    for name, table in {**plot_tables(reports), "pairs": pairs_table}.items():
        _write_text(paths.PLOTS / f"{name}.tsv", table.to_csv(sep="\t", index=False))


def render(reports: Sequence[DatasetReport], params: Params, page: str) -> str:
    """Renders one page.

    Args:
        page: file name, one of :data:`PAGES`.
    """
    environment = Environment(
        undefined=StrictUndefined,
        autoescape=page.endswith(".html"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"literal": _literal, "base64": lambda figure: base64.b64encode(figure.draw()).decode()}
    template = environment.from_string(files(__package__).joinpath(f"{page}.jinja").read_text(encoding="utf-8"))
    return template.render(reports=reports, provenance=provenance(reports, params))


def provenance(reports: Sequence[DatasetReport], params: Params) -> list[str]:
    """Lists the sources of the results: code, data, machines and seeds."""
    lines = [
        "Code, parameters and data of every stage: hashes in dvc.lock, which is committed with this page; libraries: "
        "requirements.lock"
    ]
    for each in (report.comparisons for report in reports):
        lines.append(f"{each.dataset}: held-out candidate sets sha256 {each.candidates_hash}")
        for results in each.at_positions[:1]:
            further = results.runs[0].metadata.candidates_hash
            lines.append(f"{each.dataset}, at further positions: questions and sets sha256 {further}")
        lines += [f"{each.dataset}, predictions computed on: {machine}" for machine in each.hardware]
    seeds, sets, tests = params.run.seeds, params.candidates.seed, params.evaluation.seed
    return [*lines, f"Seeds: {', '.join(map(str, seeds))} (training), {sets} (candidate sets), {tests} (intervals and tests)"]


def terminal_text(reports: Sequence[DatasetReport]) -> str:
    """Summarises the results of all data sets for a terminal."""
    return "\n\n".join(
        terminal.summary(
            f"{each.dataset}, candidate sets {short_hash(each.candidates_hash)}",
            main_table.summary(each.primary_rows, each.zero_weight_fusions, each.level),
            each.rows,
            each.reproduction,
        )
        for each in (report.comparisons for report in reports)
    )


def plot_tables(reports: Sequence[DatasetReport]) -> dict[str, pd.DataFrame]:
    """Builds the long tables for the plots in ``metrics/dvc.yaml``, by file name; a table without data has only its header."""
    bars = [
        (f"{report.comparisons.dataset} {row.name} ({row.mode})", round(row.test["hit_ratio@1"], 4))
        for report in reports
        for row in report.comparisons.primary_rows
    ]
    curves = training.curve_plots([report.curves for report in reports])
    return {"hit_ratio": pd.DataFrame(bars, columns=["system", "hit_ratio@1"]), **curves}


def _literal(text: str) -> str:
    """Escapes text as one line of Markdown. An underscore inside a word and a bracket that starts no link need no escape."""
    return re.sub(r"[\\`*<>|&~]|\](?=[(\[:])|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", " ".join(text.split()))


def _write_text(path: Path, text: str) -> None:
    with tables.atomic_path(path) as staged:
        staged.write_text(text, encoding="utf-8")
