"""JSON lines: one object per line, whose values become text with all digits preserved.

Python's ``json`` parses them, since pyarrow infers types block by block (text that looks like a time becomes one) and does not
report line numbers.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from llara_core.errors import DataError
from llara_core.readers.log_kinds import open_text
from llara_core.readers.values import encodable, listed, short

BATCH_LINES = 1 << 16
SHOWN_LINES = 100  # lines whose keys are listed in messages


def _one_value_per_key(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        raise ValueError("a key occurs twice")
    return record


_decode = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=_one_value_per_key).decode


class JsonLinesFile:
    """A file of JSON lines; blank lines are skipped, and missing keys are null.

    Args:
        compression: name that :func:`log_kinds.packing_of_text` returned.
    """

    header: list[str] | None = None

    def __init__(self, path: Path, encoding: str, compression: str | None) -> None:
        self.path, self._encoding, self._compression = path, encoding, compression

    def names(self) -> list[str]:
        """Returns the keys of the first objects, without those that hold nested objects."""
        first = [record for _, record in itertools.islice(self._records(), SHOWN_LINES)]
        keys = dict.fromkeys(key for record in first for key in record)
        return [key for key in keys if all(_is_flat(record.get(key)) for record in first)]

    def batches(self, names: list[str]) -> Iterator[list[pa.Array]]:
        records, unseen = self._records(), set(names)
        while part := [*itertools.islice(records, BATCH_LINES)]:
            unseen -= {name for name in unseen if any(name in record for _, record in part)}
            yield [self._column(name, [(number, record.get(name)) for number, record in part]) for name in names]
        if unseen:
            raise DataError(f"{self.path}: no line has the key {listed(sorted(unseen))}; the keys are {listed(self.names())}")

    def place(self, row: int) -> str:
        line, _ = next(itertools.islice(self._records(), row, None))
        return f"{self.path}:{line}"

    def _records(self) -> Iterator[tuple[int, dict[str, Any]]]:
        # newline="" would also end lines at carriage returns.
        with open_text(self.path, self._compression, self._encoding, newline="\n") as file:
            for number, line in enumerate(file, start=1):
                if text := line.strip().removeprefix("\ufeff"):
                    yield number, self._record(number, text)

    def _record(self, number: int, line: str) -> dict[str, Any]:
        try:
            record = _decode(line)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{self.path}:{number}: is not JSON ({error}): {short(line)}; each line must be one object, with names and "
                "text in double quotes"
            ) from error
        if not isinstance(record, dict):
            raise DataError(f"{self.path}:{number}: is {short(line)}, but each line must be one object, such as {{...}}")
        return record

    def _column(self, name: str, cells: list[tuple[int, Any]]) -> pa.Array:
        """Returns the values of a key, given with their line numbers, as text or as lists of text."""
        values = [str(value).lower() if isinstance(value, bool) else value for _, value in cells]
        kind = list if list in map(type, values) and str not in map(type, values) else str
        for (number, _), value in zip(cells, values, strict=True):
            if not isinstance(value, kind | None) or not _is_flat(value):
                expected = "a list of texts or numbers" if kind is list else "text or a number"
                raise DataError(
                    f"{self.path}:{number}: key {name!r}: {short(value)} is not {expected}; use one type of values in all lines"
                )
        if kind is str:
            return pa.array([value and encodable(value) for value in values], pa.string())
        return pa.array([value and [part and encodable(part) for part in value] for value in values], pa.list_(pa.string()))


def _is_flat(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(part, str | None) for part in value)
    return not isinstance(value, dict)
