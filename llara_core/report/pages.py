"""The report: one Markdown and one self-contained HTML page, a summary for the README, and the tables behind ``dvc plots``.

It says what its inputs decide and nothing else: no dates, no state of the Git repository or of the environment.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
from jinja2 import Environment, StrictUndefined

from llara_core import columns as c
from llara_core import paths
from llara_core import tables as files_of_tables
from llara_core.config import Params
from llara_core.curves import HYBRID_SHARE, LEARNING_RATE, LOSS, OBJECTIVE_LOSS, P_HYBRID, VALIDATION_HIT_RATIO
from llara_core.evaluation import fusion, significance
from llara_core.evaluation.comparison import Pairs, SystemResult, all_pairs, compare, headlines
from llara_core.evaluation.results import read_ground, short_hash
from llara_core.evaluation.systems import Answers, System, read_answers, systems_of
from llara_core.report import cases, paper, plots, tables, terminal, verdict
from llara_core.report.ablations import Ablation, ablations
from llara_core.report.cases import CaseStudy, case_studies
from llara_core.report.changes import Change, changes
from llara_core.report.curves import Curves, joined, read_curves
from llara_core.report.order import OrderEffect, order_effects
from llara_core.report.protocol import budgets, protocol, tuned_on

PAGES = ("report.md", "report.html", "summary.md")
SUMMARY_ROWS = 14  # systems; with what stands around them, some 20 lines


@dataclass(frozen=True)
class DatasetReport:
    """Everything that the report says about one dataset.

    Attributes:
        name: key in ``params.yaml``.
        results: one per system and mode.
        idle: fusions that chose weight 0, so are their recommenders under another name, and are not among the results.
        pairs: differences between any two systems.
        changes: what LLM systems change in the first choices of their recommenders.
        order: effects of shuffled histories.
        ablations: tables of systems that differ in one respect.
        studies: case studies.
        recommender_curves: training curves of the recommenders.
        llm_curves: tuning curves of the LLM systems; those of the curriculum are of systems that have one.
        schedules: of the curriculum, by cell.
        candidates_hash: of the held-out candidate sets.
        hardware: every machine that computed predictions.
        protocol: how it was measured, in sentences.
        tuned_on: what each tuned LLM system was tuned on, by its key on the axes.
        budgets: the same in sentences, with the paper's.
        paper_rows: the paper's Table 2 beside ours, empty where no system repeats a row of it.
    """

    name: str
    results: list[SystemResult]
    idle: list[Answers]
    pairs: Pairs
    changes: list[Change]
    order: list[OrderEffect]
    ablations: list[Ablation]
    studies: list[CaseStudy]
    recommender_curves: Curves
    llm_curves: Curves
    schedules: Mapping[str, str]
    candidates_hash: str
    hardware: list[str]
    protocol: list[str]
    tuned_on: Mapping[str, str]
    budgets: list[str]
    paper_rows: list[tables.PaperRow]

    @property
    def headlines(self) -> list[SystemResult]:
        """One row per system."""
        return headlines(self.results)

    @property
    def names(self) -> list[str]:
        """Of the systems."""
        return [result.name for result in self.headlines]


def write(reports: Sequence[DatasetReport], params: Params) -> None:
    """Write the pages, the plot tables and the table of pairs into ``metrics``."""
    for page in PAGES:
        _write_text(paths.REPORT / page, render(reports, params, page))
    for name, table in {**plot_tables(reports), "pairs": pairs_table(reports)}.items():
        _write_text(paths.PLOTS / f"{name}.tsv", table.to_csv(sep="\t", index=False))


def build(params: Params) -> list[DatasetReport]:
    """Read the predictions and curves of all cells of the axes and compare the systems of each dataset.

    Raises:
        DataError: predictions are missing, incomplete, or answer other candidate sets.
    """
    return [_dataset_report(params, dataset) for dataset in params.run.datasets]


def render(reports: Sequence[DatasetReport], params: Params, page: str) -> str:
    """One page as text.

    Args:
        page: of :data:`PAGES`.
    """
    is_html = page.endswith(".html")
    environment = Environment(
        undefined=StrictUndefined, autoescape=is_html, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["literal"] = _literal
    template = environment.from_string(files(__package__).joinpath(f"{page}.jinja").read_text(encoding="utf-8"))
    return template.render(
        reports=reports,
        params=params,
        paper=paper,
        tables=tables,
        verdict=verdict,
        kinds=cases.KINDS,
        shown_kinds=(cases.BEHAVIOR_DECIDES, cases.WORLD_KNOWLEDGE_DECIDES),
        max_enumerated=significance.MAX_ENUMERATED,
        level=tables.significance_level(params.evaluation),
        has_llm=bool(params.run.systems or params.run.text_systems or params.run.untuned_systems),
        figures={report.name: _figures(report, params) for report in reports} if is_html else {},
        summary_rows=SUMMARY_ROWS,
    )


def screens(reports: Sequence[DatasetReport], params: Params) -> str:
    """The results of all datasets for a terminal."""
    level = tables.significance_level(params.evaluation)
    return "\n\n".join(
        terminal.screen(
            f"{report.name}, candidate sets {short_hash(report.candidates_hash)}",
            verdict.systems(report.headlines, report.idle, level),
            report.headlines,
        )
        for report in reports
    )


def plot_tables(reports: Sequence[DatasetReport]) -> dict[str, pd.DataFrame]:
    """Long tables for the plots that ``dvc.yaml`` defines, by file name; a table without data has its header alone."""
    return {
        "hit_ratio": pd.concat([_bars(report) for report in reports], ignore_index=True),
        "recommender_loss": _over_datasets(reports, "recommender_curves", {LOSS: ""}),
        "recommender_validation": _over_datasets(reports, "recommender_curves", {VALIDATION_HIT_RATIO: ""}),
        "llm_loss": _over_datasets(reports, "llm_curves", {name: objective for objective, name in OBJECTIVE_LOSS.items()}),
        "llm_learning_rate": _over_datasets(reports, "llm_curves", {LEARNING_RATE: ""}),
        "llm_curriculum": _over_datasets(reports, "llm_curves", {P_HYBRID: "p(hybrid)", HYBRID_SHARE: "realised share"}),
    }


def pairs_table(reports: Sequence[DatasetReport]) -> pd.DataFrame:
    """The differences between any two systems, first minus second, a row each; the header alone where there are none.

    Instead of a p-value the number of training runs stands where it is too small for a test.
    """

    def rounded(value: float) -> float:
        return round(value, 6) + 0.0

    rows = [
        (
            report.name,
            *names,
            *map(rounded, (found.mean, found.low, found.high)),
            tables.probability(found) if found.p_value is None else rounded(found.p_value),
        )
        for report in reports
        for names, found in report.pairs.items()
    ]
    return pd.DataFrame(rows, columns=["dataset", "first", "second", "difference", "low", "high", "adjusted p"])


def _dataset_report(params: Params, dataset: str) -> DatasetReport:
    ground = read_ground(dataset)
    answers = read_answers(ground, params)
    idle = [each for each in answers if fusion.is_recommender_alone(each)]
    results = compare([each for each in answers if not fusion.is_recommender_alone(each)], params.evaluation)
    judged = headlines(results)
    systems = systems_of(params.run)
    schedules = _schedules(systems, params)
    history_lens = ground.examples.loc[ground.examples[c.SPLIT] == c.TRAIN, c.HISTORY].map(len).to_numpy(dtype=np.int64)
    tuned = tuned_on(params, systems, history_lens)
    return DatasetReport(
        name=dataset,
        results=results,
        idle=idle,
        pairs=all_pairs(judged, params.evaluation),
        changes=changes(judged),
        order=order_effects(judged, answers, params.evaluation),
        ablations=ablations(judged, params),
        studies=case_studies(ground, judged, params),
        recommender_curves=read_curves(dataset, _cells(systems, "recommender")),
        llm_curves=_with_own_curriculum(read_curves(dataset, _cells(systems, "tuned")), schedules),
        schedules=schedules,
        candidates_hash=ground.candidates_hash,
        hardware=sorted({seed.facts.hardware for each in answers for seed in each.seeds if seed.facts.hardware}),
        protocol=protocol(params, dataset),
        tuned_on=tuned,
        budgets=budgets(tuned, history_lens),
        paper_rows=tables.paper_rows(paper.table_2(params, dataset), judged, params),
    )


def _cells(systems: Sequence[System], kind: str) -> list[str]:
    return [cell for system in systems if system.kind == kind for cell in system.cells]


def _schedules(systems: Sequence[System], params: Params) -> dict[str, str]:
    """Schedule by cell, of the systems that have a curriculum: those with hybrid prompts."""
    tuned = [system for system in systems if system.kind == "tuned"]
    return {
        cell: params.system(system.key).curriculum.schedule
        for system in tuned
        if params.system(system.key).prompt.representation == "hybrid"
        for cell in system.cells
    }


def _with_own_curriculum(curves: Curves, schedules: Mapping[str, str]) -> Curves:
    """Without the curves of a curriculum that a system was given but has no use for."""
    kept = {
        name: {cell: curve for cell, curve in cells.items() if name not in (P_HYBRID, HYBRID_SHARE) or cell in schedules}
        for name, cells in curves.items()
    }
    return {name: cells for name, cells in kept.items() if cells}


def _figures(report: DatasetReport, params: Params) -> dict[str, str]:
    """Base64 PNGs by what they show; an ablation's by its place."""
    n_candidates, confidence = params.candidates.n_candidates, params.evaluation.confidence
    figures = {"systems": plots.bars_figure(report.headlines, n_candidates, confidence)}
    for place, ablation in enumerate(report.ablations):
        figures[f"ablation {place}"] = plots.bars_figure(ablation.rows, n_candidates, confidence)
    if report.recommender_curves:
        figures["recommenders"] = plots.curves_figure(report.recommender_curves, "epoch")
    tuning = {name: cells for name, cells in report.llm_curves.items() if name not in (P_HYBRID, HYBRID_SHARE)}
    if tuning:
        figures["tuning"] = plots.curves_figure(tuning, "step")
    panels: dict[str, dict[str, tuple[pd.DataFrame, pd.DataFrame]]] = {}
    planned, realised = (report.llm_curves.get(name, {}) for name in (P_HYBRID, HYBRID_SHARE))
    for cell in [cell for cell in planned if cell in realised]:
        panels.setdefault(report.schedules[cell], {})[cell] = (planned[cell], realised[cell])
    if panels:
        figures["curriculum"] = plots.curriculum_figure(panels)
    return {name: base64.b64encode(png).decode() for name, png in figures.items()}


def _bars(report: DatasetReport) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "system": [f"{report.name} {result.name} ({result.mode})" for result in report.headlines],
            "hit_ratio@1": [round(result.test["hit_ratio@1"], 4) for result in report.headlines],
        }
    )


def _over_datasets(reports: Sequence[DatasetReport], attribute: str, labels: dict[str, str]) -> pd.DataFrame:
    frames = [joined(getattr(report, attribute), labels) for report in reports]
    for report, frame in zip(reports, frames, strict=True):
        frame["curve"] = f"{report.name} " + frame["curve"]
    return pd.concat(frames, ignore_index=True)


def _literal(text: str) -> str:
    """Text of others as one line of Markdown that shows it as it is; an underscore inside a word means nothing there."""
    return re.sub(r"[\\`*\[\]<>|&~]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", " ".join(text.split()))


def _write_text(path: Path, text: str) -> None:
    with files_of_tables.atomic_path(path) as staged:
        staged.write_text(text, encoding="utf-8")
