"""The report: one Markdown and one self-contained HTML page, and the tables behind ``dvc plots``.

Its bytes depend on its inputs alone: no dates, no commit (the report is committed itself), nothing of the machine but the
versions of the libraries.
"""

from __future__ import annotations

import base64
import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import pandas as pd
from jinja2 import Environment, StrictUndefined

from llara_core import paths, tables
from llara_core.config import (
    DatasetConfig,
    LastFmConfig,
    OwnLogConfig,
    Params,
    RatedSection,
    ReleasedFramesConfig,
    SplitConfig,
    SteamConfig,
)
from llara_core.curves import HYBRID_SHARE, LEARNING_RATE, LOSS, OBJECTIVE_LOSS, P_HYBRID, VALIDATION_HIT_RATIO
from llara_core.data.candidates import exclusion
from llara_core.evaluation import paper, plots
from llara_core.evaluation.comparison import SystemResult, compare, systems_of
from llara_core.evaluation.curves import Curves, joined, read_curves
from llara_core.evaluation.paper import PaperResult
from llara_core.evaluation.results import read_ground, short_hash
from llara_core.evaluation.tables import plain_text, report_columns

LIBRARIES = ("numpy", "pandas", "torch", "transformers", "peft")
TEMPLATES = {"md": "report.md.jinja", "html": "report.html.jinja"}


@dataclass(frozen=True)
class DatasetReport:
    """Everything that the report says about one dataset.

    Attributes:
        name: key in ``params.yaml``.
        results: one per system and mode.
        recommender_curves: training curves of the recommenders.
        llm_curves: tuning curves of the LLM systems.
        candidates_hash: of the held-out candidate sets.
        protocol: how it was measured, in sentences.
        published: the paper's rows for this dataset, none where the paper does not have it.
    """

    name: str
    results: list[SystemResult]
    recommender_curves: Curves
    llm_curves: Curves
    candidates_hash: str
    protocol: list[str]
    published: Sequence[PaperResult]


def write(reports: Sequence[DatasetReport], params: Params) -> None:
    """Write ``report.md``, ``report.html`` and the plot tables into ``metrics``."""
    for form in TEMPLATES:
        _write_text(paths.REPORT / f"report.{form}", render(reports, params, form))
    for name, table in plot_tables(reports).items():
        _write_text(paths.PLOTS / f"{name}.tsv", table.to_csv(sep="\t", index=False))


def build(params: Params) -> list[DatasetReport]:
    """Read the predictions and curves of all cells of the axes and compare the systems of each dataset.

    Raises:
        DataError: predictions are missing, incomplete, or answer other candidate sets.
    """
    return [_dataset_report(params, dataset) for dataset in params.run.datasets]


def render(reports: Sequence[DatasetReport], params: Params, form: str) -> str:
    """The report as text.

    Args:
        form: ``md`` or ``html``.
    """
    environment = Environment(
        undefined=StrictUndefined, autoescape=form == "html", trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    template = environment.from_string(files(__package__).joinpath(TEMPLATES[form]).read_text(encoding="utf-8"))
    return template.render(
        reports=reports,
        columns={report.name: report_columns(report.published) for report in reports},
        paper=paper,
        confidence=f"{params.evaluation.confidence:.0%}",
        llm=params.llm.model,
        figures={report.name: _figures(report, params) for report in reports} if form == "html" else {},
        versions={name: importlib.metadata.version(name) for name in LIBRARIES},
    )


def terminal(reports: Sequence[DatasetReport]) -> str:
    """The results of all datasets as plain text."""
    return "\n".join(
        f"\n{report.name}, test split, candidate sets {short_hash(report.candidates_hash)}\n\n"
        f"{plain_text(report.results, report.published)}\n"
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


def protocol(params: Params, dataset: str) -> list[str]:
    """How the systems of ``dataset`` were compared, in five sentences."""
    config, sets, statistics = params.dataset(dataset), params.candidates, params.evaluation
    negatives = {
        "all_interactions": "items that the user never interacted with",
        "last_interactions": "items outside the example's history",
    }[exclusion(config, sets)]
    return [
        f"{_rows(dataset, config)}; a history holds up to {config.max_history_len} items.",
        f"Each held-out example comes with {sets.draws.validation} (validation) and {sets.draws.test} (test) candidate sets of "
        f"{sets.n_candidates} items, the target and {negatives}, drawn once with seed {sets.seed}, so every system answers the "
        "same sets; one that is slow may answer the first few of them.",
        "A hit is a valid answer that is the target, an invalid answer is a miss, and candidates with equal scores rank in the "
        "shuffled order in which they were drawn.",
        f"Intervals ({statistics.confidence:.0%}) come from {statistics.bootstrap_samples} resamples of users (bootstrap), "
        "and differences to the best recommender are paired over the candidate sets that both systems answer and tested by "
        "flipping the signs of the users' differences, with Holm's correction over the systems of the table.",
        "Epochs, hyper-parameters, fusion weights and the best recommender are chosen on validation; test is only reported.",
    ]


def _rows(dataset: str, config: DatasetConfig) -> str:
    """Which interactions count, in what order, and how they are split."""
    if isinstance(config, ReleasedFramesConfig):
        return f"On {dataset}, the rows and the split are those of the released frames"
    clauses = []
    if isinstance(config, RatedSection) and config.min_rating is not None:
        clauses.append(f"rated {config.min_rating:g} or higher")
    if isinstance(config, OwnLogConfig) and config.repeats == "first":
        clauses.append("a user's first with the item")
    for name, minimum in (("items", config.min_item_interactions), ("users", config.min_user_interactions)):
        if minimum > 1:
            clauses.append(f"of {name} with at least {minimum}")
    if isinstance(config, OwnLogConfig) and config.min_counts == "k_core":
        clauses.append("as a k-core")
    if isinstance(config, SteamConfig) and (config.subsample.users < 1 or config.subsample.items < 1):
        clauses.append(f"of a random {config.subsample.users:.0%} of the users and {config.subsample.items:.0%} of the items")
    kept = f"interactions {', '.join(clauses)}" if clauses else "all interactions"
    order = ", in the order of the file (not of time)" if isinstance(config, LastFmConfig) and config.order == "file" else ""
    split = {
        "user_chronological": f"users, sorted by their first interaction, are divided {_split_shares(config.split)} into "
        "training, validation and test, and the last item of each held-out user is the target",
        "global_time": f"all interactions are cut at two points in time, {_split_shares(config.split)}, so that nothing in "
        "training is later than anything held out",
    }[config.split.strategy]
    return f"On {dataset}, {kept} are kept{order}; {split}"


def _dataset_report(params: Params, dataset: str) -> DatasetReport:
    ground = read_ground(dataset)
    cells: dict[str, list[str]] = {"recommender": [], "llm": [], "fused": []}
    for system in systems_of(params.run):
        cells[system.kind].extend(system.cells)
    return DatasetReport(
        name=dataset,
        results=compare(ground, params.run, params.evaluation),
        recommender_curves=read_curves(dataset, cells["recommender"]),
        llm_curves=read_curves(dataset, cells["llm"]),
        candidates_hash=ground.candidates_hash,
        protocol=protocol(params, dataset),
        published=_published(params.dataset(dataset)),
    )


def _published(config: DatasetConfig) -> Sequence[PaperResult]:
    """The paper's rows for the data set; none for a Steam that is not selected as the paper's is."""
    if isinstance(config, SteamConfig) and config.min_user_interactions != paper.STEAM_MIN_USER_INTERACTIONS:
        return ()
    return paper.TABLE_2.get(config.format, ())


def _figures(report: DatasetReport, params: Params) -> list[tuple[str, str]]:
    """Captions and base64 PNGs."""
    bars = plots.hit_ratio_figure(report.results, params.candidates.n_candidates, params.evaluation.confidence)
    figures = [("Hit ratio@1 on test of every system; the table above has the numbers", bars)]
    for caption, curves in (
        ("Training of the recommenders: loss and validation metrics over the epochs", report.recommender_curves),
        ("Tuning of the LLM systems: loss, learning rate and curriculum over the steps", report.llm_curves),
    ):
        if curves:
            figures.append((caption, plots.curves_figure(curves)))
    return [(caption, base64.b64encode(png).decode()) for caption, png in figures]


def _bars(report: DatasetReport) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "system": [f"{report.name} {result.system} ({result.mode})" for result in report.results],
            "hit_ratio@1": [round(result.test["hit_ratio@1"], 4) for result in report.results],
        }
    )


def _over_datasets(reports: Sequence[DatasetReport], attribute: str, labels: dict[str, str]) -> pd.DataFrame:
    frames = [joined(getattr(report, attribute), labels) for report in reports]
    for report, frame in zip(reports, frames, strict=True):
        frame["curve"] = f"{report.name} " + frame["curve"]
    return pd.concat(frames, ignore_index=True)


def _write_text(path: Path, text: str) -> None:
    with tables.atomic_path(path) as staged:
        staged.write_text(text, encoding="utf-8")


def _split_shares(split: SplitConfig) -> str:
    return f"{split.train:.0%} / {split.validation:.0%} / {1 - split.train - split.validation:.0%}"
