"""Folders that are tables of a format of their own, and no plain files."""

from __future__ import annotations

from pathlib import Path

from llara_core.errors import DataError

MARKS = {
    "_delta_log": "Delta Lake",
    ".hoodie": "Hudi",
    "metadata/*.metadata.json": "Iceberg",
    "_spark_metadata": "Spark Structured Streaming",
}


def refuse_table_formats(path: Path, root: Path) -> None:
    """Refuses a file or folder of a Delta Lake, Hudi, Iceberg or Spark streaming table below ``root``.

    Which of the Parquet files count stands in the table's own log; read as plain files, deleted rows come back.

    Raises:
        DataError: ``path``, or a folder between it and ``root``, is such a table.
    """
    for folder in (path, *path.parents):
        for mark, name in MARKS.items():
            if found := next(folder.glob(mark), None):
                raise DataError(
                    f"{folder}: a {name} table (it holds {found.relative_to(folder)}), whose files also hold rows that were "
                    "deleted or replaced; export its current rows into a folder of plain Parquet files, or into one file"
                )
        if folder == root:
            return
