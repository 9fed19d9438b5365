"""The split that an own log itself gives (``split.strategy: files``): by a column, or by a file for each part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from llara_core import columns as c
from llara_core.config import OwnLogConfig
from llara_core.errors import DataError
from llara_core.readers.log_columns import BoolArray, LogColumn
from llara_core.readers.log_files import LogTable, Part

FILE_COLUMN = "(split)"  # that the rows of the three files get
NAMES = {c.TRAIN: 0, "training": 0, c.VALIDATION: 1, "valid": 1, "val": 1, "dev": 1, c.TEST: 2}


def interactions_of(folder: Path, config: OwnLogConfig) -> LogTable:
    """Returns the interactions as one table; the rows of three files also have the column :data:`FILE_COLUMN`."""
    table, split = LogTable.of_interactions(folder, config, config.interactions), config.split
    if split.strategy == "files" and split.validation_file is not None and split.test_file is not None:
        held_out = [LogTable.of_interactions(folder, config, name) for name in (split.validation_file, split.test_file)]
        of_split = dict(zip(c.SPLITS, (table, *held_out), strict=True))
        table.parts = [
            Part(part.file, {**part.partition, FILE_COLUMN: name}) for name, each in of_split.items() for part in each.parts
        ]
        table.per_row.append(FILE_COLUMN)
    return table


def split_codes(column: LogColumn) -> tuple[npt.NDArray[np.int8], BoolArray]:
    """Returns codes into :data:`columns.SPLITS`, and the mask of missing rows.

    Raises:
        DataError: a value names no split.
    """
    ids, missing = column.ids()
    code_of = np.array([NAMES.get((text or "").casefold(), -1) for text in ids.dictionary.to_pylist()] or [-1], dtype=np.int8)
    codes: npt.NDArray[np.int8] = code_of[ids.indices.fill_null(0).to_numpy()]
    column.refuse(codes >= 0, missing, f"names no split; it must be one of {', '.join(NAMES)}")
    return codes, missing


def refuse_rows_in_two_splits(log: pd.DataFrame, path: Path) -> None:
    """Refuses a log in which one interaction is both trained on and asked.

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
