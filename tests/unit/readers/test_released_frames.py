"""The authors' frames become examples row by row, and users where the rows continue each other."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from llara_core.config import ReleasedFramesConfig
from llara_core.errors import DataError
from llara_core.readers.released_frames import ReleasedFrames, read

REST = "|".join([""] * 3 + ["0"] * 19)
N_ITEMS = 9
TRAIN = [[3, 1, 4, 1, 5, 8, 2, 6], [2, 7], [0], [2, 7, 1, 8]]
VALIDATION, TEST = [[5, 3, 5, 8, 0, 1]], [[1, 6], [4, 4, 4]]

Row = tuple[list[int], int, int]


def config(**changes: Any) -> ReleasedFramesConfig:
    values = {"train": "train_data.df", "validation": "Val_data.df", "test": "Test_data.df", "names": "id2name.txt"}
    return ReleasedFramesConfig(
        format="released_frames", noun="item", verb="used", **{"max_history_len": 10, **values, **changes}
    )


def row(sequence: list[int], position: int, width: int = 4) -> Row:
    """The authors' row for one position of a sequence."""
    history = sequence[max(0, position - width) : position]
    return history + [N_ITEMS] * (width - len(history)), len(history), sequence[position]


def training_rows(sequences: list[list[int]] = TRAIN, width: int = 4) -> list[Row]:
    return [row(sequence, position, width) for sequence in sequences for position in range(len(sequence))]


def held_out_rows(sequences: list[list[int]], width: int = 4) -> list[Row]:
    return [row(sequence, len(sequence) - 1, width) for sequence in sequences]


def write_frame(path: Path, rows: list[Any]) -> None:
    pd.DataFrame(rows, columns=["seq", "len_seq", "next"]).to_pickle(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_frame(tmp_path / "train_data.df", training_rows())
    write_frame(tmp_path / "Val_data.df", held_out_rows(VALIDATION))
    write_frame(tmp_path / "Test_data.df", held_out_rows(TEST))
    (tmp_path / "id2name.txt").write_text("".join(f"{item}::Item {item}\n" for item in range(N_ITEMS)))
    return tmp_path


def users(frames: ReleasedFrames) -> list[tuple[str, list[int]]]:
    return [(rows["split"].iloc[0], rows["item_id"].tolist()) for _, rows in frames.sequences.groupby("user_id")]


def examples(frames: ReleasedFrames) -> list[tuple[str, list[int], int]]:
    return [
        (split, history.tolist(), target)
        for split, history, target in frames.examples[["split", "history", "target"]].to_numpy()
    ]


def complaint(folder: Path, **changes: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(folder, config(**changes))
    return str(caught.value)


def test_rows_that_continue_each_other_are_one_user(folder: Path) -> None:
    frames = read(folder, config())
    held_out = [("validation", VALIDATION[0][-5:])] + [("test", sequence) for sequence in TEST]
    assert users(frames) == [("train", sequence) for sequence in TRAIN] + held_out
    assert frames.sequences["user_id"].is_monotonic_increasing
    assert frames.sequences["position"].tolist() == [k for _, items in users(frames) for k in range(len(items))]
    assert frames.sequences["timestamp"].tolist() == frames.sequences["position"].tolist()


def test_examples_are_the_rows_with_a_history(folder: Path) -> None:
    frames = read(folder, config())
    rows = [("train", row) for row in training_rows()]
    rows += [("validation", row) for row in held_out_rows(VALIDATION)] + [("test", row) for row in held_out_rows(TEST)]
    assert examples(frames) == [(split, history[:length], target) for split, (history, length, target) in rows if length]
    assert frames.examples["user_id"].tolist() == [0] * 7 + [1] + [3] * 3 + [4, 5, 6]
    assert frames.dropped == {"rows_without_history": len(TRAIN)}


def test_types_of_the_tables(folder: Path) -> None:
    frames = read(folder, config())
    assert {name: str(kind) for name, kind in frames.sequences.dtypes.items() if name != "split"} == {
        "user_id": "int32",
        "item_id": "int32",
        "timestamp": "int64",
        "position": "int32",
    }
    assert [str(frames.examples[name].dtype) for name in ("user_id", "target")] == ["int32", "int32"]
    assert all(history.dtype == np.int32 for history in frames.examples["history"])


def test_movielens_has_pairs_and_ids_that_are_one_lower(folder: Path) -> None:
    for name in ("train_data.df", "Val_data.df", "Test_data.df"):
        frame = pd.read_pickle(folder / name)
        frame["seq"] = [[(item, 0 if item == N_ITEMS else 4.5) for item in history] for history in frame["seq"]]
        frame["next"] = [(np.int64(item), 3) for item in frame["next"]]
        frame.to_pickle(folder / name)
    (folder / "u.item").write_text("".join(f"{item}|Item {item}|{REST}\n" for item in range(N_ITEMS, 0, -1)))
    frames, plain = read(folder, config(names="u.item")), read(folder, config())
    assert users(frames) == users(plain)
    assert examples(frames) == examples(plain)
    assert frames.items["raw_id"].tolist() == [str(item + 1) for item in range(N_ITEMS)]
    assert frames.items["raw_title"].tolist() == [f"Item {item + 1}" for item in range(N_ITEMS)]


@pytest.mark.parametrize("cell", [tuple, np.array, lambda ids: [np.int16(i) for i in ids], lambda ids: [float(i) for i in ids]])
def test_cells_may_be_any_kind_of_list(folder: Path, cell: Any) -> None:
    expected = users(read(folder, config()))
    write_frame(folder / "train_data.df", [(cell(history), length, target) for history, length, target in training_rows()])
    assert users(read(folder, config())) == expected


@pytest.mark.parametrize("width", [1, 2, 10])
def test_histories_may_have_any_width(folder: Path, width: int) -> None:
    write_frame(folder / "train_data.df", training_rows(width=width))
    frames = read(folder, config())
    assert [items for split, items in users(frames) if split == "train"] == TRAIN
    assert max(len(history) for split, history, _ in examples(frames) if split == "train") == min(width, 7)


def test_max_history_len_cuts_the_oldest(folder: Path) -> None:
    full, cut = examples(read(folder, config())), examples(read(folder, config(max_history_len=2)))
    assert cut == [(split, history[-2:], target) for split, history, target in full]


def test_shuffled_frames_give_the_same_examples(folder: Path) -> None:
    rows = training_rows()
    expected = sorted(examples(read(folder, config())))
    write_frame(folder / "train_data.df", [rows[k] for k in np.random.default_rng(0).permutation(len(rows))])
    frames = read(folder, config())
    assert sorted(examples(frames)) == expected
    assert frames.sequences["user_id"].nunique() > len(TRAIN) + len(VALIDATION) + len(TEST)


def test_a_first_row_that_continues_nothing_brings_its_history(folder: Path) -> None:
    write_frame(folder / "train_data.df", [row(TRAIN[0], 6), row(TRAIN[0], 7), row(TRAIN[3], 2)])
    frames = read(folder, config())
    assert users(frames)[:2] == [("train", TRAIN[0][2:]), ("train", TRAIN[3][:3])]
    assert frames.dropped == {"rows_without_history": 0}


def test_two_users_are_one_only_where_the_second_begins_as_the_first_goes_on(folder: Path) -> None:
    first, second = [1, 2, 3], [1, 2, 3, 4]
    write_frame(folder / "train_data.df", [row(first, 1), row(first, 2), row(second, 3)])
    assert users(read(folder, config()))[0] == ("train", second)
    write_frame(folder / "train_data.df", training_rows([first, second]))
    assert users(read(folder, config()))[:2] == [("train", first), ("train", second)]


def test_an_empty_history_may_be_called_one_long(folder: Path) -> None:
    expected = users(read(folder, config()))
    write_frame(folder / "train_data.df", [(history, max(length, 1), target) for history, length, target in training_rows()])
    assert users(read(folder, config())) == expected


def test_random_frames_give_every_user_back(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        sequences = [rng.integers(0, N_ITEMS, size=rng.integers(1, 15)).tolist() for _ in range(30)] + [[0, 1]]
        write_frame(folder / "train_data.df", training_rows(sequences))
        frames = read(folder, config())
        assert [items for split, items in users(frames) if split == "train"] == sequences


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (([3, 1, 9, 9], 3, 4), "len_seq is 3, but seq [3, 1, 9, 9] holds 2 items"),
        (([9, 9, 9, 9], 2, 4), "len_seq is 2, but seq [9, 9, 9, 9] holds 0 items"),
        (([3, 9, 1, 9], 2, 4), "seq [3, 9, 1, 9] holds padding (9) before an item"),
        (([3, 12, 9, 9], 2, 4), "seq [3, 12, 9, 9] holds ids that are neither 0 to 8"),
        (([3, -1, 9, 9], 2, 4), "seq [3, -1, 9, 9] holds ids that are neither 0 to 8"),
        (([3, 1, 9, 9], 2, 9), "next is 9, but the items with a name are 0 to 8"),
        (([3, 1, 9, 9], 2, -1), "next is -1, but"),
        (([3, 1, 9], 2, 4), "seq must be a list of item ids"),
        (([3, (1, 5), 9, 9], 2, 4), "seq must be a list of item ids"),
        (([(3, 5), (1, 5), (9, 0), (9, 0)], 2, 4), "seq must be a list of item ids"),
        ((["3", "1", "9", "9"], 2, 4), "seq must be a list of item ids"),
        (([3, 1.5, 9, 9], 2, 4), "seq must be a list of item ids"),
        (([3, None, 9, 9], 2, 4), "seq must be a list of item ids"),
        (([True, False, True, True], 2, 4), "seq must be a list of item ids"),
        ((7, 2, 4), "seq must be a list of item ids"),
        (([3, 1, 9, 9], 2, None), "next must be an item id"),
        (([3, 1, 9, 9], 2, float("inf")), "next must be an item id"),
        (([3, 1, 9, 9], 2, (4, 5)), "next must be an item id"),
        (([3, 1, 9, 9], "2", 4), "len_seq must be a whole number"),
    ],
)
def test_a_bad_row_is_named(folder: Path, bad: Any, expected: str) -> None:
    write_frame(folder / "train_data.df", [*training_rows(), bad])
    assert complaint(folder).startswith(f"{folder / 'train_data.df'}: row {len(training_rows())} (from 0): {expected}")


@pytest.mark.parametrize("name", ["train_data.df", "Val_data.df", "Test_data.df"])
def test_frames_without_columns_rows_or_histories(folder: Path, name: str) -> None:
    frame = pd.read_pickle(folder / name)
    frame.rename(columns={"next": "target"}).to_pickle(folder / name)
    assert complaint(folder) == f"{folder / name}: lacks the columns ['next']; it has ['seq', 'len_seq', 'target']"
    frame.iloc[:0].to_pickle(folder / name)
    assert complaint(folder).startswith(f"{folder / name}: holds no rows")
    write_frame(folder / name, [row([4], 0)])
    assert complaint(folder).startswith(f"{folder / name}: no row has a history")
    (folder / name).unlink()
    assert complaint(folder).startswith(f"{folder / name}: cannot be read")


def test_histories_of_width_zero_are_refused(folder: Path) -> None:
    write_frame(folder / "Test_data.df", [([], 0, 4)])
    assert complaint(folder).startswith(f"{folder / 'Test_data.df'}: row 0 (from 0): seq must be a list of item ids")


def test_names_are_split_once(folder: Path) -> None:
    lines = ["\ufeff1::Half-Life 2::Episode One\r", "", "0:: Café\u2028 ", *(f"{item}::x" for item in range(2, N_ITEMS))]
    (folder / "id2name.txt").write_bytes("\n".join(lines).encode())
    items = read(folder, config()).items
    assert items.columns.tolist() == ["raw_id", "raw_title", "attributes"]
    assert items["raw_id"].tolist() == [str(item) for item in range(N_ITEMS)]
    assert items["raw_title"].tolist()[:3] == ["Café", "Half-Life 2::Episode One", "x"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0::a\n1:b\n", ":2: expected id::name with a whole number as id, got '1:b'"),
        ("0::a\n-1::b\n", ":2: expected id::name"),
        ("0::a\n\u0663::b\n", ":2: expected id::name"),
        ("9" * 5000 + "::a\n", ":1: expected id::name"),
        ("0::a\n1::b\n0::c\n", ":3: the id 0 occurs a second time"),
        ("1::a\n2::b\n", ": names 2 items, so their ids must be 0 to 1; 0 is missing"),
        ("0::a\n2::b\n", ": names 2 items, so their ids must be 0 to 1; 1 is missing"),
        ("0::a\n1:: \n", ": item 1 has an empty name"),
        ("\n", ": holds no rows; save the file as UTF-8"),
    ],
)
def test_bad_names_are_named(folder: Path, text: str, expected: str) -> None:
    (folder / "id2name.txt").write_text(text)
    message = complaint(folder)
    assert message.startswith(f"{folder / 'id2name.txt'}{expected}")
    assert len(message) < 400 + len(str(folder))


def test_names_that_cannot_be_read(folder: Path) -> None:
    (folder / "id2name.txt").write_bytes("0::Beyoncé".encode("latin-1"))
    assert complaint(folder).startswith(f"{folder / 'id2name.txt'}:1: byte 0xe9 is not UTF-8")
    assert complaint(folder, names="none.txt").startswith(f"{folder / 'none.txt'}: cannot be read")
    assert complaint(folder, names="u.item").startswith(f"{folder / 'u.item'}: cannot be read")
    (folder / "u.item").write_text(f"0|Zero|{REST}\n1|One|{REST}\n")
    assert "names 2 items, so their ids must be 1 to 2; 2 is missing" in complaint(folder, names="u.item")


def test_names_of_another_data_set_are_noticed(folder: Path) -> None:
    (folder / "id2name.txt").write_text("".join(f"{item}::x\n" for item in range(N_ITEMS + 1)))
    assert "len_seq is 0, but seq [9, 9, 9, 9] holds 4 items" in complaint(folder)
    (folder / "id2name.txt").write_text("".join(f"{item}::x\n" for item in range(N_ITEMS - 1)))
    assert "take frames and names of the same data set" in complaint(folder)
