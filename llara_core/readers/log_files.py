"""The files of an own log as batches of columns: CSV (plain or gzip) and Parquet, one file or the parts of a folder.

pyarrow reads them: three times as fast as pandas, twice as fast as DuckDB and level with Polars at 30 million rows
(``benchmarks/log_scale.py``), in every encoding that Python knows.

pyarrow gives the number of a record but not its line, and accepts stray quotes silently. So a second, slower pass with Python's
``csv`` finds lines once an error is certain, and checks every file that holds quotes.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import gzip
import itertools
import re
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from llara_core.config import OwnLogConfig
from llara_core.errors import DataError
from llara_core.readers.table_formats import refuse_table_formats

USUAL_SEPARATORS = ",;\t|"
BATCH_BYTES, BATCH_ROWS = 1 << 24, 1 << 19
csv.field_size_limit(BATCH_BYTES)  # a review may exceed the default of 128 KiB

PARQUET, GZIP = "a Parquet file", "a gzip file"
MAGIC = {
    b"PAR1": PARQUET,
    b"\x1f\x8b": GZIP,
    b"PK\x03\x04": "a zip archive (an Excel workbook is one, too)",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ\0": "an xz file",
    b"Obj\x01": "an Avro file",
    b"ARROW1": "an Arrow file",
    b"SQLite format 3\0": "a SQLite database",
}
TAR_MARK = slice(257, 262), b"ustar"
BYTE_ORDER_MARK = codecs.BOM_UTF8
DOUBTFUL_ESCAPE = '\\"'


class Table:
    """One file, or a folder of Parquet files, as one sequence of rows; the content of a file tells its kind, not its name.

    Attributes:
        n_repeated_headers: rows that the last :meth:`read` left out because they repeat a CSV file's header.

    Raises:
        DataError: the file is missing or of an unsupported kind, or a folder holds anything but Parquet files.
    """

    def __init__(self, folder: Path, name: str, config: OwnLogConfig) -> None:
        self.path = folder / name
        self.files: list[_CsvFile | _ParquetFile]
        self.first_rows: list[int] = []
        self.n_repeated_headers = 0
        if not self.path.exists():
            raise DataError(f"{self.path}: not found; correct its name, or run the download stage, which copies it")
        refuse_table_formats(self.path, folder)
        if self.path.is_dir():
            self.files = [_ParquetFile(path) for path in _parts(self.path)]
        elif _kind(self.path) == PARQUET or self.path.suffix.lower() == ".parquet":
            self.files = [_ParquetFile(self.path)]
        else:
            self.files = [_CsvFile(self.path, config)]

    def read(self, names: list[str]) -> Iterator[tuple[list[pa.Array], Sequence[int]]]:
        """The named columns batch by batch, with the number of each row, as :meth:`place` takes it."""
        self.first_rows, self.n_repeated_headers = [], 0
        row, kinds = 0, [""] * len(names)
        for file in self.files:
            self.first_rows.append(row)
            for batch in file.batches(names):
                columns = [_plain(file.path, name, batch.column(i)) for i, name in enumerate(names)]
                found = [_family(column.type) for column in columns]
                if any(a and b and a != b for a, b in zip(kinds, found, strict=True)):
                    raise DataError(
                        f"{file.path}: columns {_listed(names)} hold {_listed(found)}, but {_listed(kinds)} in the "
                        "files before; the files of a folder must agree"
                    )
                kinds = [known or new for known, new in zip(kinds, found, strict=True)]
                rows: Sequence[int] = range(row, row + len(batch))
                if isinstance(file, _CsvFile):
                    columns, rows = self._without_headers(names, columns, rows)
                yield columns, rows
                row += len(batch)
        if not row:
            raise DataError(f"{self.path}: holds no rows")

    def place(self, row: int) -> str:
        """File and line of a row (CSV), or file and row number from 1 (Parquet)."""
        file = bisect_right(self.first_rows, row) - 1
        return self.files[file].place(int(row) - self.first_rows[file])

    def _without_headers(
        self, names: list[str], columns: list[pa.Array], rows: Sequence[int]
    ) -> tuple[list[pa.Array], Sequence[int]]:
        """Leave out the headers of files that were appended; the first column becomes dictionary-encoded."""
        known = pa.array(names)
        first = columns[0].dictionary_encode()
        if not pc.any(pc.is_in(pc.utf8_trim_whitespace(first.dictionary), known)).as_py():
            return [first, *columns[1:]], rows
        trimmed = [pc.utf8_trim_whitespace(column) for column in columns]
        is_header = np.logical_and.reduce([pc.is_in(column, known).to_numpy(zero_copy_only=False) for column in trimmed])
        for row in np.flatnonzero(is_header):
            if [column[row].as_py() for column in trimmed] != names:
                raise DataError(
                    f"{self.place(rows[int(row)])}: a second header whose columns are in another order; give all files "
                    "that were joined here the same column order"
                )
        self.n_repeated_headers += int(is_header.sum())
        kept = [column.filter(pa.array(~is_header)) for column in columns]
        return [kept[0].dictionary_encode(), *kept[1:]], np.asarray(rows)[~is_header].tolist()


def _parts(folder: Path) -> list[Path]:
    """The Parquet files of a folder in natural order: ``part-2`` before ``part-10``."""
    paths = [path for path in folder.iterdir() if path.name[0] not in "._"]
    for path in paths:
        if path.is_dir() or (_kind(path) != PARQUET and path.suffix.lower() != ".parquet"):
            raise DataError(
                f"{path}: a folder may hold Parquet files only, neither other files nor folders; move it, or start its name "
                "with _ to have it ignored"
            )
    if not paths:
        raise DataError(f"{folder}: the folder holds no Parquet file")
    return sorted(paths, key=lambda path: [int(part) if part.isdigit() else part for part in re.split("([0-9]+)", path.name)])


def _kind(path: Path) -> str | None:
    """The kind of file that its first bytes show; None: no known one, so it may be text."""
    try:
        with path.open("rb") as file:
            return _kind_of(file.read(512))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _kind_of(head: bytes) -> str | None:
    if head[TAR_MARK[0]] == TAR_MARK[1]:
        return "a tar archive"
    return next((kind for magic, kind in MAGIC.items() if head.startswith(magic)), None)


@dataclass(frozen=True)
class _ParquetFile:
    path: Path

    def batches(self, names: list[str]) -> Iterator[pa.RecordBatch]:
        try:
            with pq.ParquetFile(self.path) as file:
                check_columns(self.path, names, file.schema_arrow.names)
                for batch in file.iter_batches(BATCH_ROWS, columns=list(dict.fromkeys(names))):
                    batch.validate(full=True)  # text that is not UTF-8
                    yield batch.select(names)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{self.path}: cannot be read as Parquet, damaged or of another kind: {error}") from error

    def place(self, row: int) -> str:
        return f"{self.path}: row {row + 1}"


class _CsvFile:
    def __init__(self, path: Path, config: OwnLogConfig) -> None:
        self.path = path
        self.separator, self.escape, self.quoting = config.separator, config.escape, config.quoting
        for key, value in (("separator", self.separator), ("escape", self.escape)):
            if value is not None and (not value.isascii() or value in '"\r\n\0'):
                raise DataError(
                    f"{path}: {key} {value!r} cannot be used; it must be an ASCII character other than a quote or a line break"
                )
        if self.escape == self.separator:
            raise DataError(f"{path}: `escape` and `separator` are both {self.escape!r}; they must differ")
        try:
            "".encode(config.encoding)  # codecs.lookup() alone would also accept hex and others that do not encode text
            self.encoding = codecs.lookup(config.encoding).name.removesuffix("-sig")
        except (LookupError, ValueError) as error:
            raise DataError(f"{path}: encoding {config.encoding!r} is unknown; common ones are utf-8 and cp1252") from error
        self.is_packed = self._check_kind() == GZIP

    def batches(self, names: list[str]) -> Iterator[pa.RecordBatch]:
        header = self._header()
        found = [name.strip() for name in header]
        others = [other for other in USUAL_SEPARATORS if other in found[0]]
        check_columns(self.path, names, found, f"; is the separator {others[0]!r}?" if others and len(found) == 1 else "")
        wanted = [header[found.index(name)] for name in names]
        passing = _Filter(self.separator, self.escape)
        refused: list[pa_csv.InvalidRow] = []

        def refuse(row: pa_csv.InvalidRow) -> str:
            refused.append(row)
            return "error"

        try:
            with (
                self._stream() as stream,
                pa_csv.open_csv(
                    pa.TransformInputStream(stream, passing),
                    # Only a single thread numbers the rows; two were no faster.
                    pa_csv.ReadOptions(block_size=BATCH_BYTES, use_threads=False),
                    pa_csv.ParseOptions(
                        delimiter=self.separator,
                        quote_char=False if self.quoting == "none" else '"',
                        escape_char=self.escape or False,
                        newlines_in_values=True,
                        invalid_row_handler=refuse,
                    ),
                    pa_csv.ConvertOptions(
                        include_columns=[*dict.fromkeys(wanted)], column_types=dict.fromkeys(wanted, pa.string())
                    ),
                ) as reader,
            ):
                for batch in reader:
                    yield batch.select(wanted)
        except (pa.ArrowException, UnicodeError, OSError) as error:
            self._explain(error, refused)
        if passing.ends_escaped:
            raise DataError(
                f"{self.path}: ends with {self.escape!r}, which escapes nothing; the file is cut short, or correct `escape`"
            )
        if passing.has_quotes and self.quoting != "none":
            self._check_quotes()

    def place(self, row: int) -> str:
        record = next(itertools.islice(self._records(), 1 + row, None), None)
        if record is None:  # Python and pyarrow differ on where rows end, so the quotes are in doubt
            self._check_quotes()
        return f"{self.path}:{record[0]}" if record else f"{self.path}: row {row + 1}"

    def _check_kind(self) -> str | None:
        kind = within = _kind(self.path)
        if kind == GZIP:
            try:
                with gzip.open(self.path) as file:
                    within = _kind_of(file.read(512))
            except (OSError, EOFError, zlib.error):
                within = None  # damaged: reading it will tell
        if within is not None:
            packed = " inside a gzip file" if kind == GZIP else ""
            raise DataError(
                f"{self.path}: is {within}{packed}, whatever its name; supported are CSV, CSV packed with gzip, and Parquet: "
                "unpack or export it"
            )
        return kind

    def _stream(self) -> Any:
        stream = pa.input_stream(self.path, compression="gzip" if self.is_packed else None)
        # UTF-8 needs no detour through Python.
        return stream if self.encoding == "utf-8" else pa.transcoding_input_stream(stream, self.encoding, "utf-8")

    def _header(self) -> list[str]:
        records = [fields for _, fields, _ in itertools.islice(self._records(), 2)]
        if len(records) < 2:
            raise DataError(f"{self.path}: {'holds a header but no rows' if records else 'is empty'}")
        return records[0]

    def _records(self, strict: bool = False) -> Iterator[tuple[int, list[str], list[str]]]:
        """First line number, fields and lines of each record, from the header on; blank lines are skipped."""
        number, lines = 1, list[str]()

        def take(file: Iterable[str]) -> Iterator[str]:
            for line in file:
                lines.append(line)
                yield line.removeprefix("\ufeff")

        try:
            with self._open("rt", encoding=self.encoding, newline="") as file:
                for fields in self._split(take(file), strict):
                    if fields:
                        yield number, fields, lines
                    number += len(lines)
                    lines.clear()
        except UnicodeError as error:
            raise DataError(f"{self._undecodable()}: not {self.encoding} text; correct `encoding`") from error
        except csv.Error as error:
            self._refuse_escapes(number, lines)
            raise DataError(
                f"{self.path}:{number}: a quoted field does not end, or its quotes are not doubled ({error}); double them, or, "
                "if quotes are ordinary characters in this file, set `quoting: none`"
            ) from error
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{self.path}: cannot be read, damaged or cut short: {error}") from error

    def _checked_records(self) -> Iterator[tuple[int, list[str]]]:
        """First line number and fields of each record.

        Raises:
            DataError: the quotes of a record leave in doubt where its fields end.
        """
        n_fields = 0
        for number, fields, lines in self._records(strict=self.quoting != "none"):
            n_fields = n_fields or len(fields)
            if self.quoting == "checked":
                self._refuse_escapes(number, lines)
                if len(lines) > 1 and self._look_like_rows(lines, n_fields):
                    raise DataError(
                        f"{self.path}:{number}: a quoted field begins here and spans {len(lines)} lines that look like rows. "
                        "If quotes are ordinary characters in this file, set `quoting: none`; if it is one field, "
                        "`quoting: trusted`"
                    )
            yield number, fields

    def _look_like_rows(self, lines: list[str], n_fields: int) -> bool:
        """Whether each line of one record would be a row of its own if the quotes that join them meant nothing."""
        lines = [line for line in lines if line.strip()]
        if len(lines) < 2 or '"' not in lines[0]:  # then an escaped line end joins them
            return False
        first, *others, last = lines
        opened, closed = next(self._split([first])), next(self._split([f'"{last}']))
        counts = [len(opened) + opened[-1].count(self.separator), len(closed) + closed[0].count(self.separator)]
        counts += [1 + line.count(self.separator) for line in others]
        return all(count == n_fields for count in counts)

    def _split(self, lines: Iterable[str], strict: bool = False) -> Iterator[list[str]]:
        return csv.reader(
            lines,
            delimiter=self.separator,
            escapechar=self.escape,
            quoting=csv.QUOTE_NONE if self.quoting == "none" else csv.QUOTE_MINIMAL,
            strict=strict,
        )

    def _check_quotes(self) -> None:
        for _ in self._checked_records():
            pass

    def _refuse_escapes(self, number: int, lines: list[str]) -> None:
        if self.escape is None and self.quoting == "checked":
            for line, text in enumerate(lines, start=number):
                if DOUBTFUL_ESCAPE in text:
                    raise DataError(
                        f"{self.path}:{line}: {DOUBTFUL_ESCAPE} is ambiguous. If the backslash escapes the quote, set "
                        "`escape: '\\'`; if it is an ordinary character, `quoting: trusted`, or `none` if quotes are, too"
                    )

    def _undecodable(self) -> str:
        """File and line of the first byte that is not of the encoding, which pyarrow tells neither in bytes nor in lines."""
        decoder = codecs.getincrementaldecoder(self.encoding)()
        line = 1
        with contextlib.suppress(UnicodeError), self._open("rb") as file:
            for chunk in file:
                line += decoder.decode(chunk).count("\n")
        return f"{self.path}:{line}"

    def _explain(self, error: Exception, refused: list[pa_csv.InvalidRow]) -> NoReturn:
        """Raise the clearest error for what pyarrow refused: doubtful quotes, undecodable text, or a row of another length.

        Args:
            refused: the row of another length, if that was it.
        """
        # Records are numbered alike here and there: the header is 1, and blank lines do not count.
        for line, _ in itertools.islice(self._checked_records(), refused[0].number if refused else None):
            place = f"{self.path}:{line}"
        if not refused:
            raise DataError(f"{self.path}: cannot be read: {error}") from error
        row = refused[0]
        hint = "; is the separator escaped? set `escape`" if not self.escape and f"\\{self.separator}" in row.text else ""
        raise DataError(
            f"{place}: {row.actual_columns} fields separated by {self.separator!r}, but the header has {row.expected_columns}: "
            f"{short(row.text)}{hint}"
        )

    def _open(self, mode: str, **options: Any) -> Any:
        return gzip.open(self.path, mode, **options) if self.is_packed else self.path.open(mode, **options)


class _Filter:
    """Prepares the bytes of a CSV file (UTF-8) for pyarrow: no byte order marks, and ``\\N`` safe from unescaping.

    Attributes:
        has_quotes: whether there was a double quote.
        ends_escaped: whether the last character is an escape with nothing left to escape.
    """

    def __init__(self, separator: str, escape: str | None) -> None:
        self.has_quotes = self.ends_escaped = False
        self._escape = escape.encode() if escape else b""
        pattern = rb"(^|[%b\r\n])\\N(?=[%b\r\n])" % ((re.escape(separator).encode(),) * 2)
        self._null = re.compile(pattern) if escape == "\\" else None
        self._rest = b""

    def __call__(self, buffer: pa.Buffer) -> pa.Buffer:
        data = self._rest + buffer.to_pybytes()
        # The last call has an empty buffer. A carriage return at the end may be half of a line break.
        end = (data.rfind(b"\n") + 1 or data.rfind(b"\r", 0, -1) + 1) if buffer.size else len(data)
        data, self._rest = data[:end], data[end:]
        data = data.removeprefix(BYTE_ORDER_MARK).replace(b"\n" + BYTE_ORDER_MARK, b"\n")
        self.has_quotes = self.has_quotes or b'"' in data
        if data and self._escape:
            line = data.removesuffix(b"\n").removesuffix(b"\r")
            self.ends_escaped = (len(line) - len(line.rstrip(self._escape))) % 2 == 1
        if self._null is not None and b"\\N" in data:
            data = self._null.sub(rb"\1\\\\N", data)  # a missing value, which pyarrow would turn into N
        return pa.py_buffer(data)


def check_columns(path: Path, names: list[str], found: list[str], hint: str = "") -> None:
    if missing := [name for name in names if name not in found]:
        raise DataError(f"{path}: no column {_listed(missing)}; the columns are {_listed(found)}{hint}")
    if repeated := [name for name in dict.fromkeys(names) if found.count(name) > 1]:
        raise DataError(f"{path}: several columns are called {_listed(repeated)}; rename all but one")


def _plain(path: Path, name: str, column: pa.Array) -> pa.Array:
    """``column`` with all of Arrow's types for text, dictionaries and bytes included, as plain strings."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    checks = (pa.types.is_large_string, pa.types.is_string_view, pa.types.is_binary, pa.types.is_large_binary)
    try:
        return column.cast(pa.string() if any(check(kind) for check in (*checks, pa.types.is_binary_view)) else kind)
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: column {name!r} is of type {column.type} but is not UTF-8 text ({error})") from error


def _family(kind: pa.DataType) -> str:
    """The family of a type, within which the files of a folder may differ; empty for nulls alone, which fit any."""
    types = pa.types
    if types.is_null(kind):
        return ""
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return "numbers"
    if types.is_timestamp(kind) or types.is_date(kind):
        return "times"
    return "text" if types.is_string(kind) else str(kind)


def _listed(values: Iterable[object]) -> str:
    return ", ".join(repr(value) if isinstance(value, str) else str(value) for value in values)


def short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
