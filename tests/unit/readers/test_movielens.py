"""The raw reader takes the original's quirks and names the line of everything else."""

from pathlib import Path

import pytest

from llara_core.errors import DataError
from llara_core.readers.movielens import read_interactions, read_items

REST = "|".join([""] * 3 + ["0"] * 19)


def written(path: Path, text: str) -> Path:
    path.write_bytes(text.encode("latin-1"))
    return path


def test_interactions_in_file_order(tmp_path: Path) -> None:
    frame = read_interactions(written(tmp_path / "u.data", "196\t242\t3\t881250949\n\n186\t302\t4.5\t5\r\n"))
    assert frame.to_numpy().tolist() == [[196, 242, 3.0, 881250949], [186, 302, 4.5, 5]]
    assert [str(kind) for kind in frame.dtypes] == ["int64", "int64", "float64", "int64"]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("1\t2\t3", "expected user, item, rating and timestamp"),
        ("1,2,3,4", "expected user, item, rating and timestamp"),
        ("1\t2\t3\t4\t5", "expected user, item, rating and timestamp"),
        ("x\t2\t3\t4", "the user must be a whole number from 0 to 9223372036854775807, got 'x'"),
        ("1\t-2\t3\t4", "the item must be a whole number"),
        ("1\t2_0\t3\t4", "the item must be a whole number"),
        ("1\t\xb2\t3\t4", "the item must be a whole number"),
        ("1\t2\tnan\t4", "the rating must be a finite number, got 'nan'"),
        ("1\t2\tgood\t4", "the rating must be a finite number"),
        ("1\t2\t3\t4.5", "the timestamp must be a whole number"),
        ("1\t2\t3\t" + "9" * 19, "the timestamp must be a whole number"),
        ("1\t2\t3\t" + "9" * 5000, "the timestamp must be a whole number"),
    ],
)
def test_malformed_rating_names_its_line(tmp_path: Path, line: str, complaint: str) -> None:
    path = written(tmp_path / "u.data", f"1\t1\t5\t1\n{line}\n1\t3\t5\t1\n")
    with pytest.raises(DataError) as caught:
        read_interactions(path)
    assert str(caught.value).startswith(f"{path}:2: {complaint}")
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
        ("2|Heat (1995)", "expected 24 fields separated by '|', got 2: '2|Heat (1995)'"),
        (f"2|A|B|{REST}", "expected 24 fields separated by '|', got 25"),
        (f"two|Heat|{REST}", "the item must be a whole number"),
        (f"1|Heat|{REST}", "item 1 occurs a second time"),
    ],
)
def test_malformed_item_names_its_line(tmp_path: Path, line: str, complaint: str) -> None:
    path = written(tmp_path / "u.item", f"1|Toy Story (1995)|{REST}\n{line}\n")
    with pytest.raises(DataError) as caught:
        read_items(path)
    assert str(caught.value).startswith(f"{path}:2: {complaint}")


@pytest.mark.parametrize("reader", [read_interactions, read_items])
def test_missing_and_empty_files(tmp_path: Path, reader) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError, match="run the download stage first"):
        reader(tmp_path / "none")
    with pytest.raises(DataError, match="run the download stage again"):
        reader(written(tmp_path / "empty", "\n"))
