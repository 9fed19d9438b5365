"""Ids, times, ratings and titles from the columns of an own log, or an error that names the line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

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
MANTISSA = r"^[+-]?[0-9](?:\.(?P<rest>[0-9]+)[eE]\+?|[eE]\+)(?P<exponent>[0-9]{1,3})$"  # of such a number
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
    """Yields the named columns of a table batch by batch.

    Args:
        missing: texts that mean a missing value, besides the empty one.
    """
    marks = pa.array(["", *missing], pa.string())
    for values, rows in table.read(names):
        yield [LogColumn(table, name, column, rows, marks) for name, column in zip(names, values, strict=True)]


@dataclass(frozen=True)
class LogColumn:
    """A batch of one column.

    Its methods return an array and the mask of missing rows, whose values are meaningless.

    Attributes:
        rows: numbers of the rows in ``table``.
        marks: texts that mean a missing value.
    """

    table: LogTable
    name: str
    values: pa.Array
    rows: IntArray
    marks: pa.StringArray

    def only(self, kept: BoolArray) -> LogColumn:
        """Returns the rows that are kept."""
        values = _decoded(self.values.filter(pa.array(kept)))  # a dictionary would hold unused ids
        return replace(self, values=values, rows=self.rows[kept])

    def ids(self) -> tuple[pa.DictionaryArray, BoolArray]:
        """Returns trimmed and composed (NFC) ids; an id may occur twice in the dictionary."""
        encoded = self.values if pa.types.is_dictionary(self.values.type) else self._text().dictionary_encode()
        trimmed = pc.utf8_normalize(pc.utf8_trim_whitespace(encoded.dictionary), form="NFC")
        missing = pc.is_in(trimmed, self.marks).take(encoded.indices).fill_null(True)
        return pa.DictionaryArray.from_arrays(encoded.indices, trimmed), _mask(missing)

    def titles(self) -> pa.StringArray:
        """Returns trimmed titles; empty if missing."""
        text = pc.utf8_trim_whitespace(self._text().fill_null(""))
        return pc.if_else(pc.is_in(text, self.marks), "", text)

    def times(self, time_format: str, *, of_day: bool = False) -> tuple[IntArray, int, BoolArray]:
        """Returns ticks since 1970 UTC (or since midnight), the ticks per second, and the mask of missing rows."""
        kind, key = self.values.type, "time_of_day_format" if of_day else "time_format"
        if pa.types.is_time(kind) if of_day else pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            if time_format != ISO:
                raise self._wrong_type(f"numbers or text, or {key} must be {ISO}")
            stamps = self.values.cast(pa.timestamp("ms")) if pa.types.is_date(kind) else self.values
            whole = stamps.view(pa.int32() if stamps.type.bit_width == 32 else pa.int64())
            ticks, per_second = whole.cast(pa.int64()).fill_null(0).to_numpy(), ARROW_UNITS[stamps.type.unit]
            missing, fits = _mask(self.values.is_null()), np.ones(len(ticks), dtype=np.bool_)
        elif time_format in UNITS:
            ticks, per_second, fits, missing = self._counted(UNITS[time_format])
        else:
            text = pc.utf8_trim_whitespace(self._text())
            missing = _mask(pc.or_(pc.is_in(text, self.marks), text.is_null()))
            texts, pattern = text.to_pandas(), time_format
            if of_day:
                is_iso = time_format == ISO
                texts, pattern = f"{EPOCH_DAY}{'T' if is_iso else ' '}" + texts, ISO if is_iso else EPOCH_PATTERN + time_format
            ticks, per_second, fits = _parse(texts, pattern)
            if of_day and time_format == ISO:  # no zone, since it would move the date as well
                fits = fits & _mask(pc.match_substring_regex(text, TIME_OF_DAY).fill_null(False))
        if of_day:
            fits = fits & (ticks >= 0) & (ticks < DAY * per_second)
            self.refuse(fits, missing, f"does not fit {key} {time_format!r} (a time within one day)")
        else:
            fits = fits & (ticks // per_second >= FIRST_SECOND) & (ticks // per_second <= LAST_SECOND)
            number = "numbers, " if time_format in UNITS else ""
            self.refuse(fits, missing, f"does not fit {key} {time_format!r} ({number}years 1 to 9999)", time_format)
        return ticks, per_second, missing

    def plus(self, clock: LogColumn, time_format: str, clock_format: str) -> tuple[IntArray, int, BoolArray]:
        """Returns what :meth:`times` does, of a date in this column and a time of day in ``clock``."""
        days, per_second, no_day = self.times(time_format)
        of_day, of_day_per_second, no_time = clock.times(clock_format, of_day=True)
        missing, finest = no_day | no_time, max(per_second, of_day_per_second)
        self.refuse(days % (DAY * per_second) == 0, missing, "is more than a date, but columns.time_of_day adds to it")
        is_reached = np.abs(days // per_second) <= np.iinfo(np.int64).max // finest - DAY
        self.refuse(is_reached, missing, "is of a year that nanoseconds cannot reach (1678 to 2261)")
        return days * (finest // per_second) + of_day * (finest // of_day_per_second), finest, missing

    def texts(self) -> pa.StringArray:
        """Returns trimmed texts, numbers and truth values as text; empty if there is none."""
        values = self.values.cast(pa.string()) if pa.types.is_boolean(self.values.type) else self._text()
        return pc.utf8_trim_whitespace(values).fill_null("")

    def attributes(self) -> list[str]:
        """Returns each row's values as the text of an attribute; a list, or a text with ``|`` in it, holds several."""
        marks = set(self.marks.to_pylist())
        return [attribute(self.name, cell_texts(value, marks)) for value in _decoded(self.values).to_pylist()]

    def ratings(self) -> tuple[FloatArray, BoolArray]:
        numbers, missing = self._numbers()
        self.refuse(np.isfinite(numbers), missing, "is not a finite number")
        return numbers, missing

    def _text(self) -> pa.StringArray:
        """Returns text, and whole numbers as text; nulls, and NaN, by which pandas writes them, are null."""
        kind, values = self.values.type, _decoded(self.values)
        if pa.types.is_floating(kind):
            numbers = values.cast(pa.float64()).fill_null(np.nan).to_numpy()
            missing = np.isnan(numbers)
            self.refuse((np.floor(numbers) == numbers) & np.isfinite(numbers), missing, "is not a whole number")
            self._refuse_inexact(numbers, missing)
            return pa.array(np.where(missing, 0, numbers).astype(np.int64), mask=missing).cast(pa.string())
        if pa.types.is_decimal(kind):
            values = pc.replace_substring_regex(values.cast(pa.string()), r"\.0+$", "")
            self.refuse(~_mask(pc.match_substring(values, ".").fill_null(False)), None, "is not a whole number")
        elif not (pa.types.is_string(values.type) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
            raise self._wrong_type("text or whole numbers")
        return values.cast(pa.string())

    def _refuse_inexact(self, numbers: FloatArray, missing: BoolArray) -> None:
        """Refuses decimal numbers so large that their type cannot tell them from their neighbours."""
        complaint = f"may have lost digits as a number of type {self.values.type}; store it as text or as a whole number"
        self.refuse(np.abs(numbers) < EXACT.get(str(self.values.type), 2**53), missing, complaint)

    def _counted(self, per_second: int) -> tuple[IntArray, int, BoolArray, BoolArray]:
        """Returns exact numbers of a unit of time, ``per_second`` in a second: their ticks and how many make a second, more
        where there are fractions; the mask of rows that hold one, and that of missing rows."""
        numbers, missing = self._numbers()
        if pa.types.is_floating(self.values.type):
            self._refuse_inexact(numbers, missing)
        elif pa.types.is_string(self.values.type) and are_rounded(self.values.filter(pa.array(~missing))):
            self.refuse(missing, None, ROUNDED.format("times", "in full"))
        is_small = np.abs(numbers) < 2**53
        fits = is_small & (np.floor(numbers) == numbers)
        if (fits | np.isnan(numbers)).all():  # there is nothing that a float would not hold
            return np.where(fits, numbers, 0).astype(np.int64), per_second, fits, missing
        most = len(str(ARROW_UNITS["ns"] // per_second)) - 1  # digits of a fraction: there is nothing finer than nanoseconds
        text = pc.utf8_trim_whitespace(self.values.cast(pa.string()))
        has_digits, has_exponent = (_mask(pc.match_substring_regex(text, p).fill_null(False)) for p in (WHOLE, "[eE]"))
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

    def _numbers(self) -> tuple[FloatArray, BoolArray]:
        """Returns numbers, NaN for text that is not one, and the mask of missing rows."""
        kind, values = self.values.type, self.values
        is_text = pa.types.is_string(kind)
        if is_text:
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
        missing = ~np.isfinite(plain) if is_text else np.isnan(plain)
        if is_text:
            suspects = values.filter(pa.array(missing))
            missing[missing] = _mask(pc.or_(pc.is_in(suspects, self.marks), suspects.is_null()))
        marks = [float(mark) for mark in self.marks.to_pylist() if re.match(NUMBER, mark)]
        return plain, missing | np.isin(plain, marks) if marks else missing

    def refuse(self, fits: BoolArray, missing: BoolArray | None, complaint: str, time_format: str | None = None) -> None:
        """Refuses the first row that does not fit and is not missing.

        Args:
            time_format: of a number whose unit may be wrong.
        """
        fits = fits if missing is None else fits | missing
        if fits.all():
            return
        row = int(np.argmin(fits))
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
    """Returns whether all look like ``1.70E+09``: with fewer digits than whole units need.

    One with as many digits is exact (Java's ``1.700000123E9``), and R writes exact ones briefly, but not all of them.
    """
    if not len(numbers) or not re.match(MANTISSA, numbers[0].as_py().strip()):
        return False
    rest, exponent = pc.extract_regex(pc.utf8_trim_whitespace(numbers), MANTISSA).flatten()
    return bool(pc.all(pc.less(pc.utf8_length(rest), exponent.cast(pa.int32())).fill_null(False)).as_py())


def check_time_format(time_format: str, *, of_day: bool = False) -> None:
    """Refuses an invalid ``time_format``, or ``time_of_day_format``.

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
    if of_day and ("%z" in time_format or "%Z" in time_format):
        raise DataError(
            f"{key} {time_format!r} has a zone, which would move the date as well; join date and time into one column"
        )
    if not of_day and not any(directive in time_format for directive in YEAR_DIRECTIVES):
        raise DataError(
            f"{key} {time_format!r} has no year ({', '.join(YEAR_DIRECTIVES)}), so its times have no order; if the date is in "
            "another column, name that in columns.time and this one in columns.time_of_day"
        )


def _parse(texts: pd.Series[str], time_format: str) -> tuple[IntArray, int, BoolArray]:
    """Returns ticks since 1970 UTC, the ticks per second, and which texts fit."""
    parsed = pd.to_datetime(texts, format="ISO8601" if time_format == ISO else time_format, errors="coerce", utc=True)
    fits = (parsed.notna() & ~texts.isin(["now", "today"])).to_numpy()  # pandas parses these words as times
    stamps = parsed.dt.tz_localize(None).to_numpy()
    return np.where(fits, stamps.astype(np.int64), 0), ARROW_UNITS[np.datetime_data(stamps.dtype)[0]], fits


def doubtful_time(ticks: IntArray, per_second: int, time_format: str) -> tuple[int, str] | None:
    """Returns a row whose time was hardly meant so, and the doubt with its remedy; None: no time is in doubt.

    In doubt are times of 1970 that fall in a usual year if taken 10^3, 10^6 or 10^9 times, where every other time of the log is
    such a one, in a usual year as it is, or exactly 0; days since 1900, as spreadsheets count, if all times are such of a usual
    year; and -1 among times of usual years.
    """
    earliest, latest = (second * per_second for second in USUAL_SECONDS)
    if not len(ticks) or ticks.min() >= earliest:
        return None
    is_usual = (ticks == 0) | (ticks >= earliest)
    finest = UNITS.get(time_format, ARROW_UNITS["ns"])
    for name, count in UNITS.items():
        inside = (ticks >= earliest / (finest / count)) & (ticks <= latest / (finest / count))
        if count < finest and inside.any() and (inside | is_usual).all():
            return int(inside.argmax()), (
                f"are these {name}? Correct `time_format`, or how the column was made; if such times stand for none, name them "
                "in `missing`"
            )
    if time_format not in UNITS:
        return None
    unit = per_second // UNITS[time_format]  # ticks
    if USUAL_DAYS[0] * unit <= ticks.min() and ticks.max() < USUAL_DAYS[1] * unit:
        return 0, (
            "are these days since 1900, as spreadsheets count? Export dates as text (if they only number the rows, begin at 1)"
        )
    is_mark = ticks == -unit
    if is_mark.any() and not is_mark.all() and (is_mark | is_usual).all():
        return int(is_mark.argmax()), "does -1 stand for no time? Then name it in `missing`, with quotes"
    return None


def _unit_hint(value: str, time_format: str) -> str:
    """Returns advice for a number that falls in a usual year in another unit."""
    for name, per_second in UNITS.items() if re.match(NUMBER, value) else ():
        if USUAL_SECONDS[0] <= float(value) / per_second <= USUAL_SECONDS[1] and name != time_format:
            return f"; are these {name}? set time_format: {name}"
    return ""


def _mask(rows: pa.BooleanArray) -> BoolArray:
    mask: BoolArray = rows.to_numpy(zero_copy_only=False)
    return mask


def _decoded(values: pa.Array) -> pa.Array:
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


def cell_texts(value: object, marks: set[str | None]) -> list[str]:
    """Returns the texts that a cell holds, without those that mean a missing value; a decimal number without needless zeros."""
    parts = value if isinstance(value, list) else value.split("|") if isinstance(value, str) else [value]
    texts = [f"{part:.15g}" if isinstance(part, float) else str(part).strip() for part in parts if part is not None]
    return [text for text in texts if text not in marks]
