"""Conversion of the columns of an own log to ids, times, ratings and titles, with errors that name the line."""

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

from llara_core import columns as c
from llara_core.errors import DataError
from llara_core.readers.item_texts import attribute
from llara_core.readers.log_files import LogTable
from llara_core.readers.values import BoolArray, IntArray, decoded, short

FloatArray = npt.NDArray[np.float64]

UNITS = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
"""Time formats that count from 1970: units per second."""
ARROW_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}  # the same units by Arrow's names
ISO = "iso8601"
DAY = 86_400  # seconds
EPOCH_DAY, EPOCH_PATTERN = "1970-01-01", "%Y-%m-%d "  # prepended to a time of day, so that it can be parsed
TIME_OF_DAY = r"^[0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?$"
YEAR_DIRECTIVES = ("%Y", "%y", "%G", "%c", "%x", "%s")

SPLIT_NAMES = {c.TRAIN: 0, "training": 0, c.VALIDATION: 1, "valid": 1, "val": 1, "dev": 1, c.TEST: 2}

WHOLE = r"^[+-]?[0-9]{1,19}$"
NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
EXACT = {"halffloat": 2**11, "float": 2**24}
"""Limit below which all whole numbers are exact, by type; 2^53 for other types."""
# Large numbers as spreadsheets, Java, Python and R write them: 1.23E+15, 1.5E7, 1e+05.
ROUNDED_NUMBER = r"^[+-]?[0-9](\.[0-9]+[eE][+-]?[0-9]+|[eE]\+[0-9]+)$"
MANTISSA = r"^[+-]?[0-9](?:\.(?P<rest>[0-9]+)[eE]\+?|[eE]\+)(?P<exponent>[0-9]{1,3})$"
ROUNDED = (
    "is a number that was rounded, as spreadsheets do, so that different {0} may have become equal; export the {0} again, {1}"
)


def _second(time: str) -> int:
    return int(np.datetime64(time, "s").astype(np.int64))


FIRST_SECOND, LAST_SECOND = _second("0001-01-01"), _second("9999-12-31T23:59:59")
USUAL_SECONDS = _second("1980-01-01"), _second("2100-01-01")
"""Range of usual times; a time outside it is doubtful if it would be inside in another unit."""
USUAL_DAYS = 29_221, 73_051  # the same range in days since 1899-12-30


def columns(table: LogTable, names: list[str], missing: list[str]) -> Iterator[list[LogColumn]]:
    """Yields the named columns of a table batch by batch.

    Args:
        missing: texts that mean a missing value, in addition to the empty text.
    """
    null_values = pa.array(["", *missing], pa.string())
    for values, rows in table.read(names):
        yield [LogColumn(table, name, column, rows, null_values) for name, column in zip(names, values, strict=True)]


@dataclass(frozen=True)
class LogColumn:
    """A batch of one column.

    Methods that also return a mask mark the missing values, whose entries among the values are meaningless.

    Attributes:
        rows: numbers of the rows in ``table``.
        null_values: texts that mean a missing value.
    """

    table: LogTable
    name: str
    values: pa.Array
    rows: IntArray
    null_values: pa.StringArray

    def filtered(self, kept: BoolArray) -> LogColumn:
        """Returns the rows under a mask, without dictionary encoding, since the dictionary may contain unused ids."""
        return replace(self, values=decoded(self.values.filter(pa.array(kept))), rows=self.rows[kept])

    def ids(self) -> tuple[pa.DictionaryArray, BoolArray]:
        """Returns trimmed ids in composed form (NFC); the dictionary may contain an id twice."""
        encoded = self.values if pa.types.is_dictionary(self.values.type) else self._text().dictionary_encode()
        trimmed = pc.utf8_normalize(pc.utf8_trim_whitespace(encoded.dictionary), form="NFC")
        missing = pc.is_in(trimmed, self.null_values).take(encoded.indices).fill_null(True)
        return pa.DictionaryArray.from_arrays(encoded.indices, trimmed), _mask(missing)

    def titles(self) -> pa.StringArray:
        """Returns trimmed titles; missing ones are empty."""
        text = pc.utf8_trim_whitespace(self._text().fill_null(""))
        return pc.if_else(pc.is_in(text, self.null_values), "", text)

    def times(self, time_format: str, *, is_time_of_day: bool = False) -> tuple[IntArray, int, BoolArray]:
        """Returns ticks since 1970 UTC (or since midnight), the ticks per second, and the mask of missing values."""
        kind, key = self.values.type, "time_of_day_format" if is_time_of_day else "time_format"
        if pa.types.is_time(kind) if is_time_of_day else pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            if time_format != ISO:
                raise self._wrong_type(f"numbers or text, or {key} must be {ISO}")
            stamps = self.values.cast(pa.timestamp("ms")) if pa.types.is_date(kind) else self.values
            ticks, per_second = _integers(stamps).cast(pa.int64()).fill_null(0).to_numpy(), ARROW_UNITS[stamps.type.unit]
            missing, fits = _mask(self.values.is_null()), np.ones(len(ticks), dtype=np.bool_)
        elif time_format in UNITS:
            ticks, per_second, fits, missing = self._numeric_times(UNITS[time_format])
        else:
            text = pc.utf8_trim_whitespace(self._text())
            missing = _mask(pc.or_(pc.is_in(text, self.null_values), text.is_null()))
            texts, pattern = text.to_pandas(), time_format
            if is_time_of_day and time_format == ISO:
                texts = f"{EPOCH_DAY}T" + texts
            elif is_time_of_day:
                texts, pattern = f"{EPOCH_DAY} " + texts, EPOCH_PATTERN + time_format
            ticks, per_second, fits = _parse(texts, pattern)
            if is_time_of_day and time_format == ISO:  # no zone, which could change the date
                fits = fits & _mask(pc.match_substring_regex(text, TIME_OF_DAY).fill_null(False))
        if is_time_of_day:
            fits = fits & (ticks >= 0) & (ticks < DAY * per_second)
            remedy = f"correct {key}, or list the value under `missing`"
            self.check(fits, missing, f"does not fit {key} {time_format!r} (a time within one day); {remedy}")
        else:
            fits = fits & (ticks // per_second >= FIRST_SECOND) & (ticks // per_second <= LAST_SECOND)
            number = "numbers, " if time_format in UNITS else ""
            self.check(fits, missing, f"does not fit {key} {time_format!r} ({number}years 1 to 9999)", time_format)
        return ticks, per_second, missing

    def times_from_dates(self, clock: LogColumn, date_format: str, clock_format: str) -> tuple[IntArray, int, BoolArray]:
        """Returns the same as :meth:`times`, for dates in this column and times of day in the column ``clock``."""
        dates, date_per_second, no_date = self.times(date_format)
        clocks, clock_per_second, no_clock = clock.times(clock_format, is_time_of_day=True)
        missing, per_second = no_date | no_clock, max(date_per_second, clock_per_second)
        self.check(dates % (DAY * date_per_second) == 0, missing, "is more than a date, but columns.time_of_day has the time")
        is_in_range = np.abs(dates // date_per_second) <= np.iinfo(np.int64).max // per_second - DAY
        self.check(is_in_range, missing, "is outside the years that nanoseconds can express (1678 to 2261)")
        return dates * (per_second // date_per_second) + clocks * (per_second // clock_per_second), per_second, missing

    def texts(self) -> pa.StringArray:
        """Returns trimmed texts, with numbers and booleans as text; missing ones are empty."""
        values = self.values.cast(pa.string()) if pa.types.is_boolean(self.values.type) else self._text()
        return pc.utf8_trim_whitespace(values).fill_null("")

    def attributes(self) -> list[str]:
        """Returns the attribute text of each row; lists, and texts with ``|``, contain several values."""
        null_values = set(self.null_values.to_pylist())
        return [attribute(self.name, cell_texts(value, null_values)) for value in decoded(self.values).to_pylist()]

    def ratings(self) -> tuple[FloatArray, BoolArray]:
        """Returns finite numbers and the mask of missing values."""
        numbers, missing = self._numbers()
        self.check(np.isfinite(numbers), missing, "is not a finite number")
        return numbers, missing

    def numbers(self) -> FloatArray:
        """Returns finite numbers, none of which may be missing."""
        numbers, missing = self.ratings()
        self.check(~missing, None, "is not a number")
        return numbers

    def whole_numbers(self) -> IntArray:
        """Returns whole numbers from 0 on, none of which may be missing."""
        numbers, missing = self._numbers()
        fits = ~missing & (np.floor(numbers) == numbers) & (numbers >= 0) & (numbers < 2**53)
        self.check(fits, None, "is not a whole number, or too large")
        return numbers.astype(np.int64)

    def splits(self) -> tuple[npt.NDArray[np.int8], BoolArray]:
        """Returns codes into :data:`columns.SPLITS`."""
        ids, missing = self.ids()
        names = [(text or "").casefold() for text in ids.dictionary.to_pylist()] or [""]
        codes: npt.NDArray[np.int8] = np.array([SPLIT_NAMES.get(name, -1) for name in names], dtype=np.int8)
        codes = codes[ids.indices.fill_null(0).to_numpy()]
        self.check(codes >= 0, missing, f"names no split; it must be one of {', '.join(SPLIT_NAMES)}")
        return codes, missing

    def _text(self) -> pa.StringArray:
        """Returns text, and whole numbers as text; missing values, including NaN, are null."""
        kind, values = self.values.type, decoded(self.values)
        if pa.types.is_floating(kind):
            numbers = values.cast(pa.float64()).fill_null(np.nan).to_numpy()
            missing = np.isnan(numbers)
            self.check((np.floor(numbers) == numbers) & np.isfinite(numbers), missing, "is not a whole number")
            self._check_exact(numbers, missing)
            return pa.array(np.where(missing, 0, numbers).astype(np.int64), mask=missing).cast(pa.string())
        if pa.types.is_decimal(kind):
            values = pc.replace_substring_regex(values.cast(pa.string()), r"\.0+$", "")
            self.check(~_mask(pc.match_substring(values, ".").fill_null(False)), None, "is not a whole number")
        elif not (pa.types.is_string(values.type) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
            raise self._wrong_type("text or whole numbers")
        return values.cast(pa.string())

    def _check_exact(self, numbers: FloatArray, missing: BoolArray) -> None:
        """Raises an error for numbers too large for their floating-point type to distinguish neighbours."""
        complaint = f"may have lost digits as a number of type {self.values.type}; store it as text or as a whole number"
        self.check(np.abs(numbers) < EXACT.get(str(self.values.type), 2**53), missing, complaint)

    def _numeric_times(self, units_per_second: int) -> tuple[IntArray, int, BoolArray, BoolArray]:
        """Returns exact ticks of numeric times, ticks per second (more than the units if there are fractions), and the masks of
        valid and of missing values."""
        numbers, missing = self._numbers()
        if pa.types.is_floating(self.values.type):
            self._check_exact(numbers, missing)
        elif pa.types.is_string(self.values.type) and are_rounded(self.values.filter(pa.array(~missing))):
            self.check(missing, None, ROUNDED.format("times", "in full"))
        is_small = np.abs(numbers) < 2**53
        fits = is_small & (np.floor(numbers) == numbers)
        if (fits | np.isnan(numbers)).all():  # all numbers are exact in float64
            return np.where(fits, numbers, 0).astype(np.int64), units_per_second, fits, missing
        max_digits = len(str(ARROW_UNITS["ns"] // units_per_second)) - 1  # decimal places down to nanoseconds
        text = pc.utf8_trim_whitespace(self.values.cast(pa.string()))
        is_whole, has_exponent = (_mask(pc.match_substring_regex(text, p).fill_null(False)) for p in (WHOLE, "[eE]"))
        fits |= is_whole | ((is_small | ~has_exponent) & (max_digits > 0))
        fits &= np.abs(numbers) < 2**63
        text = pc.if_else(pa.array(fits), text, "0")
        if has_exponent.any():
            text = pa.array([f"{Decimal(value):f}" for value in text.to_pylist()])
        text = pc.replace_substring_regex(text, rf"(\.[0-9]{{{max_digits}}})[0-9]*$", r"\1")
        exact = text.cast(pa.decimal128(38, max_digits))
        n_digits = next(
            n for n in range(0, max_digits + 1, 3) if n == max_digits or pc.all(pc.equal(pc.round(exact, n), exact)).as_py()
        )
        halves = np.frombuffer(exact.cast(pa.decimal128(38, n_digits)).buffers()[1], dtype=np.int64)
        ticks, ticks_per_unit = halves[: 2 * len(text) : 2], 10**n_digits  # lower halves of 128-bit integers
        fits &= np.abs(numbers) <= np.iinfo(np.int64).max // ticks_per_unit - 1
        return np.where(fits, ticks, 0), units_per_second * ticks_per_unit, fits, missing

    def _numbers(self) -> tuple[FloatArray, BoolArray]:
        """Returns numbers, NaN for text that is not a number, and the mask of missing values."""
        values = decoded(self.values)
        kind, is_text = values.type, pa.types.is_string(values.type)
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
        array: FloatArray = numbers.fill_null(np.nan).to_numpy()
        missing = ~np.isfinite(array) if is_text else np.isnan(array)
        if is_text:
            suspects = values.filter(pa.array(missing))
            missing[missing] = _mask(pc.or_(pc.is_in(suspects, self.null_values), suspects.is_null()))
        null_numbers = [float(text) for text in self.null_values.to_pylist() if re.match(NUMBER, text)]
        return array, missing | np.isin(array, null_numbers) if null_numbers else missing

    def check(self, fits: BoolArray, missing: BoolArray | None, complaint: str, time_format: str | None = None) -> None:
        """Raises an error for the first value that neither fits nor is missing.

        Args:
            fits: mask of the acceptable values.
            missing: mask of missing values; None if none is.
            complaint: message about the value.
            time_format: format of the times, for a hint about their unit; None for other values.
        """
        fits = fits if missing is None else fits | missing
        if fits.all():
            return
        row = int(np.argmin(fits))
        try:
            value = self.values[row].as_py()
        except (OverflowError, ValueError):  # a time outside the range of Python's types
            value = _integers(self.values)[row].as_py()
        hint = _unit_hint(str(value), time_format) if time_format is not None else ""
        raise DataError(f"{self.table.place(self.rows[row])}: column {self.name!r}: {short(value)} {complaint}{hint}")

    def _wrong_type(self, needed: str) -> DataError:
        kind = self.values.type
        is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
        hint = "; if a row is a user's whole sequence, set `sequences: list`" if is_list and not self.table.sequences else ""
        return DataError(f"{self.table.path}: column {self.name!r} is of type {kind}; it must hold {needed}{hint}")


def are_rounded(numbers: pa.StringArray) -> bool:
    """Returns whether all numbers look like ``1.70E+09``, with fewer digits than whole units need.

    Numbers with enough digits are exact (``1.700000123E9`` in Java); R shortens exact numbers, but not all of them.
    """
    if not len(numbers) or not re.match(MANTISSA, numbers[0].as_py().strip()):
        return False
    rest, exponent = pc.extract_regex(pc.utf8_trim_whitespace(numbers), MANTISSA).flatten()
    return bool(pc.all(pc.less(pc.utf8_length(rest), exponent.cast(pa.int32())).fill_null(False)).as_py())


def check_time_format(time_format: str, *, is_time_of_day: bool = False) -> None:
    """Validates ``time_format`` or ``time_of_day_format``.

    Raises:
        DataError: the format is invalid; that of a time lacks a year; or that of a time of day has a date or a time zone.
    """
    key, example = ("time_of_day_format", "%H:%M:%S") if is_time_of_day else ("time_format", "%d/%m/%Y %H:%M")
    if time_format in {*UNITS, ISO}:
        return
    if "%" not in time_format:
        known = ", ".join([*UNITS, ISO])
        raise DataError(f"{key} {time_format!r} is not one of {known}, nor a pattern such as {example}")
    try:
        pd.to_datetime(["?"], format=f"{EPOCH_PATTERN if is_time_of_day else ''}{time_format}", errors="coerce")
    except (ValueError, re.error) as error:
        raise DataError(f"{key} {time_format!r} is not a valid pattern: {error}") from error
    if is_time_of_day and ("%z" in time_format or "%Z" in time_format):
        raise DataError(f"{key} {time_format!r} has a zone, which may change the date; join date and time in one column")
    if not is_time_of_day and not any(directive in time_format for directive in YEAR_DIRECTIVES):
        raise DataError(
            f"{key} {time_format!r} has no year ({', '.join(YEAR_DIRECTIVES)}), so its times have no order; if the date is in "
            "another column, name that in columns.time and this one in columns.time_of_day"
        )


def _parse(texts: pd.Series[str], time_format: str) -> tuple[IntArray, int, BoolArray]:
    """Returns ticks since 1970 UTC, the ticks per second, and the mask of texts that fit."""
    parsed = pd.to_datetime(texts, format="ISO8601" if time_format == ISO else time_format, errors="coerce", utc=True)
    fits = (parsed.notna() & ~texts.isin(["now", "today"])).to_numpy()  # pandas parses these words as times
    stamps = parsed.dt.tz_localize(None).to_numpy()
    return np.where(fits, stamps.astype(np.int64), 0), ARROW_UNITS[np.datetime_data(stamps.dtype)[0]], fits


def doubtful_time(ticks: IntArray, per_second: int, time_format: str) -> tuple[int, str] | None:
    """Returns the row of a time that was probably misread, and a question with the remedy; None if no time is doubtful.

    Times are doubtful if they are in 1970, would be usual in a larger unit, and all others are 0 or not before the usual range;
    if all would be usual as days since 1900, as in spreadsheets; or if they are -1 and all others 0 or not before that range.
    """
    earliest, latest = (second * per_second for second in USUAL_SECONDS)
    if not len(ticks) or ticks.min() >= earliest:
        return None
    is_usual = (ticks == 0) | (ticks >= earliest)
    format_per_second = UNITS.get(time_format, ARROW_UNITS["ns"])
    for name, unit_per_second in UNITS.items():
        factor = format_per_second / unit_per_second
        is_likely = (ticks >= earliest / factor) & (ticks <= latest / factor)
        if unit_per_second < format_per_second and is_likely.any() and (is_likely | is_usual).all():
            return int(is_likely.argmax()), (
                f"are these {name}? Correct `time_format` or the column; if such values mean missing times, name them in "
                "`missing`"
            )
    if time_format not in UNITS:
        return None
    unit = per_second // UNITS[time_format]  # ticks
    if USUAL_DAYS[0] * unit <= ticks.min() and ticks.max() < USUAL_DAYS[1] * unit:
        return 0, (
            "are these days since 1900, as spreadsheets count? Export dates as text (if the times are row numbers, start at 1)"
        )
    is_minus_one = ticks == -unit
    if is_minus_one.any() and not is_minus_one.all() and (is_minus_one | is_usual).all():
        return int(is_minus_one.argmax()), "does -1 mean a missing time? Then name it in `missing`, with quotes"
    return None


def _unit_hint(value: str, time_format: str) -> str:
    """Returns advice about a value that is no time, such as a number that is a usual time in another unit."""
    for name, per_second in UNITS.items() if re.match(NUMBER, value) else ():
        if USUAL_SECONDS[0] <= float(value) / per_second <= USUAL_SECONDS[1] and name != time_format:
            return f"; are these {name}? set time_format: {name}"
    return "; correct time_format, or list the value under `missing`"


def _mask(rows: pa.BooleanArray) -> BoolArray:
    mask: BoolArray = rows.to_numpy(zero_copy_only=False)
    return mask


def _integers(times: pa.Array) -> pa.Array:
    """Returns the integers that represent dates or times in Arrow."""
    return times.view(pa.int32() if times.type.bit_width == 32 else pa.int64())


def cell_texts(value: object, null_values: set[str | None]) -> list[str]:
    """Returns the texts in a cell that are not ``null_values``; decimal numbers have no trailing zeros."""
    parts = value if isinstance(value, list) else value.split("|") if isinstance(value, str) else [value]
    texts = [f"{part:.15g}" if isinstance(part, float) else str(part).strip() for part in parts if part is not None]
    return [text for text in texts if text not in null_values]
