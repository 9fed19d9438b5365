"""The repository's parameters, for tests that change them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from llara_core import paths
from llara_core.config.loading import read_sections
from llara_core.config.params import file_of

REPOSITORY = Path(__file__).parents[2]


def raw_params(folder: Path = REPOSITORY) -> dict[str, Any]:
    """Reads the sections of both parameter files of a folder."""
    return {name: section for of_file in read_sections(folder / paths.PARAMS).values() for name, section in of_file.items()}


def write_params(raw: dict[str, Any], folder: Path) -> Path:
    """Writes sections into their files and returns the path of ``params.yaml``."""
    for file in (paths.PARAMS, paths.SYSTEMS):
        YAML().dump({name: raw[name] for name in raw if file_of(name) == file}, folder / file)
    return folder / paths.PARAMS


def copy_params(folder: Path) -> Path:
    """Copies the repository's parameter files and returns the path of ``params.yaml``."""
    for file in (paths.PARAMS, paths.SYSTEMS):
        shutil.copy(REPOSITORY / file, folder)
    return folder / paths.PARAMS
