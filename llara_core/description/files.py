"""Opens the files of a folder that may hold a log, and infers their kind, encoding, separator and quoting."""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import itertools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from llara_core.config import Quoting, TextLayout
from llara_core.description.column import Column
from llara_core.description.times import MIN_FIT, Choice, Confidence, guess_times, share
from llara_core.errors import DataError
from llara_core.readers.delimited_text import UNIT_SEPARATOR, USUAL_SEPARATORS
from llara_core.readers.log_columns import NUMBER
from llara_core.readers.log_files import LogTable
from llara_core.readers.log_kinds import PACKED, PARQUET, kind_of, open_bytes, packing_of_text
from llara_core.readers.sequences import LIST
from llara_core.readers.table_formats import MARKS
from llara_core.readers.values import decoded, encodable

SAMPLE_ROWS = 100_000
HEAD_BYTES = 1 << 18
HEAD_LINES = 500
ITEM_SEPARATORS = " \t,|;"  # candidates for lines with a user and any number of items
AN_ID = re.compile(r"[\w-]*[0-9][\w-]*")
LIST_TEXT, IDS_TEXT = r"^[\[(].*[\])]$", r"^[^\s]*[0-9][^\s]*( [^\s]*[0-9][^\s]*)*$"
SEPARATORS = (*USUAL_SEPARATORS, "\x01", "^", "~", " ")
BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
ASCII = "ascii"  # compatible with whatever encoding the other file has
ENCODINGS: dict[str, tuple[Confidence, str]] = {
    ASCII: ("sure", "every character is ASCII"),
    "utf-8": ("sure", "the whole file is valid UTF-8"),
    "cp1252": ("guess", "not UTF-8, and this is usual on Windows; check accented letters in the titles"),
    "latin-1": ("guess", "neither UTF-8 nor cp1252; check accented letters in the titles"),
}
"""Encodings in the order in which they are tried, with confidence and reason; the last one decodes any bytes."""
IGNORED = r"readme|licen|.*\.(md|license|dvc|yaml|yml|pdf|html|py|ipynb|png|jpg)$"
QUOTINGS: tuple[tuple[Quoting, str | None], ...] = (("checked", None), ("checked", "\\"), ("none", None), ("trusted", None))
"""``quoting`` and ``escape`` in the order in which they are tried; the strictest first."""
PLAIN = TextLayout(",", "utf-8", "checked", None, header=True)


@dataclass(frozen=True)
class FoundFile:
    """A file, or a folder of parts, that reads as a table.

    Attributes:
        name: path relative to the data set's folder.
        kind: kind of file, in words.
        columns: columns of the first :data:`SAMPLE_ROWS` rows; for sequences, one row per item.
        is_whole: whether the file has no further rows.
        sequences: value of ``sequences`` in a section; None if a row is an interaction or an item.
        layout: text layout, with the first of :data:`QUOTINGS` that reads the sample.
        choices: reasons for the encoding and the separator of text, by key of the section.
    """

    name: str
    kind: str
    n_bytes: int
    columns: list[Column]
    is_whole: bool
    sequences: str | None = None
    layout: TextLayout = PLAIN
    choices: dict[str, Choice] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        return len(self.columns[0].values)

    def facts(self) -> dict[str, Any]:
        layout = [f"{key} {one.value!r} ({one.confidence}: {one.why})" for key, one in self.choices.items()]
        layout += [] if self.layout.header else ["without a header, so its columns have numbers"]
        layout += [] if self.sequences is None else ["one row per user with the items in order"]
        columns = {column.name: str(column.values.type) for column in self.columns}
        return {"name": self.name, "bytes": self.n_bytes, "kind": self.kind, "layout": layout, "columns": columns}


def find_files(folder: Path, missing: list[str]) -> tuple[list[FoundFile], dict[str, str]]:
    """Opens the files in ``folder``, except hidden ones and documentation.

    Args:
        missing: texts that mean a missing value.

    Returns:
        The readable tables, and the reader's complaint for every other file, by name.
    """
    files, unusable = list[FoundFile](), dict[str, str]()
    for path in _tables(folder):
        name = str(path.relative_to(folder))
        try:
            files.append(_open(folder, name, missing))
        except DataError as error:
            unusable[encodable(name)] = str(error).removeprefix(f"{path}: ")
    return files, unusable


def first_rows(table: LogTable, names: list[str], n_rows: int) -> tuple[pa.Table, bool]:
    """Returns the first rows of the named columns, and whether these are all rows."""
    batches, n_read = list[pa.Table](), 0
    for columns, _ in table.read(names):
        batches.append(pa.table([*map(decoded, columns)], names=names).slice(0, n_rows - n_read))
        n_read += len(columns[0])
        if n_read > n_rows:
            break
    try:
        rows = pa.concat_tables(batches, promote_options="permissive").combine_chunks()
    except pa.ArrowTypeError as error:
        raise DataError(f"{table.path}: its files hold values of different types: {error}") from error
    if not len(rows):
        raise DataError(f"{table.path}: holds no rows")
    return rows, n_read <= n_rows


def _tables(folder: Path) -> Iterator[Path]:
    """Yields files, and folders that are one table: parts, partitions, or a table format, which the reader refuses by name."""
    for path in _visible(folder):
        if path.is_dir() and not _are_parts(path) and not any(next(path.glob(mark), None) for mark in MARKS):
            yield from _tables(path)
        elif path.is_dir() or not re.match(IGNORED, path.name.lower()):
            yield path


def _visible(folder: Path) -> list[Path]:
    """Returns the files and folders that are not hidden, without links to a folder above, which would have no end."""
    paths = sorted(path for path in folder.iterdir() if path.name[0] not in "._")
    return [path for path in paths if not path.is_dir() or not any(map(path.samefile, path.parents))]


def _are_parts(folder: Path) -> bool:
    """Returns whether a folder holds partitions, only Parquet files, or several files whose names differ only in digits."""
    inside = _visible(folder)
    if not inside or any(path.is_dir() for path in inside):
        return bool(inside) and all(path.is_dir() and "=" in path.name for path in inside)
    names = {re.sub("[0-9]+", "", path.name) for path in inside}
    return all(kind_of(path) == PARQUET for path in inside) or (len(inside) > 1 and len(names) == 1)


def _files(path: Path) -> list[Path]:
    return [file for part in _visible(path) for file in _files(part)] if path.is_dir() else [path]


def _open(folder: Path, name: str, missing: list[str]) -> FoundFile:
    path = folder / name
    files = _files(path)
    try:
        n_bytes = sum(file.stat().st_size for file in files)
    except OSError as error:  # such as a broken link
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    if not files or kind_of(files[0]) == PARQUET:
        return FoundFile(name, "Parquet", n_bytes, *_sample(folder, name, PLAIN, missing))
    packing = packing_of_text(files[0])
    packed = next((f" packed with {kind.split()[1]}" for kind, codec in PACKED.items() if codec == packing), "")
    encoding = _guess_encoding(path, files)
    layout = replace(PLAIN, encoding="utf-8" if encoding.value in (None, ASCII) else encoding.value)
    lines = _head(files[0], packing, layout.encoding)
    choices = {"encoding": encoding}
    if lines and lines[0].lstrip()[:1] in "{[":
        sample = _sample(folder, name, layout, missing)
        return FoundFile(name, f"JSON lines{packed}", n_bytes, *sample, layout, choices)
    if len(lines) < 2:
        raise DataError(f"{path}: {'has only one line' if lines else 'is empty'}")
    if ragged := _guess_item_separator(lines):
        layout = replace(layout, separator=ragged.value or "", header=False, is_cut_once=True)
        rows, is_whole = first_rows(LogTable(folder, name, layout, ragged.value, ["1"]), ["1", "2"], SAMPLE_ROWS)
        columns, choices = Column.all_of(rows, missing), {**choices, "separator": ragged}
        return FoundFile(name, f"CSV{packed}", n_bytes, columns, is_whole, ragged.value, layout, choices)
    choices["separator"] = _guess_separator(path, lines)
    complaints = list[DataError]()
    for quoting, escape in QUOTINGS:
        layout = replace(layout, separator=choices["separator"].value or "", quoting=quoting, escape=escape)
        layout = replace(layout, header=_has_header(lines, layout, missing))
        try:
            return FoundFile(name, f"CSV{packed}", n_bytes, *_sample(folder, name, layout, missing), layout, choices)
        except DataError as error:
            complaints.append(error)
    raise complaints[0]


def _head(path: Path, packing: str | None, encoding: str) -> list[str]:
    """Returns the first lines that are not blank."""
    with open_bytes(path, packing) as file:
        head = file.read(HEAD_BYTES)
    lines = io.StringIO(head.decode(encoding, "replace").removeprefix("\ufeff"), newline="").readlines()
    if len(head) == HEAD_BYTES:
        lines = lines[:-1] or lines  # the last line may not be whole
    return [line for line in lines if line.strip()][:HEAD_LINES]


def _guess_encoding(path: Path, files: list[Path]) -> Choice:
    """Returns the encoding of the whole text, since a single letter near its end may decide."""
    try:
        head = next(_blocks(files), b"")[:4096]
        for mark, name in BYTE_ORDER_MARKS.items():
            if head.startswith(mark):
                return Choice(name, "sure", "the file begins with a byte order mark")
        if head.count(b"\0") > len(head) // 4:
            return Choice("utf-16-le" if head[1:2] == b"\0" else "utf-16-be", "likely", "every second byte is zero")
        for name in ENCODINGS:
            with contextlib.suppress(UnicodeDecodeError):
                for _ in codecs.iterdecode(_blocks(files), name):
                    pass
                break
    except OSError as error:
        raise DataError(f"{path}: cannot be read, damaged or cut short: {error}") from error
    return Choice(name, *ENCODINGS[name])


def _blocks(files: list[Path]) -> Iterator[bytes]:
    for path in files:
        with open_bytes(path, packing_of_text(path)) as file:
            while block := file.read(1 << 22):
                yield block


def _guess_separator(path: Path, lines: list[str]) -> Choice:
    """Returns the separator that splits most lines into the same number of fields, at least two."""
    fits = dict[str, tuple[float, int]]()  # most common number of fields, after the share of lines with it
    for separator, quoting in itertools.product(SEPARATORS, (csv.QUOTE_MINIMAL, csv.QUOTE_NONE)):
        counts = Counter(len(fields) for fields in _fields(lines, separator, quoting) if fields)
        n_fields, n_lines = counts.most_common(1)[0]
        if n_fields > 1:
            fits[separator] = max((n_lines / counts.total(), n_fields), fits.get(separator, (0, 0)))
    if not fits:
        raise DataError(f"{path}: has only one column, or a separator other than {', '.join(map(repr, SEPARATORS))}")
    # Among equal fits a longer separator wins; a space is only used if nothing else fits.
    best = max(fits, key=lambda key: (round(fits[key][0], 2), key != " ", len(key), fits[key][1]))
    fit, n_fields = fits[best]
    alternatives = tuple(other for other in fits if other not in (best, " ") and fits[other][0] >= fit > 0.9)
    why = f"it splits {'all' if fit == 1 else f'{fit:.1%}'} of the first {len(lines):,} lines into {n_fields} fields"
    why += f"; {', '.join(map(repr, alternatives))} would do as well" if alternatives else ""
    return Choice(best, "guess" if alternatives or fit <= 0.9 else "sure" if fit == 1 else "likely", why, alternatives)


def _guess_item_separator(lines: list[str]) -> Choice | None:
    """Returns the separator of lines that are a user and any number of items, or None for other lines."""
    for separator in ITEM_SEPARATORS:
        fields = [line.strip().split(separator) for line in lines]
        lengths = sorted(map(len, fields))
        are_ids = all(AN_ID.fullmatch(field) for line in fields for field in line)
        if are_ids and 1 < lengths[0] < lengths[-1] and lengths[len(lengths) // 2] > 2:
            why = f"each line has {lengths[0]} to {lengths[-1]} ids: a user and the items in order"
            return Choice(separator, "likely", why)
    return None


def _fields(lines: list[str], separator: str, quoting: Any, escape: str | None = None) -> Iterator[list[str]]:
    if len(separator) > 1:
        lines, separator = [line.replace(separator, UNIT_SEPARATOR) for line in lines], UNIT_SEPARATOR
    return csv.reader(lines, delimiter=separator, quoting=quoting, escapechar=escape)


def _has_header(lines: list[str], layout: TextLayout, missing: list[str]) -> bool:
    """Returns whether no cell of the first line looks like the values below it."""
    quoting = csv.QUOTE_NONE if layout.quoting == "none" else csv.QUOTE_MINIMAL
    rows = [list(map(str.strip, fields)) for fields in _fields(lines, layout.separator, quoting, layout.escape) if fields]
    for first, *values in zip(*(row for row in rows if len(row) == len(rows[0])), strict=True):
        n_alike = sum(_shape(value) == _shape(first) for value in values) if "9" in _shape(first) else 0
        if n_alike > len(values) / 2 or re.match(NUMBER, first) or guess_times(pa.array([first]), missing) is not None:
            return False
    return True


def _shape(text: str) -> str:
    return re.sub(r"[0-9]+", "9", re.sub(r"[^\W\d_]+", "a", text))


def _sample(folder: Path, name: str, layout: TextLayout, missing: list[str]) -> tuple[list[Column], bool, str | None]:
    """Returns ``columns``, ``is_whole`` and ``sequences`` of :class:`FoundFile`, from the columns with unique names."""
    table = LogTable(folder, name, layout)
    names = [name for name, count in Counter(table.names()).items() if count == 1 and name]
    if len(names) < 2:
        raise DataError(f"{table.path}: has fewer than two columns with unique names")
    rows, is_whole = first_rows(table, names, SAMPLE_ROWS)
    columns = Column.all_of(rows, missing)
    sequences = {column.name: kind for column in columns if (kind := _sequences(column))}
    items = [column for column in columns if column.name in sequences and column.score("item")]
    others = [column for column in columns if column.name not in sequences]
    if not items or any(column.score("item") >= 2 for column in others):
        return [column for column in columns if not pa.types.is_nested(column.values.type)], is_whole, None
    kind = sequences[max(items, key=lambda column: column.score("item")).name]
    per_row = [column.name for column in others]
    names = [*per_row, *(name for name in sequences if sequences[name] == kind)]
    rows, is_whole = first_rows(LogTable(folder, name, layout, kind, per_row), names, SAMPLE_ROWS)
    return Column.all_of(rows, missing), is_whole, kind


def _sequences(column: Column) -> str | None:
    """Returns how a column holds lists, as a value for the key ``sequences``, or None if it does not."""
    if pa.types.is_nested(column.values.type):
        return LIST
    if not pa.types.is_string(column.values.type) or not len(column.text) or column.times is not None:
        return None
    if share(pc.match_substring_regex(column.text, LIST_TEXT)) >= MIN_FIT:
        return LIST
    n_spaces = pc.mean(pc.count_substring(column.text, " ")).as_py()
    return " " if n_spaces >= 1 and share(pc.match_substring_regex(column.text, IDS_TEXT)) >= MIN_FIT else None
