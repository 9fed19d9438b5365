"""Own logs that say themselves what is held out: by a column, or by a file for each part."""

from pathlib import Path
from typing import Any

import pytest

from llara_core.config import DownloadConfig
from llara_core.data.preparation import Prepared, prepare
from llara_core.errors import DataError
from llara_core.fetching.datasets import fetch_dataset
from tests.helpers.datasets import dataset_config

COLUMN = {"strategy": "files", "column": "part"}
FILES = {"strategy": "files", "validation_file": "valid.csv", "test_file": "test.csv"}
ROWS = [  # user, item, time, part
    ("a", 1, 10, "train"),
    ("a", 2, 20, "train"),
    ("a", 3, 30, "valid"),
    ("a", 4, 40, "Test"),
    ("b", 2, 11, "training"),
    ("b", 1, 12, "TRAIN"),
    ("b", 4, 12, "validation"),
    ("b", 3, 5, "test"),  # earlier than what is trained on
]
KINDS = {"train": "train", "training": "train", "valid": "validation", "validation": "validation", "test": "test"}


def config(split: dict[str, Any], **changes: Any) -> Any:
    return dataset_config("log", split=split, interactions="train.csv", **changes)


def one_file(folder: Path, rows: list[tuple[Any, ...]] = ROWS) -> Path:
    (folder / "train.csv").write_text("user,item,time,part\n" + "".join(",".join(map(str, row)) + "\n" for row in rows))
    (folder / "items.csv").write_text("item,title\n1,One\n2,Two\n3,Three\n4,Four\n")
    return folder


def three_files(folder: Path, rows: list[tuple[Any, ...]] = ROWS) -> Path:
    one_file(folder)
    for name, kind in (("train", "train"), ("valid", "validation"), ("test", "test")):
        own = [row[:3] for row in rows if KINDS[row[3].lower()] == kind]
        (folder / f"{name}.csv").write_text("user,item,time\n" + "".join(",".join(map(str, row)) + "\n" for row in own))
    return folder


def asked(prepared: Prepared) -> list[tuple[Any, ...]]:
    return [(row["split"], row["user_id"], row["history"], row["target"]) for row in prepared.examples.to_pylist()]


@pytest.mark.parametrize("split", [COLUMN, FILES], ids=["column", "files"])
def test_the_split_is_as_given(tmp_path: Path, split: dict[str, Any]) -> None:
    (one_file if split is COLUMN else three_files)(tmp_path)
    prepared = prepare(tmp_path, config(split))
    assert asked(prepared) == [  # items 1 to 4 are numbered 0 to 3
        ("train", 0, [0], 1),
        ("train", 1, [1], 0),
        ("validation", 0, [0, 1], 2),
        ("validation", 1, [1, 0], 3),
        ("test", 0, [0, 1, 2], 3),
        ("test", 1, [1, 0, 3], 2),
    ]
    assert prepared.statistics["out_of_time_order"] == 1
    assert prepared.statistics["interactions_per_split"] == {"train": 4, "validation": 2, "test": 2}


def test_rows_without_a_split_are_counted(tmp_path: Path) -> None:
    prepared = prepare(one_file(tmp_path, [*ROWS, ("a", 1, 50, ""), ("a", 1, 51, "null")]), config(COLUMN))
    assert prepared.statistics["dropped"]["interactions_without_split"] == 2
    assert prepared.statistics["interactions"] == len(ROWS)


def test_another_word_names_its_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.csv:10: column 'part': 'hold' names no split; it must be one of train, "):
        prepare(one_file(tmp_path, [*ROWS, ("a", 1, 50, "hold")]), config(COLUMN))


@pytest.mark.parametrize("split", [COLUMN, FILES], ids=["column", "files"])
def test_a_row_that_is_trained_on_and_asked_is_refused(tmp_path: Path, split: dict[str, Any]) -> None:
    rows = [*ROWS, ("a", 4, 40, "train"), ("b", 2, 11, "training")]  # the second one only repeats
    (one_file if split is COLUMN else three_files)(tmp_path, rows)
    with pytest.raises(DataError, match=r"1 interactions are in more than one split.* in (train and test|test and train)"):
        prepare(tmp_path, config(split))


def test_an_error_names_the_file_of_the_three(tmp_path: Path) -> None:
    three_files(tmp_path, [*ROWS, ("a", 1, "soon", "test")])
    with pytest.raises(DataError, match=r"test\.csv:4: column 'time': 'soon' does not fit"):
        prepare(tmp_path, config(FILES))
    (tmp_path / "valid.csv").unlink()
    with pytest.raises(DataError, match=r"valid\.csv: not found"):
        prepare(tmp_path, config(FILES))


def test_lists_in_the_files_of_a_split_need_sequences(tmp_path: Path) -> None:
    three_files(tmp_path)
    for name in ("train", "valid", "test"):
        (tmp_path / f"{name}.csv").write_text('{"user": "a", "item": ["1", "2"], "time": 1}\n')
    with pytest.raises(DataError, match=r"column 'item' is of type list.*; if a row is a user's .*, set `sequences: list`"):
        prepare(tmp_path, config(FILES))


def test_a_split_without_a_header_is_a_number(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("".join(",".join(map(str, row)) + "\n" for row in ROWS))
    (tmp_path / "items.csv").write_text("1,One\n2,Two\n3,Three\n4,Four\n")
    columns = {"user": 1, "item": 2, "time": 3, "rating": None, "item_id": 1, "title": 2}
    of_numbers = config({"strategy": "files", "column": 4}, header=False, columns=columns)
    assert prepare(tmp_path, of_numbers).statistics["interactions_per_split"] == {"train": 4, "validation": 2, "test": 2}
    with pytest.raises(ValueError, match="'part' is a name, but header is false"):
        config(COLUMN, header=False, columns=columns)


def test_ratings_and_a_split_are_both_read(tmp_path: Path) -> None:
    one_file(tmp_path)
    lines = (tmp_path / "train.csv").read_text().splitlines()
    (tmp_path / "train.csv").write_text("".join(f"{line},{'stars' if not k else 5 - k % 2}\n" for k, line in enumerate(lines)))
    columns = {**config(COLUMN).columns.model_dump(), "rating": "stars"}
    prepared = prepare(tmp_path, config(COLUMN, columns=columns, min_rating=4.0))
    assert len(asked(prepared)) == 6
    assert prepared.statistics["left_after"]["rating"]["interactions"] == len(ROWS)


def test_the_files_of_all_parts_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "data/own/shop"
    own.mkdir(parents=True)
    three_files(own)
    download = DownloadConfig(mirror=None, timeout_s=1.0, retries=0)
    fetch_dataset("shop", config(FILES), download, Path("raw"))
    assert sorted(path.name for path in Path("raw").iterdir()) == ["items.csv", "test.csv", "train.csv", "valid.csv"]
    (own / "test.csv").unlink()
    with pytest.raises(DataError, match=r"datasets\.shop\.split\.test_file: 'test\.csv'"):
        fetch_dataset("shop", config(FILES), download, Path("raw"))
