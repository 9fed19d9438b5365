"""Overlays params.yaml and systems.yaml with a preset; not a stage: ``python -m pipeline.preset paper movielens``.

A preset is a file in ``presets/`` with values for many keys, for all data sets and for single ones.
"""

from __future__ import annotations

import copy
import functools
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from llara_core import paths
from llara_core.config import load_params
from llara_core.config.params import file_of, flat
from llara_core.errors import ConfigError
from pipeline.settings import FILES, load_checked, values, with_settings
from pipeline.stage import run

SHARED = "all_datasets"


def main(
    preset: Annotated[str, typer.Argument(help="A file in presets/, without its extension.")],
    dataset: Annotated[
        str, typer.Argument(help="Key of `datasets` in params.yaml, which becomes the only one in run.datasets.")
    ],
) -> None:
    """Writes the values of PRESET for DATASET; `git checkout params.yaml systems.yaml` restores the previous ones."""
    changes = apply_preset(preset, dataset)
    for key, (before, after) in changes.items():
        typer.echo(f"{key}: {before} -> {after}")
    typer.echo(f"{len(changes)} keys of {' and '.join(sorted({str(file_of(key)) for key in changes}))} changed")


def apply_preset(preset: str, dataset: str) -> dict[str, tuple[Any, Any]]:
    """Overlays the parameter files with a preset, in the form in which DVC writes them, if the result is valid.

    Returns:
        The changed values before and after, by dotted key.

    Raises:
        ConfigError: the preset does not exist or has no values for this data set, or the result is not valid.
    """
    from dvc.utils.serialize import modify_yaml

    load_params().dataset(dataset)
    sections = _read_preset(paths.PRESETS / f"{preset}.yaml")
    if dataset not in sections:
        known = sorted(set(sections) - {SHARED})
        raise ConfigError(f"presets/{preset}.yaml has no values for {dataset!r}, only for {known}; add a section for it")
    nested = ({"run": {"datasets": [dataset]}}, sections.get(SHARED) or {}, sections[dataset] or {})
    new, before = {key: value for part in nested for key, value in flat(part).items()}, values(Path())
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        with_settings(folder, [])
        for file in FILES:
            with modify_yaml(folder / file) as content:
                for key, value in new.items():
                    if file_of(key) == file and before.get(key) != value:
                        *parents, last = key.split(".")
                        section = functools.reduce(lambda outer, inner: outer.setdefault(inner, {}), parents, content)
                        section[last] = copy.deepcopy(value)  # a shared list would be written as an alias
        load_checked(folder)
        for file in FILES:
            (folder / file).replace(file)
    return {key: (before.get(key), value) for key, value in values(Path()).items() if before.get(key) != value}


def _read_preset(file: Path) -> dict[str, Any]:
    try:
        sections = YAML().load(file) or {}
    except FileNotFoundError as error:
        known = sorted(path.stem for path in file.parent.glob("*.yaml"))
        raise ConfigError(f"{file.parent}: no preset {file.stem!r}, only {known}; run from the repository root") from error
    except YAMLError as error:
        raise ConfigError(f"{file}: not valid YAML: {error}") from error
    if not isinstance(sections, dict) or not all(isinstance(section, dict | None) for section in sections.values()):
        raise ConfigError(f"{file}: expected `{SHARED}:` and data sets at the top level, each with values by key")
    return sections


if __name__ == "__main__":
    run(main)
