"""Tells the unit or the pattern of a column of times from its values."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from llara_core.readers.log_columns import ISO, NUMBER, UNITS, USUAL_DAYS, USUAL_SECONDS, are_rounded
from llara_core.readers.values import short

Confidence = Literal["sure", "likely", "guess"]
"""sure: the evidence admits nothing else; likely: anything else would be odd; guess: a choice between equals."""

MIN_FIT = 0.95  # share of the values: a few damaged ones do not hide the format, and the reader names the first of them
N_TRIED = 20  # values on which a pattern must work before all are parsed with it
PLAUSIBLE_YEARS = 1900, 2100
DIGITS = {14: "%Y%m%d%H%M%S", 12: "%Y%m%d%H%M", 8: "%Y%m%d", 6: "%Y%m", 4: "%Y"}
"""Dates written as one number, by their number of digits."""

_DATES = [
    *(sep.join(parts) for sep in "/.- " for year in ("%Y", "%y") for parts in (("%d", "%m", year), ("%m", "%d", year))),
    *(sep.join((year, "%m", "%d")) for sep in "/.-" for year in ("%Y", "%y")),
    *(sep.join(("%d", month, year)) for sep in "/.- " for month in ("%b", "%B") for year in ("%Y", "%y")),
    *(f"{month} %d{comma} %Y" for month in ("%b", "%B", "%m") for comma in (",", "")),
]
_CLOCKS = [
    f"{gap}{clock}{zone}"
    for gap in (" ", "T", ", ")
    for clock in ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p", "%I:%M%p", "%H.%M", "%H.%M.%S")
    for zone in ("", " UTC", " GMT", "Z", "%z", " %z")
]
_WHOLE = ["%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M:%S %z %Y", "%a, %d %b %Y %H:%M:%S %z", "%a, %d %b %Y %H:%M:%S GMT"]
_CLOCK = re.compile(r"(?:T|,? )[0-9]{1,2}[:.][0-9]{2}(?![0-9])")  # where the time of day begins, behind the date


@dataclass(frozen=True)
class Choice:
    """The column, file or format that was chosen; the rivals would do as well."""

    value: str | None
    confidence: Confidence
    why: str
    rivals: tuple[str, ...] = ()


@dataclass(frozen=True)
class TimeGuess:
    """The format of a column of times.

    Attributes:
        time_format: as in a section of ``datasets``.
        others: formats that fit as well.
        is_dated: whether the values are of years in which logs are written, and not whole numbers of any kind.
    """

    time_format: str
    confidence: Confidence
    why: str
    others: tuple[str, ...] = ()
    is_dated: bool = True


def guess_times(values: pa.Array, missing: list[str]) -> TimeGuess | None:
    """Returns the format of ``values``; None: they are no times.

    Args:
        values: a column as :meth:`readers.log_files.LogTable.read` gives it.
        missing: texts that stand for no value.
    """
    kind = values.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return TimeGuess(ISO, "sure", f"the column has the type {kind}")
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _of_numbers(values.drop_null().cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))
    if not pa.types.is_string(kind):
        return None
    text = pc.utf8_trim_whitespace(values.drop_null())
    text = text.filter(pc.invert(pc.is_in(text, pa.array(["", *missing], pa.string()))))
    is_number = pc.match_substring_regex(text, NUMBER)
    if not len(text) or pc.mean(is_number.cast(pa.int8())).as_py() < MIN_FIT:
        return _of_text(text.to_pandas()) if len(text) else None
    found = text.filter(is_number)
    numbers = found.cast(pa.float64()).to_numpy()
    guess = _of_numbers(numbers)
    if guess is not None and are_rounded(found):
        return replace(guess, confidence="guess", why="numbers that were rounded, as spreadsheets do: export them in full")
    return _less_sure(guess, len(text) - int(np.isfinite(numbers).sum()))


def _less_sure(found: TimeGuess | None, n_others: int) -> TimeGuess | None:
    """Returns the guess, given that some values are not of its format."""
    if found is None or not n_others:
        return found
    confidence: Confidence = "guess" if found.confidence == "guess" else "likely"
    return replace(found, confidence=confidence, why=f"{found.why}; {n_others:,} values do not fit")


def _of_numbers(numbers: npt.NDArray[np.float64]) -> TimeGuess | None:
    numbers = numbers[np.isfinite(numbers)]  # 1e400 is a number, but none that can be a time
    if not len(numbers):
        return None
    inside = {name: (numbers / n >= USUAL_SECONDS[0]) & (numbers / n < USUAL_SECONDS[1]) for name, n in UNITS.items()}
    shares = {name: float(rows.mean()) for name, rows in inside.items()}
    unit = max(shares, key=shares.__getitem__)
    if shares[unit] >= MIN_FIT:
        fitting = (numbers[inside[unit]] / UNITS[unit]).astype("datetime64[s]")
        why = f"as {unit} since 1970 they are of {_years(fitting.min(), fitting.max())}, in another unit none is near it"
        n_odd = int((~inside[unit]).sum())
        odd = f"; but for {n_odd:,} of {len(numbers):,}"
        return TimeGuess(unit, "likely" if n_odd else "sure", why + (odd if n_odd else ""))
    found = [name for name in UNITS if shares[name] > 0]
    if len(found) > 1 and sum(shares.values()) >= MIN_FIT:
        parts = ", ".join(f"{shares[name]:.1%} {name}" for name in found)
        why = f"the values mix units ({parts}); bring them to one unit, since a section has one"
        return TimeGuess(unit, "guess", why, tuple(name for name in found if name != unit))
    if USUAL_DAYS[0] <= numbers.min() and numbers.max() < USUAL_DAYS[1]:
        why = "may be days since 1900, as spreadsheets count: export dates as text"
        return TimeGuess("seconds", "guess", why, is_dated=False)
    if not (np.floor(numbers) == numbers).all():
        return None
    n_digits = len(str(int(abs(numbers[0]))))
    if pattern := DIGITS.get(n_digits):
        first, last = (int(str(year).ljust(n_digits, "0")) for year in PLAUSIBLE_YEARS)
        dates = numbers[(numbers >= first) & (numbers <= last)]
        texts = pd.Series(dates[: 10 * N_TRIED].astype(np.int64).astype(str))
        parsed = pd.to_datetime(texts, format=pattern, errors="coerce")
        if len(dates) >= MIN_FIT * len(numbers) and parsed.notna().mean() >= MIN_FIT:
            why = f"numbers of {n_digits} digits that are dates as {pattern}"
            return TimeGuess(pattern, "likely" if n_digits >= 8 else "guess", why)
    why = f"whole numbers from {numbers.min():.0f} to {numbers.max():.0f}, in no unit of 1980 to 2100; only their order counts"
    return TimeGuess("seconds", "guess", why, is_dated=False)


def _of_text(text: pd.Series[str]) -> TimeGuess | None:
    distinct = text.drop_duplicates()
    tried = distinct.head(N_TRIED).to_list()
    fits: dict[str, pd.Series[pd.Timestamp]] = {}
    patterns = dict.fromkeys(pattern for value in tried[:2] for pattern in _patterns(value))
    for pattern in ("ISO8601", *patterns):
        if pattern == "ISO8601" or sum(_parses(value, pattern) for value in tried) >= max(1, len(tried) - 1):
            parsed = pd.to_datetime(distinct, format=pattern, errors="coerce", utc=True)
            if parsed.notna().mean() >= MIN_FIT and parsed.dropna().dt.year.between(*PLAUSIBLE_YEARS).all():
                fits[ISO if pattern == "ISO8601" else pattern] = parsed
        if ISO in fits:
            break
    if not fits:
        return None
    ordered = [pattern for pattern, parsed in fits.items() if parsed.dropna().is_monotonic_increasing]
    chosen = ordered[0] if len(ordered) == 1 else next(iter(fits))
    said, parsed = f"such as {short(distinct.iloc[0])}", fits.pop(chosen)
    if not fits:
        why = f"{said}, of {_years(parsed.min(), parsed.max())}; no other pattern fits all"
        return _less_sure(TimeGuess(chosen, "sure", why), int(parsed.isna().sum()))
    reason = "it alone puts the rows in order" if len(ordered) == 1 else "nothing in the values decides"
    why = f"{said}; {', '.join(fits)} fits too, {reason}"
    return TimeGuess(chosen, "likely" if len(ordered) == 1 else "guess", why, tuple(fits))


def _patterns(value: str) -> list[str]:
    """Returns the patterns that ``value`` fits."""
    if len(re.findall("[0-9]", value)) < 3:
        return []
    clock = _CLOCK.search(value)
    start = clock.start() if clock else len(value)
    dates = [date for date in _DATES if _parses(value[:start], date)]
    clocks = [clock for clock in _CLOCKS if _parses(value[start:], clock)] if clock else [""]
    return [date + clock for date in dates for clock in clocks] + [whole for whole in _WHOLE if _parses(value, whole)]


def _parses(value: str, pattern: str) -> bool:
    try:
        datetime.strptime(value, pattern)
    except ValueError:
        return False
    return True


def _years(first: np.datetime64 | pd.Timestamp, last: np.datetime64 | pd.Timestamp) -> str:
    return " to ".join(dict.fromkeys(str(moment)[:4] for moment in (first, last)))
