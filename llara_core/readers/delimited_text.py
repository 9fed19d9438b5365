"""Delimited text, with a separator of any length and with or without a header.

pyarrow splits blocks of plain lines. From the first block with escapes, unusual quotes or an error, Python's ``csv`` reads the
rest, since pyarrow silently accepts stray quotes and does not report line numbers.
"""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv

from llara_core.config import TextLayout
from llara_core.errors import DataError
from llara_core.readers.log_kinds import open_text
from llara_core.readers.values import check_columns, short

USUAL_SEPARATORS = ("::", ",", ";", "\t", "|")
UNIT_SEPARATOR = "\x1f"  # replaces a separator that is not one ASCII character
BATCH_BYTES = 1 << 24
CSV_ROWS = 1 << 14  # rows per batch of `csv`; more lists would slow down the garbage collector
csv.field_size_limit(BATCH_BYTES)  # a review may exceed the default of 128 KiB

BYTE_ORDER_MARK = "\ufeff"
AMBIGUOUS_ESCAPE = '\\"'
TYPED_NAME = re.compile(r"(.+):(?:token|float|token_seq|float_seq)")  # RecBole's atomic files
NOT_A_ROW = {
    r"([^,;\t|:\s]+):\s*": " names the item of the rows below it, as in the files of the Netflix prize. Write it into each "
    "row, for example with: awk -F: '/:$/ {item = $1; next} {print item \",\" $0}'",
    r"%.*": " is a comment; delete the lines that begin with '%', for example with: grep -v '^%'",
    r"#(\s.*)?": " is a comment; delete the lines that begin with '#', for example with: grep -v '^#'",
    r"sep=.": " tells Excel the separator; delete the line",
}
"""End of the error message, with the remedy, by pattern of a line that is not a row."""


class DelimitedFile:
    """A file of delimited text.

    Args:
        compression: name that :func:`log_kinds.packing_of_text` returned.

    Attributes:
        header: trimmed fields of the header; None if the file has no header, so that its columns are called ``1``, ``2``, ...
    """

    def __init__(self, path: Path, layout: TextLayout, compression: str | None) -> None:
        self.path, self._compression = path, compression
        self.separator, self.escape, self.quoting = layout.separator, layout.escape, layout.quoting
        self._has_header, self._n_fields = layout.header, 0
        if set(self.separator) & set('"\r\n\0'):
            raise DataError(f"{path}: separator {self.separator!r} cannot be used; it must hold no quote and no line break")
        if self.escape is not None and (not self.escape.isascii() or self.escape in '"\r\n\0'):
            raise DataError(
                f"{path}: escape {self.escape!r} cannot be used; it must be one ASCII character, no quote and no line break"
            )
        if self.escape is not None and self.escape in self.separator:
            raise DataError(f"{path}: `escape` and `separator` are both {self.escape!r}; they must differ")
        try:
            "".encode(layout.encoding)  # codecs.lookup() alone would also accept hex and others that do not encode text
            self.encoding = codecs.lookup(layout.encoding).name.removesuffix("-sig")
        except (LookupError, ValueError) as error:
            raise DataError(f"{path}: encoding {layout.encoding!r} is unknown; common ones are utf-8 and cp1252") from error
        is_plain = len(self.separator) == 1 and self.separator.isascii() and not layout.is_cut_once
        self._delimiter = self.separator if is_plain else UNIT_SEPARATOR
        # The first separator of a line follows the user; the others separate the items of the sequence.
        self._first_separator = re.compile(r"(?m)^([^\r\n]*?)" + re.escape(self.separator)) if layout.is_cut_once else None
        boundary = rf"[{re.escape(self._delimiter)}\r\n]"
        self._quoted_field = re.compile(rf'(?:\A|(?<={boundary}))"(?:[^"\r\n]++|"")*+"(?={boundary})')
        # \N is a missing value, which unescaping would turn into N.
        self._escaped_null = re.compile(rf"(^|{boundary})\\N(?={boundary}|$)") if self.escape == "\\" else None

        self._first_line_error, has_one_field = "", False  # raised if the first line turns out not to be a row
        for number, line in enumerate(self._lines(self._blocks(), []), start=1):
            if line.strip("\r\n"):
                text = self._original(line).strip()
                remedy, has_one_field = _remedy(text), self._delimiter not in line
                self._first_line_error = f"{path}:{number}: {short(text)}{remedy}" if remedy else ""
                break
        if self._first_line_error and (has_one_field or not self._has_header):
            raise DataError(self._first_line_error)
        records = itertools.islice(self._records(self._blocks(), 1), 1 + self._has_header)
        (_, first), *rows = [*records] or [(0, [])]
        if not first or len(rows) < self._has_header:
            raise DataError(f"{path}: {'holds a header but no rows' if first else 'is empty'}")
        self._first_row, self._n_fields = (rows[0][0] if rows else 1), len(first)
        self.header = [name.strip() for name in first] if self._has_header else None

    def names(self) -> list[str]:
        """Returns the names of the columns, without types if all have one as in RecBole's files (``user_id:token``)."""
        if self.header is None:
            return [str(number + 1) for number in range(self._n_fields)]
        typed = [TYPED_NAME.fullmatch(name) for name in self.header]
        return [match[1] for match in typed if match] if all(typed) else self.header

    def batches(self, names: list[str]) -> Iterator[list[pa.Array]]:
        available = self.names()
        if self._first_line_error and not set(names) <= set(available):
            raise DataError(self._first_line_error)
        check_columns(self.path, names, available, self._hint(available, names))
        positions = [available.index(name) for name in names]
        line, blocks = self._first_row, self._blocks(self._first_row)
        for block in blocks:
            columns = self._split_by_arrow(block, positions)
            if columns is None:
                records = self._records(itertools.chain([block], blocks), line)
                while rows := [fields for _, fields in itertools.islice(records, CSV_ROWS)]:
                    columns = [*zip(*rows, strict=True)]
                    yield [pa.array(columns[position], pa.string()) for position in positions]
                return
            yield columns
            line += block.count("\n")

    def place(self, row: int) -> str:
        number, _ = next(itertools.islice(self._records(self._blocks(self._first_row), self._first_row), row, None))
        return f"{self.path}:{number}"

    def _split_by_arrow(self, block: str, positions: list[int]) -> list[pa.Array] | None:
        """Returns the columns at the given positions; None if ``csv`` must read the block or report the malformed line."""
        is_quoted = self.quoting != "none" and '"' in block
        if self.escape is not None or (is_quoted and not self._has_plain_quotes(block)):
            return None
        data = block.encode()
        try:
            table = pa_csv.read_csv(
                pa.BufferReader(data),
                pa_csv.ReadOptions(
                    use_threads=False, block_size=len(data) + 1, column_names=[*map(str, range(self._n_fields))]
                ),
                pa_csv.ParseOptions(delimiter=self._delimiter, quote_char='"' if is_quoted else False),
                pa_csv.ConvertOptions(
                    include_columns=[*map(str, set(positions))],
                    column_types=dict.fromkeys(map(str, positions), pa.string()),
                ),
            )
        except pa.ArrowInvalid:
            return None
        return [table[str(position)].combine_chunks() for position in positions]

    def _has_plain_quotes(self, block: str) -> bool:
        """Returns whether all quotes enclose a field of one line, or are doubled inside one."""
        if self._delimiter != self.separator or (self.quoting == "checked" and AMBIGUOUS_ESCAPE in block):
            return False
        return '"' not in self._quoted_field.sub("", block)

    def _hint(self, available: list[str], names: list[str]) -> str:
        others = [other for other in USUAL_SEPARATORS if other in available[0] and other != self.separator]
        if self._has_header and others and len(available) == 1:
            return f"; is the separator {others[0]!r}?"
        if self._has_header and any(name.isdecimal() for name in [*names, *available]):
            return "; if the file has no header, set header: false and give the columns by number, from 1"
        return ""

    def _blocks(self, first_line: int = 1) -> Iterator[str]:
        """Yields the text from a line on in blocks of whole lines, without byte order marks and with a one-byte delimiter."""
        number = first_line
        with open_text(self.path, self._compression, self.encoding, newline="") as file:
            for _ in range(first_line - 1):
                file.readline()
            while block := file.read(BATCH_BYTES):
                block += file.readline()
                block += "" if block.endswith(("\n", "\r")) else "\n"  # csv requires a line end after an escaped one
                block = block.removeprefix(BYTE_ORDER_MARK).replace(f"\n{BYTE_ORDER_MARK}", "\n")
                for character in "\0" if self._delimiter == self.separator else f"\0{UNIT_SEPARATOR}":
                    if character in block:
                        line = number + block[: block.index(character)].count("\n")
                        what = "the byte 0" if character == "\0" else f"the character {character!r}"
                        raise DataError(
                            f"{self.path}:{line}: holds {what}, which text does not; if the file is not damaged, correct "
                            "`encoding`"
                        )
                if self._first_separator is not None:
                    block = self._first_separator.sub(rf"\1{self._delimiter}", block)
                elif self._delimiter != self.separator:
                    block = block.replace(self.separator, self._delimiter)
                yield self._escaped_null.sub(r"\1\\\\N", block) if self._escaped_null else block
                number += block.count("\n")

    def _lines(self, blocks: Iterable[str], taken: list[str]) -> Iterator[str]:
        """Yields the lines and appends each to ``taken``."""
        line = ""
        for block in blocks:
            for line in io.StringIO(block, newline=""):
                taken.append(line)
                yield line
        text = line.rstrip("\r\n")
        if self.escape and (len(text) - len(text.rstrip(self.escape))) % 2:
            raise DataError(
                f"{self.path}: ends with {self.escape!r}, which escapes nothing; if the file is complete, correct `escape`"
            )

    def _records(self, blocks: Iterable[str], number: int) -> Iterator[tuple[int, list[str]]]:
        """Yields the number of the first line and the fields of each record; blank lines are skipped.

        Args:
            number: number of the first line of the blocks.

        Raises:
            DataError: a record has another number of fields, or ambiguous quotes.
        """
        lines, is_replaced = list[str](), self._delimiter != self.separator
        try:
            for fields in self._split(self._lines(blocks, lines), strict=self.quoting != "none"):
                if fields:
                    if len(fields) != self._n_fields or len(lines) > 1 or AMBIGUOUS_ESCAPE in lines[0]:
                        self._check(number, fields, lines)
                    yield number, [self._original(field) for field in fields] if is_replaced else fields
                number += len(lines)
                lines.clear()
        except csv.Error as error:
            self._check_escapes(number, lines)
            raise DataError(
                f"{self.path}:{number}: a quoted field does not end, or its quotes are not doubled ({error}); double them, or, "
                "if quotes are ordinary characters in this file, set `quoting: none`"
            ) from error

    def _check(self, number: int, fields: list[str], lines: list[str]) -> None:
        if self.quoting == "checked":
            self._check_escapes(number, lines)
            if len(lines) > 1 and self._look_like_rows(lines, self._n_fields or len(fields)):
                raise DataError(
                    f"{self.path}:{number}: a quoted field begins here and spans {len(lines)} lines that look like rows. "
                    "If quotes are ordinary characters in this file, set `quoting: none`; if it is one field, "
                    "`quoting: trusted`"
                )
        if len(fields) != (self._n_fields or len(fields)):
            text = self._original("".join(lines)).rstrip("\r\n")
            if self._first_line_error or (remedy := _remedy(text.strip())):
                raise DataError(self._first_line_error or f"{self.path}:{number}: {short(text)}{remedy}")
            hint = "; is the separator escaped? set `escape`" if not self.escape and f"\\{self.separator}" in text else ""
            raise DataError(
                f"{self.path}:{number}: {len(fields)} fields separated by {self.separator!r}, but the "
                f"{'header' if self._has_header else 'first line'} has {self._n_fields}: {short(text)}{hint}"
            )

    def _original(self, text: str) -> str:
        """Restores the separators of the file, which may also occur inside quotes."""
        return text.replace(self._delimiter, self.separator)

    def _look_like_rows(self, lines: list[str], n_fields: int) -> bool:
        """Returns whether each line of a record would be a complete row if the quotes around the line ends were text."""
        lines = [line for line in lines if line.strip()]
        if len(lines) < 2 or '"' not in lines[0]:  # the lines are joined by an escaped line end
            return False
        first, *others, last = lines
        opened, closed = next(self._split([first])), next(self._split([f'"{last}']))
        counts = [len(opened) + opened[-1].count(self._delimiter), len(closed) + closed[0].count(self._delimiter)]
        counts += [1 + line.count(self._delimiter) for line in others]
        return all(count == n_fields for count in counts)

    def _split(self, lines: Iterable[str], strict: bool = False) -> Iterator[list[str]]:
        return csv.reader(
            lines,
            delimiter=self._delimiter,
            escapechar=self.escape,
            quoting=csv.QUOTE_NONE if self.quoting == "none" else csv.QUOTE_MINIMAL,
            strict=strict,
        )

    def _check_escapes(self, number: int, lines: list[str]) -> None:
        if self.escape is None and self.quoting == "checked":
            for line, text in enumerate(lines, start=number):
                if AMBIGUOUS_ESCAPE in text:
                    raise DataError(
                        f"{self.path}:{line}: {AMBIGUOUS_ESCAPE} is ambiguous. If the backslash escapes the quote, set "
                        "`escape: '\\'`; if it is an ordinary character, `quoting: trusted`, or `none` if quotes are, too"
                    )


def _remedy(line: str) -> str:
    """Returns the explanation of a line that is not a row, with the remedy; empty if the line may be a row."""
    return next((remedy for pattern, remedy in NOT_A_ROW.items() if re.fullmatch(pattern, line)), "")
