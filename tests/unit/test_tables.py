"""Tables between stages: schemas both ways, atomic writes, content hashes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llara_core import columns as c
from llara_core import tables
from llara_core.errors import DataError


def candidate_sets() -> pd.DataFrame:
    return pd.DataFrame({c.EXAMPLE: [4, 2], c.DRAW: [0, 1], c.CANDIDATES: [[7, 1], [5, 3]]})


def test_a_table_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "sets.parquet"
    tables.write_table(path, candidate_sets(), tables.CANDIDATE_SETS, {"seed": "3"})
    back = tables.read_table(path, tables.CANDIDATE_SETS)
    assert back[c.EXAMPLE].tolist() == [4, 2]
    assert [list(row) for row in back[c.CANDIDATES]] == [[7, 1], [5, 3]]
    assert tables.table_metadata(path) == {"seed": "3"}


def test_nullable_columns_keep_their_nulls(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            c.EXAMPLE: [0, 1],
            c.DRAW: [0, 0],
            c.SCORES: [[0.5, 0.25], None],
            c.TEXT: [None, "Heat"],
            c.PREDICTED: pd.array([3, None], dtype="Int32"),
            c.VALID: [True, False],
            c.CATALOGUE_RANK: pd.array([None, None], dtype="Int32"),
        }
    )
    tables.write_table(tmp_path / "p.parquet", frame, tables.PREDICTIONS)
    back = tables.read_table(tmp_path / "p.parquet", tables.PREDICTIONS)
    assert back[c.SCORES].isna().tolist() == [False, True]
    assert back[c.PREDICTED].isna().tolist() == [False, True]
    assert back[c.CATALOGUE_RANK].isna().all()


def test_the_same_table_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        tables.write_table(tmp_path / name, candidate_sets(), tables.CANDIDATE_SETS, {"seed": "0"})
    assert tables.file_sha256(tmp_path / "a") == tables.file_sha256(tmp_path / "b")


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"sets\.parquet: the table does not fit its schema: .*{c.DRAW}"):
        tables.write_table(tmp_path / "sets.parquet", candidate_sets().drop(columns=c.DRAW), tables.CANDIDATE_SETS)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_type_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"does not fit its schema: .*{c.EXAMPLE}"):
        tables.write_table(tmp_path / "sets.parquet", candidate_sets().assign(**{c.EXAMPLE: ["x", "y"]}), tables.CANDIDATE_SETS)


def test_nulls_are_refused_on_write(tmp_path: Path) -> None:
    frame = candidate_sets().assign(**{c.DRAW: pd.array([0, None], dtype="Int32")})
    with pytest.raises(DataError, match=rf"{c.DRAW}"):
        tables.write_table(tmp_path / "sets.parquet", frame, tables.CANDIDATE_SETS)
    assert list(tmp_path.iterdir()) == []


def test_a_table_that_may_hold_nulls_is_refused_on_read(tmp_path: Path) -> None:
    path = tmp_path / "sets.parquet"
    nullable = pa.schema([field.with_nullable(True) for field in tables.CANDIDATE_SETS])
    pq.write_table(pa.table({c.EXAMPLE: [4, 2], c.DRAW: [0, None], c.CANDIDATES: [[7], [5]]}, schema=nullable), path)
    with pytest.raises(DataError, match=r"expected .* draw: int32 not null, .*, not .* draw: int32, "):
        tables.read_table(path, tables.CANDIDATE_SETS)


def test_another_table_is_refused_on_read(tmp_path: Path) -> None:
    path = tmp_path / "sets.parquet"
    tables.write_table(path, candidate_sets(), tables.CANDIDATE_SETS)
    with pytest.raises(DataError) as caught:
        tables.read_table(path, tables.ITEMS)
    message = str(caught.value)
    assert message.startswith(f"{path}: expected the columns item_id: int32 not null, raw_id: string not null, ")
    assert "not example_id: int32 not null, draw: int32 not null, candidates: list<" in message
    assert message.endswith("delete the file and run `dvc repro` again")


@pytest.mark.parametrize("content", [b"", b"not parquet", b"PAR1 but cut short"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "items.parquet"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"items\.parquet: cannot be read as Parquet"):
        tables.read_table(path, tables.ITEMS)


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "sets.parquet"
    tables.write_table(path, candidate_sets(), tables.CANDIDATE_SETS)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"sets\.parquet: cannot be read as Parquet"):
        tables.read_table(path, tables.CANDIDATE_SETS)


def test_a_missing_file_says_how_to_make_it(tmp_path: Path) -> None:
    for read in (lambda path: tables.read_table(path, tables.ITEMS), tables.table_metadata, tables.read_json):
        with pytest.raises(DataError, match="not found; run `dvc repro` to create it"):
            read(tmp_path / "gone")


def crash_while_writing(path: Path, *, folder: bool = False) -> None:
    """Begin to write ``path`` and fail half way."""
    with tables.atomic_path(path) as staged:
        if folder:
            staged.mkdir()
            staged = staged / "part"
        staged.write_text("half")
        raise KeyboardInterrupt


def test_a_crash_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        crash_while_writing(tmp_path / "out.json")
    assert list(tmp_path.iterdir()) == []


def test_a_crash_leaves_the_old_file_and_the_old_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "part").write_text("old")
    with pytest.raises(KeyboardInterrupt):
        crash_while_writing(tmp_path / "file")
    with pytest.raises(KeyboardInterrupt):
        crash_while_writing(tmp_path / "folder", folder=True)
    assert (tmp_path / "file").read_text() == "old"
    assert (tmp_path / "folder" / "part").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "stale").write_text("old")
    with tables.atomic_path(tmp_path / "folder") as staged:
        staged.mkdir()
        (staged / "fresh").write_text("new")
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["fresh"]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_json_comes_back_and_nan_is_refused(tmp_path: Path) -> None:
    tables.write_json(tmp_path / "a.json", {"title": "Amélie", "hr": 0.5})
    assert tables.read_json(tmp_path / "a.json") == {"title": "Amélie", "hr": 0.5}
    assert "Amélie" in (tmp_path / "a.json").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="not JSON compliant"):
        tables.write_json(tmp_path / "b.json", {"hr": float("nan")})
    assert not (tmp_path / "b.json").exists()


def test_damaged_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(DataError, match=r"a\.json: not valid JSON"):
        tables.read_json(tmp_path / "a.json")


def test_the_hash_sees_values_only(tmp_path: Path) -> None:
    frame = candidate_sets()
    tables.write_table(tmp_path / "a", frame, tables.CANDIDATE_SETS, {"created": "monday"})
    tables.write_table(tmp_path / "b", frame, tables.CANDIDATE_SETS, {"created": "tuesday"})
    arrow = pa.Table.from_pandas(frame, schema=tables.CANDIDATE_SETS, preserve_index=False)
    pq.write_table(arrow, tmp_path / "c", compression="none", use_dictionary=False, row_group_size=1)
    assert tables.tables_hash(tmp_path / "a") == tables.tables_hash(tmp_path / "b") == tables.tables_hash(tmp_path / "c")


@pytest.mark.parametrize(
    "other",
    [
        candidate_sets().iloc[::-1],
        candidate_sets().assign(**{c.CANDIDATES: [[1, 7], [5, 3]]}),
        candidate_sets().assign(**{c.DRAW: [0, 2]}),
        candidate_sets().iloc[:1],
    ],
    ids=["row order", "candidate order", "a value", "fewer rows"],
)
def test_the_hash_sees_every_value_and_their_order(tmp_path: Path, other: pd.DataFrame) -> None:
    tables.write_table(tmp_path / "a", candidate_sets(), tables.CANDIDATE_SETS)
    tables.write_table(tmp_path / "b", other, tables.CANDIDATE_SETS)
    assert tables.tables_hash(tmp_path / "a") != tables.tables_hash(tmp_path / "b")


def test_the_hash_of_several_tables_depends_on_their_order(tmp_path: Path) -> None:
    tables.write_table(tmp_path / "a", candidate_sets(), tables.CANDIDATE_SETS)
    tables.write_table(tmp_path / "b", candidate_sets().iloc[:1], tables.CANDIDATE_SETS)
    assert tables.tables_hash(tmp_path / "a", tmp_path / "b") != tables.tables_hash(tmp_path / "b", tmp_path / "a")


def test_the_hash_holds_for_many_rows(tmp_path: Path) -> None:
    rows = 200_000
    frame = pd.DataFrame({c.EXAMPLE: np.arange(rows), c.DRAW: 0, c.CANDIDATES: np.arange(2 * rows).reshape(rows, 2).tolist()})
    tables.write_table(tmp_path / "a", frame, tables.CANDIDATE_SETS)
    arrow = pa.Table.from_pandas(frame, schema=tables.CANDIDATE_SETS, preserve_index=False)
    pq.write_table(arrow, tmp_path / "b", row_group_size=1000)
    assert tables.tables_hash(tmp_path / "a") == tables.tables_hash(tmp_path / "b")


def test_the_hash_does_not_depend_on_where_row_groups_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten rows, hashed three at a time; in groups that end inside, at and beyond these parts."""
    monkeypatch.setattr(tables, "HASHED_ROWS", 3)
    frame = pd.DataFrame({c.EXAMPLE: range(10), c.DRAW: 0, c.CANDIDATES: [[row] * (row % 3) for row in range(10)]})
    arrow = pa.Table.from_pandas(frame, schema=tables.CANDIDATE_SETS, preserve_index=False)
    for size in (1, 3, 4, 10):
        pq.write_table(arrow, tmp_path / str(size), row_group_size=size)
    assert len({tables.tables_hash(tmp_path / str(size)) for size in (1, 3, 4, 10)}) == 1


def test_rows_are_taken_from_the_groups_that_hold_them(tmp_path: Path) -> None:
    frame = pd.DataFrame({c.EXAMPLE: range(10), c.DRAW: 0, c.CANDIDATES: [[row, 7] for row in range(10)]})
    arrow = pa.Table.from_pandas(frame, schema=tables.CANDIDATE_SETS, preserve_index=False)
    pq.write_table(arrow, tmp_path / "a", row_group_size=4)
    for rows in ([0, 3, 4, 9], [5], []):
        numbers = np.array(rows, dtype=np.int64)
        taken = tables.take_rows(tmp_path / "a", tables.CANDIDATE_SETS, numbers, [c.EXAMPLE, c.CANDIDATES])
        assert taken.to_pydict() == {c.EXAMPLE: rows, c.CANDIDATES: [[row, 7] for row in rows]}


@pytest.mark.parametrize("read", [tables.take_rows, lambda *arguments: list(tables.row_groups(*arguments[:2], [c.USER]))])
def test_parts_of_a_table_are_checked_like_the_whole(tmp_path: Path, read: Callable[..., object]) -> None:
    tables.write_table(tmp_path / "a", candidate_sets(), tables.CANDIDATE_SETS)
    with pytest.raises(DataError, match="a: expected the columns user_id"):
        read(tmp_path / "a", tables.INTERACTIONS, np.array([0]), [c.USER])
    with pytest.raises(DataError, match="b: not found"):
        read(tmp_path / "b", tables.INTERACTIONS, np.array([0]), [c.USER])
