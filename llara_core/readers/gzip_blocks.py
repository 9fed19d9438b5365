"""Gzip files of text as blocks of whole lines, so that a file of any size takes the memory of one block."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from llara_core.errors import DataError
from llara_core.readers.text_lines import FIRST

AGAIN = "delete it and run the download stage again"
MIN_LINES_TO_JUDGE = 10


def gzip_blocks(path: Path, block_bytes: int) -> Iterator[bytes]:
    """Yields the unpacked file in blocks of whole lines, each with its line feed.

    Args:
        block_bytes: unpacked size of a block. A longer line is replaced by ``\\0``, which no parser accepts.

    Raises:
        DataError: the file is missing or not an intact gzip file.
    """
    n_lines, rest = 0, b""
    try:
        with (
            path.open("rb") as packed,
            gzip.open(packed) as file,
            tqdm(desc=path.name, total=path.stat().st_size, unit="B", unit_scale=True, leave=False, delay=1.0) as bar,
        ):
            while data := file.read(block_bytes):
                block, feed, rest = (rest + data).rpartition(b"\n")
                if feed:
                    n_lines += block.count(b"\n") + 1
                    yield block + feed
                if len(rest) > block_bytes:
                    rest = b"\0"
                bar.update(packed.tell() - bar.n)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a gzip file, or truncated or corrupt after line {n_lines} ({error}); {AGAIN}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); {FIRST}") from error
    if rest:
        yield rest + b"\n"


def refuse_other_files(path: Path, kind: str, n_unreadable: int, n_lines: int, first: int) -> None:
    """Raises an error for a file of which most lines are unreadable.

    Args:
        kind: kind of record that a line should hold, for the message.
        first: number of the first unreadable line.
    """
    if n_lines >= MIN_LINES_TO_JUDGE and n_unreadable > n_lines / 2:
        raise DataError(
            f"{path}:{first}: not a {kind}, like {n_unreadable} of {n_lines} lines; this is a different or a damaged file: "
            f"{AGAIN}"
        )
