"""Infers the format of a column of times from its values."""

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
"""sure: nothing else fits; likely: anything else would be a surprise; guess: a choice between equals."""

MIN_FIT = 0.95  # share of the values that a format must fit; the reader reports the first one that does not
N_TRIED = 20  # values on which a pattern is tried before it is applied to all
PLAUSIBLE_YEARS = 1900, 2100
DIGITS = {14: "%Y%m%d%H%M%S", 12: "%Y%m%d%H%M", 8: "%Y%m%d", 6: "%Y%m", 4: "%Y"}
"""Patterns of dates written as one number, by number of digits."""

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
    for zone in ("", " UTC", " GMT", "%z", " %z")
]
_WHOLE = ["%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M:%S %z %Y", "%a, %d %b %Y %H:%M:%S %z", "%a, %d %b %Y %H:%M:%S GMT"]
_CLOCK = re.compile(r"(?:T|,? )[0-9]{1,2}[:.][0-9]{2}(?![0-9])")  # the beginning of a time of day after a date


@dataclass(frozen=True)
class Choice:
    """A chosen column, file or format; the alternatives would do as well."""

    value: str | None
    confidence: Confidence
    why: str
    alternatives: tuple[str, ...] = ()


@dataclass(frozen=True)
class TimeGuess(Choice):
    """A ``time_format`` for a column.

    Attributes:
        is_dated: whether the values are dates; if not, they may be whole numbers of any kind.
    """

    value: str
    is_dated: bool = True


def guess_times(values: pa.Array, missing: list[str]) -> TimeGuess | None:
    """Returns the format of ``values``, or None if they are not times.

    Args:
        values: a column, not dictionary-encoded.
        missing: texts that mean a missing value.
    """
    kind = values.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return TimeGuess(ISO, "sure", f"the column has the type {kind}")
    if not (pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        return None
    values = values.filter(pc.is_finite(values)) if pa.types.is_floating(kind) else values
    text = known_texts(values.cast(pa.string()), missing)
    is_number = pc.match_substring_regex(text, NUMBER)
    if share(is_number) < MIN_FIT:
        return _guess_of_text(text.to_pandas())
    numerals = text.filter(is_number)
    numbers = numerals.cast(pa.float64()).to_numpy()
    numbers = numbers[np.isfinite(numbers)]  # text such as 1e400 becomes infinite
    guess = _guess_of_numbers(numbers) if len(numbers) else None
    if guess is not None and pa.types.is_string(kind) and are_rounded(numerals):
        why = "the numbers were rounded, as spreadsheets do: export them with all digits"
        return replace(guess, confidence="guess", why=why)
    return _less_sure(guess, len(text) - len(numbers))


def known_texts(values: pa.StringArray, missing: list[str]) -> pa.StringArray:
    """Returns the trimmed texts without those that mean a missing value."""
    text = pc.utf8_trim_whitespace(values.drop_null())
    return text.filter(pc.invert(pc.is_in(text, pa.array(["", *missing], pa.string()))))


def share(mask: pa.BooleanArray) -> float:
    """Returns the share of true values; 0 if there are none at all."""
    return float(pc.mean(mask).as_py() or 0)


def _less_sure(guess: TimeGuess | None, n_misfits: int) -> TimeGuess | None:
    """Lowers the confidence of a guess that some values do not fit."""
    if guess is None or not n_misfits:
        return guess
    confidence: Confidence = "guess" if guess.confidence == "guess" else "likely"
    return replace(guess, confidence=confidence, why=f"{guess.why}; values that do not fit: {n_misfits:,}")


def _guess_of_numbers(numbers: npt.NDArray[np.float64]) -> TimeGuess | None:
    inside = {name: (numbers / n >= USUAL_SECONDS[0]) & (numbers / n < USUAL_SECONDS[1]) for name, n in UNITS.items()}
    shares = {name: float(rows.mean()) for name, rows in inside.items() if rows.any()}
    if shares and sum(shares.values()) >= MIN_FIT:
        unit = max(shares, key=shares.__getitem__)
        moments = (numbers[inside[unit]] / UNITS[unit]).astype("datetime64[s]")
        others = tuple(name for name in shares if name != unit)
        if shares[unit] < MIN_FIT:
            parts = ", ".join(f"{part:.1%} {name}" for name, part in shares.items())
            return TimeGuess(unit, "guess", f"the values are in several units ({parts}): convert them to one", others)
        why = f"as {unit} since 1970 they are in {_years(moments.min(), moments.max())}, in no other unit between 1980 and 2100"
        n_odd = len(numbers) - len(moments)
        why += f", except for {n_odd:,} of {len(numbers):,}" if n_odd else ""
        return TimeGuess(unit, "likely" if n_odd else "sure", why)
    if USUAL_DAYS[0] <= numbers.min() and numbers.max() < USUAL_DAYS[1]:
        why = "these may be days since 1900, as spreadsheets count: export the dates as text"
        return TimeGuess("seconds", "guess", why, is_dated=False)
    if not (np.floor(numbers) == numbers).all():
        return None
    texts = pd.Series([f"{number:.0f}" for number in numbers[:: len(numbers) // (10 * N_TRIED) + 1]])
    if pattern := DIGITS.get(len(texts[0])):
        years = pd.to_datetime(texts, format=pattern, errors="coerce").dt.year  # NaN for what is no date
        if years.between(*PLAUSIBLE_YEARS).mean() >= MIN_FIT:
            why = f"numbers of {len(texts[0])} digits that are dates in the pattern {pattern}"
            return TimeGuess(pattern, "likely" if len(texts[0]) >= 8 else "guess", why)
    why = (
        f"whole numbers, {numbers.min():.0f} to {numbers.max():.0f}, in no unit between 1980 and 2100; only their order counts"
    )
    return TimeGuess("seconds", "guess", why, is_dated=False)


def _guess_of_text(text: pd.Series[str]) -> TimeGuess | None:
    distinct = text.drop_duplicates()
    tried = distinct.head(N_TRIED).to_list()
    fits: dict[str, pd.Series[pd.Timestamp]] = {}
    for pattern in (ISO, *dict.fromkeys(pattern for value in tried[:2] for pattern in _patterns(value))):
        if pattern == ISO or sum(_parses(value, pattern) for value in tried) >= max(1, len(tried) - 1):
            parsed = pd.to_datetime(distinct, format="ISO8601" if pattern == ISO else pattern, errors="coerce", utc=True)
            if parsed.notna().mean() >= MIN_FIT and parsed.dropna().dt.year.between(*PLAUSIBLE_YEARS).all():
                fits[pattern] = parsed
        if ISO in fits:
            break
    if not fits:
        return None
    ordered = [pattern for pattern, parsed in fits.items() if parsed.dropna().is_monotonic_increasing]
    chosen = ordered[0] if len(ordered) == 1 else next(iter(fits))
    parsed, why = fits.pop(chosen), f"values such as {short(distinct.iloc[0])}"
    if not fits:
        why += f", dates of {_years(parsed.min(), parsed.max())}; no other pattern fits all of them"
        return _less_sure(TimeGuess(chosen, "sure", why), int(parsed.isna().sum()))
    decides = f"but only {chosen} puts the rows in order" if len(ordered) == 1 else "and nothing in the values decides"
    why += f"; {', '.join(fits)} also fits, {decides}"
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
