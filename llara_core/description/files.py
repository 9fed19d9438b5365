"""Opens the files of a folder that may hold a log: tells kind, encoding, separator and quoting."""

from __future__ import annotations

import codecs
import csv
import itertools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from llara_core.config import Quoting, TextLayout
from llara_core.description.column import ColumnProfile, share
from llara_core.description.times import MIN_FIT, Choice, guess_times
from llara_core.errors import DataError
from llara_core.readers.delimited_text import USUAL_SEPARATORS
from llara_core.readers.log_columns import NUMBER
from llara_core.readers.log_files import LogTable
from llara_core.readers.log_kinds import PACKED, PARQUET, kind_of, open_bytes, packing_of_text
from llara_core.readers.sequences import LIST
from llara_core.readers.table_formats import MARKS

SAMPLE_ROWS = 100_000
HEAD_BYTES = 1 << 18
HEAD_LINES = 500
SEPARATORS = (*USUAL_SEPARATORS, "\x01", "^", "~", " ")
RAGGED = " \t,|;"  # between the items of a line that is a whole sequence
A_LIST, SOME_IDS = r"^[\[(].*[\])]$", r"^[^\s]*[0-9][^\s]*( [^\s]*[0-9][^\s]*)*$"
BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
ASCII = "ascii"  # as an encoding: any will do
ENCODINGS = {
    ASCII: Choice(ASCII, "sure", "all of it is ASCII"),
    "utf-8": Choice("utf-8", "sure", "all of it is valid UTF-8"),
    "cp1252": Choice("cp1252", "guess", "not UTF-8; the usual one of Windows, look at accented letters in the titles"),
}
LATIN_1 = Choice("latin-1", "guess", "neither UTF-8 nor cp1252; look at accented letters in the titles")
PASSED_OVER = (".md", ".txt.license", ".dvc", ".yaml", ".yml", ".pdf", ".html", ".py", ".ipynb", ".png", ".jpg")
QUOTINGS: tuple[tuple[Quoting, str | None], ...] = (("checked", None), ("checked", "\\"), ("none", None), ("trusted", None))
"""``quoting`` and ``escape``, in the order in which they are tried; the strictest first."""


@dataclass(frozen=True)
class FoundFile:
    """A file, or a folder of parts, that reads as a table.

    Attributes:
        name: path below the data set's folder.
        kind: in words.
        sample: the first :data:`SAMPLE_ROWS` rows, or all; of sequences, a row per item.
        is_whole: whether the sample is the whole file.
        sequences: as in a section, where a row is a user's whole sequence; None: it is not.
        layout: of text, with the first of :data:`QUOTINGS` that reads the sample.
        encoding, separator: of text, of delimited text; None: the file is none.
        complaint: of the reader about stricter quoting; empty: there is none.
    """

    name: str
    kind: str
    n_bytes: int
    sample: pa.Table
    is_whole: bool
    sequences: str | None
    layout: TextLayout
    encoding: Choice | None = None
    separator: Choice | None = None
    complaint: str = ""


def find_files(folder: Path, missing: list[str]) -> tuple[list[FoundFile], dict[str, str]]:
    """Returns what lies in ``folder``, hidden files apart, by name; and why the others are no table that can be read.

    Args:
        missing: texts that stand for no value.
    """
    found, unusable = list[FoundFile](), dict[str, str]()
    for path in _tables(folder):
        name = str(path.relative_to(folder))
        try:
            found.append(_open(folder, name, missing))
        except DataError as error:
            unusable[name] = str(error).removeprefix(f"{path}: ")
    return found, unusable


def _tables(folder: Path) -> Iterator[Path]:
    """Yields files, and folders that are one table: parts, partitions, or a table format, which the reader refuses by name."""
    for path in _visible(folder):
        if path.is_dir() and not _are_parts(path) and not any(next(path.glob(mark), None) for mark in MARKS):
            yield from _tables(path)
        elif path.is_dir() or not (path.name.lower().startswith(("readme", "licen")) or path.suffix.lower() in PASSED_OVER):
            yield path


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name[0] not in "._")


def _are_parts(folder: Path) -> bool:
    """Returns whether a folder holds partitions, Parquet files alone, or several files of one name but for its digits."""
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
    n_bytes, layout = sum(file.stat().st_size for file in files), TextLayout(",", "utf-8", "checked", None, header=True)
    if not files or kind_of(files[0]) == PARQUET:
        return FoundFile(name, "Parquet", n_bytes, *_sample(folder, name, layout, missing), layout)
    packing = packing_of_text(files[0])  # refuses archives, workbooks and other kinds by name
    packed = next((f" packed with {kind.split()[1]}" for kind, codec in PACKED.items() if codec == packing), "")
    try:
        encoding = _guess_encoding(files)
        with open_bytes(files[0], packing) as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise DataError(f"{path}: cannot be read, damaged or cut short: {error}") from error
    layout = replace(layout, encoding="utf-8" if encoding.value == ASCII else encoding.value or "utf-8")
    lines = [line for line in _lines(head, layout.encoding) if line.strip()][:HEAD_LINES]
    if lines and lines[0].lstrip()[:1] in "{[":
        return FoundFile(name, f"JSON lines{packed}", n_bytes, *_sample(folder, name, layout, missing), layout, encoding)
    if len(lines) < 2:
        raise DataError(f"{path}: {'holds one line alone' if lines else 'is empty'}")
    if (ragged := _guess_ragged(lines)) is not None:
        layout = replace(layout, separator=ragged.value or "", header=False, is_cut_once=True)
        sample, is_whole = first_rows(LogTable(folder, name, layout, ragged.value, ["1"]), ["1", "2"], SAMPLE_ROWS)
        return FoundFile(name, f"CSV{packed}", n_bytes, sample, is_whole, ragged.value, layout, encoding, ragged)
    separator = _guess_separator(path, lines)
    refusal: DataError | None = None
    for quoting, escape in QUOTINGS:
        layout = replace(layout, separator=separator.value or "", quoting=quoting, escape=escape)
        layout = replace(layout, header=_has_header(lines, layout, missing))
        try:
            found = _sample(folder, name, layout, missing)
        except DataError as error:
            refusal = refusal or error
        else:
            return FoundFile(name, f"CSV{packed}", n_bytes, *found, layout, encoding, separator, str(refusal or ""))
    assert refusal is not None
    raise refusal


def _guess_encoding(files: list[Path]) -> Choice:
    """Returns the encoding of all the text, since one letter near its end may decide."""
    head = next(_blocks(files), b"")[:4096]
    for mark, name in BYTE_ORDER_MARKS.items():
        if head.startswith(mark):
            return Choice(name, "sure", "a byte order mark says so")
    if head.count(b"\0") > len(head) // 4:
        return Choice("utf-16-le" if head[1:2] == b"\0" else "utf-16-be", "likely", "every second byte is zero")
    for name, choice in ENCODINGS.items():
        decoder = codecs.getincrementaldecoder(name)()
        try:
            for block in itertools.chain(_blocks(files), [b""]):
                decoder.decode(block, final=not block)
        except UnicodeDecodeError:
            continue
        return choice
    return LATIN_1


def _blocks(files: list[Path]) -> Iterator[bytes]:
    for path in files:
        with open_bytes(path, packing_of_text(path)) as file:
            while block := file.read(1 << 22):
                yield block


def _lines(head: bytes, encoding: str) -> list[str]:
    """Returns the whole lines of the head of a file."""
    text = codecs.getincrementaldecoder(encoding)("replace").decode(head).removeprefix("\ufeff")
    lines = re.split(r"(?<=\n)|(?<=\r)(?!\n)", text)
    return lines[:-1] if len(head) == HEAD_BYTES and len(lines) > 1 else lines


def _guess_separator(path: Path, lines: list[str]) -> Choice:
    """Returns the separator that cuts most lines into as many fields, at least two; of several, the one with more fields."""
    cuts = dict[str, tuple[float, int]]()
    for separator, quoting in itertools.product(SEPARATORS, (csv.QUOTE_MINIMAL, csv.QUOTE_NONE)):
        counts = Counter(len(fields) for fields in _fields(lines, separator, quoting) if fields)
        n_fields, n_lines = counts.most_common(1)[0]
        if n_fields > 1:
            cuts[separator] = max((n_lines / counts.total(), n_fields), cuts.get(separator, (0, 0)))
    if not cuts:
        raise DataError(f"{path}: has one column alone, or none of {', '.join(map(repr, SEPARATORS))} separates its fields")
    # Of two that cut alike the longer one counts, and a space only where nothing else does.
    best = max(cuts, key=lambda key: (round(cuts[key][0], 2), key != " ", len(key), cuts[key][1]))
    part, n_fields = cuts[best]
    rivals = tuple(other for other in cuts if other not in (best, " ") and cuts[other][0] >= part > 0.9)
    said = f"it cuts {'all' if part == 1 else f'{part:.1%}'} of the first {len(lines):,} lines into {n_fields} fields"
    said += f"; {', '.join(map(repr, rivals))} would do as well" if rivals else ""
    return Choice(best, "guess" if rivals or part <= 0.9 else "sure" if part == 1 else "likely", said, rivals)


def _guess_ragged(lines: list[str]) -> Choice | None:
    """Returns what separates the ids of lines that are a user and any number of items; None: lines are something else."""
    for separator in RAGGED:
        fields = [line.strip().split(separator) for line in lines]
        lengths = sorted(map(len, fields))
        are_ids = all(re.fullmatch(r"[\w-]*[0-9][\w-]*", field) for line in fields for field in line)
        if are_ids and 1 < lengths[0] < lengths[-1] and lengths[len(lengths) // 2] > 2:
            said = f"lines of {lengths[0]} to {lengths[-1]} ids each: a user and items, in their order"
            return Choice(separator, "likely", said)
    return None


def _fields(lines: list[str], separator: str, quoting: Any, escape: str | None = None) -> Iterator[list[str]]:
    if len(separator) > 1:
        lines, separator = [line.replace(separator, "\x1f") for line in lines], "\x1f"
    return csv.reader(lines, delimiter=separator, quoting=quoting, escapechar=escape)


def _has_header(lines: list[str], layout: TextLayout, missing: list[str]) -> bool:
    """Returns whether the first line looks unlike those below it."""
    quoting = csv.QUOTE_NONE if layout.quoting == "none" else csv.QUOTE_MINIMAL
    found = [list(map(str.strip, fields)) for fields in _fields(lines, layout.separator, quoting, layout.escape) if fields]
    columns = zip(*(row for row in found if len(row) == len(found[0])), strict=True)
    return not any(_is_data(name, values, missing) for name, *values in columns)


def _is_data(name: str, column: list[str], missing: list[str]) -> bool:
    """Returns whether ``name`` is no name but the first value of its column."""
    if re.match(NUMBER, name) or guess_times(pa.array([name]), missing) is not None:
        return True
    if name and name in column and not re.search(r"[0-9]", name):
        return False  # a header that is repeated inside the file, which the reader drops
    shape = _shape(name)
    return "9" in shape and sum(_shape(value) == shape for value in column) > len(column) / 2


def _shape(text: str) -> str:
    return re.sub(r"[0-9]+", "9", re.sub(r"[^\W\d_]+", "a", text))


def _sample(folder: Path, name: str, layout: TextLayout, missing: list[str]) -> tuple[pa.Table, bool, str | None]:
    """Returns the first rows of all columns that can be named, whether these are all rows, and what separates the items of a
    sequence."""
    table = LogTable(folder, name, layout)
    names = [name for name, count in Counter(table.names()).items() if count == 1 and name]
    if len(names) < 2:
        raise DataError(f"{table.path}: has fewer than two columns that can be named")
    sample, is_whole = first_rows(table, names, SAMPLE_ROWS)
    profiles = [ColumnProfile(name, sample[name], missing) for name in names]
    kinds = {column.name: kind for column in profiles if (kind := _list_kind(column))}
    items = [column for column in profiles if column.name in kinds and column.says("item")]
    others = [column for column in profiles if column.name not in kinds]
    if not items or any(column.says("item") >= 2 for column in others):
        return sample.select([name for name in names if not pa.types.is_nested(sample[name].type)]), is_whole, None
    kind = kinds[max(items, key=lambda column: column.says("item")).name]
    per_row, lists = [column.name for column in others], [name for name in kinds if kinds[name] == kind]
    return (*first_rows(LogTable(folder, name, layout, kind, per_row), [*per_row, *lists], SAMPLE_ROWS), kind)


def _list_kind(column: ColumnProfile) -> str | None:
    """Returns how a column holds lists, as `sequences` says it; None: it does not."""
    if pa.types.is_nested(column.values.type):
        return LIST
    if not pa.types.is_string(column.values.type) or not len(column.text) or column.times is not None:
        return None
    if share(pc.match_substring_regex(column.text, A_LIST)) >= MIN_FIT:
        return LIST
    n_spaces = float(pc.mean(pc.count_substring(column.text, " ")).as_py())
    return " " if n_spaces >= 1 and share(pc.match_substring_regex(column.text, SOME_IDS)) >= MIN_FIT else None


def first_rows(table: LogTable, names: list[str], n_rows: int) -> tuple[pa.Table, bool]:
    """Returns the first rows of the named columns, and whether these are all rows."""
    batches, n_read = list[pa.Table](), 0
    for columns, _ in table.read(names):
        plain = [column.dictionary_decode() if pa.types.is_dictionary(column.type) else column for column in columns]
        batches.append(pa.table(plain, names=names).slice(0, n_rows - n_read))
        n_read += len(columns[0])
        if n_read > n_rows:
            break
    whole = pa.concat_tables(batches, promote_options="permissive").combine_chunks()
    if not len(whole):
        raise DataError(f"{table.path}: holds no rows")
    return whole, n_read <= n_rows
