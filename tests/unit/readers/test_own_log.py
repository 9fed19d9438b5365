"""The reader of own logs takes what CSV and Parquet files may hold, and names file and line of everything else."""

import csv
import gzip
import io
import json
import tempfile
from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from llara_core.errors import DataError
from llara_core.readers import delimited_text, json_lines, log_files, own_log
from llara_core.readers.own_log import read
from tests.helpers.datasets import dataset_config
from tests.helpers.own_logs import COLUMNS, ITEMS, LOG, complaint, put, rows, seconds_of

RATED = {"columns": {**COLUMNS, "rating": "rating"}}
Y2K = 946_684_800  # 2000-01-01 in seconds since 1970


def log_of(*times: str) -> str:
    """One interaction a line, of user u and item 1."""
    return "user,item,time\n" + "".join(f"u,1,{time}\n" for time in times)


def test_rows_keep_their_order_and_ids_become_numbers(tmp_path: Path) -> None:
    log = put(tmp_path)
    assert rows(log) == [[0, 0, 100], [1, 1, 50], [0, 1, 120]]
    assert [str(kind) for kind in log.interactions.dtypes] == ["int32", "int32", "int64"]
    assert log.items.to_dict("list") == {"raw_id": ["1", "2"], "raw_title": ["Heat", "Alien"]}
    assert log.users.to_pylist() == ["ann", "bob"]
    everything = {"users": 2, "items": 2, "interactions": 3}
    assert log.steps == {"raw": everything, "distinct": everything, "known": everything}
    assert log.ticks_per_second == 1
    assert set(log.dropped.values()) == {0}
    assert list(log.dropped) == [
        "items_without_id",
        "items_duplicated",
        "items_repeating_the_header",
        "interactions_without_user",
        "interactions_without_item",
        "interactions_without_time",
        "interactions_repeating_the_header",
        "interactions_duplicated",
        "interactions_of_unknown_items",
    ]


@pytest.mark.parametrize(
    ("ids", "ascending"),
    [
        (["10", "9", "0"], ["0", "9", "10"]),
        (["10", "9", "09"], ["09", "10", "9"]),  # 09 is no canonical number
        (["9" * 18, "10"], ["10", "9" * 18]),
        (["9" * 19, "10"], ["10", "9" * 19]),
        (["9" * 19, "8" + "0" * 19], ["8" + "0" * 19, "9" * 19]),  # too long for a number, hence as text
        (["é", "z", "Z", "😀", "-1"], ["-1", "Z", "z", "é", "😀"]),
        ([" 7 ", "007", "7"], ["007", "7"]),
    ],
)
def test_ids_are_text_in_ascending_order(tmp_path: Path, ids: list[str], ascending: list[str]) -> None:
    lines = [f"{raw},{raw},{time}\n" for time, raw in enumerate(ids)]
    log = put(tmp_path, "user,item,time\n" + "".join(lines), "item,title\n" + "".join(f"{raw},T\n" for raw in ids))
    assert log.items["raw_id"].to_list() == ascending
    expected = [ascending.index(raw.strip()) for raw in ids]
    assert log.interactions["item_id"].to_list() == log.interactions["user_id"].to_list() == expected


@pytest.mark.parametrize(
    "kind",
    [
        *(pa.int64(), pa.uint8(), pa.float64(), pa.float32(), pa.decimal128(38, 0), pa.decimal128(38, 2), pa.decimal256(50, 1)),
        *(pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())),
        *(pa.binary(), pa.large_binary(), pa.dictionary(pa.int8(), pa.binary())),
    ],
)
def test_parquet_ids_of_any_discrete_type(tmp_path: Path, kind: pa.DataType) -> None:
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    ids = pa.array([10, 9, 10] if is_number else ["10", "9", "10"]).cast(kind)
    log = put(tmp_path, {"user": ids, "item": ids, "time": [1, 2, 3]}, {"item": ids[:2], "title": ["A", None]})
    assert rows(log) == [[1, 1, 1], [0, 0, 2], [1, 1, 3]]
    assert log.items.to_dict("list") == {"raw_id": ["9", "10"], "raw_title": ["", "A"]}


@pytest.mark.parametrize(
    ("ids", "kind"), [([True, False], "bool"), ([[1], [2]], "list"), ([date(2020, 1, 1), date(2020, 1, 2)], "date32")]
)
def test_ids_of_other_types_are_refused(tmp_path: Path, ids: list[Any], kind: str) -> None:
    message = complaint(tmp_path, {"user": ids, "item": ["1", "2"], "time": [1, 2]})
    assert message.startswith(f"log.parquet: column 'user' is of type {kind}")
    assert "it must hold text or whole numbers" in message


@pytest.mark.parametrize(
    ("column", "values", "complaint_about"),
    [
        ("user", [1.0, 2.5], "2.5 is not a whole number"),
        ("item", [1, Decimal("2.50")], "Decimal('2.50') is not a whole number"),
        ("user", [1.0, 2.0**53], "9007199254740992.0 may have lost digits as a number of type double; store it as text"),
    ],
)
def test_decimal_numbers_that_are_no_ids(tmp_path: Path, column: str, values: list[Any], complaint_about: str) -> None:
    message = complaint(tmp_path, {"user": ["u", "v"], "item": ["1", "2"], "time": [1, 2], column: values})
    assert message.startswith(f"log.parquet: row 2: column '{column}': {complaint_about}")


@pytest.mark.parametrize(
    ("time_format", "text", "seconds"),
    [
        ("seconds", "100", 100),
        ("seconds", " 100.0 ", 100),
        ("seconds", "1e2", 100),
        ("seconds", "-1", -1),
        ("milliseconds", "1999", Fraction(1999, 1000)),
        ("milliseconds", "-1", Fraction(-1, 1000)),
        ("microseconds", "1700000000123456", Fraction(1_700_000_000_123_456, 10**6)),
        ("nanoseconds", " 1700000000123456789", Fraction(1_700_000_000_123_456_789, 10**9)),
        ("iso8601", "1970-01-02", 86_400),
        ("iso8601", "1970-01-01T00:01:00Z", 60),
        ("iso8601", "2000-01-01 01:00:01.999+01:00", Y2K + Fraction(1999, 1000)),
        ("iso8601", "2000-01-01 00:00:00.123456789", Y2K + Fraction(123_456_789, 10**9)),
        ("iso8601", "1969-12-31T23:59:59.5", Fraction(-1, 2)),
        ("iso8601", "0001-01-01T00:00:00", -62_135_596_800),
        ("iso8601", "9999-12-31T23:59:59", 253_402_300_799),
        ("%d/%m/%Y %H:%M", "2/1/1970 00:01", 86_460),
        ("%d.%m.%Y %H:%M:%S.%f %z", "01.01.1970 00:00:01.75 -0200", 7201 + Fraction(3, 4)),
    ],
)
def test_times_in_every_format(tmp_path: Path, time_format: str, text: str, seconds: Fraction) -> None:
    assert seconds_of(put(tmp_path, log_of(text), time_format=time_format)) == [seconds]


@pytest.mark.parametrize(
    ("time_format", "times", "seconds"),
    [
        ("seconds", pa.array([5.0, -1.0]), [5, -1]),
        ("milliseconds", pa.array([5000, 1], pa.uint64()), [5, Fraction(1, 1000)]),
        ("nanoseconds", pa.array([-2, 2**60 + 1]), [Fraction(-2, 10**9), Fraction(2**60 + 1, 10**9)]),
        ("iso8601", pa.array([1500, -500], pa.timestamp("ms")), [Fraction(3, 2), Fraction(-1, 2)]),
        ("iso8601", pa.array([10**10, -1], pa.timestamp("ns", "Europe/Berlin")), [10, Fraction(-1, 10**9)]),
        ("iso8601", pa.array([date(1970, 1, 2), date(1969, 12, 31)]), [86_400, -86_400]),
        ("iso8601", pa.array(["1970-01-02", "1970-01-01T00:00:10"]).dictionary_encode(), [86_400, 10]),
        ("%Y%m%d", pa.array([19700102, 19691231]), [86_400, -86_400]),
    ],
)
def test_parquet_times(tmp_path: Path, time_format: str, times: pa.Array, seconds: list[Fraction]) -> None:
    log = put(tmp_path, {"user": ["u", "v"], "item": [1, 1], "time": times}, time_format=time_format)
    assert seconds_of(log) == seconds


@pytest.mark.parametrize(
    ("time_format", "text"),
    [
        ("seconds", "yesterday"),
        ("nanoseconds", "1.5"),
        ("seconds", "NAN"),
        ("seconds", "inf"),
        ("seconds", "0x10"),
        ("seconds", "1_0"),
        ("seconds", "1700000000000"),  # milliseconds
        ("seconds", "1e300"),
        ("milliseconds", "2020-01-01"),
        ("nanoseconds", "1.5e18"),  # may have lost digits
        ("iso8601", "1700000000"),
        ("iso8601", "01/02/2020"),
        ("iso8601", "2020-02-30"),
        ("iso8601", "10000-01-01"),
        ("iso8601", "now"),
        ("%d/%m/%Y", "2020-01-01"),
    ],
)
def test_a_time_that_does_not_fit_names_line_value_and_format(tmp_path: Path, time_format: str, text: str) -> None:
    good = {"seconds": "1", "milliseconds": "1", "nanoseconds": "1", "iso8601": "2020-01-01"}.get(time_format, "01/02/2020")
    message = complaint(tmp_path, log_of(good, text), time_format=time_format)
    assert message.startswith(f"log.csv:3: column 'time': {text!r} does not fit time_format {time_format!r} (")


@pytest.mark.parametrize(
    ("times", "time_format", "expected"),
    [
        (
            [datetime(2020, 1, 1, tzinfo=UTC)],
            "seconds",
            "is of type timestamp[us, tz=UTC]; it must hold numbers or text, or time_",
        ),
        ([True], "seconds", "is of type bool; it must hold numbers"),
    ],
)
def test_parquet_time_types_that_the_format_cannot_mean(
    tmp_path: Path, times: list[Any], time_format: str, expected: str
) -> None:
    message = complaint(tmp_path, {"user": ["u"], "item": ["1"], "time": times}, time_format=time_format)
    assert message.startswith(f"log.parquet: column 'time' {expected}")


@pytest.mark.parametrize("time_format", ["second", "%Q", "%Y %Y", "%"])
def test_time_formats_that_are_none(tmp_path: Path, time_format: str) -> None:
    assert complaint(tmp_path, time_format=time_format).startswith(f"time_format {time_format!r} is no")


def test_ratings_are_optional_finite_numbers(tmp_path: Path) -> None:
    log = put(tmp_path, "user,item,time,rating\na,1,1,4.5\na,2,2, -1e0 \n", **RATED)
    assert rows(log) == [[0, 0, 1, 4.5], [0, 1, 2, -1.0]]
    assert str(log.interactions["rating"].dtype) == "float64"


@pytest.mark.parametrize("bad", ["good", "NAN", "inf", "4,5", "-", "0x1"])
def test_other_ratings_name_their_line(tmp_path: Path, bad: str) -> None:
    message = complaint(
        tmp_path, f"user;item;time;rating\na;1;1;4\na;2;2;{bad}\n", ITEMS.replace(",", ";"), separator=";", **RATED
    )
    assert message == f"log.csv:3: column 'rating': {bad!r} is not a finite number"


@pytest.mark.parametrize("column", ["user", "item", "time", "rating"])
@pytest.mark.parametrize("mark", ["", " ", "nan", "NULL", "\\N", " None ", "NA"])
def test_rows_without_a_value_go_and_are_counted(tmp_path: Path, column: str, mark: str) -> None:
    row = {"user": "b", "item": "1", "time": "1", "rating": "1", column: mark}
    text = "user,item,time,rating\na,1,1,5\n\n" + ",".join(row.values()) + "\nc,2,7,3\n"
    log = put(tmp_path, text, **RATED)
    assert rows(log) == [[0, 0, 1, 5.0], [1, 1, 7, 3.0]]
    assert log.n_users == 2
    assert {reason: n for reason, n in log.dropped.items() if n} == {f"interactions_without_{column}": 1}


@pytest.mark.parametrize("column", ["user", "item", "time", "rating"])
def test_nulls_in_parquet_go_and_are_counted(tmp_path: Path, column: str) -> None:
    good = {"user": ["a", "b"], "item": [1, 2], "time": [1, 2], "rating": [1.0, 2.0]}
    log = put(tmp_path, [good, {**good, column: [good[column][0], None]}, {**good, column: [None, None]}], **RATED)
    assert rows(log) == [[0, 0, 1, 1.0], [1, 1, 2, 2.0]]
    assert log.dropped[f"interactions_without_{column}"] == 3
    assert log.dropped["interactions_duplicated"] == 1  # the other row of the second part


def test_a_row_that_lacks_two_values_is_counted_once(tmp_path: Path) -> None:
    log = put(tmp_path, LOG + ",NA,\n")
    assert {reason: n for reason, n in log.dropped.items() if n} == {"interactions_without_user": 1}


def test_the_marks_of_missing_values_are_a_choice(tmp_path: Path) -> None:
    text = "user,item,time\nNA,1,5\n-1,1,6\nann,1,-1\n"
    log = put(tmp_path, text, missing=["-1"])
    assert rows(log) == [[0, 0, 5]]
    assert (log.dropped["interactions_without_user"], log.dropped["interactions_without_time"]) == (1, 1)
    parquet = {"user": [1, -1, 2], "item": [1, 1, 1], "time": [5, 6, -1]}
    assert put(tmp_path, parquet, missing=["-1"]).dropped == log.dropped


def test_nothing_but_missing_values_is_an_error(tmp_path: Path) -> None:
    assert complaint(tmp_path, "user,item,time\nNULL,1,1\n") == (
        "log.csv: no row has a value in each of the columns 'user', 'item', 'time'"
    )
    assert complaint(tmp_path, items="item,title\n,Heat\n") == "items.csv: no row has a value in the column 'item'"


def test_exact_duplicates_go_and_are_counted(tmp_path: Path) -> None:
    log = put(tmp_path, log_of("5", "5.0", "6", "5") + "v,1,5\nu,2,5\n")
    assert rows(log) == [[0, 0, 5], [0, 0, 6], [1, 0, 5], [0, 1, 5]]
    assert log.interactions.index.to_list() == [0, 1, 2, 3]
    assert log.dropped["interactions_duplicated"] == 2
    assert (log.steps["raw"]["interactions"], log.steps["distinct"]["interactions"]) == (6, 6 - 2)


def test_another_rating_is_no_duplicate(tmp_path: Path) -> None:
    log = put(tmp_path, "user,item,time,rating\na,1,1,4\na,1,1,5\na,1,1,4.0\n", **RATED)
    assert rows(log) == [[0, 0, 1, 4.0], [0, 0, 1, 5.0]]


def test_equal_hashes_of_different_rows_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pd.util, "hash_pandas_object", lambda log, index: pd.Series(np.zeros(len(log), dtype=np.uint64)))
    assert own_log._repeats(pd.DataFrame({"user_id": [1, 1, 1], "item_id": [2, 3, 2]})).tolist() == [False, False, True]


def test_interactions_of_unknown_items_go_and_are_counted(tmp_path: Path) -> None:
    log = put(tmp_path, LOG + "cat,3,1\n")
    assert rows(log) == [[0, 0, 100], [1, 1, 50], [0, 1, 120]]
    assert log.dropped["interactions_of_unknown_items"] == 1
    assert log.steps["distinct"] == {"users": 3, "items": 3, "interactions": 4}
    assert log.steps["known"] == {"users": 2, "items": 2, "interactions": 3}


def test_no_known_item_shows_an_id_of_each_file(tmp_path: Path) -> None:
    message = complaint(tmp_path, items="item,title\nB01,Heat\n")
    assert message == (
        "log.csv: none of its items is in items.csv: their ids look like '1' here and like 'B01' there; "
        "check `columns.item` and `columns.item_id`"
    )


def test_repeated_item_rows_go_and_empty_titles_stay(tmp_path: Path) -> None:
    log = put(tmp_path, items="item,title\n2, Alien\n1,\n2,Alien\n 1,\n3,\n")
    assert log.items.to_dict("list") == {"raw_id": ["1", "2", "3"], "raw_title": ["", "Alien", ""]}
    assert log.dropped["items_duplicated"] == 2


def test_an_item_with_two_titles_names_both_lines(tmp_path: Path) -> None:
    message = complaint(tmp_path, items='item,title\n1,"He\nat"\n2,Alien\n3,Up\n2,Aliens\n')
    assert message == (
        "items.csv:6: item '2' is 'Aliens' here and 'Alien' in items.csv:4; an item has one title "
        "(set `titles.several: first`; or, if the file has a row per property of an item, set `keep_items` to the rows of the "
        "titles)"
    )
    parts = [{"item": [1, 2], "title": ["Heat", "Alien"]}, {"item": [2], "title": ["Aliens"]}]
    message = complaint(tmp_path, items=parts)
    assert message.startswith(
        "items.parquet/part-1.parquet: row 1: item '2' is 'Aliens' here and 'Alien' in items.parquet/part-0.p"
    )


def test_quoted_fields(tmp_path: Path) -> None:
    items = 'item,title\r\n1,"Good, the ""Bad""\r\nand the Ugly"\r\n\r\n2,The "Burbs"\r\n"3","5"" disk"'
    assert put(tmp_path, items=items).items["raw_title"].to_list() == [
        'Good, the "Bad"\r\nand the Ugly',
        'The "Burbs"',
        '5" disk',
    ]


@pytest.mark.parametrize("start", ["", "\n", "\r\n\n", "\ufeff"])
@pytest.mark.parametrize("quoting", ["checked", "none"])
@pytest.mark.parametrize("end", ["", "\n"])
def test_blank_lines_above_the_header_and_files_without_a_last_line_end(
    tmp_path: Path, start: str, quoting: str, end: str
) -> None:
    assert rows(put(tmp_path, start + LOG.rstrip("\n") + end, quoting=quoting)) == [[0, 0, 100], [1, 1, 50], [0, 1, 120]]
    message = complaint(tmp_path, start + LOG + f"ann,1{end}", quoting=quoting)
    assert message.startswith(f"log.csv:{5 + start.count(chr(10))}: 2 fields separated by ','")


def test_a_quoted_field_of_two_lines_at_the_end_of_the_file(tmp_path: Path) -> None:
    assert put(tmp_path, items='item,title\n1,"He\nat"').items["raw_title"].to_list() == ["He\nat"]
    assert put(tmp_path, items="item,title\n1,He\\\nat", escape="\\").items["raw_title"].to_list() == ["He\nat"]


@pytest.mark.parametrize("block", [20, 1 << 24])
def test_quotes_that_begin_behind_plain_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(delimited_text, "BATCH_BYTES", block)
    text = LOG + "cat,2,1\n\n" + '"ann",1,"7"\n' + "bob,1,8\n"
    assert rows(put(tmp_path, text))[3:] == [[2, 1, 1], [0, 0, 7], [1, 0, 8]]
    assert complaint(tmp_path, text + "bob,1,soon\n").startswith("log.csv:9: column 'time': 'soon'")


def test_two_stray_quotes_do_not_swallow_the_rows_between_them(tmp_path: Path) -> None:
    message = complaint(tmp_path, items='item,title\n1,"Heat\n2,Alien\n3,"Up\n4,Clue\n')
    assert message.startswith("items.csv:2: a quoted field does not end, or its quotes are not doubled")


def test_a_quote_that_stays_open_names_its_line(tmp_path: Path) -> None:
    message = complaint(tmp_path, items='item,title\n1,Heat\n2,"Alien\n3,Up\n')
    assert message.startswith("items.csv:3: a quoted field does not end")


@pytest.mark.parametrize("encoding", ["utf-8", "UTF8", "utf-8-sig", "cp1252", "utf-16"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    log, items = LOG.replace("ann", "änn").encode(encoding), ITEMS.replace("Heat", "Héat").encode(encoding)
    assert put(tmp_path, log, items, encoding=encoding).items["raw_title"].to_list() == ["Héat", "Alien"]


@pytest.mark.parametrize("header", ["item,title", '"item", title'])
def test_a_byte_order_mark_and_spaces_in_the_header(tmp_path: Path, header: str) -> None:
    assert len(put(tmp_path, items=ITEMS.replace("item,title", header).encode("utf-8-sig")).items) == 2


@pytest.mark.parametrize(("encoding", "line"), [("utf-8", 3), ("ascii", 3), ("utf-16", 1)])
def test_wrong_encoding_names_the_line(tmp_path: Path, encoding: str, line: int) -> None:
    items = ITEMS.replace("Alien", "Alién").encode("latin-1")
    message = complaint(tmp_path, items=items, encoding=encoding)
    assert message == f"items.csv:{line}: not {encoding} text; correct `encoding`"


def test_unknown_encoding_and_impossible_separators(tmp_path: Path) -> None:
    assert "encoding 'utf-9' is unknown" in complaint(tmp_path, encoding="utf-9")
    for separator in ('"', "\n", ':":'):
        assert f"separator {separator!r} cannot be used" in complaint(tmp_path, separator=separator)


@pytest.mark.parametrize("separator", ";\t|")
def test_wrong_separator_is_suggested(tmp_path: Path, separator: str) -> None:
    text = ITEMS.replace(",", separator)
    found = text.splitlines()[0]
    expected = f"items.csv: no column 'item', 'title'; the columns are {found!r}; is the separator {separator!r}?"
    assert complaint(tmp_path, items=text) == expected
    packed = gzip.compress(LOG.replace(",", separator).encode())
    assert len(put(tmp_path, packed, text, log_name="log.tsv.gz", separator=separator).interactions) == 3


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("user,movie,time", "no column 'item'; the columns are 'user', 'movie', 'time'"),
        ("user,item,user", "no column 'time'; the columns are 'user', 'item', 'user'"),
        ("user,item,time,user", "several columns are called 'user'; rename all but one"),
        ("User,Item,Time", "no column 'user', 'item', 'time'; the columns are 'User', 'Item', 'Time'"),
    ],
)
def test_missing_and_repeated_columns(tmp_path: Path, header: str, expected: str) -> None:
    assert complaint(tmp_path, f"{header}\n1,1,1,1\n") == f"log.csv: {expected}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", " is empty"),
        ("\n\n", " is empty"),
        ("user,item,time", " holds a header but no rows"),
        ("user,item,time\n\n", " holds a header but no rows"),
        (LOG + "\ncat,1\n", "6: 2 fields separated by ',', but the header has 3: 'cat,1'"),
        (LOG + "cat,1,1,1\n", "5: 4 fields separated by ',', but the header has 3: 'cat,1,1,1'"),
        (LOG + " \n", "5: 1 fields separated by ',', but the header has 3: ' '"),
    ],
)
def test_files_without_rows_and_rows_of_other_lengths(tmp_path: Path, text: str, expected: str) -> None:
    assert complaint(tmp_path, text) == f"log.csv:{expected}"


@pytest.mark.parametrize("block", [30, 1 << 24])
def test_a_row_of_another_length_is_found_behind_blank_lines_and_line_feeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(delimited_text, "BATCH_BYTES", block)
    items = 'item,title\n\n1,"He\nat"\n2,Alien\n\n3,Up,\n4,"Clue" again\n'
    assert complaint(tmp_path, items=items) == "items.csv:7: 3 fields separated by ',', but the header has 2: '3,Up,'"


def test_damaged_files(tmp_path: Path) -> None:
    packed = gzip.compress("".join([LOG, *(f"user{k},1,{k}\n" for k in range(100))]).encode())
    message = complaint(tmp_path, packed[:-20], log_name="log.csv.gz")
    assert message.startswith("log.csv.gz: cannot be read, damaged or cut short: ")
    message = complaint(tmp_path, b"no Parquet", log_name="log.parquet")
    assert message.startswith("log.parquet: cannot be read as Parquet, damaged or of another kind: ")


def test_missing_files(tmp_path: Path) -> None:
    put(tmp_path)
    with pytest.raises(
        DataError, match=r"none.csv: not found; correct its name, or put it into the data set's folder in data/own"
    ):
        read(tmp_path, dataset_config("log", items="none.csv"))


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    parts = [{"user": ["a", "b"], "item": [1, 2], "time": [1, 2]}, {"user": ["c"], "item": [1], "time": [0]}]
    for hidden in (".old.parquet", "_tmp.parquet", "_README.txt"):
        (tmp_path / "log").mkdir(exist_ok=True)
        (tmp_path / "log" / hidden).write_text("no Parquet")
    for name, part in zip(("part-10.parquet", "part-2"), parts, strict=True):  # 2 before 10, and with or without a suffix
        pq.write_table(pa.table(part), tmp_path / "log" / name)
    (tmp_path / "items.csv").write_text(ITEMS)
    log = read(tmp_path, dataset_config("log", interactions="log"))
    assert rows(log) == [[2, 0, 0], [0, 0, 1], [1, 1, 2]]
    (tmp_path / "log" / "part-3.orc").write_text("ORC rows")
    with pytest.raises(DataError, match=r"log/part-3.orc: is an ORC file, whatever its name"):
        read(tmp_path, dataset_config("log", interactions="log"))


def test_folders_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "items.csv").write_text(ITEMS)
    with pytest.raises(DataError, match=r"empty: the folder holds no file"):
        read(tmp_path, dataset_config("log", interactions="empty"))
    good = {"user": ["a"], "item": [1], "time": [1]}
    message = complaint(tmp_path, [good, {"user": ["a"], "time": [1]}], log_name="columns")
    assert message == "columns/part-1.parquet: no column 'item'; the columns are 'user', 'time'"
    assert (
        complaint(
            tmp_path,
            {**good, "user": pa.array([], pa.string()), "item": pa.array([], pa.int8()), "time": pa.array([], pa.int8())},
        )
        == "log.parquet: holds no rows"
    )


TEXT = st.characters(codec="utf-8", exclude_categories=["Cc", "Zs", "Zl", "Zp"])
TITLE = st.characters(codec="utf-8", exclude_characters="\0")
IDS = st.text(TEXT, min_size=1, max_size=3) | st.integers(0, 200).map(str)
TIMES = st.integers(-(10**9), -2) | st.integers(10**9, 10**10)  # seconds; none that may be in another unit, or days
EVENTS = st.tuples(IDS, st.sampled_from(["1", "2", "é"]), TIMES, st.sampled_from([0.5, 3.0, 4.5]))


@settings(max_examples=25)
@given(st.lists(EVENTS, min_size=1, max_size=20), st.dictionaries(IDS, st.text(TITLE, max_size=5)), st.integers(1, 9))
def test_text_json_and_parquet_hold_the_same_log(events: list[Any], titles: dict[str, str], batch: int) -> None:
    titles = {**titles, events[0][1]: "known"}
    log = dict(zip(["user", "item", "time", "rating"], zip(*events, strict=True), strict=True))
    items = {"item": list(titles), "title": list(titles.values())}
    with tempfile.TemporaryDirectory() as scratch, pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_files, "BATCH_ROWS", batch)
        patch.setattr(delimited_text, "BATCH_BYTES", 100 * batch)
        # A title may look like a further row, or like a mark; here it is one.
        parquet = put(Path(scratch), log, items, missing=[], **RATED)
        patch.setattr(json_lines, "BATCH_LINES", batch)
        text = put(Path(scratch), as_csv(log), as_csv(items), quoting="trusted", missing=[], **RATED)
        json_text = put(Path(scratch), as_json_lines(log), as_json_lines(items), missing=[], **RATED)
    for other in (text, json_text):
        pd.testing.assert_frame_equal(other.interactions, parquet.interactions)
        pd.testing.assert_frame_equal(other.items, parquet.items)
        assert (other.n_users, other.steps, other.dropped) == (parquet.n_users, parquet.steps, parquet.dropped)

    users, known = ascending(log["user"]), ascending(titles)
    assert text.items["raw_id"].to_list() == known
    assert rows(text) == [
        [users.index(user), known.index(item), time, rating]
        for user, item, time, rating in dict.fromkeys(events)
        if item in titles
    ]


def as_json_lines(table: dict[str, Any]) -> str:
    return "".join(json.dumps(dict(zip(table, row, strict=True))) + "\n" for row in zip(*table.values(), strict=True))


def as_csv(table: dict[str, Any]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows([list(table), *zip(*table.values(), strict=True)])
    return text.getvalue()


def ascending(ids: Iterable[str]) -> list[str]:
    whole = all(raw.isascii() and raw.isdigit() and (raw == "0" or raw[0] != "0") for raw in ids)
    return sorted(set(ids), key=int if whole else None)


def test_times_without_a_year_and_codecs_that_are_no_encoding(tmp_path: Path) -> None:
    assert "has no year" in complaint(tmp_path, time_format="%H:%M")
    assert "encoding 'hex' is unknown" in complaint(tmp_path, encoding="hex")


def test_a_folder_inside_a_folder_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "log" / "more").mkdir(parents=True)
    (tmp_path / "items.csv").write_text(ITEMS)
    with pytest.raises(
        DataError, match=r"log/more: a folder may hold files and partitions \(folders such as user=7\), but no other"
    ):
        read(tmp_path, dataset_config("log", interactions="log"))


def test_text_that_is_not_utf_8_in_parquet(tmp_path: Path) -> None:
    users = pa.array([b"anna", b"\xff"]).view(pa.string())
    pq.write_table(pa.table({"user": users, "item": ["1", "1"], "time": [1, 2]}), tmp_path / "log.parquet")
    (tmp_path / "items.csv").write_text(ITEMS)
    with pytest.raises(DataError, match=r"log\.parquet: cannot be read as Parquet, .*Invalid UTF8"):
        read(tmp_path, dataset_config("log", interactions="log.parquet"))


def test_a_field_longer_than_python_s_limit(tmp_path: Path) -> None:
    items = f'item,title\n1,"{"long " * 40_000}\nend"\n2,Heat\n3,Up\n'
    assert len(put(tmp_path, items=items).items["raw_title"][0]) > 200_000


def test_attributes_describe_an_item(tmp_path: Path) -> None:
    items = "item,title,category,price,brand\n1,Heat,Crime|Drama,12.50,NULL\n2,Alien,,9,Fox\n2,Alien,Horror,,\n"
    described = put(tmp_path, items=items, columns={**COLUMNS, "attributes": ["category", "price", "brand"]}).items
    assert described["attributes"].to_list() == [["Crime, Drama", "price 12.50", ""], ["", "price 9", "Fox"]]
    assert "attributes" not in put(tmp_path, items=items).items


def test_attributes_may_be_lists_and_numbers(tmp_path: Path) -> None:
    items = {"item": [1, 2], "title": ["Heat", "Alien"], "tags": [["Crime", None, "Drama"], []], "price": [12.5, None]}
    described = put(tmp_path, items=items, columns={**COLUMNS, "attributes": ["tags", "price"]}).items
    assert described["attributes"].to_list() == [["Crime, Drama", "price 12.5"], ["", ""]]


@pytest.mark.parametrize("kind", [pa.struct({"genre": pa.string()}), pa.list_(pa.struct({"genre": pa.string()}))])
def test_records_in_parquet_are_refused(tmp_path: Path, kind: pa.DataType) -> None:
    """Their text would be Python's, such as ``{'genre': 'Crime'}``."""
    value = {"genre": "Crime"}
    items = {"item": [1], "title": ["Heat"], "about": pa.array([value if pa.types.is_struct(kind) else [value]], kind)}
    with pytest.raises(
        DataError, match=r"items\.parquet: column 'about' holds records; write each of their fields as a column"
    ):
        put(tmp_path, LOG, items, columns={**COLUMNS, "attributes": ["about"]})


def test_one_column_serves_one_purpose(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="one column cannot serve two purposes"):
        put(tmp_path, columns={**COLUMNS, "attributes": ["title"]})
