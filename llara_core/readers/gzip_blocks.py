"""Gzip files with a record per line, read in blocks of lines, so that a file of any size takes the memory of one block."""

from __future__ import annotations

import gzip
import itertools
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from llara_core.errors import DataError
from llara_core.readers.interaction_log import Counts
from llara_core.readers.text_lines import FIRST

AGAIN = "delete it and run the download stage again"
MIN_LINES_TO_JUDGE = 10

Record = TypeVar("Record")


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


def gzip_records(
    path: Path,
    block_bytes: int,
    parse: Callable[[bytes], Iterable[Record | None]],
    kind: str,
    dropped: Counts,
    unreadable: str,
) -> Iterator[Record]:
    """Yields the record of each line, and counts the unreadable lines.

    Args:
        block_bytes: unpacked size of a block, as in :func:`gzip_blocks`.
        parse: function that returns the record of each line of a block; None for an unreadable line.
        kind: kind of record, for the message.
        dropped: receives the number of unreadable lines.
        unreadable: reason under which they are counted.

    Raises:
        DataError: the file is missing or not an intact gzip file, or most of its lines are unreadable.
    """
    n_lines, first = 0, 0
    for record in itertools.chain.from_iterable(map(parse, gzip_blocks(path, block_bytes))):
        n_lines += 1
        if record is not None:
            yield record
        else:
            dropped[unreadable] += 1
            first = first or n_lines
    if n_lines >= MIN_LINES_TO_JUDGE and dropped[unreadable] > n_lines / 2:
        raise DataError(
            f"{path}:{first}: not a {kind}, like {dropped[unreadable]} of {n_lines} lines; the file is damaged or a different "
            f"one: {AGAIN}"
        )
