"""What an LLM system of ``systems.yaml`` is: the global sections, or another system, with its own values laid over them."""

from __future__ import annotations

from typing import Any


def overlay(base: dict[str, Any], own: Any) -> Any:
    """``own`` laid over ``base``, section by section; what is no section replaces what was there.

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
    """Every system with all of its sections.

    Args:
        systems: as they stand in ``systems.yaml``, by name.
        defaults: the global sections.

    Raises:
        ValueError: a system extends one that is not there, or itself.
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
        raise ValueError(f"systems.{name}.extends leads back to {name!r} in a circle")
    base = _resolve(parent, systems, defaults, (*seen, name))
    return overlay(base, {key: value for key, value in own.items() if key != "extends"})
