"""Configurations of LLM systems: the global sections, or another system, overlaid with the values of ``systems.yaml``."""

from __future__ import annotations

from typing import Any


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
    return overlay(base, {key: value for key, value in own.items() if key != "extends"})
