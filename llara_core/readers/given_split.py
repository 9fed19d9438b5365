"""What an own log itself says about its split (``split.strategy: files``): a column, or a file for each part."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from llara_core import columns as c
from llara_core.config import OwnLogConfig
from llara_core.errors import DataError
from llara_core.readers.log_columns import BoolArray, LogColumn
from llara_core.readers.log_files import LogTable
from llara_core.readers.values import short

FILE_COLUMN = "(split)"  # that the rows of the three files get
NAMES = {c.TRAIN: 0, "training": 0, c.VALIDATION: 1, "valid": 1, "val": 1, "dev": 1, c.TEST: 2}


def interactions_of(folder: Path, config: OwnLogConfig) -> LogTable:
    """The interactions as one table; of three files, its rows also have the column :data:`FILE_COLUMN`."""
    split = config.split
    if split.strategy != "files" or split.validation_file is None or split.test_file is None:
        return LogTable.of_interactions(folder, config, config.interactions)
    return _SplitTables(folder, config, (config.interactions, split.validation_file, split.test_file))


class _SplitTables(LogTable):
    """The tables of training, validation and test, one after the other."""

    def __init__(self, folder: Path, config: OwnLogConfig, names: tuple[str, str, str]) -> None:
        self.path = folder / names[0]
        self.tables = [LogTable.of_interactions(folder, config, name) for name in names]
        self.sequences = config.sequences
        self.starts: list[int] = []
        self.n_repeated_headers = 0

    def read(self, names: list[str]) -> Iterator[tuple[list[pa.Array], Sequence[int]]]:
        self.starts, self.n_repeated_headers = [], 0
        end = 0
        own = [name for name in names if name != FILE_COLUMN]
        for split, table in zip(c.SPLITS, self.tables, strict=True):
            start = end
            self.starts.append(start)
            for columns, rows in table.read(own):
                of_file = pa.array([split], pa.string()).take(pa.array(np.zeros(len(rows), dtype=np.int8)))
                found = dict(zip(own, columns, strict=True)) | {FILE_COLUMN: of_file}
                moved = (np.asarray(rows, dtype=np.int64) + start).tolist()
                end = max(end, (moved[-1] + 1) if len(moved) else end)
                yield [found[name] for name in names], moved
            self.n_repeated_headers += table.n_repeated_headers

    def place(self, row: int) -> str:
        part = bisect_right(self.starts, row) - 1
        return self.tables[part].place(int(row) - self.starts[part])


def split_codes(column: LogColumn) -> tuple[npt.NDArray[np.int8], BoolArray | None]:
    """Codes into :data:`columns.SPLITS`, and the mask of missing rows (None: none is missing).

    Raises:
        DataError: a value names no split.
    """
    ids, missing = column.ids()
    values = [(value or "").casefold() for value in ids.dictionary.to_pylist()]
    code_of = np.array([NAMES.get(value, -1) for value in values], dtype=np.int8)
    indices = ids.indices.fill_null(0).to_numpy()
    codes: npt.NDArray[np.int8] = code_of[indices] if len(code_of) else np.zeros(len(indices), dtype=np.int8)
    wrong = (codes < 0) if missing is None else (codes < 0) & ~missing
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(
            f"{column.table.place(column.rows[row])}: column {column.name!r}: {short(ids[row].as_py())} names no split; "
            f"it must be one of {', '.join(NAMES)}"
        )
    return codes, missing


def refuse_rows_in_two_splits(log: pd.DataFrame, path: Path) -> None:
    """Refuse a log in which one interaction is both trained on and asked.

    Raises:
        DataError: rows agree in user, item and time, but not in the split.
    """
    if c.SPLIT not in log:
        return
    what = [c.USER, c.ITEM, c.TIMESTAMP]
    distinct = log[[*what, c.SPLIT]].drop_duplicates()
    shared = distinct[distinct.duplicated(what, keep=False)]
    if len(shared):
        first = shared.groupby(what, sort=False)[c.SPLIT].agg(list)
        raise DataError(
            f"{path}: {len(first)} interactions stand in two splits with the same user, item and time, the first in "
            f"{' and '.join(c.SPLITS[code] for code in first.iloc[0])}; take them out of all but one"
        )
