"""Reader of users' own logs: CSV or Parquet files of interactions and of items.

The engine is pyarrow: at 30 million rows ``benchmarks/log_scale.py`` has it three times as fast as pandas, twice as fast as
DuckDB and level with Polars; it takes every encoding that Python knows and adds no dependency. Ids are dictionary-encoded batch
by batch, so that only the distinct ones are trimmed, compared and sorted.

pyarrow does not name the line of what it refuses; a second, slower pass over the CSV file does, once an error is certain.
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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from llara_core import columns as c
from llara_core.config import OwnLogConfig
from llara_core.data.raw import RawLog, count
from llara_core.errors import DataError

CSV_SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
PARQUET_SUFFIX = ".parquet"
USUAL_SEPARATORS = ",;\t|"
BATCH_BYTES, BATCH_ROWS = 1 << 24, 1 << 19
csv.field_size_limit(BATCH_BYTES)  # the default is 128 KiB, which a review may exceed

UNITS_PER_SECOND = {"seconds": 1, "milliseconds": 1000}
ISO = "iso8601"
YEAR_DIRECTIVES = ("%Y", "%y", "%G", "%c", "%x", "%s")
FIRST_SECOND, LAST_SECOND = (int(np.datetime64(time, "s").astype(np.int64)) for time in ("0001-01-01", "9999-12-31T23:59:59"))

WHOLE_NUMBER = r"^(0|[1-9][0-9]{0,17})$"  # fits int64, and no two texts are the same number
NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"


def read(folder: Path, config: OwnLogConfig) -> RawLog:
    """The log in ``folder``, whose files and columns ``config`` names.

    Ids are text without surrounding white space: a CSV file's ``007`` is not ``7``; whole numbers of a Parquet file become
    their digits. Ids ascend as numbers if all users' (or all items') are whole numbers of at most 18 digits without leading
    zeros, else by code point. Times are cut to seconds. An interaction that agrees with an earlier one in user, item, second
    and rating is dropped as a duplicate, and so are an item row that repeats an earlier one and interactions of items that the
    item file lacks.

    Raises:
        DataError: a file is missing, damaged or empty, lacks a column, has another separator or encoding than ``config`` says,
            or holds a value that cannot be read (named with its line); one item has two titles; no item is known.
    """
    _check_time_format(config.time_format)
    catalogue, n_repeated_items = _read_items(_Table(folder, config.items, config), config)
    table = _Table(folder, config.interactions, config)
    log, item_ids, n_users = _read_interactions(table, config)
    steps = {"raw": count(log)}

    repeated = _repeats(log)
    if repeated.any():
        log = log[~repeated].reset_index(drop=True)
    steps["distinct"] = count(log)

    item_of = pc.index_in(item_ids, pa.array(catalogue[c.RAW_ITEM], pa.string())).fill_null(-1).to_numpy()
    log[c.ITEM] = item_of[log[c.ITEM].to_numpy()]
    unknown = log[c.ITEM].to_numpy() < 0
    if unknown.all():
        raise DataError(
            f"{table.path}: no interaction is of an item in {folder / config.items}: ids here are such as "
            f"{item_ids[0].as_py()!r}, there {catalogue[c.RAW_ITEM].iloc[0]!r}; check `columns.item` and `columns.item_id`"
        )
    if unknown.any():
        log = log[~unknown].reset_index(drop=True)
    steps["known"] = count(log)
    dropped = {
        "items_duplicated": n_repeated_items,
        "interactions_duplicated": int(repeated.sum()),
        "interactions_of_unknown_items": int(unknown.sum()),
    }
    return RawLog(log, catalogue, n_users, steps, dropped)


def _read_interactions(table: _Table, config: OwnLogConfig) -> tuple[pd.DataFrame, pa.StringArray, int]:
    """The log with users and items numbered in ascending order of their ids; the ids of the items; the number of users."""
    names = config.columns
    users, items, seconds, ratings = [], [], [], []
    wanted = [names.user, names.item, names.time, *([names.rating] if names.rating else [])]
    for user, item, time, *rating in table.read(wanted):
        users.append(user.ids())
        items.append(item.ids())
        seconds.append(time.seconds(config.time_format))
        ratings += [column.ratings() for column in rating]
    user_numbers, user_ids = _number(users)
    item_numbers, item_ids = _number(items)
    log = {c.USER: user_numbers, c.ITEM: item_numbers, c.TIMESTAMP: np.concatenate(seconds)}
    if names.rating:
        log[c.RATING] = np.concatenate(ratings)
    return pd.DataFrame(log, copy=False), item_ids, len(user_ids)


def _read_items(table: _Table, config: OwnLogConfig) -> tuple[pd.DataFrame, int]:
    """The columns ``raw_id`` and ``raw_title``, ascending by id, and the number of repeated rows."""
    ids, titles = [], []
    for item, title in table.read([config.columns.item_id, config.columns.title]):
        ids.append(item.ids())
        titles.append(pc.utf8_trim_whitespace(title.text().fill_null("")))
    numbers, names = _number(ids)
    rows = pd.DataFrame({c.ITEM: numbers, c.RAW_TITLE: pa.chunked_array(titles).to_pandas()})
    distinct = rows.drop_duplicates()
    clashing = distinct[distinct[c.ITEM].duplicated(keep=False)]
    if len(clashing):
        item = clashing[c.ITEM].iloc[0]
        first, second = clashing[clashing[c.ITEM] == item].index[:2]
        raise DataError(
            f"{table.place(second)}: item {names[item].as_py()!r} is {_short(rows[c.RAW_TITLE][second])} here and "
            f"{_short(rows[c.RAW_TITLE][first])} in {table.place(first)}; an item has one title"
        )
    titled = distinct.sort_values(c.ITEM, ignore_index=True)
    return pd.DataFrame({c.RAW_ITEM: names.to_pandas(), c.RAW_TITLE: titled[c.RAW_TITLE]}), len(rows) - len(distinct)


def _number(parts: list[pa.DictionaryArray]) -> tuple[npt.NDArray[np.int32], pa.StringArray]:
    """Number of each row's id, and the ids in ascending order, whose places are the numbers."""
    unified = pa.chunked_array(parts).unify_dictionaries()
    values = unified.chunk(0).dictionary
    ids = values.unique()  # trimming may have made two of them equal
    whole = pc.all(pc.match_substring_regex(ids, WHOLE_NUMBER)).as_py()
    order = pc.array_sort_indices(ids.cast(pa.int64()) if whole else ids).to_numpy()
    rank = np.empty(len(order), dtype=np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    number_of = rank[pc.index_in(values, ids).to_numpy()]
    return np.concatenate([number_of[part.indices.to_numpy()] for part in unified.chunks]), ids.take(pa.array(order))


def _repeats(log: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Which rows agree with an earlier one in all columns."""
    # Only rows that share a 64-bit hash are compared: sorting hashes takes a third of the time of comparing all.
    hashes = pd.util.hash_pandas_object(log, index=False)
    ordered = np.sort(hashes.to_numpy())
    suspects = hashes.isin(ordered[1:][ordered[1:] == ordered[:-1]]).to_numpy()
    repeated = np.zeros(len(log), dtype=np.bool_)
    repeated[suspects] = log[suspects].duplicated()
    return repeated


def _check_time_format(time_format: str) -> None:
    if time_format in {*UNITS_PER_SECOND, ISO}:
        return
    if "%" not in time_format:
        known = ", ".join([*UNITS_PER_SECOND, ISO])
        raise DataError(f"time_format {time_format!r} is none of {known}, and no pattern such as %d/%m/%Y %H:%M")
    try:
        pd.to_datetime(["?"], format=time_format, errors="coerce")
    except (ValueError, re.error) as error:
        raise DataError(f"time_format {time_format!r} is no pattern for times: {error}") from error
    if not any(directive in time_format for directive in YEAR_DIRECTIVES):
        raise DataError(f"time_format {time_format!r} has no year ({', '.join(YEAR_DIRECTIVES)}), so times have no order")


@dataclass(frozen=True)
class _Column:
    """A batch of one column, and the number of its first row in ``table``."""

    table: _Table
    name: str
    values: pa.Array
    first_row: int

    def text(self) -> pa.StringArray:
        """Text and whole numbers as text; nulls stay."""
        kind = self.values.type
        if not (pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
            raise self._wrong_type("text or whole numbers")
        return self.values.cast(pa.string())

    def ids(self) -> pa.DictionaryArray:
        """Trimmed ids; distinct ones may repeat in the dictionary."""
        encoded = self.text().dictionary_encode()
        trimmed = pc.utf8_trim_whitespace(encoded.dictionary)
        empty = pc.equal(trimmed, "").take(encoded.indices).fill_null(True)
        if (row := pc.index(empty, True).as_py()) >= 0:
            self._fail(row, "")
        return pa.DictionaryArray.from_arrays(encoded.indices, trimmed)

    def seconds(self, time_format: str) -> npt.NDArray[np.int64]:
        """Seconds since 1970 UTC, rounded down."""
        kind = self.values.type
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            if time_format != ISO:
                raise self._wrong_type(f"numbers or text, or time_format must be {ISO}")
            self._refuse_nulls()
            times = self.values.to_numpy(zero_copy_only=False).astype("datetime64[s]").astype(np.int64)
            fits = np.ones(len(times), dtype=np.bool_)
        elif time_format in UNITS_PER_SECOND:
            numbers = self._numbers()
            fits = np.isfinite(numbers) & (np.floor(numbers) == numbers)
            times = np.where(fits, numbers, 0) // UNITS_PER_SECOND[time_format]
        else:
            text = pc.utf8_trim_whitespace(self.text()).to_pandas()
            pattern = "ISO8601" if time_format == ISO else time_format
            parsed = pd.to_datetime(text, format=pattern, errors="coerce", utc=True)
            fits = (parsed.notna() & ~text.isin(["now", "today"])).to_numpy()  # pandas has times for these words
            times = parsed.dt.tz_localize(None).to_numpy().astype("datetime64[s]").astype(np.int64)
        fits = fits & (times >= FIRST_SECOND) & (times <= LAST_SECOND)
        whole = "whole numbers, " if time_format in UNITS_PER_SECOND else ""
        self._refuse(fits, f"does not fit time_format {time_format!r} ({whole}years 1 to 9999)")
        seconds: npt.NDArray[np.int64] = times.astype(np.int64, copy=False)
        return seconds

    def ratings(self) -> npt.NDArray[np.float64]:
        numbers = self._numbers()
        self._refuse(np.isfinite(numbers), "is not a finite number")
        return numbers

    def _numbers(self) -> npt.NDArray[np.float64]:
        """NaN for text that is no number; the seconds of 10,000 years are exact."""
        kind = self.values.type
        self._refuse_nulls()
        if pa.types.is_string(kind):
            text = pc.utf8_trim_whitespace(self.values)
            try:
                numbers = text.cast(pa.float64())
            except pa.ArrowInvalid:
                numbers = pc.if_else(pc.match_substring_regex(text, NUMBER), text, "nan").cast(pa.float64())
        elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            numbers = self.values.cast(pa.float64(), safe=False)
        else:
            raise self._wrong_type("numbers")
        values: npt.NDArray[np.float64] = numbers.to_numpy()
        return values

    def _refuse_nulls(self) -> None:
        if self.values.null_count:
            self._fail(pc.index(self.values.is_null(), True).as_py(), "")

    def _refuse(self, fits: npt.NDArray[np.bool_], complaint: str) -> None:
        if not fits.all():
            self._fail(int(np.argmin(fits)), complaint)

    def _fail(self, row: int, complaint: str) -> NoReturn:
        try:
            value = self.values[row].as_py()
        except (OverflowError, ValueError):  # a time that Python's own types cannot hold
            value = self.values.cast(pa.int64(), safe=False)[row].as_py()
        place = f"{self.table.place(self.first_row + row)}: column {self.name!r}"
        if value is None or not str(value).strip():
            raise DataError(f"{place} is empty; every row needs a value there")
        raise DataError(f"{place}: {_short(value)} {complaint}")

    def _wrong_type(self, needed: str) -> DataError:
        return DataError(f"{self.table.path}: column {self.name!r} is of type {self.values.type}; it must hold {needed}")


class _Table:
    """One file, or a folder of Parquet files, as one sequence of rows.

    Raises:
        DataError: there is none, or its suffix is unknown.
    """

    def __init__(self, folder: Path, name: str, config: OwnLogConfig) -> None:
        self.path = folder / name
        self.files: list[_CsvFile | _ParquetFile]
        self.first_rows: list[int] = []
        if self.path.is_dir():
            entries = sorted(path for path in self.path.iterdir() if path.name[0] not in "._")
            for path in entries:
                if path.is_dir() or path.name.lower().endswith(CSV_SUFFIXES):
                    raise DataError(f"{path}: a folder may hold {PARQUET_SUFFIX} files, no other log and no folder; move it")
            parts = [path for path in entries if path.suffix.lower() == PARQUET_SUFFIX]
            if not parts:
                raise DataError(f"{self.path}: the folder holds no {PARQUET_SUFFIX} file")
            self.files = [_ParquetFile(path) for path in parts]
        elif not self.path.exists():
            raise DataError(f"{self.path}: not found; correct its name, or run the download stage, which copies it")
        elif name.lower().endswith(CSV_SUFFIXES):
            self.files = [_CsvFile(self.path, config.separator, config.encoding)]
        elif name.lower().endswith(PARQUET_SUFFIX):
            self.files = [_ParquetFile(self.path)]
        else:
            known = ", ".join([*CSV_SUFFIXES, PARQUET_SUFFIX])
            raise DataError(f"{self.path}: unknown kind of file; known are {known} and a folder of {PARQUET_SUFFIX} files")

    def read(self, names: list[str]) -> Iterator[list[_Column]]:
        """The named columns, batch by batch."""
        row, kinds = 0, None
        for file in self.files:
            self.first_rows.append(row)
            for batch in file.batches(names):
                values = [_plain(batch.column(i)) for i in range(len(names))]
                found = [column.type for column in values]
                if (kinds := kinds or found) != found:
                    raise DataError(
                        f"{file.path}: columns {_listed(names)} are of types {_listed(found)}, in {self.files[0].path.name} of "
                        f"{_listed(kinds)}; the files of a folder must agree"
                    )
                yield [_Column(self, name, column, row) for name, column in zip(names, values, strict=True)]
                row += len(batch)
        if not row:
            raise DataError(f"{self.path}: holds no rows")

    def place(self, row: int) -> str:
        file = bisect_right(self.first_rows, row) - 1
        return self.files[file].place(row - self.first_rows[file])


@dataclass(frozen=True)
class _ParquetFile:
    path: Path

    def batches(self, names: list[str]) -> Iterator[pa.RecordBatch]:
        try:
            with pq.ParquetFile(self.path) as file:
                _check_columns(self.path, names, file.schema_arrow.names)
                for batch in file.iter_batches(BATCH_ROWS, columns=list(dict.fromkeys(names))):
                    batch.validate(full=True)  # text that is not UTF-8
                    yield batch.select(names)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{self.path}: cannot be read as Parquet, damaged or of another kind: {error}") from error

    def place(self, row: int) -> str:
        return f"{self.path}: row {row + 1}"


class _CsvFile:
    def __init__(self, path: Path, separator: str, encoding: str) -> None:
        self.path = path
        self.separator = separator
        if not separator.isascii() or separator in '"\r\n\0':
            raise DataError(
                f"{path}: separator {separator!r} cannot be used; it must be ASCII and neither a quote nor a line break"
            )
        try:
            "".encode(encoding)  # codecs.lookup() also knows codecs that are none of text, such as hex
            name = codecs.lookup(encoding).name
        except (LookupError, ValueError) as error:
            raise DataError(f"{path}: encoding {encoding!r} is unknown; usual ones are utf-8 and cp1252") from error
        self.encoding = "utf-8-sig" if name == "utf-8" else name  # -sig: with or without a byte order mark

    def batches(self, names: list[str]) -> Iterator[pa.RecordBatch]:
        header = self._header()
        found = [name.strip() for name in header]
        others = [other for other in USUAL_SEPARATORS if other in found[0]]
        _check_columns(self.path, names, found, f"; is the separator {others[0]!r}?" if others and len(found) == 1 else "")
        wanted = [header[found.index(name)] for name in names]
        n_quotes = n_lines = n_rows = 0

        def tally(buffer: pa.Buffer) -> pa.Buffer:
            nonlocal n_quotes, n_lines
            data = buffer.to_pybytes()
            n_quotes, n_lines = n_quotes + data.count(b'"'), n_lines + max(data.count(b"\n"), data.count(b"\r"))
            return buffer

        try:
            with (
                pa.input_stream(self.path, compression="gzip" if self._is_packed() else None) as stream,
                pa_csv.open_csv(
                    pa.TransformInputStream(stream, tally),
                    # pyarrow itself skips the mark, and decodes UTF-8 without going through Python.
                    pa_csv.ReadOptions(block_size=BATCH_BYTES, encoding=self.encoding.removesuffix("-sig")),
                    pa_csv.ParseOptions(delimiter=self.separator, newlines_in_values=True),
                    pa_csv.ConvertOptions(
                        include_columns=[*dict.fromkeys(wanted)], column_types=dict.fromkeys(wanted, pa.string())
                    ),
                ) as reader,
            ):
                for batch in reader:
                    n_rows += len(batch)
                    yield batch.select(wanted)
        except (pa.ArrowException, UnicodeError, OSError) as error:
            self._explain(error)
        # A stray quote swallows what follows, up to the next one, and pyarrow says nothing. A field may hold line feeds, so the
        # doubt is settled by the strict pass.
        if n_quotes % 2 or (n_quotes and n_lines > n_rows + 1):
            for _ in self._records(strict=True):
                pass

    def place(self, row: int) -> str:
        line, _ = next(itertools.islice(self._records(), 1 + row, None))
        return f"{self.path}:{line}"

    def _header(self) -> list[str]:
        records = [fields for _, fields in itertools.islice(self._records(), 2)]
        if len(records) < 2:
            raise DataError(f"{self.path}: {'holds a header but no rows' if records else 'is empty'}")
        return records[0]

    def _records(self, strict: bool = False) -> Iterator[tuple[int, list[str]]]:
        """Line and fields of each record, the header first; blank lines are none. A slow pass, for the sake of line numbers."""
        line = 1
        try:
            with self._open("rt", encoding=self.encoding, newline="") as file:
                reader = csv.reader(file, delimiter=self.separator, strict=strict)
                for fields in reader:
                    if fields:
                        yield line, fields
                    line = reader.line_num + 1
        except UnicodeError as error:
            raise DataError(
                f"{self._undecodable()}: not {self.encoding.removesuffix('-sig')} text; correct `encoding`"
            ) from error
        except csv.Error as error:
            raise DataError(
                f"{self.path}:{line}: a quoted field does not end, or its quotes are not doubled ({error})"
            ) from error
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{self.path}: cannot be read, damaged or cut short: {error}") from error

    def _undecodable(self) -> str:
        """Place of the first line that the encoding does not fit."""
        decoder = codecs.getincrementaldecoder(self.encoding)()
        line = 1
        with contextlib.suppress(UnicodeError), self._open("rb") as file:
            for chunk in file:
                line += decoder.decode(chunk).count("\n")
        return f"{self.path}:{line}"

    def _explain(self, error: Exception) -> NoReturn:
        """Raise for the first record that explains what pyarrow refused."""
        n_fields = len(self._header())
        for line, fields in self._records():
            if len(fields) != n_fields:
                raise DataError(
                    f"{self.path}:{line}: {len(fields)} fields separated by {self.separator!r}, but the header has {n_fields}: "
                    f"{_short(self.separator.join(fields))}"
                )
        raise DataError(f"{self.path}: cannot be read: {error}") from error

    def _is_packed(self) -> bool:
        return self.path.name.lower().endswith(".gz")

    def _open(self, mode: str, **options: Any) -> Any:
        return gzip.open(self.path, mode, **options) if self._is_packed() else self.path.open(mode, **options)


def _check_columns(path: Path, names: list[str], found: list[str], hint: str = "") -> None:
    if missing := [name for name in names if name not in found]:
        raise DataError(f"{path}: no column {_listed(missing)}; the columns are {_listed(found)}{hint}")
    if repeated := [name for name in dict.fromkeys(found) if found.count(name) > 1]:
        raise DataError(f"{path}: several columns are called {_listed(repeated)}; names must differ")


def _plain(column: pa.Array) -> pa.Array:
    """``column`` without the encodings that pandas and Arrow have for text."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    return column.cast(pa.string() if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) else kind)


def _listed(values: Iterable[object]) -> str:
    return ", ".join(repr(value) if isinstance(value, str) else str(value) for value in values)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
