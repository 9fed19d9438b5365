"""Histories of many users: accepted files, dropped rows, and the table of recommendations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from llara_core import paths, tables
from llara_core.data.preparation import prepare
from llara_core.errors import DataError
from llara_core.serving.histories import (
    prepared_histories,
    read_histories,
    recommendations_table,
    write_recommendations,
)
from llara_core.serving.new_items import section_of_files
from llara_core.serving.ranking import Ranked
from tests.helpers.datasets import dataset_config
from tests.helpers.own_logs import COLUMNS

ITEMS = pd.DataFrame(
    {"raw_id": ["10", "20", "030"], "title": ["Alien", "Heat", "Heat"], "label": ["Alien", "Heat [20]", "Heat [030]"]}
)
BY_NUMBER = {"user": 1, "item": 2, "time": 3, "rating": None, "item_id": "item", "title": "title"}
NO_TIME = {"columns": {**COLUMNS, "time": None}, "time_format": None}
NAMES = dataset_config("movielens_100k", min_rating=None)


def _read(folder: Path, text: str, dataset: Any = NAMES) -> dict[str, list[int]]:
    file = folder / "histories.csv"
    file.write_text(text, encoding=section_of_files(dataset).encoding)
    return read_histories(file, ITEMS, dataset)


def test_rows_of_a_user_are_oldest_first_and_ids_are_text(tmp_path: Path) -> None:
    assert _read(tmp_path, "user_id,item_id\n007,030\nann,10\n007,20\n007,20\n") == {"007": [2, 1, 1], "ann": [0]}


def test_many_rows_of_one_time_keep_their_order(tmp_path: Path) -> None:
    times = [7, 8] * 150
    rows = "".join(
        f"ann,{item},{time},{n}\n" for n, (item, time) in enumerate(zip(["10", "20", "030"] * 100, times, strict=True))
    )
    read = _read(tmp_path, "user_id,item_id,timestamp,rating\n" + rows, dataset_config("movielens_100k", min_rating=0))
    assert read == {"ann": [0, 2, 1] * 50 + [1, 0, 2] * 50}


def test_a_byte_order_mark_and_quoted_titles_are_read(tmp_path: Path) -> None:
    assert _read(tmp_path, '\ufeffuser_id,title\nann,"Alien"\n') == {"ann": [0]}


def test_a_title_column_serves_where_there_are_no_ids(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert _read(tmp_path, "user_id,title\nann,alien\nann,Heat [20]\nann,10\n") == {"ann": [0, 1]}
    assert len(caplog.messages) == 1  # of the third row
    assert _read(tmp_path, "user_id,title\nann,Alien (1979)\nbob,Alien (1979)\n") == {"ann": [0], "bob": [0]}
    assert caplog.messages[1].endswith(
        "1 titles match only without their year or with their article moved, e.g. 'Alien (1979)'"
    )


@pytest.mark.parametrize("times", [("30", "4", "30"), ("2020-01-02", "2020-01-01T23:00:00-00:30", "2020-01-02")])
def test_times_sort_the_rows_and_equal_ones_keep_their_order(tmp_path: Path, times: tuple[str, str, str]) -> None:
    rows = "".join(f"ann,{item},{time}\n" for item, time in zip(("20", "10", "030"), times, strict=True))
    assert _read(tmp_path, "user_id,item_id,timestamp\n" + rows) == {"ann": [0, 1, 2]}


def test_dropped_rows_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert _read(tmp_path, "user_id,item_id\nann,10\nann,99\nbob,99\nbob,98\n,20\ncat,\n") == {"ann": [0]}
    assert [message.partition(": ")[2] for message in caplog.messages] == [
        "rows dropped by the rules of the section: interactions_without_user 1, interactions_without_item 1",
        "3 rows dropped: their 2 items are not in the catalogue or share a title, e.g. '98'",
        "users without a usable item, who get no recommendation: 1",
    ]


def test_parquet_numbers_are_their_digits(tmp_path: Path) -> None:
    frame = pd.DataFrame({"user_id": [1, 1, 2], "item_id": [20.0, 10.0, np.nan]})
    frame.to_parquet(tmp_path / "histories.parquet")
    assert read_histories(tmp_path / "histories.parquet", ITEMS, NAMES) == {"1": [1, 0]}


def _own(*, rating: str | None = None, **changes: Any) -> Any:
    columns = {"user": "kunde", "item": "ware", "time": "am", "rating": rating, "item_id": "id", "title": "name"}
    return dataset_config("log", columns=columns, time_format="iso8601", **changes)


def test_an_own_log_is_read_by_its_own_columns(tmp_path: Path) -> None:
    text = "kunde;ware;am\nMüller;20;2020-01-02\nMüller;10;2020-01-01\n"
    assert _read(tmp_path, text, _own(separator=";", encoding="cp1252")) == {"Müller": [0, 1]}


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("kunde::ware::am\nann::20::2020-01-02\nann::10::2020-01-01\n", {"separator": "::"}),
        ("kunde,ware,am\nann,20,2020-01-02\nann,10,2020-01-01\nNA,10,2020-01-01\n", {}),
        ('{"kunde": "ann", "ware": 10, "am": "2020-01-01"}\n{"kunde": "ann", "ware": 20, "am": "2020-01-02"}\n', {}),
        ("kunde,ware,am\nann,10 20,2020-01-01 2020-01-02\n", {"sequences": " "}),
        (
            "kunde,ware,am,was\nann,10,2020-01-01,kauf\nann,030,2020-01-02,blick\nann,20,2020-01-03,kauf\n",
            {"keep": {"was": ["kauf"]}},
        ),
    ],
    ids=["long separator", "missing", "JSON lines", "sequences", "keep"],
)
def test_every_form_of_an_own_log_is_a_file_of_histories(tmp_path: Path, text: str, changes: dict[str, Any]) -> None:
    assert _read(tmp_path, text, _own(**changes)) == {"ann": [0, 1]}


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        (
            "user,item,day,clock\n2,20,2023-11-14,23:03:20\n2,10,2023-11-14,09:13:20\n2,030,2023-11-15,08:00:00\n",
            {
                "columns": {**COLUMNS, "time": "day", "time_of_day": "clock"},
                "time_format": "iso8601",
                "time_of_day_format": "%H:%M:%S",
            },
        ),
        ("user,item,time\n2,10,03022023\n2,20,01032023\n2,030,28012023\n", {"time_format": "%d%m%Y"}),
        (
            "user,item,time,stars\n2,10,5,1\n2,20,7,4\n2,030,6,5\n2,10,8,3\n2,20,7,4\n2,030,9,\n",
            {"columns": {**COLUMNS, "rating": "stars"}, "min_rating": 3.0},
        ),
        ("user,item,time\n2,10,1\n2,20,2\n2,10,3\n2,030,4\n", {"repeats": "last"}),
        ("user,item,time\n2,10,1700000000.5\n2,20,1700000000.25\n", {}),
        ("user\titem\n2\t[20 10]\n", {"separator": "\t", "sequences": "list", **NO_TIME}),
        ("2::20::9\n2::10::5\n", {"separator": "::", "header": False, "columns": BY_NUMBER}),
    ],
    ids=["date and clock", "pattern", "ratings", "repeats", "fractions", "numpy", "numbers"],
)  # fmt: skip
def test_a_log_gives_the_histories_of_prepare(tmp_path: Path, text: str, changes: dict[str, Any]) -> None:
    """Two more users, so that the split has something for each part."""
    changes = {"items_layout": {"separator": ",", "header": True}, **changes}
    changes["split"] = {"strategy": "user_chronological", "train": 0.4, "validation": 0.3}
    header = 0 if changes.get("header") is False else 1
    lines = text.splitlines()
    rows = [line.replace("2", user, 1) for user in "13" for line in lines[header:]]
    text = "\n".join([*lines, *rows]) + "\n"
    (tmp_path / "interactions.csv").write_text(text)
    (tmp_path / "items.csv").write_text("item,title\n10,Alien\n20,Heat\n030,Up\n")
    dataset = dataset_config("log", **changes)
    prepared = prepare(tmp_path, dataset)
    in_tables = prepared.interactions.groupby("user_id")["item_id"].agg(list).to_dict()
    assert len(in_tables) == 3
    assert min(map(len, in_tables.values())) > 1
    histories = read_histories(tmp_path / "interactions.csv", prepared.items, dataset)
    assert {int(user) - 1: items for user, items in histories.items()} == in_tables


def test_rules_for_columns_that_the_file_lacks_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    own = _own(rating="sterne", min_rating=3.0, keep={"was": ["kauf", "miete"]})
    assert _read(tmp_path, "kunde,ware,am\nann,10,2020-01-02\nann,20,2020-01-01\n", own) == {"ann": [1, 0]}
    assert [message.partition(": ")[2] for message in caplog.messages] == [
        "min_rating 3 does not apply: there is no column 'sterne'",
        "keep does not apply to the missing columns 'was'",
    ]
    film = dataset_config("movielens_100k", min_rating=3.0)
    assert _read(tmp_path, "user_id,item_id,rating\nann,10,5\nann,20,2\n", film) == {"ann": [0]}


def test_two_spellings_of_a_title_are_one_item(tmp_path: Path) -> None:
    own = _own(repeats="first")
    assert _read(tmp_path, "kunde,name,am\nann,alien,2020-01-02\nann,Alien,2020-01-01\nann,Heat [20],2020-01-03\n", own) == {
        "ann": [0, 1]
    }


def test_values_of_keep_need_not_all_occur(tmp_path: Path) -> None:
    own = _own(keep={"was": ["kauf", "miete"]})
    assert _read(tmp_path, "kunde,ware,am,was\nann,10,2020-01-02,kauf\n", own) == {"ann": [0]}


def test_ids_that_are_written_otherwise_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"csv:2: column 'item_id': '10.0' is the same number as '10' in the items .pandas writes 1 as 1.0"
    ):
        _read(tmp_path, "user_id,item_id\nann,10.0\nann,20\n")


def test_a_column_that_is_not_needed_may_hold_anything(tmp_path: Path) -> None:
    frame = pd.DataFrame({"user_id": ["ann"], "item_id": [20], "timestamp": [pd.Timestamp("2020-01-01")], "raw": [b"\xff"]})
    frame.to_parquet(tmp_path / "histories.parquet")
    assert read_histories(tmp_path / "histories.parquet", ITEMS, NAMES) == {"ann": [1]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user,item_id\nann,10\n", r"histories.csv: has no column 'user_id'; .* found \['user', 'item_id'\]"),
        ("user_id,film\nann,10\n", r"has no column 'title'; expected 'user_id' with 'item_id' \(raw ids\) or 'title'"),
        ("user_id,item_id\nann,99\n", r"no row has a user and an item of the catalogue; ids of the catalogue look like '10'"),
        ("user_id,item_id\n", "holds a header but no rows"),
        (2 * "user_id,item_id,timestamp\n", "no row has a value in each of the columns"),
        ("", "histories.csv: is empty"),
        ("user_id,title\nann,Alien\nann,Paris, Texas\n", "histories.csv:3: 3 fields separated by ',', but the header has 2"),
        ('user_id,title\nann,"Al" Yankovic\n', "histories.csv:2: a quoted field does not end, or its quotes are not doubled"),
        (
            "user_id,item_id,timestamp\nann,10,1\nann,20,soon\n",
            "csv:3: column 'timestamp': 'soon' does not fit time_format 'seconds'",
        ),
        (
            "user_id,item_id,timestamp\nann,10,2020-01-01\nann,20,soon\n",
            "csv:3: column 'timestamp': 'soon' does not fit time_format 'iso8601'",
        ),
    ],
)
def test_an_unusable_file_is_an_error_with_a_reason(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        _read(tmp_path, text)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none.csv: not found"):
        read_histories(tmp_path / "none.csv", ITEMS, NAMES)


def test_prepared_users_have_their_whole_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    log = {"user_id": [3, 0, 3, 3], "item_id": [7, 5, 6, 8], "timestamp": [1] * 4, "position": [1, 0, 0, 2]}
    tables.write_table(paths.interactions("shop"), pd.DataFrame(log).assign(split="train"), tables.INTERACTIONS)
    tables.write_table(paths.users("shop"), pd.DataFrame({"user_id": [0, 3], "raw_id": ["zoe", "ann"]}), tables.USERS)
    assert list(prepared_histories("shop").items()) == [("zoe", [5]), ("ann", [6, 7, 8])]
    assert prepared_histories("shop", ["ann"]) == {"ann": [6, 7, 8]}


def test_the_table_has_a_row_per_recommendation(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ranked = [
        Ranked(np.array([2, 0]), np.array([0.5, 0.25], dtype=np.float32)),
        Ranked(np.array([], dtype=np.int64), np.array([], dtype=np.float32)),
        Ranked(np.array([1]), np.array([-1], dtype=np.float32)),
    ]
    table = recommendations_table(["007", "ann", "bob"], ranked, ITEMS, len(ITEMS))
    assert caplog.messages == ["1 of 3 histories contain the whole catalogue and get no recommendation"]
    write_recommendations(tmp_path / "out.csv", table)
    assert (tmp_path / "out.csv").read_text().splitlines() == [
        "user,rank,item,label,score",
        "007,1,030,Heat [030],0.5",
        "007,2,10,Alien,0.25",
        "bob,1,20,Heat [20],-1.0",
    ]
    write_recommendations(tmp_path / "out.parquet", table)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out.parquet"), table, check_dtype=False)
