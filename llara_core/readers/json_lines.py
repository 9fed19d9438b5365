"""JSON lines: an object a line, whose values become text, digit for digit.

Python's ``json`` reads them and not pyarrow's, which infers types block by block (a text that looks like a time becomes one)
and tells no lines.
"""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from llara_core.errors import DataError
from llara_core.readers.log_kinds import open_bytes
from llara_core.readers.values import encodable, listed, short

BATCH_LINES = 1 << 16
SHOWN_LINES = 100  # whose keys a message lists


def _one_value_per_key(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key comes twice")
    return found


_decode = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=_one_value_per_key).decode


class JsonLinesFile:
    """A file of JSON lines; blank lines are skipped, a key that an object lacks is null.

    Args:
        packing: as of :func:`log_kinds.packing_of_text`.
    """

    header: list[str] | None = None

    def __init__(self, path: Path, encoding: str, packing: str | None) -> None:
        self.path, self._encoding, self._packing = path, encoding, packing

    def names(self) -> list[str]:
        """Keys of the first objects, but for those that hold objects."""
        first = [record for _, record in itertools.islice(self._records(), SHOWN_LINES)]
        keys = dict.fromkeys(key for record in first for key in record)
        return [key for key in keys if all(_is_flat(record.get(key)) for record in first)]

    def batches(self, names: list[str]) -> Iterator[list[pa.Array]]:
        records, unseen, first = self._records(), set(names), 0
        while part := [record for _, record in itertools.islice(records, BATCH_LINES)]:
            unseen -= {name for name in unseen if any(name in record for record in part)}
            yield [self._column(name, [record.get(name) for record in part], first) for name in names]
            first += len(part)
        if not first:
            raise DataError(f"{self.path}: is empty")
        if unseen:
            raise DataError(f"{self.path}: no line has the key {listed(sorted(unseen))}; the keys are {listed(self.names())}")

    def place(self, row: int) -> str:
        line, _ = next(itertools.islice(self._records(), row, None))
        return f"{self.path}:{line}"

    def _records(self) -> Iterator[tuple[int, dict[str, Any]]]:
        number = 0
        try:
            # With newline="" a lone carriage return would end a line too, but not with "\n".
            with io.TextIOWrapper(open_bytes(self.path, self._packing), encoding=self._encoding, newline="\n") as file:
                for number, line in enumerate(file, start=1):
                    text = line.strip().removeprefix("\ufeff")
                    if text:
                        yield number, self._record(number, text)
        except UnicodeError as error:
            raise DataError(f"{self.path}:{number + 1}: not {self._encoding} text near here; correct `encoding`") from error
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read, damaged or cut short: {error}") from error

    def _record(self, number: int, line: str) -> dict[str, Any]:
        try:
            record = _decode(line)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{self.path}:{number}: is no JSON ({error}): {short(line)}; each line must be one object, with names and text "
                "in double quotes"
            ) from error
        if not isinstance(record, dict):
            raise DataError(f"{self.path}:{number}: is {short(line)}, but each line must be one object, such as {{...}}")
        return record

    def _column(self, name: str, values: list[Any], first: int) -> pa.Array:
        kinds = set(map(type, values)) - {type(None)}
        if bool in kinds:
            values = [str(value).lower() if isinstance(value, bool) else value for value in values]
            kinds -= {bool}
        if kinds <= {str}:
            return pa.array([value and encodable(value) for value in values], pa.string())
        if kinds <= {list} and all(isinstance(part, str | None) for value in values if value for part in value):
            lists = [value and [part and encodable(part) for part in value] for value in values]
            return pa.array(lists, pa.list_(pa.string()))
        usual = str if str in kinds else list
        row = next(row for row, value in enumerate(values) if not isinstance(value, usual | None) or not _is_flat(value))
        raise DataError(
            f"{self.place(first + row)}: key {name!r}: {short(values[row])} is neither text nor a number, nor, as elsewhere in "
            "the file, a list of these; bring it to one form"
        )


def _is_flat(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(part, str | None) for part in value)
    return not isinstance(value, dict)
