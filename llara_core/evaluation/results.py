"""Predictions of cells, read and turned into per-set results on one common ground: the held-out candidate sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from llara_core import columns as c
from llara_core import paths, predictions, tables
from llara_core.config import EvaluationConfig, Representation
from llara_core.errors import DataError
from llara_core.evaluation import metrics, significance
from llara_core.held_out import held_out_candidates
from llara_core.predictions import PredictionMetadata
from llara_core.prompts.rendering import answer_text
from llara_core.seeding import numpy_stream


@dataclass(frozen=True)
class Ground:
    """What the systems of one dataset are compared on.

    Attributes:
        dataset: key in ``params.yaml``.
        examples: rows of :data:`tables.EXAMPLES`.
        candidates: rows of :data:`tables.CANDIDATE_SETS` of both held-out splits.
        candidates_hash: of these candidate sets.
        labels: of the items, by id.
    """

    dataset: str
    examples: pd.DataFrame
    candidates: pd.DataFrame
    candidates_hash: str
    labels: Sequence[str]

    def names(self, representation: Representation) -> list[str]:
        """What a system prompted with ``representation`` has to write for each item, by id.

        A label that holds a special token of the LLM was shown with a space in it, and is not found in an answer.
        """
        return [answer_text(item, self.labels, representation) for item in range(len(self.labels))]


@dataclass(frozen=True)
class CellResults:
    """One predictions table of a cell: what it answers, and its rows of :func:`metrics.per_set_results`."""

    facts: PredictionMetadata
    rows: pd.DataFrame

    def split(self, name: str) -> pd.DataFrame:
        """The rows of one split."""
        return self.rows[self.rows[c.SPLIT] == name]


def read_ground(dataset: str) -> Ground:
    """Read the examples, held-out candidate sets and labels of ``dataset``."""
    labels = tables.read_table(paths.prepared(dataset) / "items.parquet", tables.ITEMS)[c.LABEL].to_list()
    examples = tables.read_table(paths.prepared(dataset) / "examples.parquet", tables.EXAMPLES)
    candidates, candidates_hash = held_out_candidates(dataset)
    return Ground(dataset, examples, candidates, candidates_hash, labels)


def read_cell(ground: Ground, cell: str, representation: Representation = "title") -> list[CellResults]:
    """All that one cell answered: every mode, with ordered and with shuffled histories, by file name.

    Args:
        ground: of the cell's dataset.
        cell: name.
        representation: of items in its prompts, where it writes answers.

    Raises:
        DataError: the cell has no predictions, one does not answer what its name says, or they answer other candidate sets
            than ``ground``.
    """
    folder = paths.predictions(ground.dataset, cell)
    files = sorted(folder.glob("*.parquet"))
    if not files:
        raise DataError(f"{folder}: holds no predictions (*.parquet); run `dvc repro` to make them")
    names = ground.names(representation)
    return [_read(ground, file, names) for file in files]


def user_interval(config: EvaluationConfig, dataset: str, split: str) -> metrics.Interval:
    """Bootstrap intervals over users; every system of a split sees the same resamples of users."""

    def interval(values: npt.ArrayLike, users: npt.ArrayLike) -> tuple[float, float]:
        stream = numpy_stream(config.seed, "bootstrap", dataset, split)
        return significance.bootstrap_interval(values, users, config.bootstrap_samples, config.confidence, stream)

    return interval


def run_interval(config: EvaluationConfig, n_runs: int) -> metrics.Interval:
    """Intervals over users and training runs, of values that hold the same sets of every run, one run after the other."""

    def interval(values: npt.ArrayLike, users: npt.ArrayLike) -> tuple[float, float]:
        by_run = np.reshape(values, (n_runs, -1))
        _, user = np.unique(np.reshape(users, (n_runs, -1))[0], return_inverse=True)
        means = np.array([np.bincount(user, weights=run) for run in by_run]) / np.bincount(user)  # [n_runs, n_users]
        low, high = significance.crossed_mean(means.mean(axis=0), [means]).interval(config.confidence)
        return max(low, 0.0), min(high, 1.0)

    return interval


def metrics_record(results: CellResults, config: EvaluationConfig) -> dict[str, object]:
    """The JSON content for one predictions table: means per split, test first, then what was measured.

    ``dvc metrics show`` prints one row per file and one column per key, in this order.
    """
    facts = results.facts
    means = {
        split: metrics.rounded(metrics.aggregate(results.split(split), user_interval(config, facts.dataset, split)))
        for split in _answered_splits(facts)
    }
    left_out = {"dataset", "candidates_hash", "hardware"} | ({"note"} if not facts.note else set())
    return {**means, **facts.model_dump(exclude=left_out), "candidates": short_hash(facts.candidates_hash)}


def short_hash(full: str) -> str:
    """The first 12 digits, enough to tell candidate sets apart by eye."""
    return full[:12]


def _read(ground: Ground, file: Path, names: Sequence[str]) -> CellResults:
    frame, facts = predictions.read_predictions(file)
    if facts.candidates_hash != ground.candidates_hash:
        raise DataError(
            f"{file}: answers the candidate sets {short_hash(facts.candidates_hash)}, but those in "
            f"{paths.candidates(ground.dataset)} are {short_hash(ground.candidates_hash)}; results on different candidates "
            "must not be compared: run `dvc repro` to predict again"
        )
    if file.name != facts.file_name:
        raise DataError(
            f"{file}: its metadata say that it is {facts.file_name} of {facts.system}; delete it and run `dvc repro` again"
        )
    splits = _answered_splits(facts)
    return CellResults(facts, metrics.per_set_results(frame, ground.candidates, ground.examples, names, str(file), splits))


def _answered_splits(facts: PredictionMetadata) -> tuple[str, ...]:
    """Test first; shuffled histories are of test alone."""
    return (c.TEST, c.VALIDATION) if facts.history == "ordered" else (c.TEST,)
