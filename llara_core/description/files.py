"""The files of a folder that may hold a log, opened without being told how: kind, encoding, separator, quoting."""

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
from llara_core.description.column import Column, name_says
from llara_core.description.times import MIN_FIT, Confidence, guess_times
from llara_core.errors import DataError
from llara_core.readers.delimited_text import USUAL_SEPARATORS
from llara_core.readers.log_columns import NUMBER
from llara_core.readers.log_files import Table
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
NOT_IN_CP1252 = b"\x81\x8d\x8f\x90\x9d"
MAX_DAMAGED = 0.05  # of the characters beyond ASCII: more, and the text is not UTF-8
PASSED_OVER = (".md", ".txt.license", ".dvc", ".yaml", ".yml", ".pdf", ".html", ".py", ".ipynb", ".png", ".jpg")
ASCII = "ascii"  # as an encoding: any will do
QUOTINGS: tuple[tuple[Quoting, str | None], ...] = (("checked", None), ("checked", "\\"), ("none", None), ("trusted", None))
"""``quoting`` and ``escape``, in the order in which they are tried; the strictest first."""


@dataclass(frozen=True)
class Finding:
    """What was found, how sure it is, and why."""

    value: str
    confidence: Confidence
    why: str


@dataclass(frozen=True)
class FoundFile:
    """A file, or a folder of parts, that reads as a table.

    Attributes:
        name: path below the data set's folder.
        kind: in words.
        sample: the first :data:`SAMPLE_ROWS` rows, or all; of sequences, a row per item.
        is_whole: the sample is the whole file.
        sequences: as in a section: a row is a user's whole sequence; None: it is not.
        encoding: of any text.
        separator: of delimited text; None: it is none.
        header: whether the first line names the columns.
        quoting: place in :data:`QUOTINGS` of the first that reads the sample.
        complaint: of the reader about the stricter ones; empty: there are none.
    """

    name: str
    kind: str
    n_bytes: int
    sample: pa.Table
    is_whole: bool
    sequences: str | None
    encoding: Finding | None = None
    separator: Finding | None = None
    header: bool = True
    quoting: int = 0
    complaint: str = ""

    @property
    def is_delimited(self) -> bool:
        return self.separator is not None


@dataclass(frozen=True)
class UnusableFile:
    name: str
    reason: str


def find_files(folder: Path, missing: list[str]) -> tuple[list[FoundFile], list[UnusableFile]]:
    """What lies in ``folder``, hidden files apart, by name; and what is no table that can be read, with the reason.

    Args:
        missing: texts that stand for no value.
    """
    found, unusable = list[FoundFile](), list[UnusableFile]()
    for path in _tables(folder):
        name = str(path.relative_to(folder))
        try:
            found.append(_open(folder, name, missing))
        except DataError as error:
            unusable.append(UnusableFile(name, str(error).removeprefix(f"{path}: ")))
    return found, unusable


def _tables(folder: Path) -> Iterator[Path]:
    """Files, and folders that are one table: parts, partitions, or a table format, which the reader refuses by name."""
    for path in _visible(folder):
        if path.is_dir():
            if _are_parts(path) or any(next(path.glob(mark), None) for mark in MARKS):
                yield path
            else:
                yield from _tables(path)
        elif not path.name.lower().startswith(("readme", "licen")) and path.suffix.lower() not in PASSED_OVER:
            yield path


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name[0] not in "._")


def _are_parts(folder: Path) -> bool:
    """Whether a folder holds partitions, Parquet files alone, or several files of one name but for its digits."""
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
    n_bytes = sum(file.stat().st_size for file in files)
    plain = TextLayout(",", "utf-8", "checked", None, header=True)
    if not files or kind_of(files[0]) == PARQUET:
        return FoundFile(name, "Parquet", n_bytes, *_sample(folder, name, plain, missing))
    packing = packing_of_text(files[0])  # refuses archives, workbooks and other kinds by name
    packed = next((f" packed with {kind.split()[1]}" for kind, codec in PACKED.items() if codec == packing), "")
    try:
        encoding = _guess_encoding(files)
        with open_bytes(files[0], packing) as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise DataError(f"{path}: cannot be read, damaged or cut short: {error}") from error
    lines = [line for line in _lines(head, encoding.value) if line.strip()][:HEAD_LINES]
    layout = replace(plain, encoding=plain_encoding(encoding) or "utf-8")
    if lines and lines[0].lstrip()[:1] in "{[":
        return FoundFile(name, f"JSON lines{packed}", n_bytes, *_sample(folder, name, layout, missing), encoding)
    if len(lines) < 2:
        raise DataError(f"{path}: {'holds one line alone' if lines else 'is empty'}")
    kind, ragged = f"CSV{packed}", _guess_ragged(lines)
    if ragged is not None:
        layout = replace(layout, separator=ragged.value, quoting="none", header=False, is_cut_once=True)
        sample, is_whole, _ = _sample(folder, name, layout, missing, ragged.value)
        return FoundFile(name, kind, n_bytes, sample, is_whole, ragged.value, encoding, ragged, header=False)
    separator = _guess_separator(path, lines)
    refusal: DataError | None = None
    for number, (quoting, escape) in enumerate(QUOTINGS):
        layout = replace(layout, separator=separator.value, quoting=quoting, escape=escape)
        layout = replace(layout, header=_has_header(lines, layout, missing))
        try:
            found = _sample(folder, name, layout, missing)
        except DataError as error:
            refusal = refusal or error
        else:
            return FoundFile(name, kind, n_bytes, *found, encoding, separator, layout.header, number, str(refusal or ""))
    assert refusal is not None
    raise refusal


def plain_encoding(*found: Finding) -> str | None:
    """One encoding for all files, as a section has it; None: there is none."""
    names = {finding.value for finding in found} - {ASCII}
    return names.pop() if len(names) == 1 else None if names else "utf-8"


def _guess_encoding(files: list[Path]) -> Finding:
    """Read all of it: one letter near its end may decide."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    n_damaged = n_foreign = 0
    is_cp1252, head = True, b""
    for block in _blocks(files):
        if not head:
            head = block
            for mark, name in BYTE_ORDER_MARKS.items():
                if head.startswith(mark):
                    return Finding(name, "sure", "a byte order mark says so")
            if head[:4096].count(b"\0") > len(head[:4096]) // 4:
                return Finding("utf-16-le" if head[1:2] == b"\0" else "utf-16-be", "likely", "every second byte is zero")
        if not block.isascii():
            text = decoder.decode(block)
            n_damaged += text.count("\ufffd")
            n_foreign += len(text) - len(text.encode("ascii", "ignore"))
            is_cp1252 = is_cp1252 and len(block.translate(None, NOT_IN_CP1252)) == len(block)
        else:
            decoder.decode(block)
    n_damaged += len(decoder.decode(b"", final=True))
    if not n_foreign and not n_damaged:
        return Finding(ASCII, "sure", "all of it is ASCII")
    if not n_damaged:
        return Finding("utf-8", "sure", f"all of it is valid UTF-8, {n_foreign:,} characters beyond ASCII included")
    if n_damaged <= MAX_DAMAGED * n_foreign:
        return Finding("utf-8", "likely", f"UTF-8 but for {n_damaged:,} damaged bytes, which the reader refuses: repair them")
    if is_cp1252:
        return Finding("cp1252", "guess", "not UTF-8; the usual one of Windows, look at accented letters in the titles")
    return Finding("latin-1", "guess", "neither UTF-8 nor cp1252; look at accented letters in the titles")


def _blocks(files: list[Path]) -> Iterator[bytes]:
    for path in files:
        with open_bytes(path, packing_of_text(path)) as file:
            while block := file.read(1 << 22):
                yield block


def _lines(head: bytes, encoding: str) -> list[str]:
    """The whole lines of the head of a file."""
    text = codecs.getincrementaldecoder(encoding)("replace").decode(head).removeprefix("\ufeff")
    end = max(text.rfind("\n"), text.rfind("\r")) + 1 if len(head) == HEAD_BYTES else len(text)
    return re.split(r"(?<=\n)|(?<=\r)(?!\n)", text[: end or len(text)])


def _guess_separator(path: Path, lines: list[str]) -> Finding:
    """The one that cuts most lines into as many fields as the first, at least two; of several, the one with more fields."""
    shares: dict[str, tuple[float, int]] = {}
    for separator in SEPARATORS:
        for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE):
            found = _fields(lines, separator, quoting, None)
            counts = Counter(len(fields) for fields in found if fields)
            n_fields, n_lines = counts.most_common(1)[0]
            if n_fields > 1:
                cut = (n_lines / counts.total(), n_fields)
                shares[separator] = max(cut, shares.get(separator, cut))
    if not shares:
        raise DataError(f"{path}: has one column alone, or none of {', '.join(map(repr, SEPARATORS))} separates its fields")
    # Of two that cut alike the longer one counts, and a space only where nothing else does.
    best = max(shares, key=lambda key: (round(shares[key][0], 2), key != " ", len(key), shares[key][1]))
    share, n_fields = shares[best]
    rivals = [other for other in shares if other not in (best, " ") and shares[other][0] >= share and share > 0.9]
    said = f"it cuts {'all' if share == 1 else f'{share:.1%}'} of the first {len(lines):,} lines into {n_fields} fields"
    if rivals:
        return Finding(best, "guess", f"{said}; {', '.join(map(repr, rivals))} would do as well")
    return Finding(best, "sure" if share == 1 else "likely" if share > 0.9 else "guess", said)


def _guess_ragged(lines: list[str]) -> Finding | None:
    """What separates the ids of lines that are a user and any number of items; None: lines are something else."""
    for separator in RAGGED:
        fields = [line.strip().split(separator) for line in lines]
        counts = Counter(map(len, fields))
        ids = all(re.fullmatch(r"[\w-]*[0-9][\w-]*", field) for line in fields for field in line)
        if (
            ids
            and min(counts) > 1
            and len(counts) > 1
            and sum(n for length, n in counts.items() if length > 2) > len(lines) / 2
        ):
            said = f"lines of {min(counts)} to {max(counts)} ids each: a user and items, in their order"
            return Finding(separator, "likely", said)
    return None


def _fields(lines: list[str], separator: str, quoting: Any, escape: str | None) -> Iterator[list[str]]:
    if len(separator) > 1:
        lines, separator = [line.replace(separator, "\x1f") for line in lines], "\x1f"
    return csv.reader(lines, delimiter=separator, quoting=quoting, escapechar=escape)


def _has_header(lines: list[str], layout: TextLayout, missing: list[str]) -> bool:
    """Whether the first line looks unlike those below it."""
    quoting = csv.QUOTE_NONE if layout.quoting == "none" else csv.QUOTE_MINIMAL
    reader = _fields(lines, layout.separator, quoting, layout.escape)
    header, *rows = [[field.strip() for field in fields] for fields in itertools.islice(reader, HEAD_LINES) if fields]
    columns = list(zip(*(row for row in rows if len(row) == len(header)), strict=True))
    return not any(_is_data(name, column, missing) for name, column in zip(header, columns, strict=False))


def _is_data(name: str, column: tuple[str, ...], missing: list[str]) -> bool:
    """Whether ``name`` is no name but the first value of its column."""
    if re.match(NUMBER, name) or guess_times(pa.array([name]), missing) is not None:
        return True
    if name and name in column and not re.search(r"[0-9]", name):
        return False  # a header that is repeated inside the file, which the reader drops
    shape = _shape(name)
    return "9" in shape and bool(column) and sum(_shape(value) == shape for value in column) > len(column) / 2


def _shape(text: str) -> str:
    return re.sub(r"[0-9]+", "9", re.sub(r"[^\W\d_]+", "a", text))


def _sample(
    folder: Path, name: str, layout: TextLayout, missing: list[str], sequences: str | None = None
) -> tuple[pa.Table, bool, str | None]:
    """The first rows of all columns that can be named, whether these are all rows, and what separates the items of a sequence.

    Args:
        sequences: that, if it is known.
    """
    table = Table(folder, name, layout)
    if sequences is not None:
        return (*_rows(Table(folder, name, layout, sequences, ["1"]), ["1", "2"]), sequences)
    counts = Counter(table.names())
    names = [name for name, count in counts.items() if count == 1 and name]
    sample, is_whole = _rows(table, names)
    found = {name: kind for name in names if (kind := _list_kind(Column(name, sample[name].combine_chunks(), missing)))}
    others = [name for name in names if name not in found]
    if not found or any(name_says(name, "item") >= 2 for name in others) or not any(name_says(name, "item") for name in found):
        return sample.select([name for name in names if not pa.types.is_nested(sample[name].type)]), is_whole, None
    kind = found[max(found, key=lambda name: name_says(name, "item"))]
    lists = [name for name in found if found[name] == kind]
    return (*_rows(Table(folder, name, layout, kind, others), [*others, *lists]), kind)


def _list_kind(column: Column) -> str | None:
    """How a column holds lists, as `sequences` says it; None: it does not."""
    if pa.types.is_nested(column.values.type):
        return LIST
    if not pa.types.is_string(column.values.type) or not len(column.text) or column.times is not None:
        return None
    fits = {LIST: pc.match_substring_regex(column.text, A_LIST), " ": pc.match_substring_regex(column.text, SOME_IDS)}
    shares = {kind: float(pc.mean(fit.cast(pa.int8())).as_py()) for kind, fit in fits.items()}
    if shares[LIST] >= MIN_FIT:
        return LIST
    n_spaces = float(pc.mean(pc.count_substring(column.text, " ")).as_py())
    return " " if shares[" "] >= MIN_FIT and n_spaces >= 1 else None


def _rows(table: Table, names: list[str]) -> tuple[pa.Table, bool]:
    """The first rows of the named columns, and whether these are all rows."""
    if len(names) < 2:
        raise DataError(f"{table.path}: has fewer than two columns that can be named")
    batches, n_rows = list[pa.Table](), 0
    for columns, _ in table.read(names):
        plain = [column.dictionary_decode() if pa.types.is_dictionary(column.type) else column for column in columns]
        batches.append(pa.table(plain, names=names).slice(0, SAMPLE_ROWS - n_rows))
        n_rows += len(columns[0])
        if n_rows > SAMPLE_ROWS:
            break
    whole = pa.concat_tables(batches, promote_options="permissive").combine_chunks()
    if not len(whole):
        raise DataError(f"{table.path}: holds no rows")
    return whole, n_rows <= SAMPLE_ROWS
