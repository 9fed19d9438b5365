"""The section with the curves of the training runs, and the tables of them for ``dvc plots``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from llara_core import paths
from llara_core.curves import HYBRID_SHARE, LEARNING_RATE, LOSS, OBJECTIVE_LOSS, P_HYBRID, VALIDATION_HIT_RATIO
from llara_core.report import plots
from llara_core.report.comparisons import Comparisons
from llara_core.report.curve_tables import Curves, joined, read_curves
from llara_core.report.layout import Figure, Section

_CURRICULUM = (P_HYBRID, HYBRID_SHARE)


@dataclass(frozen=True)
class TrainingCurves:
    """The curves of one data set.

    Attributes:
        dataset: key in ``params.yaml``.
        recommenders: of the recommenders.
        llms: of the LLM systems; those of the curriculum are of systems that use one.
        schedules: of the curriculum, by cell, of the systems that use one.
    """

    dataset: str
    recommenders: Curves
    llms: Curves
    schedules: Mapping[str, str]


def training_curves(found: Comparisons) -> TrainingCurves:
    """Read the curves of all cells of the axes.

    Raises:
        DataError: a file is no table of a curve.
    """
    by_kind = {
        kind: {
            cell: (paths.curves if system.start is None else paths.further_curves)(found.dataset, cell)
            for system in found.systems
            if system.kind == kind
            for cell in system.cells
        }
        for kind in ("recommender", "tuned")
    }
    # A system without hybrid prompts is given a schedule, too, but has no use for it.
    schedules = {
        cell: found.params.system(system.key).curriculum.schedule
        for system in found.systems
        if system.kind == "tuned" and found.params.system(system.key).prompt.representation == "hybrid"
        for cell in system.cells
    }
    llms = {
        name: {cell: curve for cell, curve in cells.items() if name not in _CURRICULUM or cell in schedules}
        for name, cells in read_curves(by_kind["tuned"]).items()
    }
    return TrainingCurves(
        found.dataset,
        read_curves(by_kind["recommender"]),
        {name: cells for name, cells in llms.items() if cells},
        schedules,
    )


def section(curves: TrainingCurves) -> Section | None:
    """The figures; None where nothing logged a curve."""
    figures = []
    if curves.recommenders:
        caption = "Training of the recommenders: loss and validation metrics over the epochs."
        figures.append(Figure(caption, lambda: plots.curves_figure(curves.recommenders, "epoch")))
    tuning = {name: cells for name, cells in curves.llms.items() if name not in _CURRICULUM}
    if tuning:
        caption = "Tuning of the language models: loss and learning rate over the steps."
        figures.append(Figure(caption, lambda: plots.curves_figure(tuning, "step")))
    panels = _panels(curves)
    if panels:
        caption = "Curriculum: realised share of hybrid prompts (a running mean) against the planned p(tau), by schedule."
        figures.append(Figure(caption, lambda: plots.curriculum_figure(panels)))
    return Section("Training", figures=figures) if figures else None


def curve_plots(all_curves: Sequence[TrainingCurves]) -> dict[str, pd.DataFrame]:
    """Long tables for ``dvc plots`` by file name, over all data sets; a table without data has its header alone."""

    def table(labels: Mapping[str, str], attribute: str) -> pd.DataFrame:
        frames = [joined(getattr(curves, attribute), labels) for curves in all_curves]
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
    """From schedule to cell to the planned and the realised share of hybrid prompts."""
    planned, realised = (curves.llms.get(name, {}) for name in _CURRICULUM)
    panels: dict[str, dict[str, tuple[pd.DataFrame, pd.DataFrame]]] = {}
    for cell in planned:
        if cell in realised:
            panels.setdefault(curves.schedules[cell], {})[cell] = (planned[cell], realised[cell])
    return panels
