"""Units and patterns are told from values; doubt is said."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from llara_core.description.times import guess_times

MOMENTS = [datetime(2020, 9, day, 13, 26, second, tzinfo=UTC) for day, second in ((13, 40), (14, 0), (28, 59))]


@pytest.mark.parametrize(
    ("unit", "factor"), [("seconds", 1), ("milliseconds", 10**3), ("microseconds", 10**6), ("nanoseconds", 10**9)]
)
@pytest.mark.parametrize("kind", [pa.string(), pa.int64()])
def test_counts_since_1970(unit: str, factor: int, kind: pa.DataType) -> None:
    values = pa.array([int(moment.timestamp()) * factor for moment in MOMENTS]).cast(kind)
    guess = guess_times(values, [])
    assert guess is not None
    assert (guess.value, guess.confidence) == (unit, "sure")
    assert "2020" in guess.why


@pytest.mark.parametrize(
    "pattern",
    [
        "%d/%m/%Y",
        "%m/%d/%Y %H:%M",
        "%d.%m.%Y %H:%M:%S",
        "%m/%d/%Y %I:%M %p",
        "%d-%b-%Y",
        "%B %d, %Y",
        "%Y-%m-%d %H:%M:%S UTC",
        "%d %B %Y",
        "%a %b %d %H:%M:%S %Y",
        "%m %d, %Y",
    ],
)
def test_patterns(pattern: str) -> None:
    guess = guess_times(pa.array([moment.strftime(pattern) for moment in MOMENTS]), [])
    assert guess is not None
    assert (guess.value, guess.confidence) == (pattern, "sure")


def test_a_zone_written_as_z_has_one_pattern() -> None:
    guess = guess_times(pa.array([moment.strftime("%d/%m/%Y %H:%M:%SZ") for moment in MOMENTS]), [])
    assert guess is not None
    assert (guess.value, guess.confidence) == ("%d/%m/%Y %H:%M:%S%z", "sure")


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (pa.array(["1.70E+09", "1.71E+09"]), "the numbers were rounded, as spreadsheets do"),
        (pa.array([45000.5, 45001.25]), "these may be days since 1900, as spreadsheets count"),
    ],
)
def test_what_a_spreadsheet_made_of_times(values: pa.Array, why: str) -> None:
    guess = guess_times(values, [])
    assert guess is not None
    assert (guess.value, guess.confidence) == ("seconds", "guess")
    assert guess.why.startswith(why)


@pytest.mark.parametrize("pattern", ["%Y%m%d", "%Y%m%d%H%M%S"])
def test_dates_written_as_one_number(pattern: str) -> None:
    guess = guess_times(pa.array([moment.strftime(pattern) for moment in MOMENTS]), [])
    assert guess is not None
    assert (guess.value, guess.confidence) == (pattern, "likely")


@pytest.mark.parametrize(
    "values",
    [
        pa.array(["2020-09-13T13:26:40Z", "2020-09-14 00:00:00"]),
        pa.array(["2020-09-13"]),
        pa.array(MOMENTS, pa.timestamp("us")),
        pa.array([moment.date() for moment in MOMENTS], pa.date32()),
    ],
)
def test_iso(values: pa.Array) -> None:
    guess = guess_times(values, [])
    assert guess is not None
    assert (guess.value, guess.confidence) == ("iso8601", "sure")


def test_a_day_that_may_be_a_month_is_a_guess_that_names_the_other() -> None:
    guess = guess_times(pa.array(["05/03/2020", "01/02/2020", "02/01/2020"]), [])
    assert guess is not None
    assert guess.confidence == "guess"
    assert {guess.value, *guess.alternatives} == {"%d/%m/%Y", "%m/%d/%Y"}


def test_the_order_of_the_rows_may_decide() -> None:
    guess = guess_times(pa.array(["01/02/2020", "05/02/2020", "02/03/2020"]), [])
    assert guess is not None
    assert (guess.value, guess.confidence, guess.alternatives) == ("%d/%m/%Y", "likely", ("%m/%d/%Y",))


def test_two_units_in_one_column_are_said() -> None:
    guess = guess_times(pa.array([1_600_000_000, 1_600_000_001, 1_600_000_002_000]), [])
    assert guess is not None
    assert (guess.value, guess.confidence, guess.alternatives) == ("seconds", "guess", ("milliseconds",))
    assert "66.7% seconds, 33.3% milliseconds" in guess.why


def test_missing_marks_and_a_few_damaged_values_do_not_hide_the_unit() -> None:
    values = pa.array([*map(str, range(1_600_000_000, 1_600_000_199)), "NULL", "", None, "0"])
    guess = guess_times(values, ["NULL"])
    assert guess is not None
    assert (guess.value, guess.confidence) == ("seconds", "likely")
    assert "except for 1 of 200" in guess.why


def test_text_among_the_times_makes_them_less_sure() -> None:
    guess = guess_times(pa.array([*map(str, range(1_600_000_000, 1_600_000_049)), "soon"]), [])
    assert guess is not None
    assert (guess.value, guess.confidence) == ("seconds", "likely")
    assert guess.why.endswith("values that do not fit: 1")


def test_small_numbers_are_an_order_and_no_dates() -> None:
    guess = guess_times(pa.array([0, 10, 7030]), [])
    assert guess is not None
    assert (guess.value, guess.confidence, guess.is_dated) == ("seconds", "guess", False)


@pytest.mark.parametrize("values", [["Heat", "Alien"], ["3.5", "4.0"], ["", None], ["Heat 1995", "1984"], ["u-2020"]])
def test_what_is_no_time(values: list[str | None]) -> None:
    assert guess_times(pa.array(values, pa.string()), []) is None


def test_numbers_beyond_any_time_are_passed_over() -> None:
    found = guess_times(pa.array(["1e400"] + ["1700000000"] * 19), [])
    assert found is not None
    assert (found.value, found.confidence) == ("seconds", "likely")
    assert guess_times(pa.array(["1e400"]), []) is None
