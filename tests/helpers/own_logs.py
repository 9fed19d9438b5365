"""Small own logs, written to files and read back."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llara_core.errors import DataError
from llara_core.readers.interaction_log import RawLog
from llara_core.readers.own_log import read
from tests.helpers.datasets import dataset_config

LOG = "user,item,time\nann,1,100\nbob,2,50\nann,2,120\n"
ITEMS = "item,title\n1,Heat\n2,Alien\n"
COLUMNS = {"user": "user", "item": "item", "time": "time", "rating": None, "item_id": "item", "title": "title"}


def put(folder: Path, log: Any = LOG, items: Any = ITEMS, log_name: str | None = None, **changes: Any) -> RawLog:
    """Write text or bytes as CSV, columns as Parquet, a list of those as a folder of Parquet files; and read it all."""
    names = {"interactions": log_name or f"log.{suffix(log)}", "items": f"items.{suffix(items)}"}
    write(folder / names["interactions"], log)
    write(folder / names["items"], items)
    return read(folder, dataset_config("log", **names, **changes))


def suffix(content: Any) -> str:
    return "csv" if isinstance(content, str | bytes) else "parquet"


def write(path: Path, content: Any) -> None:
    if isinstance(content, list):
        path.mkdir()
        for number, part in enumerate(content):
            write(path / f"part-{number}.parquet", part)
    elif isinstance(content, dict):
        pq.write_table(pa.table(content), path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def complaint(folder: Path, *arguments: Any, **changes: Any) -> str:
    """The error message, with paths relative to ``folder``."""
    with pytest.raises(DataError) as caught:
        put(folder, *arguments, **changes)
    return str(caught.value).replace(f"{folder}/", "")


def rows(log: RawLog) -> list[list[Any]]:
    return [list(row) for row in log.interactions.itertuples(index=False)]


def seconds_of(log: RawLog) -> list[Fraction]:
    return [Fraction(ticks, log.ticks_per_second) for ticks in log.interactions["timestamp"].to_list()]
