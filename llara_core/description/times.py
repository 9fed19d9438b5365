"""The unit or the pattern of a column of times, told from its values."""

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

MIN_FIT = 0.95  # of the values: a few damaged ones do not hide the format, and the reader names the first of them
N_TRIED = 20  # values on which a pattern must work before all are parsed with it

_DATES = [
    *(sep.join(parts) for sep in "/.- " for year in ("%Y", "%y") for parts in (("%d", "%m", year), ("%m", "%d", year))),
    *(sep.join((year, "%m", "%d")) for sep in "/. " for year in ("%Y", "%y")),
    *(sep.join(("%d", month, year)) for sep in "/.- " for month in ("%b", "%B") for year in ("%Y", "%y")),
    *(f"{month} %d{comma} %Y" for month in ("%b", "%B", "%m") for comma in (",", "")),
    "%Y-%m-%d",
]
_CLOCKS = [
    f"{gap}{clock}"
    for gap in (" ", "T", ", ")
    for clock in ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p", "%I:%M%p", "%H.%M", "%H.%M.%S")
]
_ZONES = ["", " UTC", " GMT", "Z", "%z", " %z"]
_WHOLE = [
    "%a %b %d %H:%M:%S %Y",
    "%a %b %d %H:%M:%S %z %Y",
    "%a, %d %b %Y %H:%M:%S %z",
    "%a, %d %b %Y %H:%M:%S GMT",
]
_CLOCK = re.compile(r"(?:T|,? )[0-9]{1,2}[:.][0-9]{2}(?![0-9])")  # where the time of day begins, behind the date
_DIGIT = re.compile(r"[0-9]")
DIGITS = {14: "%Y%m%d%H%M%S", 12: "%Y%m%d%H%M", 8: "%Y%m%d", 6: "%Y%m", 4: "%Y"}
"""Dates written as one number, by their number of digits."""
PLAUSIBLE_YEARS = 1900, 2100


@dataclass(frozen=True)
class TimeGuess:
    """How times are written.

    Attributes:
        time_format: as in a section of ``datasets``.
        others: formats that fit as well.
        is_dated: the values are of years in which logs are written; False: whole numbers of any kind.
    """

    time_format: str
    confidence: Confidence
    why: str
    others: tuple[str, ...] = ()
    is_dated: bool = True


def guess_times(values: pa.Array, missing: list[str]) -> TimeGuess | None:
    """The format of ``values``; None if they are no times.

    Args:
        values: a column as :meth:`readers.log_files.Table.read` gives it.
        missing: texts that stand for no value, which are passed over like the empty one.
    """
    kind = values.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return TimeGuess(ISO, "sure", f"the column has the type {kind}")
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        numbers = values.drop_null().cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return _of_numbers(numbers[np.isfinite(numbers)])
    if not pa.types.is_string(kind):
        return None
    text = pc.utf8_trim_whitespace(values.drop_null())
    text = text.filter(pc.invert(pc.is_in(text, pa.array(["", *missing], pa.string()))))
    if not len(text):
        return None
    is_number = pc.match_substring_regex(text, NUMBER)
    if pc.mean(is_number.cast(pa.int8())).as_py() >= MIN_FIT:
        numbers = text.filter(is_number)
        found = numbers.cast(pa.float64()).to_numpy()
        finite = found[np.isfinite(found)]  # 1e400 is a number, but none that can be a time
        if are_rounded(numbers) and (guess := _of_numbers(finite)) is not None:
            return replace(guess, confidence="guess", why="numbers that were rounded, as spreadsheets do: export them in full")
        return _less_sure(_of_numbers(finite), len(text) - len(finite))
    return _of_text(text.to_pandas())


def _less_sure(found: TimeGuess | None, n_others: int) -> TimeGuess | None:
    """``found``, given that some values are not of its format."""
    if found is None or not n_others:
        return found
    confidence: Confidence = "guess" if found.confidence == "guess" else "likely"
    return replace(found, confidence=confidence, why=f"{found.why}; {n_others:,} values do not fit")


def _of_numbers(numbers: npt.NDArray[np.float64]) -> TimeGuess | None:
    if not len(numbers):
        return None
    earliest, latest = USUAL_SECONDS
    inside = {name: (numbers / n >= earliest) & (numbers / n < latest) for name, n in UNITS.items()}
    shares = {name: float(rows.mean()) for name, rows in inside.items()}
    unit = max(shares, key=shares.__getitem__)
    if shares[unit] >= MIN_FIT:
        fitting = (numbers[inside[unit]] / UNITS[unit]).astype("datetime64[s]")
        years = _years(fitting.min(), fitting.max())
        if shares[unit] == 1:
            return TimeGuess(unit, "sure", f"as {unit} since 1970 all of them are of {years}, in another unit none is near it")
        n_odd = int((~inside[unit]).sum())
        return TimeGuess(unit, "likely", f"as {unit} since 1970 they are of {years}, but for {n_odd:,} of {len(numbers):,}")
    found = [name for name in UNITS if shares[name] > 0]
    if len(found) > 1 and sum(shares.values()) >= MIN_FIT:
        parts = ", ".join(f"{shares[name]:.1%} {name}" for name in found)
        why = f"the values mix units ({parts}); bring them to one unit, since a section has one"
        return TimeGuess(unit, "guess", why, tuple(name for name in found if name != unit))
    if USUAL_DAYS[0] <= numbers.min() and numbers.max() < USUAL_DAYS[1]:
        return TimeGuess(
            "seconds", "guess", "may be days since 1900, as spreadsheets count: export dates as text", is_dated=False
        )
    if not (np.floor(numbers) == numbers).all():
        return None
    n_digits = len(str(int(abs(numbers[0]))))
    if pattern := DIGITS.get(n_digits):
        first, last = (int(str(year).ljust(n_digits, "0")) for year in PLAUSIBLE_YEARS)
        dates = numbers[(numbers >= first) & (numbers <= last)]
        texts = pd.Series(dates[: 10 * N_TRIED].astype(np.int64).astype(str))
        parsed = pd.to_datetime(texts, format=pattern, errors="coerce")
        if len(dates) >= MIN_FIT * len(numbers) and parsed.notna().mean() >= MIN_FIT:
            confidence: Confidence = "likely" if n_digits >= 8 else "guess"
            return TimeGuess(pattern, confidence, f"numbers of {n_digits} digits that are dates as {pattern}")
    why = f"whole numbers from {numbers.min():.0f} to {numbers.max():.0f}, in no unit of 1980 to 2100; only their order counts"
    return TimeGuess("seconds", "guess", why, is_dated=False)


def _of_text(text: pd.Series[str]) -> TimeGuess | None:
    distinct = text.drop_duplicates()
    parsed = pd.to_datetime(distinct, format="ISO8601", errors="coerce", utc=True)
    if parsed.notna().mean() >= MIN_FIT:
        years = _years(parsed.min(), parsed.max())
        return _less_sure(TimeGuess(ISO, "sure", f"such as {short(distinct.iloc[0])}, of {years}"), int(parsed.isna().sum()))
    tried = distinct.head(N_TRIED).to_list()
    fits: dict[str, pd.Series[pd.Timestamp]] = {}
    for pattern in dict.fromkeys(pattern for value in tried[:2] for pattern in _patterns(value)):
        if sum(_parses(value, pattern) for value in tried) >= max(1, len(tried) - 1):
            parsed = pd.to_datetime(distinct, format=pattern, errors="coerce", utc=True)
            if parsed.notna().mean() >= MIN_FIT and parsed.dropna().dt.year.between(*PLAUSIBLE_YEARS).all():
                fits[pattern] = parsed
    if not fits:
        return None
    example = short(distinct.iloc[0])
    if len(fits) == 1:
        ((pattern, parsed),) = fits.items()
        said = f"such as {example}, of {_years(parsed.min(), parsed.max())}; no other pattern fits all"
        return _less_sure(TimeGuess(pattern, "sure", said), int(parsed.isna().sum()))
    ordered = [pattern for pattern, parsed in fits.items() if parsed.dropna().is_monotonic_increasing]
    chosen = ordered[0] if len(ordered) == 1 else next(iter(fits))
    others = tuple(pattern for pattern in fits if pattern != chosen)
    reason = "it alone puts the rows in order" if len(ordered) == 1 else "nothing in the values decides"
    return TimeGuess(
        chosen, "likely" if len(ordered) == 1 else "guess", f"such as {example}; {', '.join(others)} fits too, {reason}", others
    )


def _patterns(value: str) -> list[str]:
    """The patterns that ``value`` fits."""
    if len(_DIGIT.findall(value)) < 3:
        return []
    clock = _CLOCK.search(value)
    start = clock.start() if clock else len(value)
    dates = [date for date in _DATES if _parses(value[:start], date)]
    clocks = [clock + zone for clock in _CLOCKS for zone in _ZONES if _parses(value[start:], clock + zone)] if clock else [""]
    return [date + clock for date in dates for clock in clocks] + [whole for whole in _WHOLE if _parses(value, whole)]


def _parses(value: str, pattern: str) -> bool:
    try:
        datetime.strptime(value, pattern)
    except ValueError:
        return False
    return True


def _years(first: np.datetime64 | pd.Timestamp, last: np.datetime64 | pd.Timestamp) -> str:
    years = [str(moment)[:4] for moment in (first, last)]
    return years[0] if years[0] == years[1] else " to ".join(years)
