"""The reader of own logs takes what CSV and Parquet files may hold, and names file and line of everything else."""

import csv
import gzip
import io
import tempfile
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llara_core.data import log_files, own_log
from llara_core.data.own_log import read
from llara_core.data.raw import RawLog
from llara_core.errors import DataError
from tests.helpers.datasets import dataset_config

LOG = "user,item,time\nann,1,100\nbob,2,50\nann,2,120\n"
ITEMS = "item,title\n1,Heat\n2,Alien\n"
COLUMNS = {"user": "user", "item": "item", "time": "time", "rating": None, "item_id": "item", "title": "title"}
RATED = {"columns": {**COLUMNS, "rating": "rating"}}


def put(folder: Path, log: Any = LOG, items: Any = ITEMS, log_name: str | None = None, **changes: Any) -> RawLog:
    """Write text or bytes as CSV, columns as Parquet, a list of those as a folder of Parquet files; and read it all."""
    names = {"interactions": log_name or f"log.{suffix(log)}", "items": f"items.{suffix(items)}"}
    write(folder / names["interactions"], log)
    write(folder / names["items"], items)
    return read(folder, dataset_config("log", **names, **changes))


def suffix(content: Any) -> str:
    return "csv" if isinstance(content, str | bytes) else "parquet"


def write(path: Path, content: Any) -> None:
    if isinstance(content, list):
        path.mkdir()
        for number, part in enumerate(content):
            write(path / f"part-{number}.parquet", part)
    elif isinstance(content, dict):
        pq.write_table(pa.table(content), path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def complaint(folder: Path, *arguments: Any, **changes: Any) -> str:
    """The error message, with paths relative to ``folder``."""
    with pytest.raises(DataError) as caught:
        put(folder, *arguments, **changes)
    return str(caught.value).replace(f"{folder}/", "")


def rows(log: RawLog) -> list[list[Any]]:
    return [list(row) for row in log.interactions.itertuples(index=False)]


def log_of(*times: str) -> str:
    """One interaction a line, of user u and item 1."""
    return "user,item,time\n" + "".join(f"u,1,{time}\n" for time in times)


def test_rows_keep_their_order_and_ids_become_numbers(tmp_path: Path) -> None:
    log = put(tmp_path)
    assert rows(log) == [[0, 0, 100], [1, 1, 50], [0, 1, 120]]
    assert [str(kind) for kind in log.interactions.dtypes] == ["int32", "int32", "int64"]
    assert log.items.to_dict("list") == {"raw_id": ["1", "2"], "raw_title": ["Heat", "Alien"]}
    assert log.n_users == 2
    everything = {"users": 2, "items": 2, "interactions": 3}
    assert log.steps == {"raw": everything, "distinct": everything, "known": everything}
    assert log.dropped == {"items_duplicated": 0, "interactions_duplicated": 0, "interactions_of_unknown_items": 0}


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
    "kind", [pa.int64(), pa.uint8(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
)
def test_parquet_ids_of_any_discrete_type(tmp_path: Path, kind: pa.DataType) -> None:
    ids = pa.array(["10", "9", "10"]).cast(pa.int64() if pa.types.is_integer(kind) else pa.string()).cast(kind)
    log = put(tmp_path, {"user": ids, "item": ids, "time": [1, 2, 3]}, {"item": ids[:2], "title": ["A", None]})
    assert rows(log) == [[1, 1, 1], [0, 0, 2], [1, 1, 3]]
    assert log.items.to_dict("list") == {"raw_id": ["9", "10"], "raw_title": ["", "A"]}


@pytest.mark.parametrize(
    ("ids", "kind"), [([1.0, 2.0], "double"), ([True, False], "bool"), ([b"1", b"2"], "binary"), ([[1], [2]], "list")]
)
def test_ids_of_other_types_are_refused(tmp_path: Path, ids: list[Any], kind: str) -> None:
    message = complaint(tmp_path, {"user": ids, "item": ["1", "2"], "time": [1, 2]})
    assert message.startswith(f"log.parquet: column 'user' is of type {kind}")
    assert message.endswith("it must hold text or whole numbers")


@pytest.mark.parametrize(
    ("time_format", "text", "seconds"),
    [
        ("seconds", "100", 100),
        ("seconds", " 100.0 ", 100),
        ("seconds", "1e2", 100),
        ("seconds", "-1", -1),
        ("milliseconds", "1999", 1),
        ("milliseconds", "-1", -1),
        ("iso8601", "1970-01-02", 86_400),
        ("iso8601", "1970-01-01T00:01:00Z", 60),
        ("iso8601", "1970-01-01 01:00:01.999+01:00", 1),
        ("iso8601", "1969-12-31T23:59:59.5", -1),
        ("iso8601", "0001-01-01T00:00:00", -62_135_596_800),
        ("iso8601", "9999-12-31T23:59:59", 253_402_300_799),
        ("%d/%m/%Y %H:%M", "2/1/1970 00:01", 86_460),
        ("%d.%m.%Y %H:%M:%S.%f %z", "01.01.1970 00:00:01.75 -0100", 3601),
    ],
)
def test_times_in_every_format(tmp_path: Path, time_format: str, text: str, seconds: int) -> None:
    assert rows(put(tmp_path, log_of(text), time_format=time_format)) == [[0, 0, seconds]]


@pytest.mark.parametrize(
    ("time_format", "times", "seconds"),
    [
        ("seconds", pa.array([5.0, -1.0]), [5, -1]),
        ("milliseconds", pa.array([5000, 1], pa.uint64()), [5, 0]),
        ("iso8601", pa.array([1500, -500], pa.timestamp("ms")), [1, -1]),
        ("iso8601", pa.array([10**9, -1], pa.timestamp("ns", "Europe/Berlin")), [1, -1]),
        ("iso8601", pa.array([date(1970, 1, 2), date(1969, 12, 31)]), [86_400, -86_400]),
        ("iso8601", pa.array(["1970-01-02", "1970-01-01T00:00:01"]).dictionary_encode(), [86_400, 1]),
        ("%Y%m%d", pa.array([19700102, 19691231]), [86_400, -86_400]),
    ],
)
def test_parquet_times(tmp_path: Path, time_format: str, times: pa.Array, seconds: list[int]) -> None:
    log = put(tmp_path, {"user": ["u", "v"], "item": [1, 1], "time": times}, time_format=time_format)
    assert log.interactions["timestamp"].to_list() == seconds


@pytest.mark.parametrize(
    ("time_format", "text"),
    [
        ("seconds", "yesterday"),
        ("seconds", "1.5"),
        ("seconds", "nan"),
        ("seconds", "inf"),
        ("seconds", "0x10"),
        ("seconds", "1_0"),
        ("seconds", "1700000000000"),  # milliseconds
        ("seconds", "1e300"),
        ("milliseconds", "2020-01-01"),
        ("iso8601", "1700000000"),
        ("iso8601", "01/02/2020"),
        ("iso8601", "2020-02-30"),
        ("iso8601", "10000-01-01"),
        ("iso8601", "now"),
        ("%d/%m/%Y", "2020-01-01"),
    ],
)
def test_a_time_that_does_not_fit_names_line_value_and_format(tmp_path: Path, time_format: str, text: str) -> None:
    good = {"seconds": "1", "milliseconds": "1", "iso8601": "2020-01-01"}.get(time_format, "01/02/2020")
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
        ([1.0], "iso8601", "is of type double; it must hold text or whole numbers"),
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


@pytest.mark.parametrize("bad", ["good", "nan", "inf", "4,5", "-", "0x1"])
def test_other_ratings_name_their_line(tmp_path: Path, bad: str) -> None:
    message = complaint(
        tmp_path, f"user;item;time;rating\na;1;1;4\na;2;2;{bad}\n", ITEMS.replace(",", ";"), separator=";", **RATED
    )
    assert message == f"log.csv:3: column 'rating': {bad!r} is not a finite number"


@pytest.mark.parametrize("column", ["user", "item", "time", "rating"])
@pytest.mark.parametrize("empty", ["", " "])
def test_empty_values_name_their_line(tmp_path: Path, column: str, empty: str) -> None:
    row = {"user": "a", "item": "1", "time": "1", "rating": "1", column: empty}
    text = "user,item,time,rating\na,1,1,5\n\n" + ",".join(row.values()) + "\n"
    expected = f"4: column '{column}' is empty; every row needs a value there"
    assert complaint(tmp_path, text, **RATED) == f"log.csv:{expected}"


@pytest.mark.parametrize("column", ["user", "item", "time", "rating"])
def test_nulls_name_their_file_and_row(tmp_path: Path, column: str) -> None:
    good = {"user": ["a", "b"], "item": [1, 2], "time": [1, 2], "rating": [1.0, 2.0]}
    message = complaint(tmp_path, [good, {**good, column: [good[column][0], None]}], **RATED)
    assert message == f"log.parquet/part-1.parquet: row 2: column '{column}' is empty; every row needs a value there"


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
        "log.csv: no interaction is of an item in items.csv: ids here are such as '1', there 'B01'; "
        "check `columns.item` and `columns.item_id`"
    )


def test_repeated_item_rows_go_and_empty_titles_stay(tmp_path: Path) -> None:
    log = put(tmp_path, items="item,title\n2, Alien\n1,\n2,Alien\n 1,\n3,\n")
    assert log.items.to_dict("list") == {"raw_id": ["1", "2", "3"], "raw_title": ["", "Alien", ""]}
    assert log.dropped["items_duplicated"] == 2


def test_an_item_with_two_titles_names_both_lines(tmp_path: Path) -> None:
    message = complaint(tmp_path, items='item,title\n1,"He\nat"\n2,Alien\n3,Up\n2,Aliens\n')
    assert message == "items.csv:6: item '2' is 'Aliens' here and 'Alien' in items.csv:4; an item has one title"
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
    for separator in '"\n§':
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
        ("user,item,time,user", "several columns are called 'user'; names must differ"),
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


def test_damaged_files(tmp_path: Path) -> None:
    packed = gzip.compress("".join([LOG, *(f"user{k},1,{k}\n" for k in range(100))]).encode())
    for content in (packed[:-20], b"no gzip"):
        message = complaint(tmp_path, content, log_name="log.csv.gz")
        assert message.startswith("log.csv.gz: cannot be read, damaged or cut short: ")
    message = complaint(tmp_path, b"no Parquet", log_name="log.parquet")
    assert message.startswith("log.parquet: cannot be read as Parquet, damaged or of another kind: ")


def test_missing_files_and_unknown_kinds(tmp_path: Path) -> None:
    put(tmp_path)
    with pytest.raises(DataError, match=r"none.csv: not found; correct its name, or run the download stage, which copies it"):
        read(tmp_path, dataset_config("log", items="none.csv"))
    message = complaint(tmp_path, log_name="log.xlsx")
    assert message == (
        "log.xlsx: unknown kind of file; known are .csv, .tsv, .csv.gz, .tsv.gz, .parquet and a folder of .parquet files"
    )


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    parts = [{"user": ["a", "b"], "item": [1, 2], "time": [1, 2]}, {"user": ["c"], "item": [1], "time": [0]}]
    for hidden in (".old.parquet", "_tmp.parquet", "README.txt"):
        (tmp_path / "log").mkdir(exist_ok=True)
        (tmp_path / "log" / hidden).write_text("no Parquet")
    for number, part in zip("21", parts, strict=True):
        pq.write_table(pa.table(part), tmp_path / "log" / f"{number}.parquet")
    (tmp_path / "items.csv").write_text(ITEMS)
    log = read(tmp_path, dataset_config("log", interactions="log"))
    assert rows(log) == [[2, 0, 0], [0, 0, 1], [1, 1, 2]]


def test_folders_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "items.csv").write_text(ITEMS)
    with pytest.raises(DataError, match=r"empty: the folder holds no .parquet file"):
        read(tmp_path, dataset_config("log", interactions="empty"))
    good = {"user": ["a"], "item": [1], "time": [1]}
    message = complaint(tmp_path, [good, {**good, "item": ["1"]}], log_name="types")
    assert message.startswith(
        "types/part-1.parquet: columns 'user', 'item', 'time' are of types string, string, int64, in part-0"
    )
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
IDS = st.text(TEXT, min_size=1, max_size=3) | st.integers(0, 200).map(str)
EVENTS = st.tuples(IDS, st.sampled_from(["1", "2", "é"]), st.integers(-(10**9), 10**10), st.sampled_from([0.5, 3.0, 4.5]))


@settings(max_examples=25)
@given(st.lists(EVENTS, min_size=1, max_size=20), st.dictionaries(IDS, st.text(max_size=5)), st.integers(1, 9))
def test_csv_and_parquet_hold_the_same_log(events: list[Any], titles: dict[str, str], batch: int) -> None:
    titles = {**titles, events[0][1]: "known"}
    log = dict(zip(["user", "item", "time", "rating"], zip(*events, strict=True), strict=True))
    items = {"item": list(titles), "title": list(titles.values())}
    with tempfile.TemporaryDirectory() as scratch, pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_files, "BATCH_ROWS", batch)
        patch.setattr(log_files, "BATCH_BYTES", 100 * batch)
        parquet = put(Path(scratch), log, items, **RATED)
        text = put(Path(scratch), as_csv(log), as_csv(items), **RATED)
    pd.testing.assert_frame_equal(text.interactions, parquet.interactions)
    pd.testing.assert_frame_equal(text.items, parquet.items)
    assert (text.n_users, text.steps, text.dropped) == (parquet.n_users, parquet.steps, parquet.dropped)

    users, known = ascending(log["user"]), ascending(titles)
    assert text.items["raw_id"].to_list() == known
    assert rows(text) == [
        [users.index(user), known.index(item), time, rating]
        for user, item, time, rating in dict.fromkeys(events)
        if item in titles
    ]


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
    with pytest.raises(DataError, match=r"log/more: a folder may hold \.parquet files, no other log and no folder"):
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
