"""The systems that the axes of ``params.yaml`` define."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from llara_core import paths
from llara_core.config import Params

Kind = Literal["baseline", "recommender", "untuned", "chat", "tuned", "fused"]


@dataclass(frozen=True)
class System:
    """One system of the axes.

    Attributes:
        kind: what it is.
        name: what the report calls it.
        key: its entry on the axis; of a fusion, that of its LLM system.
        recommender: whose item embeddings it reads, or with which it is fused; None where neither is so.
        cells: one per run.
        start: of a tuned system or of its fusion, the one from whose adapter tuning went on; None where it began with the
            language model.
        llm_cells: of a fusion, the LLM cell in each of its cells.
    """

    kind: Kind
    name: str
    key: str
    recommender: str | None
    cells: tuple[str, ...]
    llm_cells: tuple[str, ...] = ()
    start: str | None = None

    @property
    def is_trained(self) -> bool:
        """Whether another training seed would have given other answers."""
        return self.kind in ("recommender", "tuned", "fused")

    @property
    def is_llm(self) -> bool:
        """Whether a language model answers, alone or with a recommender."""
        return self.kind not in ("baseline", "recommender")


def systems_of(params: Params) -> list[System]:
    """The systems that the axes define, in the order of the report.

    Every LLM system that names a recommender is also fused with it, even if its own prompts show nothing of it. No seed changes
    what an untuned system answers, so it has one run, under the first seed.
    """
    run = params.run

    def cells(name: str) -> tuple[str, ...]:
        return tuple(paths.cell(name, seed) for seed in run.seeds)

    baselines = [System("baseline", name, name, None, (name,)) for name in run.baselines]
    recommenders = [System("recommender", name, name, None, cells(name)) for name in run.recommenders]
    chat = [System("chat", name, name, None, (name,)) for name in run.chat_models]
    untuned, tuned, fused = [], [], []
    for name in run.systems:
        llm = params.system(name)
        read = llm.recommender if llm.shows_behavior else None
        if llm.tuned:
            llm_cells = cells(name)
            tuned.append(System("tuned", name, name, read, llm_cells, start=llm.start))
        else:
            untuned.append(System("untuned", name, name, read, cells(name)[:1]))
            llm_cells = cells(name)[:1] * len(run.seeds)
        if llm.recommender is not None:
            both = fused_name(name, llm.recommender)
            fused.append(System("fused", both, name, llm.recommender, cells(paths.fused(name)), llm_cells, llm.start))
    return [*baselines, *recommenders, *untuned, *chat, *tuned, *fused]


def fused_name(system: str, recommender: str) -> str:
    """What the fusion of an LLM system with its recommender is called."""
    return f"{system} + {recommender}"


def share_training(first: System, second: System) -> bool:
    """Whether runs of the two with equal seeds rest on the same trained recommender or the same adapter, or are the same."""
    recommenders = {system.key if system.kind == "recommender" else system.recommender for system in (first, second)}
    adapters = {(system.start or system.key) if system.kind in ("tuned", "fused") else None for system in (first, second)}
    return first == second or any(len(shared) == 1 and None not in shared for shared in (recommenders, adapters))
