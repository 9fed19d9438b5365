"""Lines of small text files, each with its place for error messages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from llara_core.errors import DataError

AGAIN = "delete its folder and run the download stage again"
FIRST = "run the download stage first"


def text_lines(path: Path, encoding: str, again: str = AGAIN, first: str = FIRST) -> Iterator[tuple[str, str]]:
    """Yields ``path:line`` and the text of each line that is not empty, without its line end.

    Args:
        again: remedy for a damaged file.
        first: remedy for a missing file.

    Raises:
        DataError: the file cannot be read or decoded.
    """
    data = b""
    try:
        data = path.read_bytes()
        lines = data.decode(encoding).split("\n")  # splitlines() would also split at other characters
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); {first}") from error
    except UnicodeDecodeError as error:
        n_before, name = data.count(b"\n", 0, error.start), encoding.removesuffix("-sig").upper()
        byte = f"byte {error.object[error.start]:#04x}"
        raise DataError(f"{path}:{n_before + 1}: {byte} is not {name}; {again}") from error
    for number, line in enumerate(lines, start=1):
        if text := line.removesuffix("\r"):
            yield f"{path}:{number}", text


def lines_below(path: Path, encoding: str, header: str) -> list[tuple[str, str]]:
    """Returns the lines of a file as :func:`text_lines` does, without its header.

    Raises:
        DataError: the file cannot be read or decoded, or has another header.
    """
    (place, first), *lines = [*text_lines(path, encoding)] or [(f"{path}:1", "")]
    if first != header:
        raise DataError(f"{place}: expected the header {header!r}, got {first[:80]!r}; {AGAIN}")
    return lines
