"""Computes results per candidate set and metrics from predictions tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from llara_core import columns as c
from llara_core import paths
from llara_core.answers import predictions
from llara_core.answers.held_out import HeldOut
from llara_core.answers.predictions import PredictionMetadata
from llara_core.config import EvaluationConfig, Params
from llara_core.errors import DataError
from llara_core.evaluation import metrics
from llara_core.evaluation.calibration import calibrate
from llara_core.evaluation.means import Means, means_over_sets, user_interval
from llara_core.evaluation.results import MODES, RunResults, has_answers, list_tables, short_hash, training_counts
from llara_core.evaluation.systems import System, systems_of
from llara_core.llm.prompts.rendering import answer_texts

# The metrics that decide between systems, under short names: `dvc metrics show` prints a column for each.
MAIN_METRICS = {"HR@1": "hit_ratio@1", "valid": "valid_ratio", "top10": "hit_ratio@10_catalogue"}
SPLIT_NAMES = {"val": c.VALIDATION, "test": c.TEST}
MainMetrics = dict[str, dict[str, float]]  # values by short name of the split, then of the metric


def evaluate(held_out: HeldOut, params: Params) -> Iterator[tuple[str, RunResults]]:
    """Evaluates every run of every system in every mode; yields pairs of run name and results.

    Systems without answers at further positions are left out there.

    Raises:
        DataError: predictions are missing or incomplete, do not answer what their name says, or answer other candidate sets
            than ``held_out`` has.
    """
    is_new = training_counts(held_out.dataset) == 0
    for system in systems_of(params):
        if not has_answers(system, lambda run_name: paths.system_predictions(held_out.dataset, run_name)):
            continue
        prompted = system.kind in ("tuned", "untuned")
        names = answer_texts(held_out.labels, params.system(system.key).prompt.representation if prompted else "title")
        for run_name in system.run_names:
            folder = held_out.folder(_predictions(held_out.dataset, system, run_name))
            if held_out.scope == "positions" and not folder.exists():
                continue
            for file in list_tables(folder):
                yield run_name, evaluate_table(held_out, file, names, is_new)


def evaluate_table(
    held_out: HeldOut, file: Path, names: Sequence[str], is_new: npt.NDArray[np.bool_] | None = None
) -> RunResults:
    """Evaluates one predictions table.

    Args:
        names: text that names each item in an answer, by item id.
        is_new: ``(n_items,)`` bool, items without training interactions; None if there are none.

    Raises:
        DataError: the predictions are incomplete, do not answer what their name says, or answer other candidate sets.
    """
    frame, metadata = predictions.read_predictions(file)
    if metadata.candidates_hash != held_out.candidates_hash:
        raise DataError(
            f"{file}: answers the candidate sets {short_hash(metadata.candidates_hash)}, but those in "
            f"{held_out.source} are {short_hash(held_out.candidates_hash)}; results on different candidates "
            "cannot be compared: run `dvc repro` to predict again"
        )
    if file.name != metadata.file_name:
        raise DataError(
            f"{file}: its metadata describes {metadata.file_name} of {metadata.system}; delete it and run `dvc repro` again"
        )
    splits = _answered_splits(metadata)
    if held_out.scope == "positions":
        held_out = held_out.limited(_n_positions(frame, held_out))
    sets = metrics.per_set_results(frame, held_out.candidates, held_out.examples, names, str(file), splits, is_new)
    with_calibration = held_out.scope == "last" and metadata.history == "ordered"
    return RunResults(metadata, sets, calibrate(frame, held_out) if with_calibration else None)


def metrics_record(run: RunResults, config: EvaluationConfig, means_of: Means = means_over_sets) -> dict[str, Any]:
    """Builds the JSON record of one run in one mode: means per split, test first, followed by the metadata.

    ``dvc metrics show`` prints one row per file and one column per key, in this order.
    """
    metadata = run.metadata
    means = {
        split: metrics.rounded(means_of([run.split(split)], user_interval(config, metadata.dataset, split)))
        for split in _answered_splits(metadata)
    }
    left_out = {"dataset", "candidates_hash", "hardware", *(() if metadata.note else ("note",))}
    described = metadata.model_dump(exclude=left_out, exclude_none=True)
    return {**means, **described, "candidates": short_hash(metadata.candidates_hash)}


def main_metrics(run: RunResults) -> MainMetrics:
    """Computes the main metrics that exist for one run in one mode, with ordered histories."""
    by_split = {
        short: {name: metrics.METRICS[metric].value(run.split(split)) for name, metric in MAIN_METRICS.items()}
        for short, split in SPLIT_NAMES.items()
    }
    return {short: {name: value for name, value in values.items() if value is not None} for short, values in by_split.items()}


def system_main_metrics(runs: Sequence[Mapping[str, MainMetrics]]) -> MainMetrics:
    """Averages the main metrics of a system over its runs, in its primary mode, to four decimals.

    Args:
        runs: :func:`main_metrics` of each run, by mode.
    """
    mode = next(mode for mode in MODES if mode in runs[0])
    means = mean_main_metrics([run[mode] for run in runs])
    return {short: metrics.rounded(values) for short, values in means.items()}


def mean_main_metrics(runs: Sequence[MainMetrics]) -> MainMetrics:
    """Averages the main metrics that all of these runs have."""
    means: MainMetrics = {}
    for split, values in runs[0].items():
        common = [name for name in values if all(name in run[split] for run in runs)]
        means[split] = {name: sum(run[split][name] for run in runs) / len(runs) for name in common}
    return means


def _predictions(dataset: str, system: System, run_name: str) -> Path:
    folder = {
        "baseline": paths.baseline_predictions,
        "recommender": paths.recommender_predictions,
        "fused": paths.fused_predictions,
    }.get(system.kind, paths.system_predictions)
    return folder(dataset, run_name)


def _n_positions(frame: pd.DataFrame, held_out: HeldOut) -> int:
    """Returns the number of positions per user that predictions answer; all up to the last one must then be answered."""
    positions = held_out.examples.set_index(c.EXAMPLE)[c.TURN]
    return int(positions.reindex(frame[c.EXAMPLE]).max()) + 1


def _answered_splits(metadata: PredictionMetadata) -> tuple[str, ...]:
    """Returns the splits that a table answers, test first; shuffled histories exist only for test."""
    return (c.TEST, c.VALIDATION) if metadata.history == "ordered" else (c.TEST,)
