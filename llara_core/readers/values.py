"""Values and names as messages show them, and the check that names are there."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from llara_core.errors import DataError


def check_columns(path: Path, names: list[str], found: list[str], hint: str = "") -> None:
    """Refuses names that ``found`` lacks or has twice.

    Raises:
        DataError: with the names that are there, and ``hint``.
    """
    if missing := [name for name in names if name not in found]:
        raise DataError(f"{path}: no column {listed(missing)}; the columns are {listed(found)}{hint}")
    if repeated := [name for name in dict.fromkeys(names) if found.count(name) > 1]:
        raise DataError(f"{path}: several columns are called {listed(repeated)}; rename all but one")


def encodable(text: str) -> str:
    """Returns ``text`` with U+FFFD for every half of a surrogate pair, as JSON has where an emoji was cut."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def listed(values: Iterable[object]) -> str:
    return ", ".join(repr(value) if isinstance(value, str) else str(value) for value in values)


def short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
