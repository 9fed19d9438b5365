"""Results per candidate set, written by the stage ``evaluate`` and read wherever systems are compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.answers import predictions
from llara_core.answers.held_out import Scope
from llara_core.answers.predictions import PredictionMetadata
from llara_core.errors import DataError
from llara_core.evaluation.calibration import Calibration
from llara_core.evaluation.systems import System

# Modes in the order of the report. A system's first mode is its primary one: the paper's LLMs answer in free text.
MODES = ("generate", "score", "constrained", "fused")
SCORED = predictions.file_name("score", "ordered")  # the table that a fusion needs


@dataclass(frozen=True)
class RunResults:
    """Results of one run of a system in one mode."""

    metadata: PredictionMetadata  # metadata of the predictions
    sets: pd.DataFrame  # one row of :data:`tables.RESULTS` per candidate set
    # calibration of the scores; None without scores, with shuffled histories and at further positions
    calibration: Calibration | None = None

    def split(self, name: str) -> pd.DataFrame:
        """Returns the rows of one split."""
        return self._splits[name]

    @cached_property
    def _splits(self) -> dict[str, pd.DataFrame]:
        return {name: self.sets[self.sets[c.SPLIT] == name] for name in c.HELD_OUT}


@dataclass(frozen=True)
class SystemResults:
    """Results of one system in one mode, over all its runs."""

    system: System
    runs: tuple[RunResults, ...]

    @property
    def mode(self) -> str:
        return self.runs[0].metadata.mode

    @property
    def is_shuffled(self) -> bool:
        """Whether the histories were shuffled."""
        return self.runs[0].metadata.history == "shuffled"

    def split(self, name: str) -> pd.DataFrame:
        """Selects the rows of one split, one run after the other."""
        return pd.concat([run.split(name) for run in self.runs], ignore_index=True)

    def hits(self, split: str) -> pd.DataFrame:
        """Returns the hits in the candidate sets of one split: a row per user, example and draw, and a column per run."""
        return self._hits[split]

    @cached_property
    def _hits(self) -> dict[str, pd.DataFrame]:
        keys = [c.USER, c.EXAMPLE, c.DRAW]
        return {
            split: pd.concat([run.split(split).set_index(keys)[c.HIT] for run in self.runs], axis=1) for split in c.HELD_OUT
        }


def write_run(folder: Path, run: RunResults) -> None:
    """Writes the results of one run into its folder; texts of valid answers are kept only in the predictions."""
    sets = run.sets.assign(**{c.TEXT: run.sets[c.TEXT].where(run.sets[c.VALID] == 0, None)})
    file = folder / run.metadata.file_name
    tables.write_table(file, sets, tables.RESULTS, run.metadata.as_strings)
    if run.calibration is not None:
        tables.write_json(_calibration_file(file), dataclasses.asdict(run.calibration))


def read_results(dataset: str, systems: Sequence[System], scope: Scope = "last") -> list[SystemResults]:
    """Reads the results of every system, in the order of ``systems``, primary modes first.

    Args:
        scope: questions that were answered; systems without answers at further positions are left out there.

    Raises:
        DataError: results are missing, differ between the runs of a system, or belong to different candidate sets.
    """
    folder = paths.results(dataset)
    results: list[SystemResults] = []
    for system in systems:
        if has_answers(system, lambda run_name: folder / run_name):
            folders = [folder / run_name for run_name in system.run_names]
            if scope == "positions":
                folders = [paths.at_positions(each) for each in folders]
            if scope == "last" or any(each.exists() for each in folders):
                results += same_modes(system, [read_run(each) for each in folders])
    require_same_candidates([run for mode in results for run in mode.runs])
    return results


def has_answers(system: System, folder_of: Callable[[str], Path]) -> bool:
    """Returns whether a system of the run answers: all do, except the fusion of an LLM system that does not score candidates.

    Args:
        folder_of: returns the folder of an LLM run, with one table per mode.

    Raises:
        DataError: an LLM run of a fusion has no tables.
    """
    folders = [folder_of(run_name) for run_name in system.llm_run_names]
    for folder in folders:
        list_tables(folder)
    return not folders or any((folder / SCORED).exists() for folder in folders)


def list_tables(folder: Path) -> list[Path]:
    """Lists the tables of a run, one per mode and order of the histories.

    Raises:
        DataError: there are none.
    """
    files = sorted(folder.glob("*.parquet"))
    if not files:
        raise DataError(f"{folder}: holds no tables (*.parquet); run `dvc repro` to make them")
    return files


def read_run(folder: Path) -> list[RunResults]:
    """Reads the results of one run of a system, one per mode and order of the histories."""
    return [
        RunResults(predictions.read_metadata(file), tables.read_table(file, tables.RESULTS), _read_calibration(file))
        for file in list_tables(folder)
    ]


def _calibration_file(results: Path) -> Path:
    return results.with_name(f"{results.stem}-calibration.json")


def _read_calibration(results: Path) -> Calibration | None:
    file = _calibration_file(results)
    return Calibration(**tables.read_json(file)) if file.exists() else None


def same_modes(system: System, runs: Sequence[Sequence[RunResults]]) -> list[SystemResults]:
    """Groups the results of a system by mode, primary mode first.

    Raises:
        DataError: two runs have other modes, or other numbers of candidate sets.
    """
    by_file = [{mode.metadata.file_name: mode for mode in run} for run in runs]
    for run_name, files in zip(system.run_names, by_file, strict=True):
        if files.keys() != by_file[0].keys():
            raise DataError(
                f"{run_name} has {sorted(files)}, but {system.run_names[0]} has {sorted(by_file[0])}; run `dvc repro` to "
                "predict all seeds alike"
            )
        for name, first in by_file[0].items():
            if len(files[name].sets) != len(first.sets):
                raise DataError(
                    f"{run_name}/{name} answers {len(files[name].sets)} candidate sets, but {system.run_names[0]}/{name} "
                    f"answers {len(first.sets)}; run `dvc repro` to predict all seeds alike"
                )
    modes = [SystemResults(system, tuple(files[name] for files in by_file)) for name in by_file[0]]
    return sorted(modes, key=lambda results: [*MODES, results.mode].index(results.mode))


def require_same_candidates(runs: Sequence[RunResults]) -> None:
    """Checks that all runs answer the same candidate sets.

    Raises:
        DataError: two runs answer different ones.
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
    """Counts the training interactions of every item, ``(n_items,)``."""
    interactions = tables.read_table(paths.interactions(dataset), tables.INTERACTIONS)
    n_items = tables.n_rows(paths.items(dataset))
    return np.bincount(interactions.loc[interactions[c.SPLIT] == c.TRAIN, c.ITEM], minlength=n_items)


def short_hash(full: str) -> str:
    """Returns the first 12 digits, for messages."""
    return full[:12]
