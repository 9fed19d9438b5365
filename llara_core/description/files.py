"""The files of a folder that may hold a log, opened without being told how: kind, encoding, separator, quoting."""

from __future__ import annotations

import codecs
import csv
import gzip
import itertools
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from llara_core.config import OwnLogConfig
from llara_core.description.section import section
from llara_core.description.times import Confidence, guess_times
from llara_core.errors import DataError
from llara_core.readers.log_columns import NUMBER
from llara_core.readers.log_files import GZIP, MAGIC, PARQUET, USUAL_SEPARATORS, Table, short
from llara_core.readers.table_formats import MARKS

SAMPLE_ROWS = 100_000
HEAD_BYTES = 1 << 18
HEAD_LINES = 500
SEPARATORS = f"{USUAL_SEPARATORS}\x01^~"
BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
NOT_IN_CP1252 = b"\x81\x8d\x8f\x90\x9d"
MAX_DAMAGED = 0.05  # of the characters beyond ASCII: more, and the text is not UTF-8
PASSED_OVER = (".md", ".txt.license", ".dvc", ".yaml", ".yml", ".pdf", ".html", ".py", ".ipynb", ".png", ".jpg")
ASCII = "ascii"  # as an encoding: any will do
QUOTINGS: tuple[tuple[str, str | None], ...] = (("checked", None), ("checked", "\\"), ("none", None), ("trusted", None))
"""``quoting`` and ``escape``, in the order in which they are tried; the strictest first."""


@dataclass(frozen=True)
class Finding:
    """What was found, how sure it is, and why."""

    value: str
    confidence: Confidence
    why: str


@dataclass(frozen=True)
class FoundFile:
    """A file, or a folder of Parquet files, that reads as a table.

    Attributes:
        name: path below the data set's folder.
        separator, encoding: of a CSV file; None: it is Parquet.
        quoting: place in :data:`QUOTINGS` of the first that reads the sample.
        complaint: of the reader about the stricter ones; empty: there are none.
        is_packed: with gzip.
        sample: the first :data:`SAMPLE_ROWS` rows, or all.
        is_whole: the sample is the whole file.
    """

    name: str
    n_bytes: int
    separator: Finding | None
    encoding: Finding | None
    quoting: int
    complaint: str
    is_packed: bool
    sample: pa.Table
    is_whole: bool

    @property
    def is_csv(self) -> bool:
        return self.encoding is not None


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
    """Files, and folders that are one table: of Parquet files alone, or of a table format, which the reader refuses by name."""
    for path in sorted(path for path in folder.iterdir() if path.name[0] not in "._"):
        if path.is_dir():
            inside = [child for child in path.iterdir() if child.name[0] not in "._"]
            is_parquet = inside and all(child.is_file() and _kind(child) == PARQUET for child in inside)
            if is_parquet or any(next(path.glob(mark), None) for mark in MARKS):
                yield path
            else:
                yield from _tables(path)
        elif not path.name.lower().startswith(("readme", "licen")) and path.suffix.lower() not in PASSED_OVER:
            yield path


def _kind(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    return next((kind for magic, kind in MAGIC.items() if head.startswith(magic)), None)


def _open(folder: Path, name: str, missing: list[str]) -> FoundFile:
    path = folder / name
    if path.is_dir() or _kind(path) == PARQUET:
        n_bytes = sum(part.stat().st_size for part in path.iterdir()) if path.is_dir() else path.stat().st_size
        table = Table(folder, name, section())
        sample, is_whole = _sample(table, _parquet_names(table))
        return FoundFile(name, n_bytes, None, None, 0, "", False, sample, is_whole)
    Table(folder, name, section())  # refuses archives, workbooks and other kinds by name
    is_packed = _kind(path) == GZIP
    try:
        encoding = _guess_encoding(path, is_packed)
        with _stream(path, is_packed) as file:
            head = file.read(HEAD_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read, damaged or cut short: {error}") from error
    lines = [line for line in _lines(head, encoding.value) if line.strip()][:HEAD_LINES]
    if len(lines) < 2:
        raise DataError(f"{path}: {'holds one line alone' if lines else 'is empty'}")
    if lines[0].lstrip()[:1] in "{[" and lines[0].rstrip()[-1:] in "{}[],":
        raise DataError(f"{path}: is JSON; export it as CSV or Parquet, with a column per key")
    if all("::" in line for line in lines):
        raise _two_characters(path)
    separator = _guess_separator(path, lines)
    refusal: DataError | None = None
    for number, (quoting, escape) in enumerate(QUOTINGS):
        config = section(separator=separator.value, encoding=plain_encoding(encoding), quoting=quoting, escape=escape)
        try:
            names = _header(path, lines, config, missing)
            sample, is_whole = _sample(Table(folder, name, config), names)
            n_bytes = path.stat().st_size
            return FoundFile(name, n_bytes, separator, encoding, number, str(refusal or ""), is_packed, sample, is_whole)
        except DataError as error:
            refusal = refusal or error
    assert refusal is not None
    raise refusal


def plain_encoding(*found: Finding) -> str | None:
    """One encoding for all files, as a section has it; None: there is none."""
    names = {finding.value for finding in found} - {ASCII}
    return names.pop() if len(names) == 1 else None if names else "utf-8"


def _stream(path: Path, is_packed: bool) -> Any:
    return gzip.open(path) if is_packed else path.open("rb")


def _guess_encoding(path: Path, is_packed: bool) -> Finding:
    """Read the whole file: one letter near its end may decide."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    n_damaged = n_foreign = 0
    is_cp1252 = True
    with _stream(path, is_packed) as file:
        head = block = file.read(1 << 22)
        for mark, name in BYTE_ORDER_MARKS.items():
            if head.startswith(mark):
                return Finding(name, "sure", "a byte order mark says so")
        if head[:4096].count(b"\0") > len(head[:4096]) // 4:
            return Finding("utf-16-le" if head[1:2] == b"\0" else "utf-16-be", "likely", "every second byte is zero")
        while block:
            if not block.isascii():
                text = decoder.decode(block)
                n_damaged += text.count("\ufffd")
                n_foreign += len(text) - len(text.encode("ascii", "ignore"))
                is_cp1252 = is_cp1252 and len(block.translate(None, NOT_IN_CP1252)) == len(block)
            else:
                decoder.decode(block)
            block = file.read(1 << 22)
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
            counts = Counter(len(fields) for fields in csv.reader(lines, delimiter=separator, quoting=quoting) if fields)
            n_fields, n_lines = counts.most_common(1)[0]
            if n_fields > 1:
                found = (n_lines / counts.total(), n_fields)
                shares[separator] = max(found, shares.get(separator, found))
    if not shares:
        raise DataError(f"{path}: has one column alone, or none of {', '.join(map(repr, SEPARATORS))} separates its fields")
    best = max(shares, key=lambda separator: (round(shares[separator][0], 2), shares[separator][1]))
    share, n_fields = shares[best]
    rivals = [other for other in shares if other != best and shares[other][0] >= share and share > 0.9]
    said = f"it cuts {'all' if share == 1 else f'{share:.1%}'} of the first {len(lines):,} lines into {n_fields} fields"
    if rivals:
        return Finding(best, "guess", f"{said}; {', '.join(map(repr, rivals))} would do as well, with fewer fields")
    return Finding(best, "sure" if share == 1 else "likely" if share > 0.9 else "guess", said)


def _two_characters(path: Path) -> DataError:
    return DataError(
        f"{path}: fields are separated by '::', but a separator is one character: replace it, for example with "
        f"`sed 's/::/\\t/g' {path.name} > {path.stem}.tsv`, and put a header on top"
    )


def _header(path: Path, lines: list[str], config: OwnLogConfig, missing: list[str]) -> list[str]:
    """The names that are usable: each stands there once.

    Raises:
        DataError: the first line is no header.
    """
    quoting: Any = csv.QUOTE_NONE if config.quoting == "none" else csv.QUOTE_MINIMAL
    reader = csv.reader(lines, delimiter=config.separator, quoting=quoting, escapechar=config.escape)
    header, *rows = [[field.strip() for field in fields] for fields in itertools.islice(reader, HEAD_LINES) if fields]
    columns = list(zip(*(row for row in rows if len(row) == len(header)), strict=True))
    signs = [_sign_of_data(name, column, missing) for name, column in zip(header, columns, strict=False)]
    if sign := next(filter(None, signs), None):
        log, items = (short(config.separator.join(names)) for names in (("user", "item", "rating", "time"), ("item", "title")))
        raise DataError(
            f"{path}: has no header, since {sign}; put a line on top that names its {len(header)} columns in their order, in "
            f"the manner of {log} for interactions or {items} for items"
        )
    return [name for name, count in Counter(header).items() if count == 1 and name]


def _sign_of_data(name: str, column: tuple[str, ...], missing: list[str]) -> str | None:
    """Why ``name`` is no name but the first value of its column; None: it may be a name."""
    if re.match(NUMBER, name):
        return f"{name!r} is a number"
    times = guess_times(pa.array([name]), missing)
    if times is not None:
        return f"{name!r} is a time"
    if name and name in column and not re.search(r"[0-9]", name):
        return None  # a header that is repeated inside the file, which the reader drops
    shape = _shape(name)
    if "9" in shape and column and sum(_shape(value) == shape for value in column) > len(column) / 2:
        return f"{name!r} looks like the values below it, such as {short(column[0])}"
    return None


def _shape(text: str) -> str:
    return re.sub(r"[0-9]+", "9", re.sub(r"[^\W\d_]+", "a", text))


def _parquet_names(table: Table) -> list[str]:
    import pyarrow.parquet as pq

    path = table.files[0].path
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read as Parquet, damaged or of another kind: {error}") from error
    counts = Counter(schema.names)
    names = [field.name for field in schema if counts[field.name] == 1 and not pa.types.is_nested(field.type)]
    if not names:
        raise DataError(f"{path}: has no plain column")
    return names


def _sample(table: Table, names: list[str]) -> tuple[pa.Table, bool]:
    """The first rows of all named columns, and whether these are all rows."""
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
