"""Delimited text, with a separator of any length and with or without a header.

pyarrow reads it: three times as fast as pandas, twice as fast as DuckDB and level with Polars at 30 million rows
(``benchmarks/log_scale.py``), in every encoding that Python knows. It takes one ASCII character as separator; any other becomes
the unit separator of ASCII on the way in.

pyarrow gives the number of a record but not its line, and accepts stray quotes silently. So a second, slower pass with Python's
``csv`` finds lines once an error is certain, and checks every file that holds quotes.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from llara_core.config import TextLayout
from llara_core.errors import DataError
from llara_core.readers.log_kinds import open_bytes
from llara_core.readers.values import check_columns, short

USUAL_SEPARATORS = ("::", ",", ";", "\t", "|")
UNIT_SEPARATOR = "\x1f"
BATCH_BYTES = 1 << 24
csv.field_size_limit(BATCH_BYTES)  # a review may exceed the default of 128 KiB

BYTE_ORDER_MARK = codecs.BOM_UTF8
DOUBTFUL_ESCAPE = '\\"'
HEADING = re.compile(r"([^,;\t|:\s]+):\s*")  # of Netflix' files: the item of the rows below
TYPED_NAME = re.compile(r"(.+):(?:token|float|token_seq|float_seq)")  # RecBole's atomic files


class DelimitedFile:
    """A file of delimited text.

    Args:
        packing: as of :func:`log_kinds.packing_of_text`.

    Attributes:
        header: the first line's fields as they stand, trimmed; None: it has none, and columns are called ``1``, ``2``, ...
    """

    def __init__(self, path: Path, layout: TextLayout, packing: str | None) -> None:
        self.path, self._packing = path, packing
        self.separator, self.escape, self.quoting = layout.separator, layout.escape, layout.quoting
        self._has_header, self._is_cut_once = layout.header, layout.is_cut_once
        is_plain = len(self.separator) == 1 and self.separator.isascii() and not self._is_cut_once
        self._code = self.separator if is_plain else UNIT_SEPARATOR
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
        self._first = self._first_record()
        self._doubt = self._first_line_is_no_row()
        self.header = [name.strip() for name in self._first] if self._has_header else None

    def names(self) -> list[str]:
        """The columns: without their types where all have one, as in RecBole's files (``user_id:token``)."""
        if self.header is None:
            return [str(number + 1) for number in range(len(self._first))]
        typed = [TYPED_NAME.fullmatch(name) for name in self.header]
        return [match[1] for match in typed if match] if all(typed) else self.header

    def batches(self, names: list[str]) -> Iterator[list[pa.Array]]:
        found = self.names()
        if self._doubt and not set(names) <= set(found):
            raise DataError(self._doubt)
        check_columns(self.path, names, found, self._hint(found, names))
        wanted = [str(found.index(name)) for name in names]
        passing = _Filter(self._code, self.separator.encode(), self.escape, self._is_cut_once)
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
                    pa_csv.ReadOptions(
                        block_size=BATCH_BYTES,
                        use_threads=False,
                        column_names=[*map(str, range(len(found)))],
                        skip_rows_after_names=int(self._has_header),
                    ),
                    pa_csv.ParseOptions(
                        delimiter=self._code,
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
                    may_hold_code = self._code != self.separator and (passing.has_quotes or self.escape is not None)
                    columns = [batch.column(name) for name in wanted]
                    yield [self._decoded(column) for column in columns] if may_hold_code else columns
        except (pa.ArrowException, UnicodeError, OSError) as error:
            self._refuse_characters(passing)
            self._explain(error, refused)
        self._refuse_characters(passing)
        if passing.ends_escaped:
            raise DataError(
                f"{self.path}: ends with {self.escape!r}, which escapes nothing; the file is cut short, or correct `escape`"
            )
        if passing.has_quotes and self.quoting != "none":
            self._check_quotes()

    def place(self, row: int) -> str:
        record = next(itertools.islice(self._records(), self._has_header + row, None), None)
        if record is None:  # Python and pyarrow differ on where rows end, so the quotes are in doubt
            self._check_quotes()
        return f"{self.path}:{record[0]}" if record else f"{self.path}: row {row + 1}"

    def _hint(self, found: list[str], names: list[str]) -> str:
        others = [other for other in USUAL_SEPARATORS if other in found[0] and other != self.separator]
        if self._has_header and others and len(found) == 1:
            return f"; is the separator {others[0]!r}?"
        if self._has_header and any(name.isdecimal() for name in [*names, *found]):
            return "; has the file no header? set header: false and give the columns by number, from 1"
        return ""

    def _first_line_is_no_row(self) -> str:
        """What to say of a first line that looks like no row, unless it names the columns; refused where it cannot."""
        number, _, lines = next(iter(self._records()))
        text = lines[0].replace(self._code, self.separator).strip().removeprefix("\ufeff")
        if not (named := _named(text)):
            return ""
        doubt = f"{self.path}:{number}: {short(text)}{named}"
        if not self._has_header or len(self._first) == 1:
            raise DataError(doubt)
        return doubt

    def _stream(self) -> Any:
        stream = open_bytes(self.path, self._packing)
        # UTF-8 needs no detour through Python.
        return stream if self.encoding == "utf-8" else pa.transcoding_input_stream(stream, self.encoding, "utf-8")

    def _first_record(self) -> list[str]:
        records = [fields for _, fields, _ in itertools.islice(self._records(), 1 + self._has_header)]
        if len(records) < 1 + self._has_header:
            raise DataError(f"{self.path}: {'holds a header but no rows' if records else 'is empty'}")
        return [field.replace(self._code, self.separator) for field in records[0]]

    def _records(self, strict: bool = False) -> Iterator[tuple[int, list[str], list[str]]]:
        """First line number, fields and lines of each record, the header included; blank lines are skipped."""
        number, lines = 1, list[str]()

        def take(file: Iterable[str]) -> Iterator[str]:
            for line in file:
                lines.append(self._coded(line))
                yield lines[-1].removeprefix("\ufeff")

        try:
            with io.TextIOWrapper(open_bytes(self.path, self._packing), encoding=self.encoding, newline="") as file:
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
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read, damaged or cut short: {error}") from error

    def _coded(self, line: str) -> str:
        """``line`` with the separator that pyarrow and ``csv`` take."""
        if self._code == self.separator:
            return line
        return line.replace(self.separator, self._code, 1 if self._is_cut_once else -1)

    def _decoded(self, column: pa.StringArray) -> pa.StringArray:
        """``column`` with the separators that stood in quotes."""
        return pc.replace_substring(column, self._code, self.separator)

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
        counts = [len(opened) + opened[-1].count(self._code), len(closed) + closed[0].count(self._code)]
        counts += [1 + line.count(self._code) for line in others]
        return all(count == n_fields for count in counts)

    def _split(self, lines: Iterable[str], strict: bool = False) -> Iterator[list[str]]:
        return csv.reader(
            lines,
            delimiter=self._code,
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

    def _refuse_characters(self, passing: _Filter) -> None:
        """Refuse a character that no text has, and the one that stands in for the separator."""
        for character in passing.strange:
            with io.TextIOWrapper(open_bytes(self.path, self._packing), encoding=self.encoding, errors="replace") as file:
                line = next((number for number, line in enumerate(file, start=1) if character in line), 1)
            what = "the byte 0" if character == "\0" else f"the character {character!r}"
            raise DataError(
                f"{self.path}:{line}: holds {what}, which text does not; the file is damaged, or correct `encoding`"
            )

    def _undecodable(self) -> str:
        """File and line of the first byte that is not of the encoding, which pyarrow tells neither in bytes nor in lines."""
        decoder = codecs.getincrementaldecoder(self.encoding)()
        line = 1
        with contextlib.suppress(UnicodeError), io.BufferedReader(open_bytes(self.path, self._packing)) as file:
            for chunk in file:
                line += decoder.decode(chunk).count("\n")
        return f"{self.path}:{line}"

    def _explain(self, error: Exception, refused: list[pa_csv.InvalidRow]) -> NoReturn:
        """Raise the clearest error for what pyarrow refused: doubtful quotes, undecodable text, or a row of another length.

        Args:
            refused: the row of another length, if that was it.
        """
        # Records are numbered alike here and there: the first is 1, and blank lines do not count.
        for line, _ in itertools.islice(self._checked_records(), refused[0].number if refused else None):
            place = f"{self.path}:{line}"
        if not refused:
            raise DataError(f"{self.path}: cannot be read: {error}") from error
        row = refused[0]
        text = row.text.replace(self._code, self.separator)
        if self._doubt:
            raise DataError(self._doubt)
        if named := _named(text.strip()):
            raise DataError(f"{place}: {short(text)}{named}")
        hint = "; is the separator escaped? set `escape`" if not self.escape and f"\\{self.separator}" in text else ""
        raise DataError(
            f"{place}: {row.actual_columns} fields separated by {self.separator!r}, but the "
            f"{'header' if self._has_header else 'first line'} has {row.expected_columns}: {short(text)}{hint}"
        )


def _named(line: str) -> str:
    """What a line is that is no row, and the remedy; empty if it looks like one."""
    if HEADING.fullmatch(line):
        return (
            " names the item of the rows below it, as in the files of the Netflix prize. Write it into each row, for example "
            "with: awk -F: '/:$/ {item = $1; next} {print item \",\" $0}'"
        )
    if re.match(r"%|#(\s|$)", line):
        return f" is a comment; delete the lines that begin with {line[0]!r}, for example with: grep -v '^{line[0]}'"
    return " tells Excel the separator; delete the line" if re.fullmatch(r"sep=.", line) else ""


class _Filter:
    """Prepares the bytes of a text (UTF-8) for pyarrow: no byte order marks, one ASCII character as separator, and ``\\N`` safe
    from unescaping.

    Args:
        code: what pyarrow takes for the separator.
        is_cut_once: replace the first separator of a line alone.

    Attributes:
        has_quotes: whether there was a double quote.
        ends_escaped: whether the last character is an escape with nothing left to escape.
        strange: characters that were met and must not be there.
    """

    def __init__(self, code: str, separator: bytes, escape: str | None, is_cut_once: bool) -> None:
        self.has_quotes = self.ends_escaped = False
        self.strange = set[str]()
        self._code, self._separator = code.encode(), separator
        self._first = re.compile(rb"(?m)^([^\r\n]*?)" + re.escape(separator)) if is_cut_once else None
        self._escape = escape.encode() if escape else b""
        pattern = rb"(^|[%b\r\n])\\N(?=[%b\r\n])" % ((re.escape(self._code),) * 2)
        self._null = re.compile(pattern) if escape == "\\" else None
        self._rest = b""

    def __call__(self, buffer: pa.Buffer) -> pa.Buffer:
        data = self._rest + buffer.to_pybytes()
        # The last call has an empty buffer. A carriage return at the end may be half of a line break.
        end = (data.rfind(b"\n") + 1 or data.rfind(b"\r", 0, -1) + 1) if buffer.size else len(data)
        data, self._rest = data[:end], data[end:]
        data = data.removeprefix(BYTE_ORDER_MARK).replace(b"\n" + BYTE_ORDER_MARK, b"\n")
        if b"\0" in data:
            self.strange.add("\0")
        if self._code != self._separator:
            if self._code in data:
                self.strange.add(UNIT_SEPARATOR)
            data = (
                data.replace(self._separator, self._code) if self._first is None else self._first.sub(rb"\1" + self._code, data)
            )
        self.has_quotes = self.has_quotes or b'"' in data
        if data and self._escape:
            line = data.removesuffix(b"\n").removesuffix(b"\r")
            self.ends_escaped = (len(line) - len(line.rstrip(self._escape))) % 2 == 1
        if self._null is not None and b"\\N" in data:
            data = self._null.sub(rb"\1\\\\N", data)  # a missing value, which pyarrow would turn into N
        return pa.py_buffer(data)
