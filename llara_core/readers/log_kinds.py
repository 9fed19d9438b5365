"""Recognition of a file's kind by its first bytes, whatever its name, and decompression."""

from __future__ import annotations

import codecs
import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from llara_core.errors import DataError
from llara_core.readers.values import encodable

PARQUET = "a Parquet file"
PACKED = {"a gzip file": "gzip", "a zstd file": "zstd", "a bzip2 file": "bz2"}
"""pyarrow's name for the compression, by kind of file; only these compressed files are read."""
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
HEAD_BYTES = 512


def kind_of(path: Path) -> str | None:
    """Returns the kind of a file; None if it is unknown, as it is for text.

    Raises:
        DataError: the file cannot be read, or has a name that cannot be shown.
    """
    if encodable(str(path)) != str(path):
        raise DataError(f"{path}: its name is not UTF-8; rename it")  # pyarrow cannot open it, nor a section name it
    try:
        with path.open("rb") as file:
            return _kind_of_bytes(file.read(HEAD_BYTES))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def packing_of_text(path: Path) -> str | None:
    """Returns pyarrow's name for the compression of a text file; None if it is not compressed.

    Raises:
        DataError: the file, or its uncompressed content, is of a known kind that is not text.
    """
    kind = content = kind_of(path)
    if kind in PACKED:
        try:
            with open_bytes(path, PACKED[kind]) as file:
                content = _kind_of_bytes(file.read(HEAD_BYTES))
        except OSError:
            content = None  # the error appears again, with its place, when the file is read
    if content is not None:
        inside = f" inside {kind}" if kind in PACKED else ""
        raise DataError(
            f"{path}: is {content}{inside}, whatever its name; delimited text and JSON lines, also packed with gzip, zstd or "
            "bzip2, and Parquet are supported: unpack or export it"
        )
    return None if kind is None else PACKED[kind]


def open_bytes(path: Path, compression: str | None) -> Any:
    """Opens a file for reading its uncompressed bytes."""
    return pa.input_stream(path, compression=compression)


@contextlib.contextmanager
def open_text(path: Path, compression: str | None, encoding: str, newline: str) -> Iterator[io.TextIOWrapper]:
    """Opens a file for reading its uncompressed text.

    Raises:
        DataError: the file cannot be read, or what is read is not text in this encoding; the message names the line.
    """
    try:
        with io.TextIOWrapper(open_bytes(path, compression), encoding=encoding, newline=newline) as file:
            yield file
    except UnicodeError as error:
        decoder, line = codecs.getincrementaldecoder(encoding)(), 1  # the error does not give the line
        with io.BufferedReader(open_bytes(path, compression)) as lines, contextlib.suppress(UnicodeError):
            for chunk in lines:
                line += decoder.decode(chunk).count("\n")
        raise DataError(f"{path}:{line}: not {encoding} text; correct `encoding`") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read, damaged or cut short: {error}") from error


def _kind_of_bytes(head: bytes) -> str | None:
    if head[257:262] == b"ustar":
        return "a tar archive"
    return next((kind for magic, kind in MAGIC.items() if head.startswith(magic)), None)
