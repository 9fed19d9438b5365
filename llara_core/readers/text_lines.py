"""Small text files, each of whose lines matches a pattern."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llara_core.errors import DataError
from llara_core.readers.values import short

AGAIN = "delete its folder and run the download stage again"
FIRST = "run the download stage first"


@dataclass(frozen=True)
class Lines:
    """The layout of a file.

    Attributes:
        pattern: regular expression that every line matches; blank lines are skipped.
        expected: content of a line in words, for messages.
        header: first line; None if there is none.
        again: remedy for a damaged file.
        first: remedy for a missing file.
    """

    pattern: str
    expected: str
    encoding: str = "utf-8"
    header: str | None = None
    again: str = AGAIN
    first: str = FIRST

    def read(self, path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yields ``path:line`` and the groups of each line below the header, in which digits are ASCII.

        Raises:
            DataError: the file cannot be read or decoded, has another header or no rows, or a line does not match.
        """
        pattern, n_rows = re.compile(self.pattern, re.ASCII), 0
        lines = self._lines(path)
        if self.header is not None:
            place, text = next(lines, (f"{path}:1", ""))
            if text != self.header:
                raise DataError(f"{place}: expected the header {self.header!r}, got {short(text)}; {self.again}")
        for place, text in lines:
            if (match := pattern.fullmatch(text)) is None:
                raise DataError(f"{place}: expected {self.expected}, got {short(text)}; {self.again}")
            n_rows += 1
            yield place, match.groups()
        if not n_rows:
            raise DataError(f"{path}: holds no rows; {self.again}")

    def by_id(self, path: Path) -> dict[int, tuple[str, ...]]:
        """Returns the other groups of each line by the first one, a whole number that occurs once, in file order."""
        rows: dict[int, tuple[str, ...]] = {}
        for place, (raw_id, *others) in self.read(path):
            if int(raw_id) in rows:
                raise DataError(f"{place}: the id {raw_id} occurs a second time; ids must be unique")
            rows[int(raw_id)] = tuple(others)
        return rows

    def _lines(self, path: Path) -> Iterator[tuple[str, str]]:
        data = b""
        try:
            data = path.read_bytes()
            lines = data.decode(self.encoding).split("\n")  # splitlines() would also split at other characters
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}); {self.first}") from error
        except UnicodeDecodeError as error:
            number, name = 1 + data.count(b"\n", 0, error.start), self.encoding.removesuffix("-sig").upper()
            byte = f"byte {error.object[error.start]:#04x}"
            raise DataError(f"{path}:{number}: {byte} is not {name}; {self.again}") from error
        for number, line in enumerate(lines, start=1):
            if text := line.removesuffix("\r"):
                yield f"{path}:{number}", text
