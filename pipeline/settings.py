"""Effect of the option ``-S`` of an experiment, for the commands of users.

DVC overlays ``params.yaml``, or ``systems.yaml`` for keys with that prefix, with the values. This module first does the same in
a copy, because messages of DVC name neither key nor remedy.
"""

from __future__ import annotations

import difflib
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llara_core import paths
from llara_core.config import Params, load_params
from llara_core.config.loading import read_sections
from llara_core.config.params import file_of, flat
from llara_core.config.reach import SHARED
from llara_core.errors import ConfigError

FILES = (paths.PARAMS, paths.SYSTEMS)


def overlay_params(settings: Sequence[str]) -> tuple[Params, list[str]]:
    """Returns the parameters overlaid with ``settings``, and a line per changed one.

    For a global value, the line has the LLM systems that it reaches.

    Raises:
        ConfigError: the result is not valid.
    """
    with tempfile.TemporaryDirectory() as folder:
        with_settings(Path(folder), settings)
        before, after = values(Path()), values(Path(folder))
        params = load_checked(Path(folder))
    named = {key_of(setting) for setting in settings}
    lines = []
    for key in dict.fromkeys([*before, *after]):
        old, new = before.get(key), after.get(key)
        if old != new or key in named:
            line = f"{key}: {shown(new)}, as before" if old == new else f"{key}: {shown(old)} -> {shown(new)}"
            is_global = key.partition(".")[0] in SHARED and params.run.systems
            lines.append(f"{line}; {params.reach(key)}" if is_global else line)
    return params, lines


def with_settings(folder: Path, settings: Sequence[str]) -> None:
    """Copies ``params.yaml`` and ``systems.yaml`` to ``folder`` and overlays them with ``settings`` as DVC does.

    Raises:
        ConfigError: a file is missing, or a setting is malformed.
    """
    from dvc.exceptions import DvcException
    from dvc.utils.hydra import apply_overrides

    for file in FILES:
        if not file.is_file():
            raise ConfigError(f"{file}: not found; run from the repository root")
        shutil.copy(file, folder)
    for setting in settings:
        file, override = split(setting)
        added = key_of(override)
        if override.startswith("+") and any(key == added or key.startswith(f"{added}.") for key in values(folder)):
            # An interrupted run of the same command has added it.
            override = override.lstrip("+")
        try:
            apply_overrides(folder / file, [override])
        except DvcException as error:
            key = override.partition("=")[0]
            if re.fullmatch(r"[\w.]+", key) and "=" in override and (remedy := remedy_of_key(key, setting, folder)):
                raise ConfigError(f"-S {setting}: {file} has no key {key!r}; {remedy}") from error
            reason = str(error.__cause__ or error).splitlines()[0].rstrip(".")
            raise ConfigError(
                f"-S {setting}: {reason}; write it as key=value or 'key=[value,value]', with a key of {file}"
            ) from error


def split(setting: str) -> tuple[Path, str]:
    """Returns the file that a setting changes, and the setting without the name of the file.

    Raises:
        ConfigError: the key belongs in the other file, or the file is not a parameter file.
    """
    prefix, colon, override = setting.partition(":")
    if not colon or "=" in prefix:
        prefix, override = str(paths.PARAMS), setting
    section, file = key_of(override).partition(".")[0], Path(prefix)
    if file not in FILES:
        raise ConfigError(f"-S {setting}: {file} has no parameters; they are in {paths.PARAMS} and {paths.SYSTEMS}")
    if section in Params.model_fields and file != file_of(section):
        raise ConfigError(f"-S {setting}: `{section}` belongs in {file_of(section)}; write -S {quoted(prefixed(override))}")
    return file, override


def key_of(setting: str) -> str:
    """Returns the dotted key that a setting changes, adds or removes."""
    key = setting.partition("=")[0]
    return key.rpartition(":")[2].lstrip("+~")


def prefixed(override: str) -> str:
    """Returns a setting with the prefix that its file needs."""
    return f"{paths.SYSTEMS}:{override}" if file_of(key_of(override)) == paths.SYSTEMS else override


def quoted(setting: str) -> str:
    """Returns a setting with the quotes that a shell needs."""
    return setting if re.fullmatch(r"[\w.:=-]+", setting) else f"'{setting}'"


def remedy_of_key(key: str, setting: str, folder: Path) -> str:
    """Returns what to write instead of a key that is not in the files in ``folder``; an empty text if it is.

    A valid key that is not there, such as a system's own value of a global key, has to be added.

    Raises:
        ConfigError: the key is valid, but not with this value.
    """
    from dvc.exceptions import DvcException
    from dvc.utils.hydra import apply_overrides

    known = values(folder)
    sections = {".".join(parts[:n]): None for parts in (name.split(".") for name in known) for n in range(1, len(parts))}
    names = [*known, *sections]
    if key in names:
        return ""
    if ".".join(key.split(".")[:2]) in names:
        addition = f"+{split(setting)[1]}"
        with tempfile.TemporaryDirectory() as other:
            for file in FILES:
                shutil.copy(folder / file, other)
            try:
                apply_overrides(Path(other) / file_of(key), [addition])
                load_checked(Path(other))
                return f"to add it: -S '{prefixed(addition)}'"
            except (DvcException, ConfigError) as error:
                if isinstance(error, ConfigError) and "unknown key" not in str(error):
                    raise
    near = difflib.get_close_matches(key, names, n=1)
    top_level = ", ".join(name for name in sections if "." not in name)
    return f"did you mean {prefixed(near[0])}?" if near else f"the sections are {top_level}"


def values(folder: Path) -> dict[str, Any]:
    """Returns the values in the parameter files of a folder, by dotted key."""
    sections = read_sections(folder / paths.PARAMS)
    return {key: value for of_file in sections.values() for key, value in flat(of_file).items()}


def shown(value: Any) -> str:
    """Returns a value as written in YAML."""
    if isinstance(value, list):
        return f"[{', '.join(map(shown, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def load_checked(folder: Path) -> Params:
    """Loads copies of the parameter files; error messages name the original files."""
    try:
        return load_params(folder / paths.PARAMS)
    except ConfigError as error:
        raise ConfigError(str(error).replace(f"{folder}{os.sep}", "")) from error
