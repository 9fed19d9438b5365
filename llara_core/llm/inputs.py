"""The inputs of one training run of an LLM system, collected in a folder on which its tuning and its answers depend.

Therefore a change of another recommender, or of a default that the system overrides, re-runs nothing.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from llara_core import paths, tables
from llara_core.config.resolution import UntunedSystem, read_resolved
from llara_core.config.systems import SystemConfig
from llara_core.errors import DataError

# Tuning depends on this sub-folder alone, so a change of the held-out questions re-runs no tuning.
TUNING = "tuning"
SYSTEM = f"{TUNING}/system.json"
ITEM_EMBEDDINGS = f"{TUNING}/{paths.ITEM_EMBEDDINGS}"
TRAINING_SCORES = f"{TUNING}/{paths.TRAINING_SCORES}"
RECOMMENDER_PREDICTIONS = "recommender_predictions"
SAME_AS = "same_as.json"
# Folder of the system that a training run continues from; a run that continues from none has the file NO_START instead.
START = "start"
START_SYSTEM = f"{START}/system.json"
START_ADAPTER = f"{START}/adapter"
NO_START = "no_start.json"


@dataclass(frozen=True)
class SystemInputs:
    """The input folder of one training run.

    A path is None if the prompts do not need the file: the recommender's item embeddings, or its scores of the training or the
    held-out candidates.
    """

    folder: Path
    system: SystemConfig | UntunedSystem

    @property
    def item_embeddings(self) -> Path | None:
        return self._if_there(ITEM_EMBEDDINGS)

    @property
    def training_scores(self) -> Path | None:
        return self._if_there(TRAINING_SCORES)

    @property
    def recommender_predictions(self) -> Path | None:
        return self._if_there(RECOMMENDER_PREDICTIONS)

    @property
    def same_as(self) -> int | None:
        """The seed whose answers this untuned system shares; None if it answers itself."""
        file = self.folder / SAME_AS
        return int(tables.read_json(file)["seed"]) if file.exists() else None

    def _if_there(self, name: str) -> Path | None:
        path = self.folder / name
        return path if path.exists() else None


@dataclass(frozen=True)
class Start:
    """The system whose adapter another one continues from.

    Attributes:
        name: key of ``systems``.
        adapter: folder of the adapter.
    """

    name: str
    system: SystemConfig
    adapter: Path


def write_inputs(folder: Path, system: SystemConfig | UntunedSystem, dataset: str, seed: int, first_seed: int) -> None:
    """Writes the input folder of one training run.

    Args:
        seed: seed of the training run, and of its recommender.
        first_seed: first seed of the pipeline run; an untuned system answers only once, under this seed.
    """
    (folder / TUNING).mkdir(parents=True)
    tables.write_json(folder / SYSTEM, system.model_dump())
    if not isinstance(system, SystemConfig):
        if seed != first_seed:
            tables.write_json(folder / SAME_AS, {"seed": first_seed})
        return
    if system.recommender is None:
        return
    recommender = paths.run_name(system.recommender, seed)
    if system.shows_behavior:
        shutil.copyfile(paths.item_embeddings(dataset, recommender), folder / ITEM_EMBEDDINGS)
    if system.prompt.recommender_scores:
        shutil.copyfile(paths.training_scores(dataset, recommender), folder / TRAINING_SCORES)
        shutil.copytree(paths.recommender_predictions(dataset, recommender), folder / RECOMMENDER_PREDICTIONS)


def read_inputs(dataset: str, run_name: str) -> SystemInputs:
    """Reads the input folder of a training run such as ``llara-0``.

    Raises:
        DataError: the folder is missing, or another version wrote it.
    """
    folder = paths.inputs(dataset, run_name)
    if not (folder / SYSTEM).exists():
        raise DataError(f"{folder}: holds no {SYSTEM}; list the system in run.systems and run `dvc repro`")
    return SystemInputs(folder, read_resolved(folder / SYSTEM))


def adapter_of(dataset: str, run_name: str, system: SystemConfig) -> Path:
    """Returns the folder of the adapter with which a tuned system answers, written by `tune` or `tune_further`."""
    return paths.adapter(dataset, run_name) if system.start is None else paths.further_adapter(dataset, run_name)


def write_start(folder: Path, dataset: str, system: str, start: str | None, seed: int) -> None:
    """Writes the inputs of a training run that continues from another system's adapter, and that adapter.

    Args:
        folder: folder to create.
        dataset: key in ``params.yaml``.
        system: key of ``systems``.
        start: key of the system to continue from; None writes only :data:`NO_START`.
        seed: seed of the training run and of the adapter that it continues from.
    """
    if start is None:
        tables.write_json(folder / NO_START, {"start": None})
        return
    shutil.copytree(paths.inputs(dataset, paths.run_name(system, seed)) / TUNING, folder / TUNING)
    shutil.copytree(paths.adapter(dataset, paths.run_name(start, seed)), folder / START_ADAPTER)
    shutil.copyfile(paths.inputs(dataset, paths.run_name(start, seed)) / SYSTEM, folder / START_SYSTEM)


def read_start(dataset: str, run_name: str) -> tuple[SystemInputs, SystemConfig, Start] | None:
    """Reads the output of :func:`write_start`: inputs, configuration and the system to continue from; None if there is none.

    Raises:
        DataError: the folder is missing, or another version wrote it.
    """
    folder = paths.start(dataset, run_name)
    if (folder / NO_START).exists():
        return None
    if not (folder / SYSTEM).exists():
        raise DataError(f"{folder}: holds no {SYSTEM}; list the system in run.systems and run `dvc repro`")
    system, start = read_resolved(folder / SYSTEM), read_resolved(folder / START_SYSTEM)
    if not isinstance(system, SystemConfig) or not isinstance(start, SystemConfig) or system.start is None:
        raise DataError(f"{folder}: an untuned system has no adapter and continues from none; run `dvc repro`")
    return SystemInputs(folder, system), system, Start(system.start, start, folder / START_ADAPTER)
