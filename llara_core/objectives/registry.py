"""The tuning objectives by name."""

from __future__ import annotations

from llara_core.objectives.base import Objective
from llara_core.objectives.generative import Generative
from llara_core.objectives.next_item import NextItem
from llara_core.objectives.preference import Preference

# `config.OBJECTIVES` has the same names.
OBJECTIVES: dict[str, Objective] = {
    "generative": Generative(),
    "next_item": NextItem(),
    "preference": Preference(),
}
