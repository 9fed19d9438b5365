"""The split that an own log defines itself (``split.strategy: files``), by a column or by a file per split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from llara_core import columns as c
from llara_core.config import OwnLogConfig
from llara_core.errors import DataError
from llara_core.readers.log_columns import LogColumn
from llara_core.readers.log_files import LogTable, Part
from llara_core.readers.values import BoolArray

FILE_COLUMN = "(split)"  # name of the column that holds the split of the rows of separate files
NAMES = {c.TRAIN: 0, "training": 0, c.VALIDATION: 1, "valid": 1, "val": 1, "dev": 1, c.TEST: 2}


def interactions_of(folder: Path, config: OwnLogConfig) -> LogTable:
    """Returns the interactions as one table, which has the column :data:`FILE_COLUMN` if each split has a file."""
    table, split = LogTable.of_interactions(folder, config, config.interactions), config.split
    if split.strategy == "files" and split.validation_file is not None and split.test_file is not None:
        held_out = [LogTable.of_interactions(folder, config, name) for name in (split.validation_file, split.test_file)]
        table.parts = [
            Part(part.file, {**part.partition, FILE_COLUMN: name})
            for name, files in zip(c.SPLITS, (table, *held_out), strict=True)
            for part in files.parts
        ]
        table.per_row.append(FILE_COLUMN)
    return table


def split_codes(column: LogColumn) -> tuple[npt.NDArray[np.int8], BoolArray]:
    """Returns codes into :data:`columns.SPLITS`, and the mask of missing values.

    Raises:
        DataError: a value names no split.
    """
    ids, missing = column.ids()
    code_of = np.array([NAMES.get((text or "").casefold(), -1) for text in ids.dictionary.to_pylist()] or [-1], dtype=np.int8)
    codes: npt.NDArray[np.int8] = code_of[ids.indices.fill_null(0).to_numpy()]
    column.check(codes >= 0, missing, f"names no split; it must be one of {', '.join(NAMES)}")
    return codes, missing


def refuse_rows_in_two_splits(log: pd.DataFrame, path: Path) -> None:
    """Checks that no interaction is in more than one split.

    Raises:
        DataError: rows with the same user, item and time have different splits.
    """
    if c.SPLIT not in log:
        return
    key = [c.USER, c.ITEM, c.TIMESTAMP]
    distinct = log[[*key, c.SPLIT]].drop_duplicates()
    shared = distinct[distinct.duplicated(key, keep=False)]
    if len(shared):
        splits = shared.groupby(key, sort=False)[c.SPLIT].agg(list)
        raise DataError(
            f"{path}: {len(splits)} interactions are in more than one split, with the same user, item and time, the first in "
            f"{' and '.join(c.SPLITS[code] for code in splits.iloc[0])}; keep each in one split only"
        )
