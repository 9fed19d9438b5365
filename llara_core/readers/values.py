"""Array types and small helpers that several readers share."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from llara_core.errors import DataError

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


def check_columns(path: Path, names: list[str], available: list[str], hint: str = "") -> None:
    """Checks that each column that is read occurs once in a file.

    Args:
        names: names of the columns to read.
        available: names of all columns of the file.
        hint: appended to the message about missing columns.

    Raises:
        DataError: a column is missing or occurs twice.
    """
    if missing := [name for name in names if name not in available]:
        raise DataError(f"{path}: no column {listed(missing)}; the columns are {listed(available)}{hint}")
    if repeated := [name for name in dict.fromkeys(names) if available.count(name) > 1]:
        raise DataError(f"{path}: several columns are called {listed(repeated)}; rename all but one")


def decoded(values: pa.Array) -> pa.Array:
    """Returns the values without dictionary encoding."""
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


def encodable(text: str) -> str:
    """Replaces unpaired surrogates, which JSON may contain where an emoji was cut, by U+FFFD."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def listed(values: Iterable[object]) -> str:
    """Returns the values separated by commas, texts in quotes, for messages."""
    return ", ".join(repr(value) if isinstance(value, str) else str(value) for value in values)


def short(value: object) -> str:
    """Returns the value in at most 80 characters, for messages."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
