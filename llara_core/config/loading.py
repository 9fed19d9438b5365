"""Reads and validates ``params.yaml`` and ``systems.yaml`` together; every error names its file and key."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from llara_core import paths
from llara_core.config.datasets import DATASET_FORMATS
from llara_core.config.params import Params, file_of
from llara_core.errors import ConfigError

# Keys of earlier versions and their replacements.
REPLACED = {
    "run.llm_recommenders": "write the recommender into each system, as in `systems.llara.recommender: sasrec`",
    "run.text_systems": "list these systems in run.systems; without `recommender` they read none",
    "run.untuned_systems": "list these systems in run.systems, and write `tuned: false` into each of them",
}


def load_params(path: Path = paths.PARAMS) -> Params:
    """Reads and validates ``params.yaml`` and ``systems.yaml``, which is in the same folder.

    Raises:
        ConfigError: a file is missing, not valid YAML, or breaks a constraint; all violations are listed.
    """
    sections = read_sections(path)
    raw = {name: value for of_file in sections.values() for name, value in of_file.items()}
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(_explain(sections, error, _parents(raw))) from error


def read_sections(path: Path = paths.PARAMS) -> dict[Path, dict[str, Any]]:
    """Reads the sections of ``params.yaml`` and ``systems.yaml``, by file (as YAML 1.2, so that ``1e-4`` is a number).

    Raises:
        ConfigError: a file is missing, not valid YAML, or has a section of the other file.
    """
    sections = {file: _read(file) for file in (path, path.with_name(paths.SYSTEMS.name))}
    for file, of_file in sections.items():
        for name in of_file:
            if name in Params.model_fields and (right := file_of(name)).name != file.name:
                raise ConfigError(
                    f"{file}: the section `{name}` belongs in {right}; move it there, or write -S {right}:{name}..."
                )
    return sections


def _read(file: Path) -> dict[str, Any]:
    try:
        raw = YAML(typ="safe", pure=True).load(file)
    except FileNotFoundError as error:
        raise ConfigError(f"{file}: not found; run from the repository root") from error
    except (YAMLError, ValueError, KeyError, RecursionError) as error:  # ruamel does not wrap all errors
        raise ConfigError(f"{file}: not valid YAML: {error}") from error
    if not isinstance(raw, dict):
        example = "systems" if file.name == paths.SYSTEMS.name else "run"
        raise ConfigError(f"{file}: expected sections such as `{example}:` at the top level, found {type(raw).__name__}")
    return raw


_WHOLE_FILE = "(whole file)"  # stands for the key of a problem with several sections


def _explain(sections: Mapping[Path, Mapping[str, Any]], error: ValidationError, parents: Mapping[str, str]) -> str:
    """Lists all problems by file.

    Args:
        sections: content of the files, from :func:`read_sections`.
        parents: extended systems, from :func:`_parents`.
    """
    lines = []
    for problem in error.errors():
        location = _location(problem["loc"])
        key = ".".join(str(part) for part in location if part != "[key]") or _WHOLE_FILE
        message = problem["msg"].removeprefix("Value error, ")
        if key in REPLACED:
            message = f"is no longer a key: {REPLACED[key]}"
        elif problem["type"] == "extra_forbidden":
            message = f"unknown key{_suggestion(problem['loc'])}"
        elif problem["type"] == "missing":
            message = "missing"
        elif problem["type"] == "union_tag_not_found":
            key, message = f"{key}.format", "missing"
        elif problem["type"] == "union_tag_invalid":
            key, message = f"{key}.format", f"Input should be {problem['ctx']['expected_tags']}, got {problem['ctx']['tag']!r}"
        elif problem["input"] == "" and problem["type"] != "value_error":
            message = f"is empty{_remedy(problem['loc'])}"
        elif problem["type"] == "string_type" and problem["input"] is None:
            message = (
                "is null, as YAML also reads the words null and NULL; give it a value, in quotes if it is one of these words"
            )
        elif problem["type"] == "list_type" and isinstance(problem["input"], str | int | float):
            listed = f"[{problem['input']}]"
            prefix = f"{paths.SYSTEMS}:" if file_of(key) == paths.SYSTEMS else ""
            message = (
                f"is {problem['input']!r}, which is not a list; write {listed}, on the command line '{prefix}{key}={listed}'"
            )
        elif problem["type"] != "value_error":
            message += f", got {problem['input']!r}"
        lines.append(f"  {key}: {message}")
    # A problem of a global section or a system also occurs in every system that inherits it, and is listed only once.
    unique = [line for line in dict.fromkeys(lines) if not _inherited(line, lines, parents)]
    by_file = {file: [line for line in unique if _is_in(line, file, sections)] for file in sections}
    explained = "\n".join(
        f"{file}: {len(of_file)} problem(s)\n" + "\n".join(of_file) for file, of_file in by_file.items() if of_file
    )
    return explained.replace(f"{_WHOLE_FILE}: ", "")  # its problems name keys themselves


def _is_in(line: str, file: Path, sections: Mapping[Path, Mapping[str, Any]]) -> bool:
    """Returns whether the section at the beginning of a line is in the file, or is missing there."""
    section = re.findall(r"\w+", line.replace(f"{_WHOLE_FILE}: ", ""))[0]
    holder = next((other for other, of_file in sections.items() if section in of_file), None)
    return file == holder if holder is not None else file.name == file_of(section).name


def _location(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Returns the keys as in the file, without the format that pydantic adds after the name of a data set."""
    return location[:2] + location[3:] if location[:1] == ("datasets",) else location


def _parents(raw: dict[str, Any]) -> dict[str, str]:
    """Returns the system that each system extends, for those that extend one."""
    systems = raw.get("systems")
    own = systems.items() if isinstance(systems, dict) else ()
    return {name: section["extends"] for name, section in own if isinstance(section, dict) and "extends" in section}


def _inherited(line: str, lines: list[str], parents: Mapping[str, str]) -> bool:
    section, _, rest = line.strip().partition(".")
    system = next((name for name in parents if section == "systems" and rest.startswith((f"{name}.", f"{name}:"))), None)
    if system is not None and f"  systems.{parents[system]}{rest.removeprefix(system)}" in lines:
        return True
    parts = line.strip().split(".", 2)
    return section == "systems" and len(parts) == 3 and f"  {parts[2]}" in lines


def _suggestion(location: tuple[int | str, ...]) -> str:
    known = list(_fields(location))
    near = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known keys: {', '.join(known)}" if known else ""


def _remedy(location: tuple[int | str, ...]) -> str:
    """Returns what to write instead of an empty value."""
    field = _fields(location).get(str(location[-1]))
    if field is None:
        return "; give it a value"
    if get_origin(field.annotation) is list:
        return "; write [] for none"
    return "; write null for none" if type(None) in get_args(field.annotation) else "; give it a value"


def _fields(location: tuple[int | str, ...]) -> dict[str, FieldInfo]:
    """Returns the keys of the section that contains the last key of ``location``."""
    section: Any = Params
    for part in location[:-1]:
        field = getattr(section, "model_fields", {}).get(part)
        if field is not None:
            of_field = [part for part in get_args(field.annotation) if hasattr(part, "model_fields")]
            section = of_field[0] if of_field else field.annotation  # an optional section is a union with None
        elif part in DATASET_FORMATS:
            section = DATASET_FORMATS[part]
        elif get_args(section):  # a name inside `systems`
            section = get_args(section)[-1]
    fields: dict[str, FieldInfo] = getattr(section, "model_fields", {})
    return fields
