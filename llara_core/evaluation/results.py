"""Results per candidate set: written once by the stage ``evaluate``, read by all that compares systems."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from llara_core import columns as c
from llara_core import paths, predictions, tables
from llara_core.errors import DataError
from llara_core.evaluation.calibration import Calibration
from llara_core.evaluation.systems import System
from llara_core.predictions import PredictionMetadata

# In the order of the report. The first one that a system has is its headline: the paper's LLMs answer in free text.
MODES = ("generate", "score", "constrained", "fused")
SCORED = predictions.file_name("score", "ordered")  # the table that a fusion needs


@dataclass(frozen=True)
class RunResults:
    """One run of one system in one mode.

    Attributes:
        metadata: what was measured.
        sets: a row of :data:`tables.RESULTS` per candidate set.
        calibration: of its scores; None where it has none, and for other questions than the paper's.
    """

    metadata: PredictionMetadata
    sets: pd.DataFrame
    calibration: Calibration | None = None

    def split(self, name: str) -> pd.DataFrame:
        """The rows of one split."""
        return self.sets[self.sets[c.SPLIT] == name]


@dataclass(frozen=True)
class SystemResults:
    """One system in one mode, over all its runs."""

    system: System
    runs: tuple[RunResults, ...]

    @property
    def mode(self) -> str:
        return self.runs[0].metadata.mode

    @property
    def is_shuffled(self) -> bool:
        """Whether the histories came in a random order."""
        return self.runs[0].metadata.history == "shuffled"

    def split(self, name: str) -> pd.DataFrame:
        """The rows of one split, one run after the other."""
        return pd.concat([run.split(name) for run in self.runs], ignore_index=True)

    def hits(self, split: str) -> pd.DataFrame:
        """Hits in the candidate sets of one split: a row per user, example and draw, a column per run."""
        keys = [c.USER, c.EXAMPLE, c.DRAW]
        return pd.concat([run.split(split).set_index(keys)[c.HIT] for run in self.runs], axis=1)


def write_run(folder: Path, run: RunResults) -> None:
    """Write the results of one run into the folder of its cell; the text of valid answers stays in the predictions."""
    sets = run.sets.assign(**{c.TEXT: run.sets[c.TEXT].where(run.sets[c.VALID] == 0, None)})
    file = folder / run.metadata.file_name
    tables.write_table(file, sets, tables.RESULTS, run.metadata.as_strings)
    if run.calibration is not None:
        tables.write_json(_calibration_file(file), dataclasses.asdict(run.calibration))


def read_results(dataset: str, systems: Sequence[System]) -> list[SystemResults]:
    """The results of every system, in the order of ``systems``, headline modes first.

    Raises:
        DataError: results are missing, differ between the runs of a system, or belong to different candidate sets.
    """
    folder = paths.results(dataset)
    found = [
        mode
        for system in systems
        if is_made(system, lambda cell: folder / cell)
        for mode in same_modes(system, [read_cell(folder / cell) for cell in system.cells])
    ]
    require_same_candidates([run for mode in found for run in mode.runs])
    return found


def is_made(system: System, folder_of: Callable[[str], Path]) -> bool:
    """Whether a system of the axes has answers: all have, except the fusion of an LLM system that scores no candidates.

    Args:
        system: one of :func:`systems.systems_of`.
        folder_of: from an LLM cell to the folder with one table per mode.

    Raises:
        DataError: an LLM cell of a fusion has no tables.
    """
    folders = [folder_of(cell) for cell in system.llm_cells]
    for folder in folders:
        tables_of(folder)
    return not folders or any((folder / SCORED).exists() for folder in folders)


def tables_of(folder: Path) -> list[Path]:
    """The tables of a cell, one per mode and order of the histories.

    Raises:
        DataError: there are none.
    """
    files = sorted(folder.glob("*.parquet"))
    if not files:
        raise DataError(f"{folder}: holds no tables (*.parquet); run `dvc repro` to make them")
    return files


def read_cell(folder: Path) -> list[RunResults]:
    """The results of one run of a system, a table per mode and order of the histories."""
    return [
        RunResults(predictions.read_metadata(file), tables.read_table(file, tables.RESULTS), _read_calibration(file))
        for file in tables_of(folder)
    ]


def _calibration_file(results: Path) -> Path:
    return results.with_name(f"{results.stem}-calibration.json")


def _read_calibration(results: Path) -> Calibration | None:
    file = _calibration_file(results)
    return Calibration(**tables.read_json(file)) if file.exists() else None


def same_modes(system: System, cells: Sequence[Sequence[RunResults]]) -> list[SystemResults]:
    """The results of a system by mode; every run must have the same modes, for the same number of candidate sets."""
    by_file = [{run.metadata.file_name: run for run in cell} for cell in cells]
    for cell, files in zip(system.cells, by_file, strict=True):
        if files.keys() != by_file[0].keys():
            raise DataError(
                f"{cell} has {sorted(files)}, but {system.cells[0]} has {sorted(by_file[0])}; run `dvc repro` to predict all "
                "seeds alike"
            )
        for name, first in by_file[0].items():
            if len(files[name].sets) != len(first.sets):
                raise DataError(
                    f"{cell}/{name} answers {len(files[name].sets)} candidate sets, but {system.cells[0]}/{name} answers "
                    f"{len(first.sets)}; run `dvc repro` to predict all seeds alike"
                )
    modes = [SystemResults(system, tuple(files[name] for files in by_file)) for name in by_file[0]]
    return sorted(modes, key=lambda results: [*MODES, results.mode].index(results.mode))


def require_same_candidates(runs: Sequence[RunResults]) -> None:
    """Refuse to compare runs that answer different candidate sets.

    Raises:
        DataError: two of them do.
    """
    for run in runs[1:]:
        first = runs[0].metadata
        if run.metadata.candidates_hash != first.candidates_hash:
            raise DataError(
                f"{first.system} ({first.mode}) answers the candidate sets {short_hash(first.candidates_hash)}, but "
                f"{run.metadata.system} ({run.metadata.mode}) answers {short_hash(run.metadata.candidates_hash)}; they cannot "
                "be compared: run `dvc repro` to predict again"
            )


def training_counts(dataset: str) -> npt.NDArray[np.int64]:
    """Training interactions of every item, ``(n_items,)``."""
    prepared = paths.prepared(dataset)
    interactions = tables.read_table(prepared / "interactions.parquet", tables.INTERACTIONS)
    n_items = len(tables.read_table(prepared / "items.parquet", tables.ITEMS))
    return np.bincount(interactions.loc[interactions[c.SPLIT] == c.TRAIN, c.ITEM], minlength=n_items)


def short_hash(full: str) -> str:
    """The first 12 digits, enough to tell candidate sets apart by eye."""
    return full[:12]
