"""Configurations of LLM systems: the global sections, or another system, overlaid with the values of ``systems.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from llara_core import tables
from llara_core.config.recommenders import Recommender
from llara_core.config.sections import Section
from llara_core.config.systems import CurriculumConfig, PromptConfig, SystemConfig
from llara_core.errors import DataError

NO_CURRICULUM = CurriculumConfig(schedule="linear", two_stage_text_share=0.4)


class UntunedSystem(Section):
    """The configuration that an untuned system depends on."""

    recommender: Recommender | None
    tuned: Literal[False]
    prompt: PromptConfig

    @property
    def start(self) -> None:
        """None, since only tuned systems continue from an adapter."""


_RESOLVED: TypeAdapter[SystemConfig | UntunedSystem] = TypeAdapter(UntunedSystem | SystemConfig)


def overlay(base: dict[str, Any], own: Any) -> Any:
    """Overlays ``base`` with ``own``, section by section; other values are replaced.

    >>> overlay({"tune": {"epochs": 5, "batch_size": 16}}, {"tune": {"epochs": 1}})
    {'tune': {'epochs': 1, 'batch_size': 16}}
    """
    if not isinstance(own, dict):
        return own
    merged = dict(base)
    for key, value in own.items():
        merged[key] = overlay(base[key], value) if isinstance(base.get(key), dict) else value
    return merged


def resolve_systems(systems: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Returns every system with all of its sections.

    Args:
        systems: content of ``systems.yaml`` by system name.
        defaults: global sections.

    Raises:
        ValueError: a system extends an unknown system, or itself.
    """
    return {name: _resolve(name, systems, defaults, ()) for name in systems}


def _resolve(name: str, systems: dict[str, Any], defaults: dict[str, Any], seen: tuple[str, ...]) -> Any:
    own = {} if systems[name] is None else systems[name]
    if not isinstance(own, dict) or "extends" not in own:
        return overlay(defaults, own)
    parent = own["extends"]
    if not isinstance(parent, str) or parent not in systems:
        known = sorted(map(str, systems))
        raise ValueError(f"systems.{name}.extends names {parent!r}, but `systems` defines only {known}")
    if parent in (*seen, name):
        raise ValueError(f"systems.{name}.extends leads back to {name!r}")
    base = _resolve(parent, systems, defaults, (*seen, name))
    if not isinstance(base, dict):
        return base  # no section, which is reported for the parent
    return overlay(base, {key: value for key, value in own.items() if key != "extends"})


def resolved(config: SystemConfig) -> dict[str, object]:
    """Returns the part of a system's configuration that its results depend on, as JSON content.

    Without a curriculum, a fixed one is filled in, so that a change of the default schedule re-runs nothing.
    """
    if not config.has_curriculum:
        config = config.model_copy(update={"curriculum": NO_CURRICULUM})
    return config.model_dump(include=None if config.tuned else set(UntunedSystem.model_fields))


def read_resolved(path: Path) -> SystemConfig | UntunedSystem:
    """Reads a file with the content of :func:`resolved`.

    Raises:
        DataError: the file is missing, or another version wrote it.
    """
    try:
        return _RESOLVED.validate_python(tables.read_json(path))
    except ValidationError as error:
        raise DataError(f"{path}: another version wrote this system; run `dvc repro` to write it again") from error
