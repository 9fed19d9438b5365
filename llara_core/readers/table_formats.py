"""Detection of folders in a table format, whose data files must not be read as plain files."""

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
    """Raises an error for a file or folder of a Delta Lake, Hudi, Iceberg or Spark streaming table.

    Only the log of such a table tells which of its Parquet files are current.

    Args:
        root: folder above ``path`` at which the search ends.

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
