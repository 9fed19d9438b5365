"""Presets: values for many keys of ``params.yaml`` and ``systems.yaml`` at once, by data set."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq
from ruamel.yaml.error import YAMLError

from llara_core import paths
from llara_core.config import load_params
from llara_core.config.params import file_of
from llara_core.errors import ConfigError

SHARED = "all_datasets"


@dataclass(frozen=True)
class Change:
    """A dotted key with its value before and after."""

    key: str
    before: Any
    after: Any


def apply_preset(folder: Path, preset: str, dataset: str, params: Path) -> list[Change]:
    """Overlays ``params.yaml`` and ``systems.yaml`` with a preset for one data set, the only one of the run from then on.

    Comments and the order of keys are preserved. The files are replaced only if the result is valid.

    Args:
        folder: folder of presets, one YAML file each, with values for all data sets under :data:`SHARED` and values for one
            data set under its name.
        preset: name of a file in the folder, without its extension.
        dataset: key of ``datasets``.
        params: path of ``params.yaml``; ``systems.yaml`` is in the same folder.

    Returns:
        The changed values, in the order of the preset.

    Raises:
        ConfigError: the preset does not exist or has no values for this data set, or the result is not valid.
    """
    load_params(params).dataset(dataset)
    sections = _read_preset(folder, preset)
    if dataset not in sections:
        known = sorted(set(sections) - {SHARED})
        raise ConfigError(f"{folder / preset}.yaml has no values for {dataset!r}, only for {known}; add a section for it")
    yaml = _round_trip()
    content = {file: yaml.load(params.with_name(file.name)) for file in (paths.PARAMS, paths.SYSTEMS)}
    changes: list[Change] = []
    for values in ({"run": {"datasets": [dataset]}}, sections.get(SHARED) or {}, sections[dataset] or {}):
        for name, section in values.items():
            _overlay(content[file_of(name)], {name: section}, "", changes)
    with tempfile.TemporaryDirectory(dir=params.parent) as staged:
        for file, of_file in content.items():
            yaml.dump(of_file, Path(staged) / file.name)
        load_params(Path(staged) / paths.PARAMS.name)
        for file in content:
            (Path(staged) / file.name).replace(params.with_name(file.name))
    return changes


def _read_preset(folder: Path, preset: str) -> dict[str, Any]:
    try:
        sections = _round_trip().load(folder / f"{preset}.yaml")
    except FileNotFoundError as error:
        known = sorted(path.stem for path in folder.glob("*.yaml"))
        raise ConfigError(f"{folder}: no preset {preset!r}, only {known}; run from the repository root") from error
    except YAMLError as error:
        raise ConfigError(f"{folder / preset}.yaml: not valid YAML: {error}") from error
    return dict(sections or {})


def _overlay(base: dict[str, Any], values: dict[str, Any], place: str, changes: list[Change]) -> None:
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            _overlay(base[key], value, f"{place}{key}.", changes)
        elif key not in base or base[key] != value:
            before = base.get(key)
            if isinstance(value, list) and isinstance(before, list):
                changes.append(Change(f"{place}{key}", list(before), value))
                _refill(base[key], value)
            else:
                changes.append(Change(f"{place}{key}", before, value))
                base[key] = value


def _refill(listed: CommentedSeq, values: list[Any]) -> None:
    """Replaces the values in place; a blank line or comment after the last value follows the new last value."""
    comment = listed.ca.items.pop(len(listed) - 1, None)
    listed[:] = values
    if comment is not None:
        listed.ca.items[len(listed) - 1] = comment


def _round_trip() -> YAML:
    """Returns a reader and writer with the settings of ``dvc.utils.serialize.modify_yaml``, which a test compares.

    Files keep the form in which DVC writes them, so that ``-S`` changes only the lines of its keys.
    """
    yaml = YAML()
    yaml.default_flow_style = False
    return yaml
