"""What tells one LLM cell from the others, gathered in one folder, on which its tuning and its answers depend.

So a change of another recommender, or of a default that the system overrides, runs nothing again.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from llara_core import paths, tables
from llara_core.config.recommenders import Recommender
from llara_core.config.sections import Section
from llara_core.config.systems import CurriculumConfig, PromptConfig, SystemConfig
from llara_core.errors import DataError

# What tuning reads, apart from the rest: other questions to the recommender tune nothing again.
TUNING = "tuning"
SYSTEM = f"{TUNING}/system.json"
ITEM_EMBEDDINGS = f"{TUNING}/item_embeddings.parquet"
TRAINING_SCORES = f"{TUNING}/training_scores.parquet"
RECOMMENDER_PREDICTIONS = "recommender_predictions"
SAME_AS = "same_as.json"
START = f"{TUNING}/start.json"
NO_CURRICULUM = CurriculumConfig(schedule="linear", two_stage_text_share=0.4)


class UntunedSystem(Section):
    """All that counts of a system that is not tuned."""

    recommender: Recommender | None
    tuned: Literal[False]
    prompt: PromptConfig


_RESOLVED: TypeAdapter[SystemConfig | UntunedSystem] = TypeAdapter(UntunedSystem | SystemConfig)


@dataclass(frozen=True)
class SystemInputs:
    """One cell's folder.

    Attributes:
        folder: of the files.
        system: what it is.
        item_embeddings: its recommender's table, for prompts with behaviour tokens; else None.
        training_scores: its recommender's scores of the training candidate sets, for prompts that show them; else None.
        recommender_predictions: folder with the recommender's scores of the held-out candidate sets, likewise.
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
        """The seed under which this untuned system answers in place of this one; None where it answers itself."""
        file = self.folder / SAME_AS
        return int(tables.read_json(file)["seed"]) if file.exists() else None

    @property
    def start(self) -> SystemConfig | None:
        """What the system is whose adapter this one goes on from; None where it starts from the language model.

        Raises:
            DataError: it was written by another version.
        """
        if (file := self._if_there(START)) is None:
            return None
        start = read_resolved(file)
        if not isinstance(start, SystemConfig):
            raise DataError(f"{file}: a system that is not tuned has no adapter to go on from; run `dvc repro`")
        return start

    def _if_there(self, name: str) -> Path | None:
        path = self.folder / name
        return path if path.exists() else None


def resolved(config: SystemConfig) -> dict[str, object]:
    """The part of a system's configuration that counts, as JSON content: all of it, or what an untuned system reads.

    Where there is no curriculum, a fixed one stands in its place, so that another schedule does not tune the system again.
    """
    if not config.has_curriculum:
        config = config.model_copy(update={"curriculum": NO_CURRICULUM})
    return config.model_dump(include=None if config.tuned else set(UntunedSystem.model_fields))


def read_resolved(path: Path) -> SystemConfig | UntunedSystem:
    """A file with :func:`resolved` content.

    Raises:
        DataError: it is missing, or was written by another version.
    """
    try:
        return _RESOLVED.validate_python(tables.read_json(path))
    except ValidationError as error:
        raise DataError(f"{path}: not what this version writes of a system; run `dvc repro` to write it again") from error


def write_inputs(folder: Path, system: SystemConfig | UntunedSystem, dataset: str, seed: int, first_seed: int) -> None:
    """Write the folder of one cell.

    Args:
        folder: to be made.
        system: resolved.
        dataset: key in ``params.yaml``.
        seed: of the cell, and of the recommender that it reads.
        first_seed: of the run; an untuned system answers under this one alone, since its answers depend on none.
    """
    (folder / TUNING).mkdir(parents=True)
    tables.write_json(folder / SYSTEM, system.model_dump())
    if not isinstance(system, SystemConfig):
        if seed != first_seed:
            tables.write_json(folder / SAME_AS, {"seed": first_seed})
        return
    if system.start is not None:
        shutil.copyfile(paths.resolved_start(system.start), folder / START)
    if system.recommender is None:
        return
    cell = paths.cell(system.recommender, seed)
    if system.shows_behavior:
        shutil.copyfile(paths.item_embeddings(dataset, cell), folder / ITEM_EMBEDDINGS)
    if system.prompt.recommender_scores:
        shutil.copyfile(paths.training_scores(dataset, cell), folder / TRAINING_SCORES)
        shutil.copytree(paths.recommender_predictions(dataset, cell), folder / RECOMMENDER_PREDICTIONS)


def read_inputs(dataset: str, cell: str) -> SystemInputs:
    """The folder of one cell.

    Raises:
        DataError: it was not written, or by another version.
    """
    folder = paths.inputs(dataset, cell)
    if not (folder / SYSTEM).exists():
        raise DataError(f"{folder}: holds no {SYSTEM}; list the system in run.systems and run `dvc repro`")
    return SystemInputs(folder, read_resolved(folder / SYSTEM))
