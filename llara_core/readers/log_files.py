"""Files of an own log (delimited text, JSON lines, Parquet; one file or a folder) as batches of columns."""

from __future__ import annotations

import re
import uuid
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from llara_core import columns as c
from llara_core.config import OwnLogConfig, TextLayout
from llara_core.errors import DataError
from llara_core.readers.delimited_text import DelimitedFile
from llara_core.readers.json_lines import JsonLinesFile
from llara_core.readers.log_kinds import PARQUET, kind_of, open_bytes, packing_of_text
from llara_core.readers.sequences import one_row_per_item
from llara_core.readers.table_formats import refuse_table_formats
from llara_core.readers.values import IntArray, check_columns

BATCH_ROWS = 1 << 19
FILE_COLUMN = "(split)"  # name of the column that holds the split of the rows of separate files
NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"
JSON_OBJECT, JSON_ARRAY = re.compile(r"\s*\{"), re.compile(r"\s*\[\s*\{")

Batch = tuple[list[pa.Array], IntArray]
"""Columns, and the numbers of their rows in the table."""


@dataclass(frozen=True)
class Part:
    """A file, and the values of columns that are not in it but in the names of its folders (``user=7/date=2024-01-01``)."""

    file: LogFile
    partition: Mapping[str, str | None]


class LogTable:
    """A file, or all files of a folder, as one sequence of rows; the kind of a file depends on its content, not on its name.

    Args:
        folder: folder of the raw files.
        name: name of the file or folder in it.
        layout: layout of delimited text.
        sequences: ``sequences`` of the section; None if a row is an interaction.
        per_row: names of the columns that have one value per row even with ``sequences``.

    Attributes:
        n_repeated_headers: number of rows that the last :meth:`read` dropped because they repeat the header.

    Raises:
        DataError: the file is missing or of an unsupported kind, or the folder contains folders that are not partitions.
    """

    def __init__(
        self, folder: Path, name: str, layout: TextLayout, sequences: str | None = None, per_row: Sequence[str] = ()
    ) -> None:
        self.path = folder / name
        self.sequences, self.per_row = sequences, [*per_row]
        self.n_repeated_headers, self._first_rows = 0, list[int]()
        if not self.path.exists():
            raise DataError(
                f"{self.path}: not found; correct its name, or put it into the data set's folder in data/own and run the "
                "download stage, which copies it"
            )
        refuse_table_formats(self.path, folder)
        paths = _parts(self.path) if self.path.is_dir() else {self.path: {}}
        self.parts = [Part(_open(path, layout), partition) for path, partition in paths.items()]

    @classmethod
    def of_interactions(cls, folder: Path, config: OwnLogConfig, name: str | None = None) -> Self:
        """Opens the interactions of a section, or those of another file with the same layout.

        If each split has a file, the column :data:`FILE_COLUMN` holds the split of each row.
        """
        per_row, split = [config.columns.user, *config.per_row], config.split
        names = [name or config.interactions]
        if name is None and split.strategy == "files" and split.validation_file is not None and split.test_file is not None:
            names, per_row = [*names, split.validation_file, split.test_file], [*per_row, FILE_COLUMN]
        table, *held_out = (cls(folder, name, config.log_layout, config.sequences, per_row) for name in names)
        if held_out:
            table.parts = [
                Part(part.file, {**part.partition, FILE_COLUMN: split_name})
                for split_name, files in zip(c.SPLITS, (table, *held_out), strict=True)
                for part in files.parts
            ]
        return table

    @classmethod
    def of_items(cls, folder: Path, config: OwnLogConfig) -> Self:
        """Opens the items of a section."""
        return cls(folder, config.items, config.item_layout)

    def names(self) -> list[str]:
        """Returns the names of the columns of the first part."""
        return [*self.parts[0].file.names(), *self.parts[0].partition]

    def read(self, names: list[str]) -> Iterator[Batch]:
        """Yields the named columns batch by batch, with the row numbers for :meth:`place`."""
        self._first_rows, self.n_repeated_headers = [], 0
        n_rows = 0
        for part in self.parts:
            self._first_rows.append(n_rows)
            for raw in self._batches(part, names):
                columns = [_normalized(part.file.path, name, column) for name, column in zip(names, raw, strict=True)]
                rows = np.arange(n_rows, n_rows + len(raw[0]))
                n_rows += len(rows)
                if part.file.header is not None:
                    columns, rows = self._without_headers(part.file, names, columns, rows)
                if self.sequences is not None:
                    columns, rows = one_row_per_item(names, columns, rows, self.per_row, self.sequences, self.place)
                yield columns, rows
        if not n_rows:
            raise DataError(f"{self.path}: holds no rows")

    def place(self, row: int) -> str:
        """Returns the file of a row and its line (text) or row number from 1 (Parquet); text is read again up to the line."""
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

    def _without_headers(self, file: LogFile, names: list[str], columns: list[pa.Array], rows: IntArray) -> Batch:
        """Drops the headers inside a file that was joined from several; dictionary-encodes the first column."""
        header = dict(zip(file.names(), file.header or [], strict=True))
        fields = pa.array([header[name] for name in names if name in header], pa.string())
        first = columns[0].dictionary_encode()
        if not pc.any(pc.is_in(pc.utf8_trim_whitespace(first.dictionary), fields)).as_py():
            return [first, *columns[1:]], rows
        # Columns from the names of folders cannot repeat the header.
        own = {name: pc.utf8_trim_whitespace(column) for name, column in zip(names, columns, strict=True) if name in header}
        is_header = np.logical_and.reduce([pc.is_in(text, fields).to_numpy(zero_copy_only=False) for text in own.values()])
        for row in np.flatnonzero(is_header):
            if any(text[row].as_py() != header[name] for name, text in own.items()):
                raise DataError(
                    f"{self.place(rows[row])}: a second header whose columns are in another order; give all files "
                    "that were joined here the same column order"
                )
        self.n_repeated_headers += int(is_header.sum())
        kept = [column.filter(pa.array(~is_header)) for column in columns]
        return [kept[0].dictionary_encode(), *kept[1:]], rows[~is_header]


def _parts(folder: Path) -> dict[Path, dict[str, str | None]]:
    """Returns the partition of each file of a folder, in natural order (``part-2`` before ``part-10``)."""
    parts: dict[Path, dict[str, str | None]] = {}
    paths = [path for path in folder.iterdir() if path.name[0] not in "._"]
    for path in sorted(paths, key=_natural_order):
        if not path.is_dir():
            parts[path] = {}
            continue
        key, equals, value = path.name.partition("=")
        if not (key and equals):
            raise DataError(
                f"{path}: a folder may hold files and partitions (folders such as user=7), but no other folders; move it, or "
                "start its name with _ to have it ignored"
            )
        refuse_table_formats(path, path)
        for file, partition in _parts(path).items():
            parts[file] = {unquote(key): None if value == NULL_PARTITION else unquote(value), **partition}
    if not parts:
        raise DataError(f"{folder}: the folder holds no file")
    return parts


def _natural_order(path: Path) -> list[tuple[bool, int, str]]:
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in re.split("([0-9]+)", path.name)]


def _open(path: Path, layout: TextLayout) -> LogFile:
    if kind_of(path) == PARQUET or path.suffix.lower() == ".parquet":
        return _ParquetFile(path)
    compression = packing_of_text(path)
    try:
        with open_bytes(path, compression) as file:
            head = file.read(4096).decode(layout.encoding, errors="ignore").removeprefix("\ufeff")
    except (OSError, LookupError, ValueError):
        head = ""  # the error appears again, with its place, when the file is read
    if JSON_ARRAY.match(head):
        raise DataError(f"{path}: is one JSON array; write one object per line instead, for example with `jq -c '.[]'`")
    if JSON_OBJECT.match(head):
        return JsonLinesFile(path, layout.encoding, compression)
    return DelimitedFile(path, layout, compression)


@dataclass
class _ParquetFile:
    path: Path
    header: list[str] | None = None

    def names(self) -> list[str]:
        """Returns the names of the columns, without those that hold records."""
        try:
            return [field.name for field in pq.read_schema(self.path) if not _holds_records(field.type)]
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(error) from error

    def batches(self, names: list[str]) -> Iterator[list[pa.Array]]:
        try:
            with pq.ParquetFile(self.path) as file:
                check_columns(self.path, names, file.schema_arrow.names)
                if nested := next((name for name in names if _holds_records(file.schema_arrow.field(name).type)), None):
                    raise DataError(
                        f"{self.path}: column {nested!r} holds records; write each of their fields as a column of its own, or "
                        "all values as a list of texts"
                    )
                for batch in file.iter_batches(BATCH_ROWS, columns=list(dict.fromkeys(names))):
                    batch.validate(full=True)  # detects text that is not UTF-8
                    yield [batch.column(name) for name in names]
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(error) from error

    def place(self, row: int) -> str:
        return f"{self.path}: row {row + 1}"

    def _damaged(self, error: Exception) -> DataError:
        return DataError(f"{self.path}: cannot be read as Parquet, damaged or of another kind: {error}")


LogFile = DelimitedFile | JsonLinesFile | _ParquetFile
"""A file of rows: ``names()`` returns its columns, ``batches(names)`` yields them batch by batch, and ``place(row)`` returns
the place of a row, numbered from 0, for messages; ``header`` is the header as written, or None if rows cannot repeat it."""


def _holds_records(kind: pa.DataType) -> bool:
    values = kind.value_type if pa.types.is_list(kind) or pa.types.is_large_list(kind) else kind
    return bool(pa.types.is_struct(values) or pa.types.is_map(values))


def _normalized(path: Path, name: str, column: pa.Array) -> pa.Array:
    """Returns a column with text, bytes and UUIDs of all Arrow types as plain strings, without dictionary encoding."""
    if isinstance(column.type, pa.UuidType):
        encoded = column.storage.dictionary_encode()
        texts = pa.array([str(uuid.UUID(bytes=value)) for value in encoded.dictionary.to_pylist()], pa.string())
        return texts.take(encoded.indices)
    types = pa.types
    kind = column.type.value_type if types.is_dictionary(column.type) else column.type
    text = (types.is_large_string, types.is_string_view)
    raw = (types.is_binary, types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary)
    try:
        return column.cast(pa.string() if any(is_type(kind) for is_type in (*text, *raw)) else kind)
    except pa.ArrowInvalid as error:
        raise DataError(
            f"{path}: column {name!r} is of type {column.type} but is not UTF-8 text ({error}); write it as text, for example "
            "in hexadecimal digits"
        ) from error
