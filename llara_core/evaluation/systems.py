"""Systems that the section ``run`` of ``params.yaml`` defines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from llara_core import paths
from llara_core.config import Params

Kind = Literal["baseline", "recommender", "untuned", "chat", "tuned", "fused"]


@dataclass(frozen=True)
class System:
    """A system of the run."""

    kind: Kind  # type of the system
    name: str  # name in the report
    key: str  # name in ``params.yaml``; for a fusion, that of its LLM system
    recommender: str | None  # recommender whose item embeddings it reads or with which it is fused; None if there is none
    run_names: tuple[str, ...] = ()  # names of its runs, one per seed
    llm_run_names: tuple[str, ...] = ()  # for a fusion, the LLM run in each of its runs
    # for a tuned system or its fusion, the system from whose adapter tuning continues; None if it begins with the language
    # model
    start: str | None = None

    @property
    def is_trained(self) -> bool:
        """Whether the answers depend on the training seed."""
        return self.kind in ("recommender", "tuned", "fused")

    @property
    def is_llm(self) -> bool:
        """Whether a language model answers, alone or fused with a recommender."""
        return self.kind not in ("baseline", "recommender")


def systems_of(params: Params) -> list[System]:
    """Lists the systems that the run defines, in the order of the report.

    Every LLM system that names a recommender is also fused with it, even if its prompts do not use it. The answers of an
    untuned system do not depend on the seed, so it has one run, under the first seed.
    """
    run = params.run

    def run_names(name: str) -> tuple[str, ...]:
        return tuple(paths.run_name(name, seed) for seed in run.seeds)

    baselines = [System("baseline", name, name, None, (name,)) for name in run.baselines]
    recommenders = [System("recommender", name, name, None, run_names(name)) for name in run.recommenders]
    chat = [System("chat", name, name, None, (name,)) for name in run.chat_models]
    untuned, tuned, fused = [], [], []
    for name in run.systems:
        llm = params.system(name)
        read = llm.recommender if llm.shows_behavior else None
        if llm.tuned:
            llm_run_names = run_names(name)
            tuned.append(System("tuned", name, name, read, llm_run_names, start=llm.start))
        else:
            untuned.append(System("untuned", name, name, read, run_names(name)[:1]))
            llm_run_names = run_names(name)[:1] * len(run.seeds)
        if llm.recommender is not None:
            both = fused_name(name, llm.recommender)
            fused.append(System("fused", both, name, llm.recommender, run_names(paths.fused(name)), llm_run_names, llm.start))
    return [*baselines, *recommenders, *untuned, *chat, *tuned, *fused]


def fused_name(system: str, recommender: str) -> str:
    """Returns the name of the fusion of an LLM system with its recommender."""
    return f"{system} + {recommender}"


def share_training(first: System, second: System) -> bool:
    """Returns whether runs of equal seeds share a trained recommender or an adapter, or the systems are the same."""
    recommenders = {system.key if system.kind == "recommender" else system.recommender for system in (first, second)}
    adapters = {(system.start or system.key) if system.kind in ("tuned", "fused") else None for system in (first, second)}
    return first == second or any(len(shared) == 1 and None not in shared for shared in (recommenders, adapters))
