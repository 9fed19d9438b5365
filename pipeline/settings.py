"""What ``-S`` of an experiment changes; no stage, but for the commands of users.

DVC lays the values over ``params.yaml``, or over ``systems.yaml`` where a key has that prefix; this does the same in a copy,
before, since DVC's own messages name neither key nor remedy.
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


def changes(settings: Sequence[str]) -> list[str]:
    """What the settings of an experiment change, and which LLM systems global values reach; a line per parameter.

    Raises:
        ConfigError: the parameters with ``settings`` laid over them are not valid.
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
    return lines


def checked_params(settings: Sequence[str]) -> Params:
    """The parameters with ``settings`` laid over them.

    Raises:
        ConfigError: they are not valid.
    """
    with tempfile.TemporaryDirectory() as folder:
        with_settings(Path(folder), settings)
        return load_checked(Path(folder))


def with_settings(folder: Path, settings: Sequence[str]) -> None:
    """Copy ``params.yaml`` and ``systems.yaml`` to ``folder``, and lay ``settings`` over them as DVC does.

    Raises:
        ConfigError: there are no such files, or a setting cannot be laid over them.
    """
    from dvc.exceptions import DvcException
    from dvc.utils.hydra import apply_overrides

    for file in FILES:
        if not file.is_file():
            raise ConfigError(f"{file}: not found; run from the repository root")
        shutil.copy(file, folder)
    for setting in settings:
        file, override = split(setting)
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
    """The file over which DVC lays a setting, and what it lays over it.

    Raises:
        ConfigError: the key stands in the other file, or the file is none of these.
    """
    prefix, colon, override = setting.partition(":")
    if not colon or "=" in prefix:
        prefix, override = str(paths.PARAMS), setting
    section, file = key_of(override).partition(".")[0], Path(prefix)
    if file not in FILES:
        raise ConfigError(f"-S {setting}: {file} has no parameters; they are in {paths.PARAMS} and {paths.SYSTEMS}")
    if section in Params.model_fields and file != file_of(section):
        raise ConfigError(f"-S {setting}: `{section}` stands in {file_of(section)}; write -S {quoted(prefixed(override))}")
    return file, override


def key_of(setting: str) -> str:
    """The dotted key that a setting changes, adds or takes away."""
    key = setting.partition("=")[0]
    return key.rpartition(":")[2].lstrip("+~")


def prefixed(override: str) -> str:
    """A setting for the file in which its key stands."""
    return f"{paths.SYSTEMS}:{override}" if file_of(key_of(override)) == paths.SYSTEMS else override


def quoted(setting: str) -> str:
    """A setting as a shell takes it."""
    return setting if re.fullmatch(r"[\w.:=-]+", setting) else f"'{setting}'"


def remedy_of_key(key: str, setting: str, folder: Path) -> str:
    """What to write in place of a key that the files in ``folder`` do not have; empty where they have it.

    A key that may stand there, but does not, such as a system's own value of a global one, has to be added.

    Raises:
        ConfigError: it may stand there, but not with this value.
    """
    from dvc.exceptions import DvcException
    from dvc.utils.hydra import apply_overrides

    known = values(folder)
    names = [*known, *{name.rpartition(".")[0] for name in known}]
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
    sections = ", ".join(dict.fromkeys(name.partition(".")[0] for name in known))
    return f"did you mean {prefixed(near[0])}?" if near else f"the sections are {sections}"


def values(folder: Path) -> dict[str, Any]:
    """What stands in the parameter files of a folder, by dotted key."""
    sections = read_sections(folder / paths.PARAMS)
    return {key: value for of_file in sections.values() for key, value in flat(of_file).items()}


def shown(value: Any) -> str:
    """A value as it stands in YAML."""
    if isinstance(value, list):
        return f"[{', '.join(map(shown, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def load_checked(folder: Path) -> Params:
    """Copies of the parameter files, of which messages speak as of the files themselves."""
    try:
        return load_params(folder / paths.PARAMS)
    except ConfigError as error:
        raise ConfigError(str(error).replace(f"{folder}{os.sep}", "")) from error
