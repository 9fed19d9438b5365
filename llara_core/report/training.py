"""Report section with the curves of the training runs, and their tables for ``dvc plots``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from llara_core import paths
from llara_core.errors import DataError
from llara_core.report import plots
from llara_core.report.comparisons import Comparisons
from llara_core.report.layout import Figure, ReportSection
from llara_core.report.plots import CURVE, RUN, SCHEDULE, STEP, VALUE
from llara_core.runtime.curves import HYBRID_SHARE, LEARNING_RATE, LOSS, OBJECTIVE_LOSS, P_HYBRID, VALIDATION_HIT_RATIO

DATASET, KIND = "dataset", "kind"
_CURRICULUM = (P_HYBRID, HYBRID_SHARE)


def read_curves(comparisons: Comparisons) -> pd.DataFrame:
    """Reads the curves of all training runs from DVCLive's files ``plots/metrics/**/<name>.tsv``; runs may lack files.

    Returns:
        A row per run, curve and step, ordered by curve, with the data set, the kind of the system and the curriculum schedule,
        which is empty for a run that uses none.

    Raises:
        DataError: a file is not a tab-separated table with a column ``step`` and a column of numbers.
    """
    params, dataset = comparisons.params, comparisons.dataset
    frames = []
    for system in comparisons.systems:
        if system.kind not in ("recommender", "tuned"):
            continue
        config = params.system(system.key) if system.kind == "tuned" else None
        schedule = config.curriculum.schedule if config and config.prompt.representation == "hybrid" else ""
        for run_name in system.run_names:
            live = (paths.curves if system.start is None else paths.further_curves)(dataset, run_name)
            folder = live / "plots" / "metrics"
            for file in sorted(folder.rglob("*.tsv")):
                name = file.relative_to(folder).with_suffix("").as_posix()
                if schedule or name not in _CURRICULUM:  # without hybrid prompts, the configured schedule has no effect
                    stated = {DATASET: dataset, KIND: system.kind, RUN: run_name, SCHEDULE: schedule, CURVE: name}
                    frames.append(_read_curve(file).assign(**stated))
    empty = pd.DataFrame(columns=[STEP, VALUE, DATASET, KIND, RUN, SCHEDULE, CURVE])
    return pd.concat(frames).sort_values(CURVE, kind="stable", ignore_index=True) if frames else empty


def section(curves: pd.DataFrame) -> ReportSection | None:
    """Shows the curves of :func:`read_curves`; None where no curve was logged."""
    training, tuning = (curves[(curves[KIND] == kind) & ~curves[CURVE].isin(_CURRICULUM)] for kind in ("recommender", "tuned"))
    curriculum = curves[curves[CURVE].isin(_CURRICULUM)]
    figures = []
    if len(training):
        caption = "Training of the recommenders: loss and validation metrics over the epochs."
        figures.append(Figure(caption, lambda: plots.curves_figure(training, "epoch")))
    if len(tuning):
        caption = "Tuning of the language models: loss and learning rate over the steps."
        figures.append(Figure(caption, lambda: plots.curves_figure(tuning, "step")))
    if len(curriculum):
        caption = "Curriculum: realised share of hybrid prompts (a running mean) against the planned p(tau), by schedule."
        figures.append(Figure(caption, lambda: plots.curriculum_figure(curriculum)))
    return ReportSection("Training", figures=figures) if figures else None


def curve_plots(all_curves: Sequence[pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Builds the long tables for ``dvc plots`` from :func:`read_curves` of every data set, by file name; a table without data
    has only its header."""

    def table(kind: str, labels: Mapping[str, str]) -> pd.DataFrame:
        parts = []
        for curves in all_curves:
            for name, label in labels.items():
                part = curves[(curves[KIND] == kind) & (curves[CURVE] == name)]
                parts.append(part.assign(**{CURVE: part[DATASET] + " " + part[RUN] + label}))
        return pd.concat(parts)[[STEP, CURVE, VALUE]]

    return {
        "recommender_loss": table("recommender", {LOSS: ""}),
        "recommender_validation": table("recommender", {VALIDATION_HIT_RATIO: ""}),
        "llm_loss": table("tuned", {name: f" {objective}" for objective, name in OBJECTIVE_LOSS.items()}),
        "llm_learning_rate": table("tuned", {LEARNING_RATE: ""}),
        "llm_curriculum": table("tuned", {P_HYBRID: " p(hybrid)", HYBRID_SHARE: " realised share"}),
    }


def _read_curve(file: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(file, sep="\t")
        return pd.DataFrame({STEP: table[STEP], VALUE: table.drop(columns=STEP).iloc[:, -1].astype(float)})
    except (ValueError, KeyError, IndexError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: expected a tab-separated table with a column 'step' and one of numbers ({error})") from error
