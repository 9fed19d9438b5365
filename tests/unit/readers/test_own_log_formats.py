"""The forms in which public logs come, each in its own layout, and what a section says about them."""

from __future__ import annotations

import bz2
import gzip
import json
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from pydantic import ValidationError

from llara_core.data.preparation import prepare
from llara_core.errors import DataError
from llara_core.readers import delimited_text, json_lines
from llara_core.readers.own_log import read
from tests.helpers.datasets import dataset_config
from tests.helpers.own_logs import COLUMNS, ITEMS, LOG, complaint, put, rows, seconds_of, write

THREE = [[0, 0, 100], [1, 1, 50], [0, 1, 120]]  # what LOG holds
NUMBERS = {"user": 1, "item": 2, "time": 3, "rating": None, "item_id": 1, "title": 2}


def headless(text: str) -> str:
    return text.partition("\n")[2]


def lost(log: Any) -> dict[str, int]:
    return {reason: n for reason, n in log.dropped.items() if n}


# Text without a header, and separators


@pytest.mark.parametrize("separator", [",", "\t", "::", "|||", " ", "§", "<->", "\x01"])
@pytest.mark.parametrize("header", [True, False])
def test_separators_of_any_length_with_and_without_a_header(tmp_path: Path, separator: str, header: bool) -> None:
    log, items = ((text if header else headless(text)).replace(",", separator) for text in (LOG, ITEMS))
    columns = {} if header else {"columns": NUMBERS}
    found = put(tmp_path, log, items, separator=separator, header=header, **columns)
    assert rows(found) == THREE
    assert found.items["raw_title"].to_list() == ["Heat", "Alien"]


def test_movielens_1m(tmp_path: Path) -> None:
    """Its layout, in latin-1; titles hold commas, quotes and single colons."""
    ratings = "1::1193::5::978300760\n1::661::3::978302109\n2::1193::4::978298413\n"
    movies = '661::Alien: "The" One, Two (1996)::Children\'s\n1193::Les Misérables (1975)::Drama\n'
    columns = {"user": 1, "item": 2, "rating": 3, "time": 4, "item_id": 1, "title": 2}
    write(tmp_path / "movies.dat", movies.encode("latin-1"))
    write(tmp_path / "ratings.dat", ratings)
    section = dataset_config(
        "log",
        interactions="ratings.dat",
        items="movies.dat",
        separator="::",
        header=False,
        encoding="latin-1",
        quoting="none",
        columns=columns,
    )
    log = read(tmp_path, section)
    assert rows(log) == [[0, 1, 978300760, 5.0], [0, 0, 978302109, 3.0], [1, 1, 978298413, 4.0]]
    assert log.items["raw_title"].to_list() == ['Alien: "The" One, Two (1996)', "Les Misérables (1975)"]


def test_a_long_separator_inside_quotes_is_text(tmp_path: Path) -> None:
    items = 'item::title\n1::"A::B"\n2::C\n'
    log = put(tmp_path, LOG.replace(",", "::"), items, separator="::")
    assert log.items["raw_title"].to_list() == ["A::B", "C"]


@pytest.mark.parametrize("block", [24, 1 << 24])
def test_a_row_of_another_length_names_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(delimited_text, "BATCH_BYTES", block)
    text = "ann::1::100\n\nbob::2::50\nann::2::120::5\n"
    message = complaint(tmp_path, text, headless(ITEMS).replace(",", "::"), separator="::", header=False, columns=NUMBERS)
    assert message == "log.csv:4: 4 fields separated by '::', but the first line has 3: 'ann::2::120::5'"


def test_a_bad_value_without_a_header_names_its_line(tmp_path: Path) -> None:
    message = complaint(tmp_path, "ann,1,soon\n", headless(ITEMS), header=False, columns=NUMBERS)
    assert message.startswith("log.csv:1: column '3': 'soon' does not fit time_format 'seconds'")


def test_a_row_that_equals_the_column_numbers_is_a_row(tmp_path: Path) -> None:
    log = put(tmp_path, "1,2,3\n1,1,5\n", headless(ITEMS), header=False, columns=NUMBERS)
    assert rows(log) == [[0, 1, 3], [0, 0, 5]]


@pytest.mark.parametrize("what", ["names", "numbers"])
def test_a_missing_header_is_suspected(tmp_path: Path, what: str) -> None:
    columns = COLUMNS if what == "names" else {**NUMBERS, "user": 7}
    message = complaint(tmp_path, headless(LOG), columns=columns, items_layout={"header": False} if what == "numbers" else None)
    assert message.startswith("log.csv: no column ")
    assert message.endswith("; if the file has no header, set header: false and give the columns by number, from 1")


def test_a_column_number_beyond_the_last(tmp_path: Path) -> None:
    message = complaint(tmp_path, headless(LOG), headless(ITEMS), header=False, columns={**NUMBERS, "time": 4})
    assert message == "log.csv: no column '4'; the columns are '1', '2', '3'"


def test_the_item_file_may_be_written_otherwise(tmp_path: Path) -> None:
    layout = {"separator": "|", "header": False, "encoding": "latin-1", "quoting": "none"}
    items = '1|"Weird Al"\n2|Amélie\n'.encode("latin-1")
    log = put(
        tmp_path, LOG.encode("utf-16"), items, encoding="utf-16", items_layout=layout, columns={**COLUMNS, **ITEM_NUMBERS}
    )
    assert rows(log) == THREE
    assert log.items["raw_title"].to_list() == ['"Weird Al"', "Amélie"]


ITEM_NUMBERS = {"item_id": 1, "title": 2}


def test_recbole_s_typed_headers(tmp_path: Path) -> None:
    """An atomic file: tabs, and a type behind each name."""
    inter = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n196\t242\t3\t881250949\n186\t302\t3\t891717742\n"
    item = "item_id:token\tmovie_title:token_seq\trelease_year:token\n242\tToy Story\t1995\n302\tL.A. Confidential\t1997\n"
    write(tmp_path / "ml.inter", inter + inter)  # joined: the header comes again
    write(tmp_path / "ml.item", item)
    names = {"user": "user_id", "item": "item_id", "time": "timestamp", "rating": "rating", "item_id": "item_id"}
    columns = {**names, "title": "movie_title"}
    log = read(tmp_path, dataset_config("log", interactions="ml.inter", items="ml.item", separator="\t", columns=columns))
    assert rows(log) == [[1, 0, 881250949, 3.0], [0, 1, 891717742, 3.0]]
    assert log.items["raw_title"].to_list() == ["Toy Story", "L.A. Confidential"]
    assert lost(log) == {"interactions_repeating_the_header": 1, "interactions_duplicated": 2}


def test_a_colon_in_one_name_is_no_type(tmp_path: Path) -> None:
    text = LOG.replace("time", "at:float")
    assert rows(put(tmp_path, text, columns={**COLUMNS, "time": "at:float"})) == THREE


# Packed, damaged, strange


def zstd(content: bytes) -> bytes:
    packed = pa.BufferOutputStream()
    with pa.CompressedOutputStream(packed, "zstd") as stream:
        stream.write(content)
    return packed.getvalue().to_pybytes()


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, zstd])
def test_packed_text_whatever_its_name(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    joined = pack(LOG.encode()) + pack(b"ann,1,130\n")
    assert rows(put(tmp_path, joined, pack(ITEMS.encode()))) == [*THREE, [0, 0, 130]]
    many = "".join(f"user{k},1,{k}\n" for k in range(2000))
    message = complaint(tmp_path, pack((LOG + many).encode())[:-20])
    assert message.startswith("log.csv: cannot be read, damaged or cut short: ")


def test_bytes_that_no_text_has(tmp_path: Path) -> None:
    message = complaint(tmp_path, LOG + "a\0b,1,5\n")
    assert message == "log.csv:5: holds the byte 0, which text does not; if the file is not damaged, correct `encoding`"
    message = complaint(tmp_path, LOG.replace(",", "::") + "a\x1fb::1::5\n", ITEMS.replace(",", "::"), separator="::")
    assert message.startswith("log.csv:5: holds the character '\\x1f'")


# JSON lines


def as_json_lines(*records: dict[str, Any]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def test_amazon_reviews(tmp_path: Path) -> None:
    """JSON lines, packed, with keys that some lack; ids that are digits keep their zeros."""
    reviews = as_json_lines(
        {"reviewerID": "A1", "asin": "0528881469", "helpful": [0, 0], "overall": 5.0, "unixReviewTime": 1370044800},
        {"asin": "0528881469", "overall": 2.0, "unixReviewTime": 1370044801},
        {"reviewerID": "A2", "asin": "B00ABC", "style": {"Color:": "Red"}, "overall": 1.0, "unixReviewTime": 1370044802},
    )
    meta = as_json_lines({"asin": "0528881469", "title": "Map"}, {"asin": "B00ABC", "title": None}, {"asin": "B1"})
    write(tmp_path / "reviews.json.gz", gzip.compress(reviews.encode()))
    write(tmp_path / "meta.json", "\ufeff" + meta + "\n")
    names = {"user": "reviewerID", "item": "asin", "time": "unixReviewTime", "rating": "overall", "item_id": "asin"}
    section = dataset_config("log", interactions="reviews.json.gz", items="meta.json", columns={**names, "title": "title"})
    log = read(tmp_path, section)
    assert rows(log) == [[0, 0, 1370044800, 5.0], [1, 1, 1370044802, 1.0]]
    assert log.items.to_dict("list") == {"raw_id": ["0528881469", "B00ABC", "B1"], "raw_title": ["Map", "", ""]}
    assert lost(log) == {"interactions_without_user": 1}


@pytest.mark.parametrize("batch", [1, 2, 1 << 16])
def test_json_numbers_are_their_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr(json_lines, "BATCH_LINES", batch)
    large = 2**63 + 1
    log_text = as_json_lines({"user": large, "item": "1", "time": "100"}, {"user": str(large), "item": 2, "time": 1e2})
    log = put(
        tmp_path,
        log_text + '{"user": 3, "item": 1, "time": 1e2}\n',
        as_json_lines({"item": 1, "title": 7}, {"item": 2, "title": "B"}),
    )
    assert rows(log) == [[1, 0, 100], [1, 1, 100], [0, 0, 100]]
    assert log.items["raw_title"].to_list() == ["7", "B"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"user": 1, "item": 1, "time": 1}\n\n{"user": 1, \n', "log.csv:3: is not JSON ("),
        ('{"user": 1, "item": 1, "time": 1, "user": 2}\n', "log.csv:1: is not JSON (a key occurs twice)"),
        ("{'user': 1}\n", "log.csv:1: is not JSON ("),
        ('{"user": 1, "item": 1, "time": 1}\n[1]\n', "log.csv:2: is '[1]', but each line must be one object"),
        (
            '{"user": 1, "item": 1, "time": 1}\n{"user": {"id": 1}, "item": 1, "time": 1}\n',
            "log.csv:2: key 'user': {'id': '1'}",
        ),
        (
            '{"user": 1, "item": 1, "time": 1}\n{"user": 1, "item": [1], "time": 1}\n',
            "log.csv:2: key 'item': ['1'] is not text",
        ),
        ('{"user": 1, "item": 1}\n', "log.csv: no line has the key 'time'; the keys are 'user', 'item'"),
        ('[{"user": 1}]\n', "log.csv: is one JSON array; write one object per line instead"),
        ('{"user": 1, "item": 1, "time": "soon"}\n', "log.csv:1: column 'time': 'soon' does not fit"),
        ('{"user": 1, "item": [1], "time": 1}\n', "log.csv: column 'item' is of type list<item: string>; it must hold text or"),
        (b'{"user": 1, "item": 1, "time": 1}\n{"user": "\xff", "item": 1, "time": 1}\n', "log.csv:2: not utf-8 text"),
        ('{"user": "a\0", "item": 1, "time": 1}\n', "log.csv:1: is not JSON ("),
    ],
)
def test_json_that_cannot_be_read_names_its_line(tmp_path: Path, text: str | bytes, said: str) -> None:
    assert said in complaint(tmp_path, text)


# Folders


def test_a_folder_of_text_files_each_with_its_header(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    write(tmp_path / "log" / "part-10.csv.gz", gzip.compress(b"time,user,item\n120,ann,2\n"))
    write(tmp_path / "log" / "part-9.csv", "user,item,time\nann,1,100\nbob,2,50\n")
    write(tmp_path / "log" / "_SUCCESS", "")
    write(tmp_path / "items.csv", ITEMS)
    assert rows(read(tmp_path, dataset_config("log", interactions="log"))) == THREE
    write(tmp_path / "log" / "readme.txt", "What this is\n\nThe log.\n")
    with pytest.raises(DataError, match=r"log/readme.txt: no column 'user', 'item', 'time'; the columns are 'What this is'"):
        read(tmp_path, dataset_config("log", interactions="log"))


def test_a_folder_that_pandas_partitioned(tmp_path: Path) -> None:
    frame = pd.DataFrame({"user": ["a/b", "ann", "ann"], "date": ["2024-01-02", "2024-01-01", "2024-01-10"], "item": [1, 2, 1]})
    frame.to_parquet(tmp_path / "log", partition_cols=["user", "date"])
    write(tmp_path / "items.csv", ITEMS)
    assert (tmp_path / "log" / "user=a%2Fb").is_dir()
    columns = {**COLUMNS, "time": "date"}
    log = read(tmp_path, dataset_config("log", interactions="log", columns=columns, time_format="iso8601"))
    day = 86_400
    start = 19_723 * day  # 2024-01-01
    assert sorted(zip(log.interactions["user_id"], log.interactions["item_id"], seconds_of(log), strict=True)) == [
        (0, 0, start + day),
        (1, 0, start + 9 * day),
        (1, 1, start),
    ]


def test_partitions_of_text_files_and_the_null_partition(tmp_path: Path) -> None:
    for name, text in (("user=ann", LOG), ("user=__HIVE_DEFAULT_PARTITION__", LOG)):
        (tmp_path / "log" / name).mkdir(parents=True)
        write(tmp_path / "log" / name / "0.csv", text.replace("user", "clerk"))
    write(tmp_path / "items.csv", ITEMS)
    log = read(tmp_path, dataset_config("log", interactions="log"))
    assert rows(log) == [[0, 0, 100], [0, 1, 50], [0, 1, 120]]
    assert lost(log) == {"interactions_without_user": 3}
    write(tmp_path / "log" / "user=ann" / "1.csv", LOG)
    with pytest.raises(DataError, match=r"1.csv: the column 'user' is in the file and in the name of its folder; drop one"):
        read(tmp_path, dataset_config("log", interactions="log"))


def test_parquet_uuids_are_their_usual_text(tmp_path: Path) -> None:
    first, second = uuid.UUID(int=1), uuid.UUID(int=2)
    users = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([second.bytes, first.bytes, None], pa.binary(16)))
    items = {"item": [str(first)], "title": ["Heat"]}
    item = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([first.bytes] * 3, pa.binary(16)))
    log = put(tmp_path, {"user": users, "item": item, "time": [1, 2, 3]}, items)
    assert rows(log) == [[1, 0, 1], [0, 0, 2]]
    assert lost(log) == {"interactions_without_user": 1}


# Times


@pytest.mark.parametrize(
    ("dates", "clocks", "formats", "seconds"),
    [
        (["1970-01-02", "1970-01-01"], ["00:00:01", "23:59:59.5"], ("iso8601", "iso8601"), [86_401, 86_399.5]),
        (["02.01.1970", "01.01.1970"], ["1:05 AM", "12:00 PM"], ("%d.%m.%Y", "%I:%M %p"), [86_400 + 3_900, 43_200]),
        (["1970-01-02", "1970-01-01"], ["1500", "0"], ("iso8601", "milliseconds"), [86_401.5, 0]),
        (["0", "86400"], ["86399", "1"], ("seconds", "seconds"), [86_399, 86_401]),
    ],
)
def test_a_date_and_a_time_of_day(
    tmp_path: Path, dates: list[str], clocks: list[str], formats: tuple[str, str], seconds: list[float]
) -> None:
    text = "user,item,day,clock\n" + "".join(f"u,1,{day},{clock}\n" for day, clock in zip(dates, clocks, strict=True))
    columns = {**COLUMNS, "time": "day", "time_of_day": "clock"}
    log = put(tmp_path, text, columns=columns, time_format=formats[0], time_of_day_format=formats[1])
    assert seconds_of(log) == seconds


def test_parquet_dates_and_times_of_day(tmp_path: Path) -> None:
    table = {"user": ["u"] * 2, "item": [1] * 2, "day": pa.array([0, 1], pa.date32())}
    columns = {**COLUMNS, "time": "day", "time_of_day": "clock"}
    for unit, kind in ((1000, pa.time32("ms")), (10**9, pa.time64("ns"))):
        table["clock"] = pa.array([5 * unit, None], kind)
        log = put(tmp_path, table, columns=columns, time_format="iso8601", time_of_day_format="iso8601")
        assert seconds_of(log) == [5]
        assert lost(log) == {"interactions_without_time": 1}


@pytest.mark.parametrize(
    ("day", "clock", "said"),
    [
        (
            "2020-01-01",
            "24:00:00",
            "column 'clock': '24:00:00' does not fit time_of_day_format 'iso8601' (a time within one day)",
        ),
        ("2020-01-01", "10:00:00+02:00", "column 'clock': '10:00:00+02:00' does not fit"),
        (
            "2020-01-01 05:00",
            "10:00",
            "column 'day': '2020-01-01 05:00' is more than a date, but columns.time_of_day has the time",
        ),
        ("soon", "10:00", "column 'day': 'soon' does not fit time_format 'iso8601'"),
    ],
)
def test_a_date_and_a_time_of_day_that_do_not_fit(tmp_path: Path, day: str, clock: str, said: str) -> None:
    columns = {**COLUMNS, "time": "day", "time_of_day": "clock"}
    text = f"user,item,day,clock\nu,1,2020-01-01,10:00\nu,1,{day},{clock}\n"
    message = complaint(tmp_path, text, columns=columns, time_format="iso8601", time_of_day_format="iso8601")
    assert message.startswith(f"log.csv:3: {said}")


def test_formats_of_a_time_of_day_that_are_none(tmp_path: Path) -> None:
    columns = {**COLUMNS, "time": "time", "time_of_day": "clock"}
    for of_day, said in (("%H:%M %z", "has a zone"), ("%Y %H", "is not a valid pattern"), ("hours", "is not one of seconds")):
        message = complaint(tmp_path, columns=columns, time_of_day_format=of_day)
        assert message.startswith(f"time_of_day_format {of_day!r} {said}")
    assert "name that in columns.time and this one in columns.time_of_day" in complaint(tmp_path, time_format="%H:%M")


NO_TIME = {"columns": {**COLUMNS, "time": None}, "time_format": None}


def test_without_times_the_order_of_the_files_counts(tmp_path: Path) -> None:
    """Nothing says that a pair which comes again is a copy, so it is kept."""
    log = put(tmp_path, "user,item\nbob,2\nann,1\nbob,2\n,1\nbob,1\n", **NO_TIME)
    assert rows(log) == [[1, 1, 0], [0, 0, 1], [1, 1, 2], [1, 0, 4]]
    assert lost(log) == {"interactions_without_user": 1}
    parts = [{"user": ["a", "b"], "item": [1, 1]}, {"user": ["a"], "item": [2]}]
    assert rows(put(tmp_path, parts, **NO_TIME)) == [[0, 0, 0], [1, 0, 1], [0, 1, 2]]


@pytest.mark.parametrize(("changes", "order"), [(NO_TIME, "file"), ({}, "time")])
def test_an_order_that_is_not_time_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], order: str
) -> None:
    """Each user has item 2 first in the file and last in time."""
    text = "user,item,time\n" + "".join(f"{user},2,9\n{user},1,{k}\n" for k, user in enumerate("abcd"))
    write(tmp_path / "log.csv", text)
    write(tmp_path / "items.csv", ITEMS)
    config = dataset_config("log", interactions="log.csv", split={"train": 0.5, "validation": 0.25}, **changes)
    prepared = prepare(tmp_path, config)
    assert prepared.statistics["order"] == order
    assert prepared.interactions["item_id"].to_list() == {"file": [1, 0], "time": [0, 1]}[order] * 4
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [("order of the file, not time" in message) for message in said] == [True] * (order == "file")


@pytest.mark.parametrize(("repeats", "places"), [("keep", [0, 1, 2, 3]), ("first", [0, 1]), ("last", [2, 3])])
def test_repeats(tmp_path: Path, repeats: str, places: list[int]) -> None:
    times = [30, 10, 40, 10]  # of item 1: 30 and 40; of item 2: 10 twice, of which the later row is the last
    text = "user,item,time,rating\n" + "".join(f"{user},{1 + k % 2},{times[k]},{k}\n" for user in "abcd" for k in range(4))
    write(tmp_path / "log.csv", text)
    write(tmp_path / "items.csv", ITEMS)
    split = {"train": 0.5, "validation": 0.25}
    columns = {**COLUMNS, "rating": "rating"}
    config = dataset_config("log", interactions="log.csv", repeats=repeats, columns=columns, split=split)
    kept = prepare(tmp_path, config).interactions
    assert sorted(kept["timestamp"].to_list()) == sorted(times[place] for place in places for _ in "abcd")


# Filters


def test_only_the_events_that_are_named(tmp_path: Path) -> None:
    text = "user,item,time,event\nann,1,100,purchase\nann,2,soon, view\nbob,2,50, cart \n"
    text += "ann,,9,view\nann,2,120,purchase\nann,2,1,\n"
    log = put(tmp_path, text, keep={"event": ["purchase", "cart"]})
    assert rows(log) == THREE
    assert lost(log) == {"interactions_with_other_event": 3}
    message = complaint(tmp_path, text, keep={"event": ["purchase", "buy"]})
    assert message.startswith("log.csv: keep: column 'event' never holds 'buy'; it holds 'purchase' (2 rows), 'view' (2 rows)")
    assert complaint(tmp_path, text, keep={"kind": ["x"]}).startswith("log.csv: no column 'kind'")


def test_lines_are_counted_behind_rows_that_are_filtered(tmp_path: Path) -> None:
    text = "user,item,time,event\nann,1,1,view\nann,1,100,buy\nann,1,2,view\nann,1,soon,buy\n"
    assert complaint(tmp_path, text, keep={"event": ["buy"]}).startswith("log.csv:5: column 'time': 'soon'")


@pytest.mark.parametrize("time_format", ["seconds", "iso8601", "%Y"])
def test_a_part_of_which_nothing_is_kept(tmp_path: Path, time_format: str) -> None:
    time = "2020" if time_format != "seconds" else "5"
    parts = [{"user": [user], "item": [1], "time": [time], "rating": ["1"], "event": [event]} for user, event in ("ax", "by")]
    log = put(tmp_path, parts, keep={"event": ["y"]}, time_format=time_format, columns={**COLUMNS, "rating": "rating"})
    assert (len(log.interactions), log.n_users, lost(log)) == (1, 1, {"interactions_with_other_event": 1})


def test_filters_on_numbers_and_truth_values(tmp_path: Path) -> None:
    table = {"user": ["u", "v", "w"], "item": [1, 1, 2], "time": [1, 2, 3], "ok": [True, True, False], "kind": [1, 2, 2]}
    log = put(tmp_path, table, keep={"ok": ["true"], "kind": ["2"]})
    assert rows(log) == [[0, 0, 2]]
    assert lost(log) == {"interactions_with_other_ok": 1, "interactions_with_other_kind": 1}


def test_a_filter_without_a_header(tmp_path: Path) -> None:
    text = "ann,1,100,1\nann,1,5,2\nbob,2,50,1\nann,2,120,1\n"
    log = put(tmp_path, text, headless(ITEMS), header=False, columns=NUMBERS, keep={4: ["1"]})
    assert rows(log) == THREE


def test_a_minimum_on_any_number(tmp_path: Path) -> None:
    text = "user,item,time,plays\n" + "".join(f"{user},{item},{item},{item * 100}\n" for user in "abcd" for item in (1, 2, 3))
    write(tmp_path / "log.csv", text)
    write(tmp_path / "items.csv", ITEMS + "3,Up\n")
    split = {"train": 0.5, "validation": 0.25}
    columns = {**COLUMNS, "rating": "plays"}
    config = dataset_config("log", interactions="log.csv", columns=columns, min_rating=150, split=split)
    assert prepare(tmp_path, config).statistics["left_after"]["rating"]["interactions"] == 4 * 2


# Sequences

OF_LINES = {
    "header": False,
    "columns": {"user": 1, "item": 2, "time": None, "rating": None, "item_id": "item", "title": "title"},
}


def test_a_user_and_an_item_a_line(tmp_path: Path) -> None:
    """As the repositories of SASRec and BERT4Rec have it."""
    layout = {"separator": ",", "header": True}
    log = put(tmp_path, "1 2\n1 1\n2 2\n", separator=" ", items_layout=layout, time_format=None, **OF_LINES)
    assert rows(log) == [[0, 1, 0], [0, 0, 1], [1, 1, 2]]


def test_a_user_and_items_a_line(tmp_path: Path) -> None:
    """As the data of S3-Rec have it; a line of another length is no error here, one without items is."""
    layout = {"separator": ",", "header": True}
    changes = {"separator": " ", "sequences": " ", "items_layout": layout, "time_format": None, **OF_LINES}
    log = put(tmp_path, "7 2 1 2 \n8 1\n\n9 1 NULL 2 3\n", log_name="beauty.txt", **changes)
    assert rows(log) == [[0, 1, 0], [0, 0, 1], [0, 1, 2], [1, 0, 3], [2, 0, 4], [2, 1, 6]]
    assert lost(log) == {"interactions_without_item": 1, "interactions_of_unknown_items": 1}
    message = complaint(tmp_path, "7 2\n8\n", **changes)
    assert message.startswith("log.csv:2: 1 fields separated by ' ', but the first line has 2: '8'")


def test_sequences_of_recbole_with_times(tmp_path: Path) -> None:
    text = "user:token\titem:token_seq\ttime:float_seq\nann\t1 2\t100 120\nbob\t2\t50\n"
    log = put(tmp_path, text, ITEMS.replace(",", "\t"), separator="\t", sequences=" ")
    assert rows(log) == [[0, 0, 100], [0, 1, 120], [1, 1, 50]]


@pytest.mark.parametrize(
    ("items", "times"),
    [("[1, 2]", "[100, 120]"), ('["1", "2"]', "[100.0, 120.0]"), ("['1', '2']", "('100', '120')"), ("(1, 2)", "[1e2, 120]")],
)
def test_lists_in_text(tmp_path: Path, items: str, times: str) -> None:
    log = put(
        tmp_path,
        f"user|item|time\nann|{items}|{times}\nbob|[]|[]\ncat||\n",
        ITEMS.replace(",", "|"),
        separator="|",
        sequences="list",
        quoting="none",
    )
    assert rows(log) == [[0, 0, 100], [0, 1, 120]]
    assert lost(log) == {"interactions_without_item": 2}


def test_lists_in_json_and_parquet(tmp_path: Path) -> None:
    users = [
        {"user": "ann", "item": [1, 2], "time": [100, 120]},
        {"user": "bob", "item": [2], "time": [50]},
        {"user": "x", "item": []},
    ]
    expected = [[0, 0, 100], [0, 1, 120], [1, 1, 50]]
    log = put(tmp_path, as_json_lines(*users), sequences="list")
    assert (rows(log), lost(log)) == (expected, {"interactions_without_item": 1})
    table = {"user": ["ann", "bob", "x"], "item": [[1, 2], [2], None], "time": [[100, 120], [50], []]}
    log = put(tmp_path, table, sequences="list")
    assert (rows(log), lost(log)) == (expected, {"interactions_without_item": 1})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ann;[1, 2];[1]\n", "log.csv:2: 2 values in 'item', but 1 in 'time'; the lists of a row must have the same length"),
        ("ann;[1];[1]\nann;1 2;[1]\n", "log.csv:3: column 'item': '1 2' is not a list of texts or numbers, such as [1, 2]; if"),
        ("ann;[[1]];[1]\n", "log.csv:2: column 'item': '[[1]]' is not a list"),
        ("ann;[1];[1]\nann;[1, 2];[1, soon]\n", "log.csv:3: column 'time': '[1, soon]' is not a list"),
        ("ann;[1];[1]\nann;[1, 2];['1', 'soon']\n", "log.csv:3: column 'time': 'soon' does not fit time_format 'seconds'"),
    ],
)
def test_sequences_that_cannot_be_read_name_their_line(tmp_path: Path, text: str, said: str) -> None:
    message = complaint(tmp_path, f"user;item;time\n{text}", ITEMS.replace(",", ";"), separator=";", sequences="list")
    assert message.startswith(said)


def test_lists_without_a_word_in_the_section(tmp_path: Path) -> None:
    message = complaint(tmp_path, {"user": ["a"], "item": [[1]], "time": [[1]]})
    assert message.startswith("log.parquet: column 'item' is of type list")
    assert "set `sequences: list`" in message
    message = complaint(tmp_path, {"user": [["a"]], "item": [[1]], "time": [[1]]}, sequences="list")
    assert message == "log.parquet: column 'user' is of type list<element: string>; it must hold text or whole numbers"


# Sections that cannot be


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"header": False}, "columns: 'user' is a name, but header is false, so columns have numbers: 1 for the first"),
        ({"items_layout": {"header": False}}, "columns: 'item' is a name, but items_layout.header is false"),
        (
            {
                "items_layout": {"header": False},
                "columns": {**COLUMNS, "item_id": 1, "title": 2},
                "keep_items": {"what": ["name"]},
            },
            "columns: 'what' is a name, but items_layout.header is false",
        ),
        ({"columns": {**COLUMNS, "time": None}}, "columns.time and time_format go together"),
        ({"time_format": None}, "columns.time and time_format go together"),
        ({"columns": {**COLUMNS, "time_of_day": "clock"}}, "columns.time_of_day and time_of_day_format go together"),
        ({"time_of_day_format": "iso8601"}, "columns.time_of_day and time_of_day_format go together"),
        (
            {**NO_TIME, "split": {"strategy": "global_time"}},
            "split.strategy global_time cuts the log by time and needs columns.",
        ),
        ({"keep": {"user": ["ann"]}}, "columns: one column cannot serve two purposes"),
        ({"keep": {"event": []}}, "at least 1 item"),
        ({"sequences": ","}, "sequences: ',' is also the separator, so a line is a user and items; this needs header: false"),
        ({"columns": {**COLUMNS, "time": True}}, "Input should be a valid string"),
    ],
)
def test_sections_that_contradict_themselves(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(said)):
        dataset_config("log", **changes)
