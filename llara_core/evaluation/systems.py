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
        recommender: the one that it reads, or is fused with; None where there is none.
        cells: one per run.
        llm_cells: of a fusion, the LLM cell in each of its cells.
    """

    kind: Kind
    name: str
    key: str
    recommender: str | None
    cells: tuple[str, ...]
    llm_cells: tuple[str, ...] = ()

    @property
    def is_trained(self) -> bool:
        """Whether another training seed would have given other answers."""
        return self.kind in ("recommender", "tuned", "fused")

    @property
    def is_llm(self) -> bool:
        """Whether a language model answers, alone or with a recommender."""
        return self.kind not in ("baseline", "recommender")


def systems_of(params: Params) -> list[System]:
    """The systems that the axes define, in the order of the report; every LLM system with a recommender is also fused with it.

    No seed changes what an untuned system answers, so that it has one run, under the first seed.
    """
    run = params.run

    def cells(name: str) -> tuple[str, ...]:
        return tuple(paths.cell(name, seed) for seed in run.seeds)

    llms = {name: params.system(name) for name in run.systems}
    llm_cells = {name: cells(name) if llm.tuned else cells(name)[:1] for name, llm in llms.items()}
    return [
        *(System("baseline", name, name, None, (name,)) for name in run.baselines),
        *(System("recommender", name, name, None, cells(name)) for name in run.recommenders),
        *(System("untuned", name, name, llm.recommender, llm_cells[name]) for name, llm in llms.items() if not llm.tuned),
        *(System("chat", name, name, None, (name,)) for name in run.chat_models),
        *(System("tuned", name, name, llm.recommender, llm_cells[name]) for name, llm in llms.items() if llm.tuned),
        *(
            System(
                "fused",
                fused_name(name, llm.recommender),
                name,
                llm.recommender,
                cells(paths.fused(name)),
                llm_cells[name] if llm.tuned else llm_cells[name] * len(run.seeds),
            )
            for name, llm in llms.items()
            if llm.recommender is not None
        ),
    ]


def fused_name(system: str, recommender: str) -> str:
    """What the fusion of an LLM system with its recommender is called."""
    return f"{system} + {recommender}"


def share_training(first: System, second: System) -> bool:
    """Whether runs of two trained systems with equal seeds rest on the same trained recommender, or are the same."""
    if not (first.is_trained and second.is_trained):
        return False
    bases = {system.key if system.kind == "recommender" else system.recommender for system in (first, second)}
    return first == second or (len(bases) == 1 and None not in bases)
