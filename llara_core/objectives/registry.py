"""Loads objectives by name."""

from __future__ import annotations

import functools
from importlib import import_module

from llara_core.config import OBJECTIVES
from llara_core.errors import ConfigError
from llara_core.objectives.base import Objective


@functools.cache
def load_objective(name: str) -> Objective:
    """Returns the object ``OBJECTIVE`` of the module ``llara_core/objectives/<name>.py``.

    Raises:
        ConfigError: ``OBJECTIVES`` does not list the name.
    """
    if name not in OBJECTIVES:
        raise ConfigError(f"unknown objective {name!r}; choose from {list(OBJECTIVES)}")
    objective: Objective = import_module(f"llara_core.objectives.{name}").OBJECTIVE
    return objective
