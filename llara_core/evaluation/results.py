"""Predictions of cells, read and turned into per-set results on one common ground: the held-out candidate sets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy.typing as npt
import pandas as pd

from llara_core import columns as c
from llara_core import paths, predictions, tables
from llara_core.config import EvaluationConfig
from llara_core.errors import DataError
from llara_core.evaluation import metrics, significance
from llara_core.predictions import PredictionFacts
from llara_core.seeding import numpy_stream


@dataclass(frozen=True)
class Ground:
    """What the systems of one dataset are compared on.

    Attributes:
        dataset: key in ``params.yaml``.
        examples: rows of :data:`tables.EXAMPLES`.
        candidates: rows of :data:`tables.CANDIDATE_SETS` of both held-out splits.
        candidates_hash: of these candidate sets.
    """

    dataset: str
    examples: pd.DataFrame
    candidates: pd.DataFrame
    candidates_hash: str


@dataclass(frozen=True)
class CellResults:
    """One predictions table of a cell: what it answers, and its rows of :func:`metrics.per_set_results`."""

    facts: PredictionFacts
    rows: pd.DataFrame

    def split(self, name: str) -> pd.DataFrame:
        """The rows of one split."""
        return self.rows[self.rows[c.SPLIT] == name]


def read_ground(dataset: str) -> Ground:
    """Read the examples and held-out candidate sets of ``dataset``."""
    examples = tables.read_table(paths.prepared(dataset) / "examples.parquet", tables.EXAMPLES)
    candidates, candidates_hash = predictions.held_out_candidates(dataset)
    return Ground(dataset, examples, candidates, candidates_hash)


def read_cell(ground: Ground, cell: str) -> list[CellResults]:
    """All that one cell answered: every mode, with ordered and with shuffled histories, by file name.

    Raises:
        DataError: the cell has no predictions, one does not answer what its name says, or they answer other candidate sets
            than ``ground``.
    """
    folder = paths.predictions(ground.dataset, cell)
    files = sorted(folder.glob("*.parquet"))
    if not files:
        raise DataError(f"{folder}: holds no predictions (*.parquet); run `dvc repro` to make them")
    return [_read(ground, file) for file in files]


def user_interval(config: EvaluationConfig, dataset: str, split: str) -> metrics.Interval:
    """Bootstrap intervals over users; every system of a split sees the same resamples of users."""

    def interval(values: npt.ArrayLike, users: npt.ArrayLike) -> tuple[float, float]:
        stream = numpy_stream(config.seed, "bootstrap", dataset, split)
        return significance.bootstrap_interval(values, users, config.bootstrap_samples, config.confidence, stream)

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


def _read(ground: Ground, file: Path) -> CellResults:
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
    return CellResults(facts, metrics.per_set_results(frame, ground.candidates, ground.examples, str(file), splits))


def _answered_splits(facts: PredictionFacts) -> tuple[str, ...]:
    """Test first; shuffled histories are of test alone."""
    return (c.TEST, c.VALIDATION) if facts.history == "ordered" else (c.TEST,)
