"""A folder to work in, with the parameters of the repository and own logs of twelve users."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from llara_core import paths
from llara_core.config import load_params
from llara_core.description.describe import describe
from tests.helpers.own_logs import write
from tests.helpers.params import copy_params

REPOSITORY = Path(__file__).parents[3]
START = 1_600_000_000  # September 2020
NOW = 1_800_000_000.0  # January 2027
N_USERS, N_ITEMS, LENGTH = 12, 8, 4

Row = tuple[str, str, int]


def interactions() -> list[Row]:
    """User, item and second: user u has the items u, u + 1, u + 2, u + 3 (from 8 on again from 0), a thousand seconds apart."""
    return [
        (f"u{user:02d}", f"i{(user + place) % N_ITEMS}", START + 1000 * (LENGTH * user + place))
        for user in range(N_USERS)
        for place in range(LENGTH)
    ]


def as_csv(header: list[str], rows: list[tuple[Any, ...]], separator: str = ",") -> str:
    return "".join(separator.join(map(str, row)) + "\n" for row in [header, *rows])


def log_csv(separator: str = ",", time: Callable[[int], object] = lambda second: second) -> str:
    return as_csv(["user", "item", "time"], [(user, item, time(second)) for user, item, second in interactions()], separator)


def items_csv(separator: str = ",") -> str:
    return as_csv(["item", "title"], [(f"i{item}", f"Title {item}") for item in range(N_ITEMS)], separator)


@dataclass(frozen=True)
class Room:
    root: Path

    def put(self, name: str = "shop", **files: Any) -> None:
        """Files of ``data/own/<name>/``, by their names with ``_`` before the ending."""
        for file, content in files.items():
            path = self.root / paths.own(name) / ".".join(file.rsplit("_", 1))
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path, content)

    def describe(self, name: str = "shop") -> dict[str, Any]:
        return describe(name, load_params(), NOW)

    def paste(self, section: str) -> None:
        """Put the section where the page says."""
        text = paths.PARAMS.read_text(encoding="utf-8")
        assert text.count("\ndatasets:\n") == 1
        paths.PARAMS.write_text(text.replace("\ndatasets:\n", f"\ndatasets:\n{section}"), encoding="utf-8")


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    copy_params(tmp_path)
    monkeypatch.chdir(tmp_path)
    return Room(tmp_path)
