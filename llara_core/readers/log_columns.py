"""Ids, times, ratings and titles from the columns of an own log, or an error that names the line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import NoReturn

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from llara_core.errors import DataError
from llara_core.readers.item_texts import attribute
from llara_core.readers.log_files import LogTable
from llara_core.readers.values import short

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

UNITS = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
"""Time formats that count from 1970, and how many of them make a second."""
ARROW_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
ISO = "iso8601"
DAY = 86_400  # seconds
EPOCH_DAY, EPOCH_PATTERN = "1970-01-01", "%Y-%m-%d "  # put before a time of day, so that it can be parsed
TIME_OF_DAY = r"^[0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?$"
YEAR_DIRECTIVES = ("%Y", "%y", "%G", "%c", "%x", "%s")

WHOLE = r"^[+-]?[0-9]{1,19}$"
NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
EXACT = {"halffloat": 2**11, "float": 2**24}
"""Whole numbers below it are exact in this type; in any other, below 2^53."""
# How spreadsheets, Java, Python and R write large numbers: 1.23E+15, 1.5E7, 1e+05.
ROUNDED_NUMBER = r"^[+-]?[0-9](\.[0-9]+[eE][+-]?[0-9]+|[eE]\+[0-9]+)$"
MANTISSA = r"^[+-]?[0-9](?:\.(?P<rest>[0-9]+)[eE]\+?|[eE]\+)(?P<exponent>[0-9]{1,3})$"  # of one
ROUNDED = (
    "is a number that was rounded, as spreadsheets do, so that different {0} may have become equal; export the {0} again, {1}"
)


def _second(time: str) -> int:
    return int(np.datetime64(time, "s").astype(np.int64))


FIRST_SECOND, LAST_SECOND = _second("0001-01-01"), _second("9999-12-31T23:59:59")
USUAL_SECONDS = _second("1980-01-01"), _second("2100-01-01")
"""Times outside these years that another unit would move into them are in doubt."""
USUAL_DAYS = 29_221, 73_051  # the same years in days since 1899-12-30


def columns(table: LogTable, names: list[str], missing: list[str]) -> Iterator[list[LogColumn]]:
    """The named columns of a table, batch by batch; ``missing``: the texts that mean a missing value, besides the empty one."""
    marks = pa.array(["", *missing], pa.string())
    for values, rows in table.read(names):
        yield [LogColumn(table, name, column, rows, marks) for name, column in zip(names, values, strict=True)]


@dataclass(frozen=True)
class LogColumn:
    """A batch of one column.

    Its methods return an array and a mask of the missing rows (None: none is missing), whose values are meaningless.

    Attributes:
        rows: their numbers in ``table``.
        marks: texts that mean a missing value.
    """

    table: LogTable
    name: str
    values: pa.Array
    rows: Sequence[int]
    marks: pa.StringArray

    def only(self, kept: BoolArray) -> LogColumn:
        """The rows that are kept."""
        values = self.values.filter(pa.array(kept))
        values = values.dictionary_decode() if pa.types.is_dictionary(values.type) else values  # with no unused ids
        return replace(self, values=values, rows=np.asarray(self.rows)[kept].tolist())

    def ids(self) -> tuple[pa.DictionaryArray, BoolArray | None]:
        """Trimmed and composed (NFC) ids; an id may occur twice in the dictionary."""
        encoded = self.values if pa.types.is_dictionary(self.values.type) else self._text().dictionary_encode()
        trimmed = pc.utf8_normalize(pc.utf8_trim_whitespace(encoded.dictionary), form="NFC")
        is_mark = pc.is_in(trimmed, self.marks)
        result = pa.DictionaryArray.from_arrays(encoded.indices, trimmed)
        if not (encoded.null_count or pc.any(is_mark).as_py()):
            return result, None
        return result, is_mark.take(encoded.indices).fill_null(True).to_numpy(zero_copy_only=False)

    def titles(self) -> pa.StringArray:
        """Trimmed titles; empty if missing."""
        text = pc.utf8_trim_whitespace(self._text().fill_null(""))
        return pc.if_else(pc.is_in(text, self.marks), "", text)

    def times(self, time_format: str) -> tuple[IntArray, int, BoolArray | None]:
        """Ticks since 1970 UTC, the ticks per second, and the mask of missing rows."""
        kind = self.values.type
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            if time_format != ISO:
                raise self._wrong_type(f"numbers or text, or time_format must be {ISO}")
            stamps = self.values if pa.types.is_timestamp(kind) else self.values.cast(pa.timestamp("ms"))
            ticks, per_second = stamps.cast(pa.int64()).fill_null(0).to_numpy(), ARROW_UNITS[stamps.type.unit]
            missing, fits = self._nulls(), np.ones(len(ticks), dtype=np.bool_)
        elif time_format in UNITS:
            ticks, per_second, fits, missing = self._counted(UNITS[time_format])
        else:
            text, missing = self._trimmed()
            ticks, per_second, fits = _parse(text.to_pandas(), time_format)
        seconds = ticks // per_second
        fits = fits & (seconds >= FIRST_SECOND) & (seconds <= LAST_SECOND)
        number = "numbers, " if time_format in UNITS else ""
        self._refuse(fits, missing, f"does not fit time_format {time_format!r} ({number}years 1 to 9999)", time_format)
        return ticks, per_second, missing

    def times_of_day(self, time_format: str) -> tuple[IntArray, int, BoolArray | None]:
        """Ticks since midnight, the ticks per second, and the mask of missing rows."""
        kind = self.values.type
        if pa.types.is_time(kind):
            if time_format != ISO:
                raise self._wrong_type(f"numbers or text, or time_of_day_format must be {ISO}")
            whole = self.values.cast(pa.int32() if pa.types.is_time32(kind) else pa.int64()).cast(pa.int64())
            ticks, per_second = whole.fill_null(0).to_numpy(), ARROW_UNITS[kind.unit]
            missing, fits = self._nulls(), np.ones(len(ticks), dtype=np.bool_)
        elif time_format in UNITS:
            ticks, per_second, fits, missing = self._counted(UNITS[time_format])
        else:
            text, missing = self._trimmed()
            pattern = ISO if time_format == ISO else f"{EPOCH_PATTERN}{time_format}"
            ticks, per_second, fits = _parse(f"{EPOCH_DAY}{'T' if time_format == ISO else ' '}" + text.to_pandas(), pattern)
            if time_format == ISO:  # no zone, since it would move the date as well
                fits = fits & pc.match_substring_regex(text, TIME_OF_DAY).fill_null(False).to_numpy(zero_copy_only=False)
        fits = fits & (ticks >= 0) & (ticks < DAY * per_second)
        self._refuse(fits, missing, f"does not fit time_of_day_format {time_format!r} (a time within one day)")
        return ticks, per_second, missing

    def plus(self, clock: LogColumn, time_format: str, clock_format: str) -> tuple[IntArray, int, BoolArray | None]:
        """As :meth:`times`, of a date in this column and a time of day in ``clock``."""
        days, per_second, no_day = self.times(time_format)
        of_day, of_day_per_second, no_time = clock.times_of_day(clock_format)
        missing = no_day if no_time is None else no_time if no_day is None else no_day | no_time
        self._refuse(days % (DAY * per_second) == 0, missing, "is more than a date, but columns.time_of_day adds to it")
        finest = max(per_second, of_day_per_second)
        limit = np.iinfo(np.int64).max // finest - DAY
        self._refuse(np.abs(days // per_second) <= limit, missing, "is of a year that nanoseconds cannot reach (1678 to 2261)")
        return days * (finest // per_second) + of_day * (finest // of_day_per_second), finest, missing

    def texts(self) -> pa.StringArray:
        """Trimmed texts, numbers and truth values as text; empty if there is none."""
        values = self.values.cast(pa.string()) if pa.types.is_boolean(self.values.type) else self._text()
        return pc.utf8_trim_whitespace(values).fill_null("")

    def attributes(self) -> list[str]:
        """Each row's values as the text of an attribute; a list, or a text with ``|`` in it, holds several."""
        values, marks = self.values, set(self.marks.to_pylist())
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()
        return [attribute(self.name, cell_texts(value, marks)) for value in values.to_pylist()]

    def ratings(self) -> tuple[FloatArray, BoolArray | None]:
        numbers, missing = self._numbers()
        self._refuse(np.isfinite(numbers), missing, "is not a finite number")
        return numbers, missing

    def has_id(self, raw_id: str) -> BoolArray:
        """Which rows hold this id."""
        ids, missing = self.ids()
        found: BoolArray = pc.equal(ids.dictionary, raw_id).take(ids.indices).fill_null(False).to_numpy(zero_copy_only=False)
        return found if missing is None else found & ~missing

    def _trimmed(self) -> tuple[pa.StringArray, BoolArray | None]:
        """Trimmed text, and the mask of missing rows."""
        text = pc.utf8_trim_whitespace(self._text())
        return text, _if_any(pc.or_(pc.is_in(text, self.marks), text.is_null()).to_numpy(zero_copy_only=False))

    def _text(self) -> pa.StringArray:
        """Text and whole numbers as text; nulls, and NaN, by which pandas writes them, are null."""
        kind, values = self.values.type, self.values
        if pa.types.is_dictionary(kind):
            return values.dictionary_decode()
        if pa.types.is_floating(kind):
            numbers = values.cast(pa.float64())
            plain = numbers.fill_null(np.nan).to_numpy()
            missing = np.isnan(plain)
            self._refuse((np.floor(plain) == plain) & np.isfinite(plain), missing, "is not a whole number")
            self._refuse_inexact(plain, missing)
            return pa.array(np.where(missing, 0, plain).astype(np.int64), mask=missing).cast(pa.string())
        if pa.types.is_decimal(kind):
            values = pc.replace_substring_regex(values.cast(pa.string()), r"\.0+$", "")
            whole = pc.invert(pc.match_substring(values, ".")).fill_null(True)
            self._refuse(whole.to_numpy(zero_copy_only=False), None, "is not a whole number")
        elif not (pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
            raise self._wrong_type("text or whole numbers")
        return values.cast(pa.string())

    def _refuse_inexact(self, numbers: FloatArray, missing: BoolArray | None) -> None:
        """Refuse decimal numbers so large that their type cannot tell them from their neighbours."""
        complaint = f"may have lost digits as a number of type {self.values.type}; store it as text or as a whole number"
        self._refuse(np.abs(numbers) < EXACT.get(str(self.values.type), 2**53), missing, complaint)

    def _counted(self, per_second: int) -> tuple[IntArray, int, BoolArray, BoolArray | None]:
        """Exact numbers of a unit of time, ``per_second`` in a second: their ticks and how many make a second, more where there
        are fractions; the mask of rows that hold one, and that of missing rows."""
        numbers, missing = self._numbers()
        if pa.types.is_floating(self.values.type):
            self._refuse_inexact(numbers, missing)
        elif pa.types.is_string(self.values.type):
            self._refuse_rounded(missing)
        is_small = np.abs(numbers) < 2**53
        fits = is_small & (np.floor(numbers) == numbers)
        if (fits | np.isnan(numbers)).all():  # there is nothing that a float would not hold
            return np.where(fits, numbers, 0).astype(np.int64), per_second, fits, missing
        most = len(str(ARROW_UNITS["ns"] // per_second)) - 1  # digits of a fraction: there is nothing finer than nanoseconds
        text = pc.utf8_trim_whitespace(self.values.cast(pa.string()))
        has_digits, has_exponent = (
            pc.match_substring_regex(text, pattern).fill_null(False).to_numpy(zero_copy_only=False)
            for pattern in (WHOLE, "[eE]")
        )
        fits |= has_digits | ((is_small | ~has_exponent) & (most > 0))
        fits &= np.abs(numbers) < 2**63
        text = pc.if_else(pa.array(fits), text, "0")
        if has_exponent.any():
            text = pa.array([f"{Decimal(value):f}" for value in text.to_pylist()])
        text = pc.replace_substring_regex(text, rf"(\.[0-9]{{{most}}})[0-9]*$", r"\1")
        exact = text.cast(pa.decimal128(38, most))
        n_digits = next(n for n in range(0, most + 1, 3) if n == most or pc.all(pc.equal(pc.round(exact, n), exact)).as_py())
        halves = np.frombuffer(exact.cast(pa.decimal128(38, n_digits)).buffers()[1], dtype=np.int64)  # of numbers of 128 bits
        ticks, factor = halves[: 2 * len(text) : 2], 10**n_digits
        fits &= np.abs(numbers) <= np.iinfo(np.int64).max // factor - 1
        return np.where(fits, ticks, 0), per_second * factor, fits, missing

    def _refuse_rounded(self, missing: BoolArray | None) -> None:
        if are_rounded(self.values if missing is None else self.values.filter(pa.array(~missing))):
            self._refuse(np.zeros(len(self.values), dtype=np.bool_), missing, ROUNDED.format("times", "in full"))

    def _numbers(self) -> tuple[FloatArray, BoolArray | None]:
        """Numbers, NaN for text that is not one, and the mask of missing rows."""
        kind, values = self.values.type, self.values
        if pa.types.is_string(kind):
            values = pc.utf8_trim_whitespace(values)
            try:
                numbers = values.cast(pa.float64())
            except pa.ArrowInvalid:
                numbers = pc.if_else(pc.match_substring_regex(values, NUMBER), values, "nan").cast(pa.float64())
        elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind):
            numbers = values.cast(pa.float64(), safe=False)
        else:
            raise self._wrong_type("numbers")
        plain: FloatArray = numbers.fill_null(np.nan).to_numpy() if numbers.null_count else numbers.to_numpy()
        if pa.types.is_string(kind):
            missing = np.zeros(len(plain), dtype=np.bool_)
            others = np.flatnonzero(~np.isfinite(plain))
            suspects = values.take(pa.array(others))
            missing[others] = pc.or_(pc.is_in(suspects, self.marks), suspects.is_null()).to_numpy(zero_copy_only=False)
        else:
            missing = np.isnan(plain)
        if marks := self._numeric_marks():
            missing |= np.isin(plain, marks)
        return plain, _if_any(missing)

    def _numeric_marks(self) -> list[float]:
        return [float(mark) for mark in self.marks.to_pylist() if re.match(NUMBER, mark)]

    def _nulls(self) -> BoolArray | None:
        return self.values.is_null().to_numpy(zero_copy_only=False) if self.values.null_count else None

    def _refuse(self, fits: BoolArray, missing: BoolArray | None, complaint: str, time_format: str | None = None) -> None:
        fits = fits if missing is None else fits | missing
        if not fits.all():
            self._fail(int(np.argmin(fits)), complaint, time_format)

    def _fail(self, row: int, complaint: str, time_format: str | None) -> NoReturn:
        try:
            value = self.values[row].as_py()
        except (OverflowError, ValueError):  # a time that Python's own types cannot hold
            value = self.values.view(pa.int32() if self.values.type.bit_width == 32 else pa.int64())[row].as_py()
        hint = _unit_hint(str(value), time_format) if time_format is not None else ""
        raise DataError(f"{self.table.place(self.rows[row])}: column {self.name!r}: {short(value)} {complaint}{hint}")

    def _wrong_type(self, needed: str) -> DataError:
        kind = self.values.type
        is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
        hint = "; if a row is a user's whole sequence, set `sequences: list`" if is_list and not self.table.sequences else ""
        return DataError(f"{self.table.path}: column {self.name!r} is of type {kind}; it must hold {needed}{hint}")


def are_rounded(numbers: pa.StringArray) -> bool:
    """Whether all look like ``1.70E+09``: with fewer digits than whole units need.

    One with as many digits is exact (Java's ``1.700000123E9``), and R writes exact ones briefly, but not all of them.
    """
    if not len(numbers) or not re.match(MANTISSA, numbers[0].as_py().strip()):
        return False
    rest, exponent = pc.extract_regex(pc.utf8_trim_whitespace(numbers), MANTISSA).flatten()
    return bool(pc.all(pc.less(pc.utf8_length(rest), exponent.cast(pa.int32())).fill_null(False)).as_py())


def check_time_format(time_format: str, *, of_day: bool = False) -> None:
    """Refuse an invalid ``time_format``, or ``time_of_day_format``.

    Raises:
        DataError: it is not a time format, or has no year; that of a time of day has a date or a zone.
    """
    key, example = ("time_of_day_format", "%H:%M:%S") if of_day else ("time_format", "%d/%m/%Y %H:%M")
    if time_format in {*UNITS, ISO}:
        return
    if "%" not in time_format:
        known = ", ".join([*UNITS, ISO])
        raise DataError(f"{key} {time_format!r} is not one of {known}, nor a pattern such as {example}")
    try:
        pd.to_datetime(["?"], format=f"{EPOCH_PATTERN if of_day else ''}{time_format}", errors="coerce")
    except (ValueError, re.error) as error:
        raise DataError(f"{key} {time_format!r} is not a valid pattern: {error}") from error
    if of_day and any(directive in time_format for directive in ("%z", "%Z")):
        raise DataError(
            f"{key} {time_format!r} has a zone, which would move the date as well; join date and time into one column"
        )
    if not of_day and not any(directive in time_format for directive in YEAR_DIRECTIVES):
        raise DataError(
            f"{key} {time_format!r} has no year ({', '.join(YEAR_DIRECTIVES)}), so its times have no order; if the date is in "
            "another column, name that in columns.time and this one in columns.time_of_day"
        )


def _parse(texts: pd.Series[str], time_format: str) -> tuple[IntArray, int, BoolArray]:
    """Ticks since 1970 UTC, the ticks per second, and which texts fit."""
    pattern = "ISO8601" if time_format == ISO else time_format
    parsed = pd.to_datetime(texts, format=pattern, errors="coerce", utc=True)
    fits = (parsed.notna() & ~texts.isin(["now", "today"])).to_numpy()  # pandas parses these words as times
    stamps = parsed.dt.tz_localize(None).to_numpy()
    return np.where(fits, stamps.astype(np.int64), 0), ARROW_UNITS[np.datetime_data(stamps.dtype)[0]], fits


def doubtful_time(ticks: IntArray, per_second: int, time_format: str) -> tuple[int, str] | None:
    """A row whose time was hardly meant so, and the doubt with its remedy; None: no time is in doubt.

    In doubt are times in another unit (:func:`other_unit`); days since 1900, as spreadsheets count, if all times are such of a
    usual year; and -1 among times of usual years.
    """
    if (found := other_unit(ticks, per_second, time_format)) is not None:
        row, name = found
        return row, (
            f"are these {name}? Correct `time_format`, or how the column was made; if such times stand for none, name them in "
            "`missing`"
        )
    if time_format not in UNITS or not len(ticks):
        return None
    unit = per_second // UNITS[time_format]  # ticks
    first, last = (day * unit for day in USUAL_DAYS)
    if unit and first <= ticks.min() and ticks.max() < last:
        return 0, (
            "are these days since 1900, as spreadsheets count? Export dates as text (if they only number the rows, begin at 1)"
        )
    placeholder = ticks == -unit
    if (
        placeholder.any()
        and (placeholder | (ticks == 0) | (ticks >= USUAL_SECONDS[0] * per_second)).all()
        and not placeholder.all()
    ):
        return int(placeholder.argmax()), "does -1 stand for no time? Then name it in `missing`, with quotes"
    return None


def other_unit(ticks: IntArray, per_second: int, time_format: str) -> tuple[int, str] | None:
    """A row whose time was read in too small a unit, and the unit that gives it a usual year; None: no time is in doubt.

    A time of 1970 is in doubt if 10^3, 10^6 or 10^9 times its value falls in a usual year, and every other time of the log is
    also in doubt, in a usual year as it is, or exactly 0.
    """
    earliest, latest = (second * per_second for second in USUAL_SECONDS)
    if not len(ticks) or ticks.min() >= earliest:
        return None
    finest = UNITS.get(time_format, ARROW_UNITS["ns"])
    for factor in (factor for factor in (10**3, 10**6, 10**9) if factor <= finest):
        inside = (ticks >= earliest / factor) & (ticks <= latest / factor)
        if inside.any() and (inside | (ticks == 0) | (ticks >= earliest)).all():
            unit = next(name for name, count in UNITS.items() if count * factor == finest)
            return int(inside.argmax()), unit
    return None


def _unit_hint(value: str, time_format: str) -> str:
    """Advice for a number that falls in a usual year in another unit."""
    if re.match(NUMBER, value) is None:
        return ""
    for name, per_second in UNITS.items():
        if USUAL_SECONDS[0] <= float(value) / per_second <= USUAL_SECONDS[1] and name != time_format:
            return f"; are these {name}? set time_format: {name}"
    return ""


def _if_any(rows: BoolArray) -> BoolArray | None:
    return rows if rows.any() else None


def cell_texts(value: object, marks: set[str | None]) -> list[str]:
    """The texts that a cell holds, without those that mean a missing value; a decimal number without needless zeros."""
    parts = value if isinstance(value, list) else value.split("|") if isinstance(value, str) else [value]
    texts = [f"{part:.15g}" if isinstance(part, float) else str(part).strip() for part in parts if part is not None]
    return [text for text in texts if text not in marks]
