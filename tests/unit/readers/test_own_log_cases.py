"""Logs from real situations, each the smallest that shows it: what goes in comes out, or is counted, or is an error that names
line and remedy."""

from __future__ import annotations

import gzip
import tempfile
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from llara_core.data.filtering import sort_sequences
from llara_core.data.preparation import Prepared, prepare
from llara_core.errors import DataError
from llara_core.fetching.datasets import fetch_dataset
from llara_core.readers import delimited_text
from llara_core.readers.own_log import read
from tests.helpers.datasets import dataset_config
from tests.helpers.own_logs import ITEMS, LOG, complaint, put, rows, seconds_of, write

T = 1_700_000_000  # a second in 2023
HALVES = {"train": 0.5, "validation": 0.25}


def sequences(prepared: Prepared) -> list[list[str]]:
    """The labels of each user's items, in order."""
    labels = prepared.items["label"]
    return [[labels[item] for item in group["item_id"]] for _, group in prepared.interactions.groupby("user_id")]


def lost(log: Any) -> dict[str, int]:
    return {reason: n for reason, n in log.dropped.items() if n}


# 1. Rows, lost, merged or in another order

STRAY = (
    'user\titem\ttime\tcomment\na\t1\t0\tok\na\t1\t5\t"very good\nb\t1\t7\tok\nb\t2\t8\tsize 12"\nc\t1\t9\tok\n',
    'user\titem\ttime\tcomment\na\t1\t0\tok\na\t1\t5\tok\nb\t1\t7\tok\nb\t2\t8\t"good\nc\t1\t9\tso "',  # no line feed
)


@pytest.mark.parametrize(("text", "line"), [*zip(STRAY, (3, 5), strict=True)])
def test_quotes_that_swallow_rows_of_an_unused_column(tmp_path: Path, text: str, line: int) -> None:
    items = ITEMS.replace(",", "\t")
    message = complaint(tmp_path, text, items, separator="\t")
    n_lines = 5 - 2 if line == 3 else 2
    assert message.startswith(f"log.csv:{line}: a quoted field begins here and spans {n_lines} lines that look like rows.")
    assert "set `quoting: none`; if it is one field, `quoting: trusted`" in message
    assert seconds_of(put(tmp_path, text, items, separator="\t", quoting="none")) == [0, 5, 7, 8, 9]
    assert len(put(tmp_path, text, items, separator="\t", quoting="trusted").interactions) == 5 - (n_lines - 1)


@pytest.mark.parametrize(
    "swallowed",
    [
        'a,1,0,"good\n\nb,1,1,so "\n',  # with a blank line
        '"a",1,0,"good\nb,1,1,so "\n',
        '"a, b",1,0,"good\n"b",1,1,so "\n',
        '"a, b",1,0,"good\nb,1,1,so "\n',
        'a,1,0,"good\nb,1,1,""\nc,1,1,so "\n',
    ],
)
def test_rows_that_quotes_swallow_are_seen_beside_true_quotes(tmp_path: Path, swallowed: str) -> None:
    message = complaint(tmp_path, f"user,item,time,comment\nann,1,0,ok\n{swallowed}zoe,1,5,ok\n")
    assert message.startswith("log.csv:3: a quoted field ")


def test_fields_that_hold_line_feeds(tmp_path: Path) -> None:
    items = 'item,text,title\n1,"Good, the\nBad, and, the Ugly",Heat\n2,"one\ntwo, three\n",Alien\n3,"a ""b""\n",Up\n'
    assert put(tmp_path, items=items).items["raw_title"].to_list() == ["Heat", "Alien", "Up"]


def test_quotes_that_swallow_rows_of_the_item_file(tmp_path: Path) -> None:
    items = 'item,title\n1,"Heat\n2,Alien"\n3,Up\n'
    assert complaint(tmp_path, items=items).startswith("items.csv:2: a quoted field begins here and spans 2 lines")
    assert put(tmp_path, items=items, quoting="none").items["raw_title"].to_list() == ['"Heat', 'Alien"', "Up"]
    assert put(tmp_path, items=items, quoting="trusted").items["raw_title"].to_list() == ["Heat\n2,Alien", "Up"]


def test_quotes_that_a_title_really_has(tmp_path: Path) -> None:
    items = 'item,title\n1,"Weird Al" Yankovic\n2,The "Burbs"\n'
    message = complaint(tmp_path, items=items)
    assert message.startswith("items.csv:2: a quoted field does not end, or its quotes are not doubled")
    assert message.endswith("set `quoting: none`")
    assert put(tmp_path, items=items, quoting="none").items["raw_title"].to_list() == ['"Weird Al" Yankovic', 'The "Burbs"']
    doubled = 'item,title\n1,"""Weird Al"" Yankovic"\n2,The "Burbs"\n'
    assert put(tmp_path, items=doubled).items["raw_title"].to_list() == ['"Weird Al" Yankovic', 'The "Burbs"']


@pytest.mark.parametrize("separator", [",", "\t"])
def test_a_quote_closed_too_early_in_an_unused_column(tmp_path: Path, separator: str) -> None:
    text = 'user,item,time,comment\na,1,0,"so" so\nb,1,1,fine\n'.replace(",", separator)
    message = complaint(tmp_path, text, ITEMS.replace(",", separator), separator=separator)
    assert message.startswith("log.csv:2: a quoted field does not end, or its quotes are not doubled")


def test_escaped_quotes(tmp_path: Path) -> None:
    items = 'item,title\n1,"The \\"Best\\" of"\n2,"2\\" seam"\n'
    message = complaint(tmp_path, items=items)
    assert message.startswith("items.csv:2: \\\" is ambiguous. If the backslash escapes the quote, set `escape: '\\'`")
    log = put(tmp_path, items=items, escape="\\")
    assert log.items["raw_title"].to_list() == ['The "Best" of', '2" seam']
    unquoted = 'item,title\n1,5\\" disk\n2,Up\n'
    assert complaint(tmp_path, items=unquoted).startswith('items.csv:2: \\" is ambiguous')
    assert put(tmp_path, items=unquoted, escape="\\").items["raw_title"].to_list() == ['5" disk', "Up"]


def test_escaped_separators_line_feeds_and_nulls(tmp_path: Path) -> None:
    items = "item\ttitle\n1\tone\\\ttab\n2\ttwo\\\nlines\n\\N\tnobody's\n3\t\\N\n"
    log_text = LOG.replace(",", "\t") + "\\N\t1\t5\n\\N\t\\N\t\\N\n"
    log = put(tmp_path, log_text, items, separator="\t", quoting="none", escape="\\")
    assert log.items["raw_title"].to_list() == ["one\ttab", "two\nlines", ""]
    assert lost(log) == {"items_without_id": 1, "interactions_without_user": 2}
    assert complaint(tmp_path, items="item,title\n1,One\\, two\n").endswith("is the separator escaped? set `escape`")


def test_an_escape_at_the_end_of_the_file(tmp_path: Path) -> None:
    for end in ("\\", "\\\n", "\\\r\n", "\\\\\\"):
        message = complaint(tmp_path, items=f"{ITEMS}3,Up{end}", escape="\\")
        assert message == "items.csv: ends with '\\\\', which escapes nothing; if the file is complete, correct `escape`"
    assert put(tmp_path, items=f"{ITEMS}3,Up\\\\\n", escape="\\").items["raw_title"].to_list() == ["Heat", "Alien", "Up\\"]


def test_impossible_escapes(tmp_path: Path) -> None:
    for escape in '"§':
        assert f"escape {escape!r} cannot be used" in complaint(tmp_path, escape=escape)
    assert "`escape` and `separator` are both ','; they must differ" in complaint(tmp_path, escape=",")


MILLISECONDS = [600, 400, 200, 0]


@pytest.mark.parametrize("kind", ["csv", "parquet", "iso8601", "timestamp"])
def test_events_of_one_second_are_sorted_by_the_fraction(tmp_path: Path, kind: str) -> None:
    users, items = list("aaaabbbbccccdddd"), [0, 1, 2, 3] * 4
    times = [1000 * (T + user) + ms for user in range(4) for ms in MILLISECONDS]
    moments = [datetime(2020, 1, 1) + timedelta(milliseconds=time - 1000 * T) for time in times]
    values: Any = times
    if kind == "iso8601":
        values = [moment.isoformat() for moment in moments]
    elif kind == "timestamp":
        values = pa.array(moments, pa.timestamp("us"))
    if kind in {"parquet", "timestamp"}:
        write(tmp_path / "log", {"user": users, "item": items, "time": values})
    else:
        lines = [f"{user},{item},{time}\n" for user, item, time in zip(users, items, values, strict=True)]
        write(tmp_path / "log", "user,item,time\n" + "".join(lines))
    write(tmp_path / "items.csv", "item,title\n0,A\n1,B\n2,C\n3,D\n")
    time_format = "milliseconds" if values is times else "iso8601"
    prepared = prepare(tmp_path, dataset_config("log", interactions="log", time_format=time_format, split=HALVES))
    assert sequences(prepared) == [["D", "C", "B", "A"]] * 4
    assert prepared.statistics["tied_timestamps_share"] == 0
    first = int(prepared.interactions["timestamp"].iloc[0])
    assert prepared.interactions["timestamp"].to_list() == [first + user for user in range(4) for _ in MILLISECONDS]  # seconds


def test_two_events_within_a_second_are_no_duplicates(tmp_path: Path) -> None:
    text = f"user,item,time\nu,1,{T}000\nu,1,{T}300\nu,1,{T}300\n"
    log = put(tmp_path, text, time_format="milliseconds")
    assert rows(log) == [[0, 0, 1000 * T], [0, 0, 1000 * T + 300]]
    assert seconds_of(log) == [T, T + Fraction(3, 10)]
    assert lost(log) == {"interactions_duplicated": 1}


def log_of(*times: object) -> str:
    return "user,item,time\n" + "".join(f"u,1,{time}\n" for time in times)


@pytest.mark.parametrize(
    ("time_format", "times", "unit", "moment"),
    [
        ("milliseconds", [T, T - 100], "seconds", "1970-01-20T16:13:20"),
        ("microseconds", [1000 * T], "milliseconds", "1970-01-20T16:13:20"),
        ("microseconds", [T], "seconds", "1970-01-01T00:28:20"),
        ("nanoseconds", [1000 * T], "milliseconds", "1970-01-01T00:28:20"),
        ("iso8601", ["1970-01-01 00:00:01.7"], "seconds", "1970-01-01T00:00:01"),  # seconds that were taken for nanoseconds
        ("%Y-%m-%d %H:%M:%S", ["1970-01-01 00:28:20"], "milliseconds", "1970-01-01T00:28:20"),
    ],
)
def test_times_in_a_larger_unit_are_doubted(tmp_path: Path, time_format: str, times: list[Any], unit: str, moment: str) -> None:
    message = complaint(tmp_path, log_of(*times), time_format=time_format)
    assert message.startswith(f"log.csv:2: column 'time': time_format '{time_format}' reads it as {moment}; are these {unit}?")


def test_some_times_in_a_larger_unit_are_doubted(tmp_path: Path) -> None:
    message = complaint(tmp_path, log_of(0, 1000 * T, "NULL", T), time_format="milliseconds")
    assert message.startswith("log.csv:5: column 'time': time_format 'milliseconds' reads it as 1970-01-20T16:13:20")
    times = [pa.array([1000 * T], pa.timestamp("ms")), pa.array([T], pa.timestamp("ns"))]
    parts = [{"user": ["u"], "item": [1], "time": time} for time in times]
    message = complaint(tmp_path, parts, time_format="iso8601")
    assert message.startswith("log.parquet/part-1.parquet: row 1: column 'time': time_format 'iso8601' reads it as 1970-01-01")


@pytest.mark.parametrize(
    ("time_format", "time", "hint"),
    [
        ("seconds", 1000 * T, "are these milliseconds? set time_format: milliseconds"),
        ("seconds", 10**9 * T, "are these nanoseconds? set time_format: nanoseconds"),
        ("milliseconds", 10**6 * T, "are these microseconds? set time_format: microseconds"),
        ("iso8601", T, "are these seconds? set time_format: seconds"),
    ],
)
def test_times_in_a_smaller_unit_name_it(tmp_path: Path, time_format: str, time: Any, hint: str) -> None:
    message = complaint(tmp_path, log_of(time), time_format=time_format)
    assert message.endswith(f"years 1 to 9999); {hint}")


@pytest.mark.parametrize("times", [[0, 10, 4030], [0, 10**9, 10**10]])
def test_times_that_count_from_zero_are_taken(tmp_path: Path, times: list[int]) -> None:
    assert rows(put(tmp_path, log_of(*times), time_format="milliseconds")) == [[0, 0, time] for time in times]


def test_marks_of_missing_users_are_no_users(tmp_path: Path) -> None:
    log = put(tmp_path, LOG + "nan,1,5\nNULL,1,6\n\\N,2,7\n,2,8\nann,nan,9\nann,1,NaN\n")
    assert rows(log) == rows(put(tmp_path))
    assert log.n_users == 2
    assert lost(log) == {"interactions_without_user": 4, "interactions_without_item": 1, "interactions_without_time": 1}


def test_marks_of_missing_items_and_titles(tmp_path: Path) -> None:
    log = put(tmp_path, items=ITEMS + "NULL,Up\n,Clue\n3,nan\n4,None\n")
    assert log.items.to_dict("list") == {"raw_id": ["1", "2", "3", "4"], "raw_title": ["Heat", "Alien", "", ""]}
    assert lost(log) == {"items_without_id": 2}


@pytest.mark.parametrize("raw_id", ["1.23E+15", "1e+05", "1.5E7", "-2.5e-3"])
def test_ids_that_a_program_has_rounded(tmp_path: Path, raw_id: str) -> None:
    for kind in ("user", "item"):
        line = {"user": "ann", "item": "1", kind: raw_id}
        message = complaint(tmp_path, f"{LOG}\n,1,5\n{line['user']},{line['item']},1\n")
        assert message.startswith(f"log.csv:7: column '{kind}': {raw_id!r} is a number that was rounded")
    assert complaint(tmp_path, items=f"{ITEMS}{raw_id},Up\n").startswith("items.csv:4: column 'item'")
    parquet = {"user": ["u", raw_id], "item": [1, 1], "time": [1, 2]}
    assert complaint(tmp_path, parquet).startswith("log.parquet: row 2: column 'user'")


def test_ids_whose_last_digits_became_zeros(tmp_path: Path) -> None:
    text = "user,item,time\nann,1,0\n123456789012345000,1,1\n987654321098765000,1,2\n"  # 18 digits, of which 15 are exact
    assert complaint(tmp_path, text).startswith("log.csv:3: column 'user': '123456789012345000' is a number that was rounded")
    assert put(tmp_path, text.replace("5000,1,2", "5001,1,2")).n_users == 3


@pytest.mark.parametrize("raw_id", ["123e45", "E+10", "1E10", "1e5", "2.5", "123456789012345000"])
def test_ids_that_only_look_like_it(tmp_path: Path, raw_id: str) -> None:
    assert put(tmp_path, LOG + f"{raw_id},1,5\n").n_users == 3


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_headers_and_byte_order_marks_inside_joined_files(tmp_path: Path, mark: str) -> None:
    more = "user,item,time \nann,2,7\n"
    log = put(tmp_path, mark + LOG + mark + more, mark + ITEMS + mark + ITEMS)
    assert rows(log) == [*rows(put(tmp_path)), [0, 1, 7]]
    assert lost(log) == {"items_duplicated": 2, "items_repeating_the_header": 1, "interactions_repeating_the_header": 1}
    headless = put(tmp_path, f"{mark}{LOG}{mark}ann,2,7\n")
    assert rows(headless) == rows(log)
    utf_16 = put(tmp_path, (LOG + "\ufeff" + more).encode("utf-16"), ITEMS.encode("utf-16"), encoding="utf-16")
    assert rows(utf_16) == rows(log)


def test_lines_are_counted_behind_a_second_header(tmp_path: Path) -> None:
    message = complaint(tmp_path, LOG + "user,item,time\nann,1,yesterday\n")
    assert message.startswith("log.csv:6: column 'time': 'yesterday'")


def test_a_second_header_in_another_order(tmp_path: Path) -> None:
    message = complaint(tmp_path, items=ITEMS + "title,item\nUp,3\n")
    assert message.startswith("items.csv:4: a second header whose columns are in another order")


def test_packed_files_that_were_joined(tmp_path: Path) -> None:
    joined = gzip.compress(LOG.encode()) + gzip.compress(b"user,item,time\nann,2,7\n")
    assert len(put(tmp_path, joined, log_name="log.csv.gz").interactions) == 3 + 1


PART = {"user": ["a"], "item": [1], "time": [1]}


@pytest.mark.parametrize(
    ("mark", "name"),
    [
        ("_delta_log/0.json", "Delta Lake"),
        (".hoodie/hoodie.properties", "Hudi"),
        ("metadata/v1.metadata.json", "Iceberg"),
        ("_spark_metadata/0", "Spark Structured Streaming"),
    ],
)
def test_table_formats_are_no_folders_of_parquet_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: str, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    own = Path("data/own/shop")
    (own / "log" / "data").mkdir(parents=True)
    write(own / "log" / "data" / "part.parquet", PART)
    write(own / "items.csv", ITEMS)
    (own / "log" / mark).parent.mkdir()
    (own / "log" / mark).write_text("{}")
    for place in ("log", "log/data", "log/data/part.parquet"):
        config = dataset_config("log", interactions=place)
        with pytest.raises(DataError, match=rf"^{own}/log: a {name} table .*; export its current rows into a folder of plain"):
            read(own, config)
        with pytest.raises(DataError, match=f"a {name} table"):
            fetch_dataset("shop", config, None, Path("data/raw/shop"))  # type: ignore[arg-type]
    assert not Path("data/raw/shop").exists()


# 2. Real files that were refused


def test_parts_of_different_types(tmp_path: Path) -> None:
    seconds, millisecond = pa.array([T, T], pa.timestamp("s")), pa.array([T * 1000 + 1], pa.timestamp("ms", "UTC"))
    microseconds = pa.array([T * 10**6 + 1] * 2, pa.timestamp("us"))
    parts: list[dict[str, Any]] = [
        {"user": pa.array([1, 2], pa.int64()), "item": pa.array([1, 2], pa.int32()), "time": seconds},
        {"user": pa.array([2.0, None]), "item": pa.array([1, 2], pa.int64()), "time": microseconds},
        {"user": [Decimal(3)], "item": pa.array([2], pa.uint8()), "time": millisecond},
        {"user": pa.nulls(1), "item": [1], "time": seconds[:1]},
        {"user": [1], "item": [1], "time": pa.nulls(1)},
    ]
    log = put(tmp_path, parts, time_format="iso8601")
    assert rows(log) == [
        [0, 0, T * 10**6],
        [1, 1, T * 10**6],
        [1, 0, T * 10**6 + 1],
        [2, 1, T * 10**6 + 1000],
    ]
    assert lost(log) == {"interactions_without_user": 2, "interactions_without_time": 1}


def test_ids_that_are_numbers_in_one_part_and_text_in_another_are_the_same(tmp_path: Path) -> None:
    parts = [{"user": ["a"], "item": [item], "time": [time]} for item, time in ((1, T), ("1", T + 1), (2, T + 2))]
    assert rows(put(tmp_path, parts)) == [[0, 0, T], [0, 0, T + 1], [0, 1, T + 2]]


def test_parts_of_the_item_file_of_different_types(tmp_path: Path) -> None:
    items = [
        {"item": pa.array([1], pa.int32()), "title": pa.nulls(1)},
        {"item": [2], "title": ["Alien"]},
        {"item": [1.0], "title": [b"Heat"]},
    ]
    log = put(tmp_path, items=items)
    assert log.items.to_dict("list") == {"raw_id": ["1", "2"], "raw_title": ["Heat", "Alien"]}


def test_times_of_nanoseconds_and_of_years_beyond_them(tmp_path: Path) -> None:
    parts = [
        {"user": ["u"], "item": [1], "time": pa.array([time], pa.timestamp(unit))}
        for time, unit in ((253_402_300_799, "s"), (10**9 * T, "ns"))
    ]
    assert complaint(tmp_path, parts, time_format="iso8601").endswith("store the times as milliseconds")


@pytest.mark.parametrize("kind", [pa.decimal128(38, 0), pa.decimal128(38, 3)])
def test_whole_number_decimals_are_ids(tmp_path: Path, kind: pa.DataType) -> None:
    items = pa.array([Decimal(1), Decimal(2), None], kind)
    log = put(tmp_path, {"user": ["u", "v", "w"], "item": items, "time": [1, 2, 3]})
    assert rows(log) == [[0, 0, 1], [1, 1, 2]]


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    message = complaint(tmp_path, {"user": [b"u", b"\xff"], "item": [1, 1], "time": [1, 2]})
    assert message.startswith("log.parquet: column 'user' is of type binary but is not UTF-8 text")


def test_names_that_two_unused_columns_share(tmp_path: Path) -> None:
    text = "user,x,item,x,time,\nann,0,1,0,5,\n"
    assert rows(put(tmp_path, text)) == [[0, 0, 5]]
    columns = [pa.array([value]) for value in ("ann", 0, 1, 0, 5)]
    pq.write_table(pa.Table.from_arrays(columns, names=["user", "x", "item", "x", "time"]), tmp_path / "log.parquet")
    assert rows(read(tmp_path, dataset_config("log", interactions="log.parquet"))) == [[0, 0, 5]]


@pytest.mark.parametrize("again", [" Q &#38; A ", "Q &amp;amp; A", "", "nan", "Q  & A", "Q & A"])
@pytest.mark.parametrize("first", [True, False])
def test_titles_that_are_equal_once_cleaned(tmp_path: Path, again: str, first: bool) -> None:
    titles = [again, "Q & A"] if first else ["Q & A", again]
    log = put(tmp_path, items=f"item,title\n1,{titles[0]}\n2,Alien\n1,{titles[1]}\n3,\n3,\n")
    (title, *others) = log.items["raw_title"].to_list()
    assert title == (titles[0].strip() if titles[0] not in {"", "nan"} else "Q & A")
    assert others == ["Alien", ""]
    assert lost(log) == {"items_duplicated": 2}


def test_titles_that_are_equal_but_for_composition(tmp_path: Path) -> None:
    log = put(tmp_path, items="item,title\n1,Caf\u00e9\n2,Alien\n1,Cafe\u0301\n")
    assert log.items["raw_title"].to_list() == ["Caf\u00e9", "Alien"]


def test_files_are_told_by_their_content(tmp_path: Path) -> None:
    assert rows(put(tmp_path, gzip.compress(LOG.encode()), log_name="log.csv")) == rows(put(tmp_path))
    assert rows(put(tmp_path, LOG, log_name="log.csv.gz")) == rows(put(tmp_path))
    assert rows(put(tmp_path, LOG, log_name="log.dat")) == rows(put(tmp_path))
    write(tmp_path / "log", {"user": ["a"], "item": [1], "time": [1]})
    assert rows(read(tmp_path, dataset_config("log", interactions="log"))) == [[0, 0, 1]]


def packed(content: bytes) -> bytes:
    """Without the time, which would stand in the tests' names and so differ between the processes that run them."""
    return gzip.compress(content, mtime=0)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"PK\x03\x04rest", "a zip archive (an Excel workbook is one, too)"),
        (b"\xfd7zXZ\0rest", "an xz file"),
        (b"ORC", "an ORC file"),
        (packed(b"PAR1rest"), "a Parquet file inside a gzip file"),
        (packed(b"name".ljust(257, b"\0") + b"ustar"), "a tar archive inside a gzip file"),
        (packed(packed(b"user")), "a gzip file inside a gzip file"),
    ],
)
def test_other_kinds_are_named(tmp_path: Path, content: bytes, kind: str) -> None:
    message = complaint(tmp_path, content)
    assert message == (
        f"log.csv: is {kind}, whatever its name; delimited text and JSON lines, also packed with gzip, zstd or "
        "bzip2, and Parquet are supported: unpack or export it"
    )


# The rule, for any file

MARKS = ["", "nan", "NULL", "\\N"]
COMMENTS = st.text(alphabet='ab", \\', max_size=4)
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", "d", *MARKS]),
        st.sampled_from(["1", "2", "3", "9", "NULL"]),
        st.integers(0, 2500) | st.sampled_from(MARKS),
        COMMENTS,
    ),
    max_size=40,
).map(lambda events: [("a", "1", 0, ""), *events])
RULE_ITEMS = "item\ttitle\n1\tHeat\n2\tAlien\n3\tUp\n"
IN_DOUBT = ("does not end", "look like rows", "is ambiguous")


@settings(deadline=None, max_examples=150)
@given(EVENTS, st.sampled_from(["checked", "none"]), st.booleans(), st.integers(40, 200))
def test_rows_are_kept_in_order_or_counted(events: list[tuple[Any, ...]], quoting: str, joined: bool, block: int) -> None:
    """The writer of the file knows nothing of quotes, as happens."""
    lines = ["\t".join(map(str, event)) + "\n" for event in events]
    if joined:
        lines.insert(len(lines) // 2, "user\titem\ttime\tcomment\n")
    with tempfile.TemporaryDirectory() as scratch, pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited_text, "BATCH_BYTES", block)
        text = "user\titem\ttime\tcomment\n" + "".join(lines)
        try:
            log = put(Path(scratch), text, RULE_ITEMS, separator="\t", quoting=quoting, time_format="milliseconds")
        except DataError as error:
            if quoting == "checked" and any(words in str(error) for words in IN_DOUBT):
                reject()  # said, with its line
            raise
    whole = [(user, item, time) for user, item, time, _ in events if not {user, item, time} & set(MARKS)]
    known = [event for event in dict.fromkeys(whole) if event[1] != "9"]
    n_missing = sum(log.dropped[f"interactions_without_{column}"] for column in ("user", "item", "time"))
    assert n_missing == len(events) - len(whole)
    assert log.dropped["interactions_repeating_the_header"] == joined
    assert log.dropped["interactions_duplicated"] == len(whole) - len(set(whole))
    assert log.dropped["interactions_of_unknown_items"] == len(set(whole)) - len(known)
    assert len(events) + joined == len(log.interactions) + sum(log.dropped.values())

    users = sorted({user for user, _, _ in whole})
    sequences = sort_sequences(log.interactions)
    assert log.ticks_per_second == 1000
    assert list(zip(*(sequences[column] for column in ("user_id", "item_id", "timestamp")), strict=True)) == [
        (users.index(user), int(item) - 1, time) for user, item, time in sorted(known, key=lambda event: (event[0], event[2]))
    ]
