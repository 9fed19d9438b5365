"""Tells the kind of a file by its first bytes, not by its name, and unpacks its bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from llara_core.errors import DataError

PARQUET = "a Parquet file"
PACKED = {"a gzip file": "gzip", "a zstd file": "zstd", "a bzip2 file": "bz2"}
"""Kinds that are unpacked on the way, and pyarrow's names for them."""
MAGIC = {
    b"PAR1": PARQUET,
    b"\x1f\x8b": "a gzip file",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"BZh": "a bzip2 file",
    b"PK\x03\x04": "a zip archive (an Excel workbook is one, too)",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"\xfd7zXZ\0": "an xz file",
    b"Obj\x01": "an Avro file",
    b"ORC": "an ORC file",
    b"ARROW1": "an Arrow file",
    b"SQLite format 3\0": "a SQLite database",
}
TAR_MARK = slice(257, 262), b"ustar"
HEAD_BYTES = 512


def kind_of(path: Path) -> str | None:
    """Returns the kind that the first bytes show; None: no known one, so it may be text."""
    try:
        with path.open("rb") as file:
            return _kind_of(file.read(HEAD_BYTES))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def packing_of_text(path: Path) -> str | None:
    """Returns pyarrow's name for the packing of a text file; None: it is not packed.

    Raises:
        DataError: the file, or what is packed in it, is of a known kind that is no text.
    """
    kind = within = kind_of(path)
    if kind in PACKED:
        try:
            with open_bytes(path, PACKED[kind]) as file:
                within = _kind_of(file.read(HEAD_BYTES))
        except OSError:
            within = None  # damaged: reading it will tell
    if within is not None:
        inside = f" inside {kind}" if kind in PACKED else ""
        raise DataError(
            f"{path}: is {within}{inside}, whatever its name; supported are delimited text and JSON lines, also packed with "
            "gzip, zstd or bzip2, and Parquet: unpack or export it"
        )
    return None if kind is None else PACKED[kind]


def open_bytes(path: Path, packing: str | None) -> Any:
    """Opens the unpacked bytes as a file."""
    return pa.input_stream(path, compression=packing)


def _kind_of(head: bytes) -> str | None:
    if head[TAR_MARK[0]] == TAR_MARK[1]:
        return "a tar archive"
    return next((kind for magic, kind in MAGIC.items() if head.startswith(magic)), None)
