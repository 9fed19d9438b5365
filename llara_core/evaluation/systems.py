"""The systems that the axes of ``params.yaml`` define, and what each of them answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from llara_core import columns as c
from llara_core import paths
from llara_core.config import Params, RunConfig
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

    @property
    def is_trained(self) -> bool:
        """Whether another training seed would have given other answers."""
        return self.kind in ("recommender", "tuned", "fused")

    @property
    def is_llm(self) -> bool:
        """Whether a language model answers, alone or with a recommender."""
        return self.kind not in ("baseline", "recommender")


def share_training(first: System, second: System) -> bool:
    """Whether runs of the two with equal seeds have a trained recommender, or all, in common."""
    bases = {system.key if system.kind == "recommender" else system.recommender for system in (first, second)}
    return first == second or (len(bases) == 1 and None not in bases)


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

    def hits(self, split: str) -> pd.DataFrame:
        """Hits in the candidate sets of one split: a row per user, example and draw, a column per seed."""
        keys = [c.USER, c.EXAMPLE, c.DRAW]
        return pd.concat([seed.split(split).set_index(keys)[metrics.HIT] for seed in self.seeds], axis=1)


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


def read_answers(ground: Ground, params: Params) -> list[Answers]:
    """What every system of the axes answered, in the order of the report, headline modes first.

    Raises:
        DataError: predictions are missing, incomplete, or answer other candidate sets.
    """
    answers = [answers for system in systems_of(params.run) for answers in _answers(ground, system, params)]
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


def _answers(ground: Ground, system: System, params: Params) -> list[Answers]:
    """The system's answers by file; every seed must have the same files, for the same candidate sets."""
    prompted = system.kind in ("tuned", "untuned")
    representation = params.system(system.key).prompt.representation if prompted else "title"
    per_seed = [{cell.facts.file_name: cell for cell in read_cell(ground, name, representation)} for name in system.cells]
    for cell, files in zip(system.cells, per_seed, strict=True):
        if files.keys() != per_seed[0].keys():
            raise DataError(
                f"{cell} answers by {sorted(files)}, but {system.cells[0]} by {sorted(per_seed[0])}; run `dvc repro` to "
                "predict all seeds alike"
            )
        for name, first in per_seed[0].items():
            if len(files[name].rows) != len(first.rows):
                raise DataError(
                    f"{cell}/{name} answers {len(files[name].rows)} candidate sets, but that of {system.cells[0]} "
                    f"{len(first.rows)}; run `dvc repro` to predict all seeds alike"
                )
    answers = [Answers(system, tuple(files[name] for files in per_seed)) for name in per_seed[0]]
    return sorted(answers, key=lambda of_mode: [*MODES, of_mode.mode].index(of_mode.mode))
