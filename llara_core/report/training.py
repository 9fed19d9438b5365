"""Report section with the curves of the training runs, and their tables for ``dvc plots``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from llara_core import paths
from llara_core.errors import DataError
from llara_core.report import plots
from llara_core.report.comparisons import Comparisons
from llara_core.report.layout import Figure, ReportSection
from llara_core.report.plots import STEP, VALUE, CurveTables
from llara_core.runtime.curves import HYBRID_SHARE, LEARNING_RATE, LOSS, OBJECTIVE_LOSS, P_HYBRID, VALIDATION_HIT_RATIO

CURVE = "curve"  # column of the tables of several curves
_CURRICULUM = (P_HYBRID, HYBRID_SHARE)


@dataclass(frozen=True)
class TrainingCurves:
    """Training curves of one data set."""

    dataset: str  # key in ``params.yaml``
    recommenders: CurveTables  # curves of the recommenders
    llms: CurveTables  # curves of the LLM systems; those of the curriculum cover only systems that use one
    schedules: Mapping[str, str]  # curriculum schedule of each run that uses one, by run name


def training_curves(comparisons: Comparisons) -> TrainingCurves:
    """Reads the curves of all training runs.

    Raises:
        DataError: a file is not a table of a curve.
    """
    by_kind = {
        kind: {
            run_name: (paths.curves if system.start is None else paths.further_curves)(comparisons.dataset, run_name)
            for system in comparisons.systems
            if system.kind == kind
            for run_name in system.run_names
        }
        for kind in ("recommender", "tuned")
    }
    # A system without hybrid prompts has a schedule in its configuration, but does not use it.
    schedules = {
        run_name: comparisons.params.system(system.key).curriculum.schedule
        for system in comparisons.systems
        if system.kind == "tuned" and comparisons.params.system(system.key).prompt.representation == "hybrid"
        for run_name in system.run_names
    }
    llms = {
        name: {run_name: curve for run_name, curve in by_run.items() if name not in _CURRICULUM or run_name in schedules}
        for name, by_run in read_curves(by_kind["tuned"]).items()
    }
    return TrainingCurves(
        comparisons.dataset,
        read_curves(by_kind["recommender"]),
        {name: by_run for name, by_run in llms.items() if by_run},
        schedules,
    )


def section(curves: TrainingCurves) -> ReportSection | None:
    """Shows the curves; None where no curve was logged."""
    figures = []
    if curves.recommenders:
        caption = "Training of the recommenders: loss and validation metrics over the epochs."
        figures.append(Figure(caption, lambda: plots.curves_figure(curves.recommenders, "epoch")))
    if tuning := {name: by_run for name, by_run in curves.llms.items() if name not in _CURRICULUM}:
        caption = "Tuning of the language models: loss and learning rate over the steps."
        figures.append(Figure(caption, lambda: plots.curves_figure(tuning, "step")))
    if panels := _panels(curves):
        caption = "Curriculum: realised share of hybrid prompts (a running mean) against the planned p(tau), by schedule."
        figures.append(Figure(caption, lambda: plots.curriculum_figure(panels)))
    return ReportSection("Training", figures=figures) if figures else None


def curve_plots(all_curves: Sequence[TrainingCurves]) -> dict[str, pd.DataFrame]:
    """Builds the long tables for ``dvc plots`` over all data sets, by file name; a table without data has only its header."""

    def table(labels: Mapping[str, str], attribute: str) -> pd.DataFrame:
        frames = [join_curves(getattr(curves, attribute), labels) for curves in all_curves]
        for curves, frame in zip(all_curves, frames, strict=True):
            frame[CURVE] = f"{curves.dataset} " + frame[CURVE]
        return pd.concat(frames, ignore_index=True)

    return {
        "recommender_loss": table({LOSS: ""}, "recommenders"),
        "recommender_validation": table({VALIDATION_HIT_RATIO: ""}, "recommenders"),
        "llm_loss": table({name: objective for objective, name in OBJECTIVE_LOSS.items()}, "llms"),
        "llm_learning_rate": table({LEARNING_RATE: ""}, "llms"),
        "llm_curriculum": table({P_HYBRID: "p(hybrid)", HYBRID_SHARE: "realised share"}, "llms"),
    }


def _panels(curves: TrainingCurves) -> dict[str, dict[str, tuple[pd.DataFrame, pd.DataFrame]]]:
    """Returns the planned and the realised share of hybrid prompts, by schedule and run name."""
    planned, realised = (curves.llms.get(name, {}) for name in _CURRICULUM)
    panels: dict[str, dict[str, tuple[pd.DataFrame, pd.DataFrame]]] = {}
    for run_name in planned:
        if run_name in realised:
            panels.setdefault(curves.schedules[run_name], {})[run_name] = (planned[run_name], realised[run_name])
    return panels


def read_curves(folders: Mapping[str, Path]) -> dict[str, dict[str, pd.DataFrame]]:
    """Reads the curves of training runs from DVCLive's files ``plots/metrics/**/<name>.tsv``; a run without files is left out.

    Args:
        folders: DVCLive folder of each training run, by run name.

    Returns:
        By curve name, such as ``train/loss``, and by run name, a frame with the columns ``step`` and ``value``.

    Raises:
        DataError: a file is not a tab-separated table with a column ``step`` and a column of numbers.
    """
    curves: dict[str, dict[str, pd.DataFrame]] = {}
    for run_name, live in folders.items():
        folder = live / "plots" / "metrics"
        for file in sorted(folder.rglob("*.tsv")):
            name = file.relative_to(folder).with_suffix("").as_posix()
            curves.setdefault(name, {})[run_name] = _read_curve(file)
    return dict(sorted(curves.items()))


def join_curves(curves: CurveTables, labels: Mapping[str, str]) -> pd.DataFrame:
    """Concatenates several curves into one long table with the columns ``step``, ``curve`` and ``value``.

    Args:
        curves: curves from :func:`read_curves`.
        labels: names of the curves to include, each with the text that follows the run name in the column ``curve``.
    """
    frames = [
        frame.assign(**{CURVE: f"{run_name} {label}".strip()})
        for name, label in labels.items()
        for run_name, frame in curves.get(name, {}).items()
    ]
    empty = pd.DataFrame(columns=[STEP, CURVE, VALUE])
    return pd.concat(frames, ignore_index=True)[[STEP, CURVE, VALUE]] if frames else empty


def _read_curve(file: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(file, sep="\t")
        return pd.DataFrame({STEP: table[STEP], VALUE: table.drop(columns=STEP).iloc[:, -1].astype(float)})
    except (ValueError, KeyError, IndexError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: expected a tab-separated table with a column 'step' and one of numbers ({error})") from error
