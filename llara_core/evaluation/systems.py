"""The systems that the axes of ``params.yaml`` define, and what each of them answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from llara_core import columns as c
from llara_core import paths
from llara_core.config import RunConfig
from llara_core.errors import DataError
from llara_core.evaluation import metrics
from llara_core.evaluation.results import CellResults, Ground, read_cell, short_hash

Kind = Literal["baseline", "recommender", "untuned", "chat", "tuned", "fused"]

# In the order of the report. The first one that a system has is its headline: the paper's LLMs answer in free text.
MODES = ("generate", "score", "constrained", "fused")


@dataclass(frozen=True)
class System:
    """One system of the axes.

    Attributes:
        kind: what it is.
        name: its cells without their seeds.
        key: its entry on the axis; of a fused one, that of its LLM system.
        recommender: whose item embeddings it reads, None where it reads none.
        cells: one per seed.
    """

    kind: Kind
    name: str
    key: str
    recommender: str | None
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Answers:
    """A system's answers in one mode, one table per seed."""

    system: System
    seeds: tuple[CellResults, ...]

    @property
    def mode(self) -> str:
        return self.seeds[0].facts.mode

    @property
    def shuffled(self) -> bool:
        """Whether the histories came in a random order."""
        return self.seeds[0].facts.history == "shuffled"

    def split(self, name: str) -> pd.DataFrame:
        """The rows of one split, of all seeds."""
        return pd.concat([seed.split(name) for seed in self.seeds], ignore_index=True)

    def hits(self) -> pd.Series:
        """Hits of the test candidate sets, averaged over the seeds, by user, example and draw."""
        hits: pd.Series = self.split(c.TEST).groupby([c.USER, c.EXAMPLE, c.DRAW])[metrics.HIT].mean()
        return hits


def systems_of(run: RunConfig) -> list[System]:
    """The systems that the axes define, in the order of the report."""
    systems = [System("baseline", name, name, None, (name,)) for name in run.baselines]
    systems += [
        System("recommender", name, name, None, tuple(paths.recommender_cell(name, seed) for seed in run.seeds))
        for name in run.recommenders
    ]
    systems += [System("untuned", name, name, None, (name,)) for name in run.untuned_systems]
    systems += [System("chat", name, name, None, (name,)) for name in run.chat_models]
    pairs: list[tuple[str, str | None]] = [(name, None) for name in run.text_systems]
    pairs += [(name, recommender) for name in run.systems for recommender in run.llm_recommenders]
    tuned = [
        System(
            "tuned",
            paths.llm_system(name, recommender),
            name,
            recommender,
            tuple(paths.llm_cell(name, recommender, seed) for seed in run.seeds),
        )
        for name, recommender in pairs
    ]
    fused = [
        System(
            "fused",
            paths.fused_cell(system.name),
            system.key,
            system.recommender,
            tuple(paths.fused_cell(cell) for cell in system.cells),
        )
        for system in tuned
        if system.recommender is not None
    ]
    return systems + tuned + fused


def read_answers(ground: Ground, run: RunConfig) -> list[Answers]:
    """What every system of the axes answered, in the order of the report, headline modes first.

    Raises:
        DataError: predictions are missing, incomplete, or answer other candidate sets.
    """
    answers = [answers for system in systems_of(run) for answers in _answers(ground, system)]
    require_same_candidates([cell for of_mode in answers for cell in of_mode.seeds])
    return answers


def require_same_candidates(cells: Sequence[CellResults]) -> None:
    """Refuse to compare systems that answered different candidate sets.

    Raises:
        DataError: two candidate-set hashes differ; names both systems.
    """
    for cell in cells[1:]:
        first = cells[0].facts
        if cell.facts.candidates_hash != first.candidates_hash:
            raise DataError(
                f"{first.system} ({first.mode}) answers the candidate sets {short_hash(first.candidates_hash)}, but "
                f"{cell.facts.system} ({cell.facts.mode}) those of {short_hash(cell.facts.candidates_hash)}; they must not be "
                "compared: run `dvc repro` to predict again"
            )


def _answers(ground: Ground, system: System) -> list[Answers]:
    """The system's answers by file; every seed must have the same files."""
    per_seed = [{cell.facts.file_name: cell for cell in read_cell(ground, cell)} for cell in system.cells]
    for cell, files in zip(system.cells, per_seed, strict=True):
        if files.keys() != per_seed[0].keys():
            raise DataError(
                f"{cell} answers by {sorted(files)}, but {system.cells[0]} by {sorted(per_seed[0])}; run `dvc repro` to "
                "predict all seeds alike"
            )
    answers = [Answers(system, tuple(files[name] for files in per_seed)) for name in per_seed[0]]
    return sorted(answers, key=lambda of_mode: [*MODES, of_mode.mode].index(of_mode.mode))
