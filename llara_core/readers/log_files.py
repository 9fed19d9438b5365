"""The files of an own log as batches of columns: delimited text, JSON lines and Parquet, one file or the parts of a folder."""

from __future__ import annotations

import re
import uuid
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from llara_core.config import OwnLogConfig, TextLayout
from llara_core.errors import DataError
from llara_core.readers.delimited_text import DelimitedFile
from llara_core.readers.json_lines import JsonLinesFile
from llara_core.readers.log_kinds import PARQUET, kind_of, open_bytes, packing_of_text
from llara_core.readers.sequences import one_row_per_item
from llara_core.readers.table_formats import refuse_table_formats
from llara_core.readers.values import check_columns, listed

BATCH_ROWS = 1 << 19
NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"
JSON_OBJECT, JSON_ARRAY = re.compile(r"\s*\{"), re.compile(r"\s*\[\s*\{")

Rows = npt.NDArray[np.int64]
Batch = tuple[list[pa.Array], Rows]
"""Columns, and the numbers of their rows in the table."""


class LogFile(Protocol):
    """A file of rows.

    Attributes:
        header: of delimited text, the names as they stand there; None: rows cannot repeat it.
    """

    path: Path
    header: list[str] | None

    def names(self) -> list[str]:
        """Returns its columns."""

    def batches(self, names: list[str]) -> Iterator[list[pa.Array]]:
        """Yields the named columns, batch by batch."""

    def place(self, row: int) -> str:
        """Returns the place of a row, counted from 0."""


@dataclass(frozen=True)
class Part:
    """A file, and the values of further columns, such as its folders hold in their names (``user=7/date=2024-01-01``)."""

    file: LogFile
    partition: Mapping[str, str | None]


class LogTable:
    """One file, or a folder of files, as one sequence of rows; the content of a file tells its kind, not its name.

    Args:
        layout: of text.
        sequences: as in the section; None: a row is an interaction.
        per_row: columns that have one value for a row of ``sequences``.

    Attributes:
        n_repeated_headers: rows that the last :meth:`read` left out because they repeat the header of delimited text.

    Raises:
        DataError: the file is missing or of an unsupported kind, or a folder holds sub-folders that are no partitions.
    """

    def __init__(
        self, folder: Path, name: str, layout: TextLayout, sequences: str | None = None, per_row: Sequence[str] = ()
    ) -> None:
        self.path = folder / name
        self.sequences, self.per_row = sequences, [*per_row]
        self.n_repeated_headers, self._first_rows = 0, list[int]()
        if not self.path.exists():
            raise DataError(f"{self.path}: not found; correct its name, or run the download stage, which copies it")
        refuse_table_formats(self.path, folder)
        paths = _parts(self.path) if self.path.is_dir() else {self.path: {}}
        self.parts = [Part(_open(path, layout), partition) for path, partition in paths.items()]

    @classmethod
    def of_interactions(cls, folder: Path, config: OwnLogConfig, name: str) -> Self:
        return cls(folder, name, config.log_layout, config.sequences, [config.columns.user, *config.per_row])

    @classmethod
    def of_items(cls, folder: Path, config: OwnLogConfig) -> Self:
        return cls(folder, config.items, config.item_layout)

    def names(self) -> list[str]:
        """Returns the columns of the first part."""
        return [*self.parts[0].file.names(), *self.parts[0].partition]

    def read(self, names: list[str]) -> Iterator[Batch]:
        """Yields the named columns batch by batch, with the number of each row, as :meth:`place` takes it."""
        self._first_rows, self.n_repeated_headers = [], 0
        n_rows, kinds = 0, [""] * len(names)
        for part in self.parts:
            self._first_rows.append(n_rows)
            for raw in self._batches(part, names):
                columns = [_plain(part.file.path, name, column) for name, column in zip(names, raw, strict=True)]
                rows = np.arange(n_rows, n_rows + len(raw[0]))
                n_rows += len(rows)
                if part.file.header is not None:
                    columns, rows = self._without_headers(part.file, names, columns, rows)
                if self.sequences is not None:
                    is_list = [name not in self.per_row for name in names]
                    columns, rows = one_row_per_item(names, columns, rows, is_list, self.sequences, self.place)
                found = [_family(column.type) for column in columns]
                if any(a and b and a != b for a, b in zip(kinds, found, strict=True)):
                    raise DataError(
                        f"{part.file.path}: columns {listed(names)} hold {listed(found)}, but {listed(kinds)} in the "
                        "files before; the files of a folder must agree"
                    )
                kinds = [known or new for known, new in zip(kinds, found, strict=True)]
                yield columns, rows
        if not n_rows:
            raise DataError(f"{self.path}: holds no rows")

    def place(self, row: int) -> str:
        """Returns file and line of a row (text), or file and row number from 1 (Parquet)."""
        part = bisect_right(self._first_rows, row) - 1
        return self.parts[part].file.place(int(row) - self._first_rows[part])

    def _batches(self, part: Part, names: list[str]) -> Iterator[list[pa.Array]]:
        file = part.file
        if both := [name for name in part.partition if name in file.names()]:
            raise DataError(f"{file.path}: the column {both[0]!r} is in the file and in the name of its folder; drop one")
        own = [name for name in names if name not in part.partition]
        for batch in file.batches(own or file.names()[:1]):
            values = dict(zip(own, batch, strict=False))
            for name, value in part.partition.items():
                values[name] = pa.repeat(pa.scalar(value, pa.string()), len(batch[0]))
            yield [values[name] for name in names]

    def _without_headers(self, file: LogFile, names: list[str], columns: list[pa.Array], rows: Rows) -> Batch:
        """Leaves out the headers of files that were appended; the first column becomes dictionary-encoded."""
        known = dict(zip(file.names(), file.header or [], strict=True))
        marks, first = pa.array([known.get(name) for name in names], pa.string()).drop_null(), columns[0].dictionary_encode()
        if not pc.any(pc.is_in(pc.utf8_trim_whitespace(first.dictionary), marks)).as_py():
            return [first, *columns[1:]], rows
        # A column from the names of folders says nothing about the row.
        own = {name: pc.utf8_trim_whitespace(column) for name, column in zip(names, columns, strict=True) if name in known}
        found = [pc.is_in(column, marks).to_numpy(zero_copy_only=False) for column in own.values()]
        is_header = np.logical_and.reduce(found)
        for row in np.flatnonzero(is_header):
            if any(column[row].as_py() != known[name] for name, column in own.items()):
                raise DataError(
                    f"{self.place(rows[row])}: a second header whose columns are in another order; give all files "
                    "that were joined here the same column order"
                )
        self.n_repeated_headers += int(is_header.sum())
        kept = [column.filter(pa.array(~is_header)) for column in columns]
        return [kept[0].dictionary_encode(), *kept[1:]], rows[~is_header]


def _parts(folder: Path) -> dict[Path, dict[str, str | None]]:
    """Returns the files of a folder in natural order (``part-2`` before ``part-10``), each with the partition that it is of."""
    found: dict[Path, dict[str, str | None]] = {}
    paths = [path for path in folder.iterdir() if path.name[0] not in "._"]
    for path in sorted(paths, key=_natural):
        if not path.is_dir():
            found[path] = {}
            continue
        key, equals, value = path.name.partition("=")
        if not (key and equals):
            raise DataError(
                f"{path}: a folder may hold files and partitions (folders such as user=7), but no other folders; move it, or "
                "start its name with _ to have it ignored"
            )
        refuse_table_formats(path, path)
        for file, partition in _parts(path).items():
            found[file] = {unquote(key): None if value == NULL_PARTITION else unquote(value), **partition}
    if not found:
        raise DataError(f"{folder}: the folder holds no file")
    return found


def _natural(path: Path) -> list[tuple[bool, int, str]]:
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in re.split("([0-9]+)", path.name)]


def _open(path: Path, layout: TextLayout) -> LogFile:
    if kind_of(path) == PARQUET or path.suffix.lower() == ".parquet":
        return _ParquetFile(path)
    packing = packing_of_text(path)
    try:
        with open_bytes(path, packing) as file:
            head = file.read(4096).decode(layout.encoding, errors="ignore").removeprefix("\ufeff")
    except (OSError, LookupError, ValueError):
        head = ""  # reading it will tell
    if JSON_ARRAY.match(head):
        raise DataError(f"{path}: is one JSON array; write an object a line instead, for example with `jq -c '.[]'`")
    if JSON_OBJECT.match(head):
        return JsonLinesFile(path, layout.encoding, packing)
    return DelimitedFile(path, layout, packing)


@dataclass
class _ParquetFile:
    path: Path
    header: list[str] | None = None

    def names(self) -> list[str]:
        try:
            return list(pq.read_schema(self.path).names)
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(error) from error

    def batches(self, names: list[str]) -> Iterator[list[pa.Array]]:
        try:
            with pq.ParquetFile(self.path) as file:
                check_columns(self.path, names, file.schema_arrow.names)
                for batch in file.iter_batches(BATCH_ROWS, columns=list(dict.fromkeys(names))):
                    batch.validate(full=True)  # text that is not UTF-8
                    yield [batch.column(name) for name in names]
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(error) from error

    def place(self, row: int) -> str:
        return f"{self.path}: row {row + 1}"

    def _damaged(self, error: Exception) -> DataError:
        return DataError(f"{self.path}: cannot be read as Parquet, damaged or of another kind: {error}")


def _plain(path: Path, name: str, column: pa.Array) -> pa.Array:
    """Returns ``column`` with all of Arrow's types for text, dictionaries, bytes and UUIDs included, as plain strings."""
    if isinstance(column.type, pa.UuidType):
        encoded = column.storage.dictionary_encode()
        texts = pa.array([str(uuid.UUID(bytes=value)) for value in encoded.dictionary.to_pylist()], pa.string())
        return texts.take(encoded.indices)
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    types = pa.types
    text = (types.is_large_string, types.is_string_view)
    raw = (types.is_binary, types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary)
    try:
        return column.cast(pa.string() if any(check(kind) for check in (*text, *raw)) else kind)
    except pa.ArrowInvalid as error:
        raise DataError(
            f"{path}: column {name!r} is of type {column.type} but is not UTF-8 text ({error}); write it as text, for example "
            "in hexadecimal digits"
        ) from error


def _family(kind: pa.DataType) -> str:
    """Returns the family of a type, within which the files of a folder may differ; empty for nulls alone, which fit any."""
    types = pa.types
    if types.is_null(kind):
        return ""
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return "numbers"
    if types.is_timestamp(kind) or types.is_date(kind):
        return "times"
    value = kind.value_type if types.is_dictionary(kind) else kind
    return "text" if types.is_string(value) else str(kind)
