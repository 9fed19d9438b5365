"""Tuning objectives by name, with the properties that are needed without loading torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from llara_core.config.sections import one_of


@dataclass(frozen=True)
class ObjectiveTraits:
    """Properties of an objective, which is implemented in ``llara_core/objectives/<name>.py``.

    Attributes:
        partner: objective of the rows that ``tune.warm_start_rows`` and ``tune.mixture`` add; None if it has none.
        unit: name of a row in the report.
        shows_candidates: whether its prompts list candidates.
        writes_title: whether the model answers by writing a candidate's title; otherwise the catalogue head answers.
        reads_slot_after_title: whether predictions from an item's slot need the item's title before the slot.
        needs_head: whether it trains the catalogue head.
        needs_start: whether tuning must continue from the adapter of another system.
    """

    partner: str | None
    unit: str
    shows_candidates: bool = False
    writes_title: bool = False
    reads_slot_after_title: bool = False
    needs_head: bool = False
    needs_start: bool = False


OBJECTIVES: dict[str, ObjectiveTraits] = {
    "generative": ObjectiveTraits(partner="next_item", unit="prompts", shows_candidates=True, writes_title=True),
    "next_item": ObjectiveTraits(partner="generative", unit="chunks", reads_slot_after_title=True, needs_head=True),
    "preference": ObjectiveTraits(partner=None, unit="prompts", shows_candidates=True, writes_title=True, needs_start=True),
}

# Untuned systems get the prompts of this objective, with an instruction on how to answer.
UNTUNED_OBJECTIVE = "generative"


def trained_objectives(main: str, *, mixed: bool) -> list[ObjectiveTraits]:
    """Returns the objectives of a tuning run's rows: the main one and, if rows are mixed, its partner."""
    partner = OBJECTIVES[main].partner if mixed else None
    return [OBJECTIVES[name] for name in (main, partner) if name is not None]


def names_where(holds: Callable[[ObjectiveTraits], bool]) -> str:
    """Lists the names of the objectives for which ``holds`` is true, for messages."""
    return " or ".join(name for name, objective in OBJECTIVES.items() if holds(objective))


ObjectiveName = Annotated[str, Field(min_length=1), one_of(OBJECTIVES, "objective")]
