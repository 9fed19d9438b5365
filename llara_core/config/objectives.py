"""The tuning objectives by name, and what the rest must know of each without loading torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, Field


@dataclass(frozen=True)
class ObjectiveTraits:
    """What an objective needs of a system; the objective itself is the module ``llara_core/objectives/<name>.py``.

    Attributes:
        partner: the objective of the rows that ``tune.warm_start_rows`` and ``tune.mixture`` add; None where nothing is added.
        unit: what a row is called in the report.
        shows_candidates: its prompts list candidates.
        writes_title: its answer is a candidate's title, written out; without it, the head over the catalogue answers.
        reads_slot_after_title: it predicts from an item's slot what depends on the item's title.
        needs_head: it trains the head over the catalogue.
        needs_start: it can only go on from the adapter of another system, the ``start``.
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

# The answers of a system that is not tuned: told how to answer, it is asked as this objective asks.
UNTUNED_OBJECTIVE = "generative"


def trained_objectives(main: str, *, mixed: bool) -> list[ObjectiveTraits]:
    """The objectives that a tuning run has rows of: its main one and, where it is mixed, the partner of that."""
    partner = OBJECTIVES[main].partner if mixed else None
    return [OBJECTIVES[name] for name in (main, partner) if name is not None]


def names_where(holds: Callable[[ObjectiveTraits], bool]) -> str:
    """The names of the objectives for which ``holds`` is true, for messages."""
    return listed(name for name, objective in OBJECTIVES.items() if holds(objective))


def listed(names: Iterable[str]) -> str:
    return " or ".join(names)


def _known(name: str) -> str:
    if name not in OBJECTIVES:
        raise ValueError(f"unknown objective {name!r}; choose {listed(OBJECTIVES)}")
    return name


ObjectiveName = Annotated[str, Field(min_length=1), AfterValidator(_known)]
