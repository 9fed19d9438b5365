"""What ``-S`` of an experiment changes; no stage, but for the commands of users.

DVC lays the values over ``params.yaml``; this does the same in a copy, before, since DVC's own messages name neither key nor
remedy.
"""

from __future__ import annotations

import difflib
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from llara_core import paths
from llara_core.config import Params, load_params
from llara_core.config.params import flat
from llara_core.config.reach import SHARED
from llara_core.errors import ConfigError


def changes(settings: Sequence[str]) -> list[str]:
    """What the settings of an experiment change, and which LLM systems global values reach; a line per parameter.

    Raises:
        ConfigError: ``params.yaml`` with ``settings`` laid over it is not valid.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = with_settings(Path(folder), settings)
        before, after = values(paths.PARAMS), values(file)
        params = load_checked(file)
    named = {setting.lstrip("+~").partition("=")[0] for setting in settings}
    lines = []
    for key in dict.fromkeys([*before, *after]):
        old, new = before.get(key), after.get(key)
        if old != new or key in named:
            line = f"{key}: {shown(new)}, as before" if old == new else f"{key}: {shown(old)} -> {shown(new)}"
            is_global = key.partition(".")[0] in SHARED and params.run.systems
            lines.append(f"{line}; {params.reach(key)}" if is_global else line)
    return lines


def checked_params(settings: Sequence[str]) -> Params:
    """``params.yaml`` with ``settings`` laid over it.

    Raises:
        ConfigError: it is not valid.
    """
    with tempfile.TemporaryDirectory() as folder:
        return load_checked(with_settings(Path(folder), settings))


def with_settings(folder: Path, settings: Sequence[str]) -> Path:
    """A copy of ``params.yaml`` in ``folder``, with ``settings`` laid over it as DVC does.

    Raises:
        ConfigError: there is no such file, or a setting cannot be laid over it.
    """
    from dvc.exceptions import DvcException
    from dvc.utils.hydra import apply_overrides

    if not paths.PARAMS.is_file():
        raise ConfigError(f"{paths.PARAMS}: not found; run from the repository root")
    file = Path(shutil.copy(paths.PARAMS, folder))
    for setting in settings:
        try:
            apply_overrides(file, [setting])
        except DvcException as error:
            key = setting.partition("=")[0]
            if re.fullmatch(r"[\w.]+", key) and "=" in setting and (remedy := remedy_of_key(key, setting, file)):
                raise ConfigError(f"-S {setting}: {paths.PARAMS} has no key {key!r}; {remedy}") from error
            reason = str(error.__cause__ or error).splitlines()[0].rstrip(".")
            raise ConfigError(
                f"-S {setting}: {reason}; write it as key=value or 'key=[value,value]', with a key of {paths.PARAMS}"
            ) from error
    return file


def remedy_of_key(key: str, setting: str, file: Path) -> str:
    """What to write in place of a key that the file does not have; empty where it has it.

    A key that may stand there, but does not, such as a system's own value of a global one, has to be added.

    Raises:
        ConfigError: it may stand there, but not with this value.
    """
    from dvc.exceptions import DvcException
    from dvc.utils.hydra import apply_overrides

    known = values(file)
    names = [*known, *{name.rpartition(".")[0] for name in known}]
    if key in names:
        return ""
    if ".".join(key.split(".")[:2]) in names:
        with tempfile.TemporaryDirectory() as folder:
            added = Path(shutil.copy(file, folder))
            try:
                apply_overrides(added, [f"+{setting}"])
                load_checked(added)
                return f"to add it: -S '+{setting}'"
            except (DvcException, ConfigError) as error:
                if isinstance(error, ConfigError) and "unknown key" not in str(error):
                    raise
    near = difflib.get_close_matches(key, names, n=1)
    sections = ", ".join(dict.fromkeys(name.partition(".")[0] for name in known))
    return f"did you mean {near[0]}?" if near else f"its sections are {sections}"


def values(file: Path) -> dict[str, Any]:
    """What stands in a parameter file, by dotted key."""
    return flat(YAML(typ="safe", pure=True).load(file) or {})


def shown(value: Any) -> str:
    """A value as it stands in YAML."""
    if isinstance(value, list):
        return f"[{', '.join(map(shown, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def load_checked(file: Path) -> Params:
    """A copy of ``params.yaml``, of which messages speak as of the file itself."""
    try:
        return load_params(file)
    except ConfigError as error:
        raise ConfigError(str(error).replace(str(file), str(paths.PARAMS))) from error
