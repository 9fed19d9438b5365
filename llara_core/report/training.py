"""Report section with the curves of the training runs, and their tables for ``dvc plots``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from llara_core import paths
from llara_core.report import plots
from llara_core.report.comparisons import Comparisons
from llara_core.report.curve_tables import CurveTables, join_curves, read_curves
from llara_core.report.layout import Figure, ReportSection
from llara_core.runtime.curves import HYBRID_SHARE, LEARNING_RATE, LOSS, OBJECTIVE_LOSS, P_HYBRID, VALIDATION_HIT_RATIO

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
            frame["curve"] = f"{curves.dataset} " + frame["curve"]
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
