"""From predictions tables to results per candidate set and to the metrics of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from llara_core import columns as c
from llara_core import paths, predictions
from llara_core.config import EvaluationConfig, Params
from llara_core.errors import DataError
from llara_core.evaluation import metrics
from llara_core.evaluation.calibration import calibrate
from llara_core.evaluation.comparison import Means, over_sets
from llara_core.evaluation.intervals import user_interval
from llara_core.evaluation.results import MODES, RunResults, is_made, short_hash, tables_of, training_counts
from llara_core.evaluation.systems import System, systems_of
from llara_core.held_out import HeldOut
from llara_core.predictions import PredictionMetadata
from llara_core.prompts.rendering import answer_texts

# The figures by which systems are chosen, under short names: `dvc metrics show` prints a column for each.
DECIDING = {"HR@1": "hit_ratio@1", "valid": "valid_ratio", "top10": "hit_ratio@10_catalogue"}
SPLIT_NAMES = {"val": c.VALIDATION, "test": c.TEST}
Figures = dict[str, dict[str, float]]  # by short name of a split, then of a figure


def evaluate(held_out: HeldOut, params: Params) -> Iterator[tuple[str, RunResults]]:
    """The results of every run of every system of the axes, in every mode, as (cell, results).

    At positions, systems that were not asked there are left out.

    Args:
        held_out: of one data set.
        params: of the run.

    Raises:
        DataError: predictions are missing or incomplete, do not answer what their name says, or answer other candidate sets
            than ``held_out`` has.
    """
    is_new = training_counts(held_out.dataset) == 0
    for system in systems_of(params):
        if not is_made(system, lambda cell: paths.system_predictions(held_out.dataset, cell)):
            continue
        prompted = system.kind in ("tuned", "untuned")
        names = answer_texts(held_out.labels, params.system(system.key).prompt.representation if prompted else "title")
        for cell in system.cells:
            folder = held_out.folder(_predictions(held_out.dataset, system, cell))
            if held_out.scope == "positions" and not folder.exists():
                continue
            for file in tables_of(folder):
                yield cell, evaluate_table(held_out, file, names, is_new)


def evaluate_table(
    held_out: HeldOut, file: Path, names: Sequence[str], is_new: npt.NDArray[np.bool_] | None = None
) -> RunResults:
    """The results of one predictions table.

    Args:
        held_out: of its data set.
        file: the table.
        names: what the system has to write for each item, by id.
        is_new: as in :func:`metrics.per_set_results`.

    Raises:
        DataError: as :func:`evaluate`.
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
            f"{file}: its metadata says that it is {metadata.file_name} of {metadata.system}; delete it and run "
            "`dvc repro` again"
        )
    splits = _answered_splits(metadata)
    if held_out.scope == "positions":
        held_out = held_out.limited(_n_turns(frame, held_out))
    sets = metrics.per_set_results(frame, held_out.candidates, held_out.examples, names, str(file), splits, is_new)
    is_the_papers = held_out.scope == "last" and metadata.history == "ordered"
    return RunResults(metadata, sets, calibrate(frame, held_out) if is_the_papers else None)


def metrics_record(run: RunResults, config: EvaluationConfig, means_of: Means = over_sets) -> dict[str, Any]:
    """The JSON content for one run in one mode: means per split, test first, then what was measured.

    ``dvc metrics show`` prints one row per file and one column per key, in this order.
    """
    metadata = run.metadata
    means = {
        split: metrics.rounded(means_of([run.split(split)], user_interval(config, metadata.dataset, split)))
        for split in _answered_splits(metadata)
    }
    left_out = {"dataset", "candidates_hash", "hardware"} | ({"note"} if not metadata.note else set())
    return {**means, **metadata.model_dump(exclude=left_out), "candidates": short_hash(metadata.candidates_hash)}


def deciding_figures(run: RunResults) -> Figures:
    """The figures of one run in one mode, with ordered histories, that decide; without those that it does not have."""
    found = {
        short: {name: metrics.METRICS[metric].value(run.split(split)) for name, metric in DECIDING.items()}
        for short, split in SPLIT_NAMES.items()
    }
    return {short: {name: value for name, value in values.items() if value is not None} for short, values in found.items()}


def mean_of_headlines(runs: Sequence[Mapping[str, Figures]]) -> Figures:
    """The figures of a system, in the mode in which it is compared with others, with four decimals.

    Args:
        runs: of every run :func:`deciding_figures`, by mode.
    """
    mode = next(mode for mode in MODES if mode in runs[0])
    return {
        short: {name: round(sum(run[mode][short][name] for run in runs) / len(runs), 4) for name in values}
        for short, values in runs[0][mode].items()
    }


def _predictions(dataset: str, system: System, cell: str) -> Path:
    folder = {
        "baseline": paths.baseline_predictions,
        "recommender": paths.recommender_predictions,
        "fused": paths.fused_predictions,
    }.get(system.kind, paths.system_predictions)
    return folder(dataset, cell)


def _n_turns(predictions: pd.DataFrame, held_out: HeldOut) -> int:
    """Positions of each user that a table answers: up to the last turn in it, and then all of these have to be there."""
    turns = held_out.examples.set_index(c.EXAMPLE)[c.TURN]
    return int(turns.reindex(predictions[c.EXAMPLE]).max()) + 1


def _answered_splits(metadata: PredictionMetadata) -> tuple[str, ...]:
    """Test first; shuffled histories are of test alone."""
    return (c.TEST, c.VALIDATION) if metadata.history == "ordered" else (c.TEST,)
