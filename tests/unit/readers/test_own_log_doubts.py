"""Logs whose files say less, or something else, than they seem to: read as they are meant, or refused by a message that says
what they are."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from llara_core.answers.parsing import parse_answer
from llara_core.data.preparation import prepare
from llara_core.readers.item_titles import clean_titles
from llara_core.readers.own_log import read
from llara_core.readers.titles import as_seen, plain_title, unique_labels
from tests.helpers.datasets import dataset_config
from tests.helpers.own_logs import COLUMNS, ITEMS, LOG, complaint, put, rows, seconds_of, write

T = 1_700_000_000  # a second in 2023
LISTS: dict[str, Any] = {"sequences": "list", "columns": {**COLUMNS, "time": None}, "time_format": None}


def log_of(*times: object) -> str:
    return "user,item,time\n" + "".join(f"u,1,{time}\n" for time in times)


# 1. Numbers that were rounded, and numbers that were not


@pytest.mark.parametrize("time", ["1.70E+09", "1.7e+09", "1.69999E9"])
def test_times_that_a_spreadsheet_rounded(tmp_path: Path, time: str) -> None:
    message = complaint(tmp_path, log_of("", time, time))
    assert message.startswith(f"log.csv:3: column 'time': {time!r} is a number that was rounded, as spreadsheets do")
    assert message.endswith("different times may have become equal; export the times again, in full")


def test_exact_times_with_exponents(tmp_path: Path) -> None:
    """Java writes every large number so, R the round ones alone."""
    assert seconds_of(put(tmp_path, log_of("1.700000123E9", "1.7E9"))) == [T + 123, T]
    assert seconds_of(put(tmp_path, log_of("1.7e+09", T + 123))) == [T, T + 123]


def test_numbers_too_large_for_their_type(tmp_path: Path) -> None:
    """float32 holds whole numbers up to 2^24."""
    log = {"user": pa.array([1.0, 2.0], pa.float32()), "item": [1, 1], "time": [1, 2]}
    assert len(put(tmp_path, log).interactions) == 2
    message = complaint(tmp_path, {**log, "user": pa.array([1.0, 2.0**24], pa.float32())})
    assert message.startswith("log.parquet: row 2: column 'user': 16777216.0 may have lost digits as a number of type float;")
    message = complaint(tmp_path, {**log, "time": pa.array([float(T), float(T)]).cast(pa.float32())})
    assert message.startswith("log.parquet: row 1: column 'time': 1700000000.0 may have lost digits as a number of type float;")


# 2. Ids that are written in two ways


def test_an_id_as_whole_and_as_decimal_number(tmp_path: Path) -> None:
    message = complaint(tmp_path, "user,item,time\n10,1,5\n11,1,5\n10.0,2,6\n")
    assert message.startswith("log.csv:4: column 'user': '10.0' is the same number as '10' in log.csv:2 (pandas writes 1 as ")
    assert complaint(tmp_path, items="item,title\n1,Heat\n2,Alien\n2.0,Alien\n").startswith(
        "items.csv:4: column 'item': '2.0' is the same number as '2' in items.csv:3"
    )
    assert len(put(tmp_path, "user,item,time\n10.0,1,5\n11.0,2,5\n").interactions) == 2  # all alike


def test_item_ids_as_decimal_numbers_in_one_of_the_files(tmp_path: Path) -> None:
    message = complaint(tmp_path, "user,item,time\na,1.0,5\na,2.0,6\n")
    assert message.startswith("log.csv:2: column 'item': '1.0' is the same number as '1' in the items")
    assert message.endswith("write ids the same way in all files")
    message = complaint(tmp_path, "user,item,time\na,1,5\na,2,6\n", "item,title\n1,Heat\n2.,Alien\n")
    assert message.startswith("log.csv:3: column 'item': '2' is the same number as '2.' in the items")


def test_zeros_in_front_tell_ids_apart(tmp_path: Path) -> None:
    log = put(tmp_path, "user,item,time\n7,1,5\n007,2,6\n")
    assert log.n_users == 2


def test_composed_and_decomposed_ids_are_one(tmp_path: Path) -> None:
    log = "user,item,time,event\nZoe\u0308,Cafe\u0301,1,achete\u0301\nZo\u00eb,Caf\u00e9,2,achet\u00e9\n"
    items = "item,title\nCaf\u00e9,Heat\n"
    for first, second in ((log, items), (log, items.replace("\u00e9", "e\u0301"))):
        found = put(tmp_path, first, second, keep={"event": ["achet\u00e9"]})
        assert rows(found) == [[0, 0, 1], [0, 0, 2]]
        assert found.items["raw_id"].to_list() == ["Caf\u00e9"]


def test_ids_with_invisible_characters(tmp_path: Path) -> None:
    message = complaint(tmp_path, LOG.replace(",1,", ",1\u200b,"))
    assert message == (
        "log.csv:2: column 'item': '1\\u200b' differs only in invisible characters from '1' in the items; write ids the same "
        "way in all files"
    )


# 3. Characters that nobody sees, or that were lost


@pytest.mark.parametrize(
    ("raw", "title"),
    [
        ("Copper Kettle\u200b", "Copper Kettle"),
        ("\u200eCopper Kettle \ufeff", "Copper Kettle"),
        ("Copper\u00adKettle", "CopperKettle"),
        ("Copper Ket\u2060tle", "Copper Kettle"),
        ("Copper&shy;Kettle &zwnj;", "CopperKettle"),
        ("Auf\u200clage", "Auflage"),  # against a ligature, which no prompt shows
        ("\u3164", ""),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"),  # Persian
        ("\u0915\u094d\u200d\u0937", "\u0915\u094d\u200d\u0937"),  # Devanagari
        ("\u0915\u200b\u094d\u200d\u0937", "\u0915\u094d\u200d\u0937"),
        ("\U0001f469\u200d\U0001f680 \u2764\ufe0f\u200d\U0001f525", "\U0001f469\u200d\U0001f680 \u2764\ufe0f\u200d\U0001f525"),
        (
            "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f Scotland\U000e0041",
            "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f Scotland",
        ),
        ("\u0600\u0661", "\u0600\u0661"),  # a sign that is drawn
    ],
)
def test_invisible_characters_leave_titles(raw: str, title: str) -> None:
    assert plain_title(raw) == title
    assert as_seen(raw) == as_seen(title) or "&" in raw


def test_labels_and_answers_differ_in_what_is_seen(tmp_path: Path) -> None:
    titles = [plain_title(raw) for raw in ("Heat", "Heat\u200b", "\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u062e")]
    labels = unique_labels(titles, [None] * 4, list("abcd"))
    assert labels == ["Heat [a]", "Heat [b]", "\u0645\u06cc\u200c\u062e [c]", "\u0645\u06cc\u062e [d]"]
    assert parse_answer("He\u00adat [b]\u200e", labels) == 1
    assert parse_answer("\u0645\u06cc\u062e", ["\u0645\u06cc\u200c\u062e", "Heat"]) == 0
    assert parse_answer("caf\u00e9\ufe0f", ["Cafe\u0301", "Heat"]) == 0


def test_titles_that_are_seen_alike_are_one_title(tmp_path: Path) -> None:
    log = put(tmp_path, items=ITEMS + "2,Ali\u00aden\n")
    assert log.items["raw_title"].to_list() == ["Heat", "Alien"]
    assert log.dropped["items_duplicated"] == 1


def test_half_a_surrogate_pair_in_json(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = '{"user": "u\\ud83d", "item": [1, "\\ud83d\\ude00"]}\n'
    items = '{"item": 1, "title": "Velvet Storm \\ud83d"}\n{"item": "\\ud83d\\ude00", "title": "\\ud83d\\ude00"}\n'
    for name in ("interactions.csv", "items.csv"):
        write(tmp_path / name, log if name == "interactions.csv" else items)
    found = read(tmp_path, dataset_config("log", **LISTS))
    assert found.items.to_dict("list") == {"raw_id": ["1", "\U0001f600"], "raw_title": ["Velvet Storm \ufffd", "\U0001f600"]}
    assert rows(found) == [[0, 0, 0], [0, 1, 1]]
    (message,) = caplog.messages
    assert message.endswith(
        "column 'user': 1 ids hold U+FFFD in place of lost characters, such as 'u\ufffd': different ones may have become equal"
    )
    cleaned = clean_titles(found.items["raw_title"], dataset_config("log").titles, are_movies=False)
    assert cleaned.counts == {"html_removed": 0, "cut": 0, "damaged": 1}
    text = 'user,item\nann,"[""1"", ""\\ud83d\\ude00"", ""\\ud83d""]"\n'.replace("\\\\", "\\")
    assert put(tmp_path, text, items, **LISTS).dropped["interactions_of_unknown_items"] == 1


# 4. Times


@pytest.mark.parametrize(
    ("time_format", "times", "seconds"),
    [
        ("seconds", [f"{T}.438", f"{T}"], [T + Fraction(438, 1000), T]),
        ("seconds", [f"{T}.123456789", "-.5"], [T + Fraction(123_456_789, 10**9), Fraction(-1, 2)]),
        ("seconds", ["1.700000000438E9"], [T + Fraction(438, 1000)]),
        ("milliseconds", [f"{T}000.25"], [T + Fraction(25, 10**5)]),
    ],
)
def test_fractions_of_a_unit(tmp_path: Path, time_format: str, times: list[str], seconds: list[Fraction]) -> None:
    assert seconds_of(put(tmp_path, log_of(*times), time_format=time_format)) == seconds


@pytest.mark.parametrize("kind", [pa.float64(), pa.decimal128(20, 3)])
def test_fractions_of_a_unit_in_parquet(tmp_path: Path, kind: pa.DataType) -> None:
    times = pa.array(["1700000000.438", "-0.001", "5"]).cast(kind)
    log = put(tmp_path, {"user": list("abc"), "item": [1, 1, 1], "time": times})
    assert seconds_of(log) == [T + Fraction(438, 1000), Fraction(-1, 1000), 5]


def test_large_numbers_with_fractions(tmp_path: Path) -> None:
    times = pa.array([T * 1000 + 0.25, 5.0])
    log = put(tmp_path, {"user": list("ab"), "item": [1, 1], "time": times}, time_format="milliseconds")
    assert seconds_of(log) == [T + Fraction(25, 10**5), Fraction(5, 1000)]


def test_fractions_decide_the_order_and_what_is_a_duplicate(tmp_path: Path) -> None:
    log = put(tmp_path, log_of(f"{T}.4", f"{T}.2", f"{T}.2", T))
    assert seconds_of(log) == [T + Fraction(2, 5), T + Fraction(1, 5), T]
    assert log.dropped["interactions_duplicated"] == 1


def test_times_of_minus_one(tmp_path: Path) -> None:
    message = complaint(tmp_path, log_of(T, -1, 0))
    assert message == (
        "log.csv:3: column 'time': time_format 'seconds' reads it as 1969-12-31T23:59:59; does -1 mean a missing time? Then "
        "name it in `missing`, with quotes"
    )
    log = put(tmp_path, log_of(T, -1, 0), missing=["-1"])
    assert seconds_of(log) == [T, 0]
    assert log.dropped["interactions_without_time"] == 1
    assert seconds_of(put(tmp_path, log_of(-1, 0, 1))) == [-1, 0, 1]  # positions


@pytest.mark.parametrize("time_format", ["seconds", "milliseconds"])
def test_days_as_spreadsheets_count(tmp_path: Path, time_format: str) -> None:
    message = complaint(tmp_path, log_of(45_000.25, 45_001), time_format=time_format)
    assert "reads it as 1970-01-01T" in message
    assert "are these days since 1900, as spreadsheets count? Export dates as text" in message
    assert len(put(tmp_path, log_of(1, 45_001), time_format=time_format).interactions) == 2


# 5. Lists


@pytest.mark.parametrize("text", ["[ 1  2 3]", "[1\n 2 3]", "['1' '2'\n '3']", "[1. 2. 3.]", "[1, 2, 3]", "(1, 2, 3)"])
def test_arrays_as_numpy_prints_them(tmp_path: Path, text: str) -> None:
    log = put(tmp_path, f'user,item\nann,"{text}"\n', "item,title\n1,A\n2,B\n3,C\n", **LISTS)
    assert log.interactions["item_id"].to_list() == [0, 1, 2]


@pytest.mark.parametrize("text", ["[1, NaN, 2]", "[1 nan 2]", "[1, null, 2]"])
def test_missing_values_in_lists(tmp_path: Path, text: str) -> None:
    log = put(tmp_path, f'user,item\nann,"{text}"\n', **LISTS)
    assert log.interactions["item_id"].to_list() == [0, 1]
    assert log.dropped["interactions_without_item"] == 1


@pytest.mark.parametrize("text", ["[1 2 ... 8 9]", "[1, 2, ..., 9]"])
def test_arrays_that_numpy_cut_short(tmp_path: Path, text: str) -> None:
    message = complaint(tmp_path, f'user,item\nann,[1 2]\nbob,"{text}"\n', **LISTS)
    assert message.startswith(f"log.csv:3: column 'item': {text!r} is a list whose middle was replaced by an ellipsis (...)")


def test_a_separator_for_lists_in_brackets(tmp_path: Path) -> None:
    message = complaint(tmp_path, "user,item\nann,[1 2]\nbob,[2 1]\n", **{**LISTS, "sequences": " "})
    assert message == "log.csv:2: column 'item': '[1 2]' is a list in brackets: set `sequences: list`"


@pytest.mark.parametrize("further", ["1 2 3", "1 2 3 4"])  # MIND repeats the history, RecBole's prefixes grow
def test_rows_that_repeat_the_history(tmp_path: Path, caplog: pytest.LogCaptureFixture, further: str) -> None:
    items = "item,title\n1,A\n2,B\n3,C\n4,D\n"
    log = f"user,item\nann,1 2 3\nann,{further}\nbob,2 3\nbob,2 3 1\n"
    n = 3 + len(further.split()) + 2 + 3
    assert len(put(tmp_path, log, items, **{**LISTS, "sequences": " "}).interactions) == n
    assert "2 rows begin with all items of the user's previous row" in caplog.text
    assert "`repeats: first` counts each item of a user once" in caplog.text
    caplog.clear()
    put(tmp_path, log, items, repeats="first", **{**LISTS, "sequences": " "})
    put(tmp_path, "user,item\nann,1 2\nann,3 4\nann,2 1\n", items, **{**LISTS, "sequences": " "})
    assert not caplog.messages
    config = dataset_config(
        "log", repeats="first", split={"train": 0.4, "validation": 0.3}, **{**LISTS, "sequences": " "}
    )  # fmt: skip
    write(tmp_path / "interactions.csv", log + "cy,4 1\ncy,4 1 2\n")
    write(tmp_path / "items.csv", items)
    table = prepare(tmp_path, config).interactions
    assert table.groupby("user_id")["item_id"].agg(list).to_list() == [
        [*range(len(further.split()))],
        [1, 2, 0],
        [3, 0, 1],
    ]


# 6. Lines that are no rows


@pytest.mark.parametrize("header", [False, True])
def test_lines_that_name_the_item_of_the_rows_below(tmp_path: Path, header: bool) -> None:
    columns = {"user": 1, "item": 2, "time": 3, "rating": None, "item_id": 1, "title": 2}
    changes = {"header": header, "columns": COLUMNS if header else columns}
    message = complaint(tmp_path, "17:\nann,1,5\n18:\nbob,2,6\n", "1,Heat\n2,Alien\n", **changes)
    if not header:
        assert message.startswith("log.csv:1: '17:' names the item of the rows below it, as in the files of the Netflix prize.")
    message = complaint(tmp_path, "user,item,time\n17:\nann,1,5\n", items=ITEMS) if header else message
    assert "awk -F: '/:$/ {item = $1; next} {print item \",\" $0}'" in message


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("% bip weighted posweighted", "is a comment; delete the lines that begin with '%', for example with: grep -v '^%'"),
        ("# made by a script", "is a comment; delete the lines that begin with '#', for example with: grep -v '^#'"),
        ("sep=;", "tells Excel the separator; delete the line"),
    ],
)
@pytest.mark.parametrize("separator", [";", " "])
def test_comments(tmp_path: Path, line: str, said: str, separator: str) -> None:
    log, items = (part.replace(",", separator) for part in (LOG, ITEMS))
    message = complaint(tmp_path, f"{line}\n{log}", items, separator=separator)
    assert message.endswith(said)
    assert message.startswith(f"log.csv:1: {line!r} ")
    columns = {"user": 1, "item": 2, "time": 3, "rating": None, "item_id": 1, "title": 2}
    bare = {"separator": separator, "header": False, "columns": columns}
    bare_log, bare_items = (part.split("\n", 1)[1] for part in (log, items))
    assert complaint(tmp_path, f"{line}\n{bare_log}", bare_items, **bare) == f"log.csv:1: {line!r} {said}"


def test_a_header_may_begin_with_a_mark_of_comments(tmp_path: Path) -> None:
    columns = {**COLUMNS, "user": "#user"}
    assert rows(put(tmp_path, "#" + LOG, columns=columns)) == rows(put(tmp_path))


# 7. Items


EAV = "item,property,value\n1,category,0\n1,name,Heat\n2,name,Alien\n2,category,1\n"


def test_items_with_a_row_per_property(tmp_path: Path) -> None:
    columns = {**COLUMNS, "title": "value"}
    message = complaint(tmp_path, items=EAV, columns=columns)
    assert message.startswith("items.csv:3: item '1' is 'Heat' here and '0' in items.csv:2")
    assert "if the file has a row per property of an item, set `keep_items` to the rows of the titles" in message
    log = put(tmp_path, items=EAV, columns=columns, keep_items={"property": ["name"]})
    assert log.items["raw_title"].to_list() == ["Heat", "Alien"]
    assert log.dropped["items_with_other_property"] == 2
    message = complaint(tmp_path, items=EAV, columns=columns, keep_items={"property": ["nmae"]})
    assert message.startswith("items.csv: keep_items: column 'property' never holds 'nmae'; it holds ")


@pytest.mark.parametrize("items", ["item\n1\n2\n", {"item": pa.array([1, 2])}])
def test_items_without_titles(tmp_path: Path, items: Any) -> None:
    config = dataset_config("log", columns={**COLUMNS, "title": "item"})
    assert not config.has_titles
    assert dataset_config("log").has_titles
    log = put(tmp_path, items=items, columns={**COLUMNS, "title": "item"})
    assert log.items.to_dict("list") == {"raw_id": ["1", "2"], "raw_title": ["1", "2"]}
