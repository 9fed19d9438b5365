"""Histories of many users: what a file may hold, what is left out of it, and the table that comes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from llara_core.errors import DataError
from llara_core.serving.histories import (
    HistoryFormat,
    prepared_histories,
    read_histories,
    recommendations_table,
    write_recommendations,
)
from llara_core.serving.ranking import Ranked
from tests.helpers.datasets import dataset_config

ITEMS = pd.DataFrame(
    {"raw_id": ["10", "20", "030"], "title": ["Alien", "Heat", "Heat"], "label": ["Alien", "Heat [20]", "Heat [030]"]}
)
NAMES = HistoryFormat()


def _read(folder: Path, text: str, names: HistoryFormat = NAMES) -> dict[str, list[int]]:
    file = folder / "histories.csv"
    file.write_text(text, encoding=names.layout.encoding)
    return read_histories(file, ITEMS, names)


def test_rows_of_a_user_are_oldest_first_and_ids_are_text(tmp_path: Path) -> None:
    assert _read(tmp_path, "user_id,item_id\n007,030\nann,10\n007,20\n007,20\n") == {"007": [2, 1, 1], "ann": [0]}


def test_many_rows_of_one_time_keep_their_order(tmp_path: Path) -> None:
    times = [7, 8] * 150
    rows = "".join(f"ann,{item},{time}\n" for item, time in zip(["10", "20", "030"] * 100, times, strict=True))
    assert _read(tmp_path, "user_id,item_id,timestamp\n" + rows) == {"ann": [0, 2, 1] * 50 + [1, 0, 2] * 50}


def test_a_byte_order_mark_and_quoted_titles_are_read(tmp_path: Path) -> None:
    assert _read(tmp_path, '\ufeffuser_id,title\nann,"Alien"\n') == {"ann": [0]}


def test_a_title_column_serves_where_there_are_no_ids(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert _read(tmp_path, "user_id,title\nann,alien\nann,Heat [20]\nann,10\n") == {"ann": [0, 1]}
    assert len(caplog.messages) == 1  # of the third row
    assert _read(tmp_path, "user_id,title\nann,Alien (1979)\nbob,Alien (1979)\n") == {"ann": [0], "bob": [0]}
    assert caplog.messages[1].endswith("1 titles are read without their year or with their article moved, e.g. 'Alien (1979)'")


@pytest.mark.parametrize("times", [("30", "4", "30"), ("2020-01-02", "2020-01-01T23:00:00-00:30", "2020-01-02")])
def test_times_sort_the_rows_and_equal_ones_keep_their_order(tmp_path: Path, times: tuple[str, str, str]) -> None:
    rows = "".join(f"ann,{item},{time}\n" for item, time in zip(("20", "10", "030"), times, strict=True))
    assert _read(tmp_path, "user_id,item_id,timestamp\n" + rows) == {"ann": [0, 1, 2]}


def test_what_is_left_out_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert _read(tmp_path, "user_id,item_id\nann,10\nann,99\nbob,99\nbob,98\n,20\ncat,\n") == {"ann": [0]}
    assert [message.partition(": ")[2] for message in caplog.messages] == [
        "3 rows left out: their 2 items are not in the catalogue, or share a title, e.g. '99'",
        "2 rows without a user or an item are left out",
        "users without an item of the catalogue, who get no recommendation: 1",
    ]


def test_parquet_numbers_are_their_digits(tmp_path: Path) -> None:
    frame = pd.DataFrame({"user_id": [1, 1, 2], "item_id": [20.0, 10.0, np.nan]})
    frame.to_parquet(tmp_path / "histories.parquet")
    assert read_histories(tmp_path / "histories.parquet", ITEMS, NAMES) == {"1": [1, 0]}


def _own(**changes: Any) -> HistoryFormat:
    columns = {"user": "kunde", "item": "ware", "time": "am", "rating": None, "item_id": "id", "title": "name"}
    return HistoryFormat.of(dataset_config("log", columns=columns, time_format="iso8601", **changes))


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


def test_a_column_that_is_not_needed_may_hold_anything(tmp_path: Path) -> None:
    frame = pd.DataFrame({"user_id": ["ann"], "item_id": [20], "timestamp": [pd.Timestamp("2020-01-01")], "raw": [b"\xff"]})
    frame.to_parquet(tmp_path / "histories.parquet")
    assert read_histories(tmp_path / "histories.parquet", ITEMS, NAMES) == {"ann": [1]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user,item_id\nann,10\n", r"histories.csv: has no column 'user_id'; .* found \['user', 'item_id'\]"),
        ("user_id,film\nann,10\n", r"has no column 'title'; expected 'user_id' with 'item_id' \(raw ids\) or 'title'"),
        ("user_id,item_id\nann,99\n", r"no row has a user and an item of the catalogue; ids there look like '10'"),
        ("user_id,item_id\n", "holds a header but no rows"),
        ("", "histories.csv: is empty"),
        ("user_id,title\nann,Alien\nann,Paris, Texas\n", "histories.csv:3: 3 fields separated by ',', but the header has 2"),
        ('user_id,title\nann,"Al" Yankovic\n', "histories.csv:2: a quoted field does not end, or its quotes are not doubled"),
        ("user_id,item_id,timestamp\nann,10,1\nann,20,soon\n", "row 2: the time 'soon' is neither"),
        (
            "user_id,item_id,timestamp\nann,10,2020-01-01\nann,20,soon\n",
            "row 2: the time 'soon' is neither a number nor ISO 8601",
        ),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        _read(tmp_path, text)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none.csv: not found"):
        read_histories(tmp_path / "none.csv", ITEMS, NAMES)


def test_prepared_users_have_their_whole_history() -> None:
    frame = pd.DataFrame({"user_id": [3, 0, 3, 3], "item_id": [7, 5, 6, 8], "position": [1, 0, 0, 2]})
    assert prepared_histories(frame) == {"0": [5], "3": [6, 7, 8]}


def test_the_table_has_a_row_per_recommendation(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ranked = [
        Ranked(np.array([2, 0]), np.array([0.5, 0.25], dtype=np.float32)),
        Ranked(np.array([], dtype=np.int64), np.array([], dtype=np.float32)),
        Ranked(np.array([1]), np.array([-1], dtype=np.float32)),
    ]
    table = recommendations_table(["007", "ann", "bob"], ranked, ITEMS)
    assert caplog.messages == ["1 of 3 histories hold the whole catalogue and get no recommendation"]
    write_recommendations(tmp_path / "out.csv", table)
    assert (tmp_path / "out.csv").read_text().splitlines() == [
        "user,rank,item,label,score",
        "007,1,030,Heat [030],0.5",
        "007,2,10,Alien,0.25",
        "bob,1,20,Heat [20],-1.0",
    ]
    write_recommendations(tmp_path / "out.parquet", table)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out.parquet"), table, check_dtype=False)
