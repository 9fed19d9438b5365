"""The raw reader takes the original's quirks and names the line of everything else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llara_core.errors import DataError
from llara_core.readers.movielens import read_items, read_ratings

REST = "|".join([""] * 3 + ["0"] * 19)


def written(path: Path, text: str) -> Path:
    path.write_bytes(text.encode("latin-1"))
    return path


def test_interactions_in_file_order(tmp_path: Path) -> None:
    frame = read_ratings(written(tmp_path / "u.data", "196\t242\t3\t881250949\n\n186\t302\t4.5\t5\r\n"), "\t")
    assert frame.to_numpy().tolist() == [[196, 242, 3.0, 881250949], [186, 302, 4.5, 5]]
    assert [str(kind) for kind in frame.dtypes] == ["int64", "int64", "float64", "int64"]


@pytest.mark.parametrize(
    "line",
    [
        "1\t2\t3",
        "1,2,3,4",
        "1\t2\t3\t4\t5",
        "x\t2\t3\t4",
        "1\t-2\t3\t4",
        "1\t2_0\t3\t4",
        "1\t\xb2\t3\t4",
        "1\t2\tnan\t4",
        "1\t2\tgood\t4",
        "1\t2\t\t4",
        "1\t2\t3\t4.5",
        "1\t2\t3\t" + "9" * 19,
        "1\t2\t3\t" + "9" * 5000,
    ],
)
def test_malformed_rating_names_its_line(tmp_path: Path, line: str) -> None:
    path = written(tmp_path / "u.data", f"1\t1\t5\t1\n{line}\n1\t3\t5\t1\n")
    with pytest.raises(DataError) as caught:
        read_ratings(path, "\t")
    message = str(caught.value).removeprefix(f"{path}:2: ")
    assert message.startswith(
        ("column '", "not utf-8 text", f"{len(line.split(chr(9)))} fields separated by '\\t', but the first line has 4")
    )
    assert len(str(caught.value)) < 400 + len(str(path))


def test_items_are_latin_1(tmp_path: Path) -> None:
    text = f"267|unknown|{REST}\n5|Misérables, Les (1995)|{REST}\n6|Odd\x85Line|{REST}\n7| |{REST}\n"
    frame = read_items(written(tmp_path / "u.item", text))
    assert frame["item_id"].to_list() == [267, 5, 6, 7]
    assert frame["raw_title"].to_list() == ["unknown", "Misérables, Les (1995)", "Odd\x85Line", ""]


def test_flags_are_genres(tmp_path: Path) -> None:
    flags = ["0|" * 3 + "1|1|1" + "|0" * 13, "1" + "|0" * 18]  # Animation, Children's and Comedy; unknown
    text = "".join(f"{item}|Title|01-Jan-1995||url|{each}\n" for item, each in enumerate(flags, 1))
    assert read_items(written(tmp_path / "u.item", text))["attributes"].to_list() == [["Animation, Children's, Comedy"], [""]]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("2|Heat (1995)", "expected id, title, 3 more fields and 19 flags, separated by '|', got '2|Heat (1995)'"),
        (f"2|A|B|{REST}", "expected id, title, 3 more fields and 19 flags"),
        (f"two|Heat|{REST}", "expected id, title, 3 more fields and 19 flags, separated by '|', got 'two|Heat"),
        (f"1|Heat|{REST}", "the id 1 occurs a second time"),
    ],
)
def test_malformed_item_names_its_line(tmp_path: Path, line: str, complaint: str) -> None:
    path = written(tmp_path / "u.item", f"1|Toy Story (1995)|{REST}\n{line}\n")
    with pytest.raises(DataError) as caught:
        read_items(path)
    assert str(caught.value).startswith(f"{path}:2: {complaint}")


@pytest.mark.parametrize("reader", [lambda path: read_ratings(path, "\t"), read_items])
def test_missing_and_empty_files(tmp_path: Path, reader: Callable[[Path], Any]) -> None:
    with pytest.raises(DataError, match=r"none.item: .*run the download stage"):
        reader(tmp_path / "none.item")
    with pytest.raises(DataError, match=r"empty.item: (holds no rows|is empty)"):
        reader(written(tmp_path / "empty.item", "\n"))
