"""Reader of the Amazon reviews of the McAuley lab, UCSD, of 2018 and 2023: one JSON object per line, packed with gzip.

Source: J. Ni, J. Li and J. McAuley, EMNLP 2019 (the reviews of 2018); Y. Hou et al., arXiv 2403.03952 (2023).
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from llara_core import columns as c
from llara_core.config import AmazonSection
from llara_core.errors import DataError
from llara_core.readers.gzip_blocks import AGAIN, gzip_records
from llara_core.readers.interaction_log import Counts, RawLog, count, number_ids, numbers_of
from llara_core.readers.item_texts import attribute
from llara_core.readers.item_titles import first_titles
from llara_core.readers.values import encodable, listed

BLOCK_BYTES = 1 << 24  # unpacked size of a block; a longer line is unreadable
BATCH_ROWS = 1 << 14
_decode = json.JSONDecoder().decode
SCRIPT_MARK = "getTime"  # occurs in the JavaScript that replaces some titles of 2018

_TYPES = {"text": pa.string(), "list": pa.list_(pa.string()), "number": pa.float64()}


def read(folder: Path, config: AmazonSection) -> RawLog:
    """Reads the log in ``folder``, whose files ``config`` names.

    The item is the product (2018: ``asin``; 2023: ``parent_asin``, which joins the variants of a product). Raw ids are text,
    ordered by code point. Steps: ``raw``, reviews with user, item, time and rating; ``distinct``, without reviews that equal
    an earlier one in all four; ``known``, reviews of products in the metadata. Every other line is counted once, by reason, in
    ``dropped``. JavaScript in place of a title is treated as a missing title.

    Both files are streamed; only ids, numbers and titles stay in memory.

    Raises:
        DataError: a file is missing, damaged, mostly unreadable or from the other release, or the files do not belong together.
    """
    dropped: Counts = {}
    catalogue = _read_items(folder / config.meta_file, config, dropped)
    log, item_ids, user_ids = _read_reviews(folder / config.reviews_file, config, dropped)
    steps = {"raw": count(log)}
    repeated = log.duplicated()
    log = log[~repeated]
    steps["distinct"] = count(log)
    log = log.assign(**{c.ITEM: numbers_of(item_ids, catalogue[c.RAW_ITEM])[log[c.ITEM].to_numpy()]})
    known = log[log[c.ITEM] >= 0].reset_index(drop=True)
    if known.empty:
        raise DataError(
            f"{folder / config.reviews_file}: none of its reviews is of a product in {config.meta_file}; "
            "take both files from one source"
        )
    steps["known"] = count(known)
    dropped |= {"interactions_duplicated": int(repeated.sum()), "interactions_of_unknown_items": len(log) - len(known)}
    return RawLog(known, catalogue, user_ids, steps, dropped, config.ticks_per_second)


def _read_items(path: Path, config: AmazonSection, dropped: Counts) -> pd.DataFrame:
    """Returns ``raw_id``, ``raw_title`` (may be empty) and ``attributes``, sorted by id."""
    attribute_types = [(name, _TYPES[kind]) for name, kind in config.attribute_fields.items()]
    schema = pa.schema([(config.item_field, pa.string()), ("title", pa.string()), *attribute_types])
    dropped |= dict.fromkeys(("items_unreadable", "items_without_id", "titles_that_are_scripts"), 0)
    ids, titles, attributes = list[pa.Array](), list[pa.Array](), list[list[str]]()
    for table in _tables(path, schema, {config.item_field: "items_without_id"}, dropped, "items_unreadable"):
        title = table["title"].combine_chunks().fill_null("")
        is_script = pc.match_substring(title, SCRIPT_MARK)
        dropped["titles_that_are_scripts"] += pc.sum(is_script).as_py() or 0
        ids.append(table[config.item_field].combine_chunks())
        titles.append(pc.if_else(is_script, "", title))
        attributes += [
            [attribute(name, _texts(value)) for name, value in row.items()]
            for row in table.select([*config.attribute_fields]).to_pylist()
        ]
    if not any(map(len, ids)):
        raise DataError(f"{path}: no line has a product's {config.item_field!r}; is it of the other release? Else {AGAIN}")
    numbers, item_ids = number_ids([part.dictionary_encode() for part in ids])
    items, counts = first_titles(numbers, pa.chunked_array(titles), attributes, item_ids, config.titles, lambda _: str(path))
    dropped |= counts
    return items


def _texts(value: str | float | list[str] | None) -> list[str]:
    parts = value if isinstance(value, list) else [value]
    return [part if isinstance(part, str) else f"{part:g}" for part in parts if part is not None]


def _read_reviews(path: Path, config: AmazonSection, dropped: Counts) -> tuple[pd.DataFrame, pa.StringArray, pa.StringArray]:
    """Returns the complete reviews in file order, with numbered users and items; the item ids; and the user ids."""
    fields = (config.user_field, config.item_field, config.time_field, config.rating_field)
    schema = pa.schema(list(zip(fields, (pa.string(), pa.string(), pa.int64(), pa.float64()), strict=True)))
    reasons = {field: f"reviews_without_{name}" for field, name in zip(fields, ("user", "item", "time", "rating"), strict=True)}
    dropped |= dict.fromkeys(("reviews_unreadable", *reasons.values()), 0)
    users, items = list[pa.DictionaryArray](), list[pa.DictionaryArray]()
    times, ratings = list[npt.NDArray[np.int64]](), list[npt.NDArray[np.float64]]()
    for table in _tables(path, schema, reasons, dropped, "reviews_unreadable"):
        user, item, time, rating = (table[name].combine_chunks() for name in fields)
        users.append(user.dictionary_encode())
        items.append(item.dictionary_encode())
        times.append(time.to_numpy())
        ratings.append(rating.to_numpy())
    if not any(map(len, times)):
        raise DataError(f"{path}: holds no review with {listed(fields)}; is it of the other release? Else {AGAIN}")
    user_numbers, user_ids = number_ids(users)
    item_numbers, item_ids = number_ids(items)
    log = {c.USER: user_numbers, c.ITEM: item_numbers, c.TIMESTAMP: np.concatenate(times), c.RATING: np.concatenate(ratings)}
    return pd.DataFrame(log, copy=False), item_ids, user_ids


def _tables(path: Path, schema: pa.Schema, required: dict[str, str], dropped: Counts, unreadable: str) -> Iterator[pa.Table]:
    """Yields the rows that have all required fields, batch by batch; other missing, empty and wrongly typed values are null.

    Args:
        required: reasons under which rows without a field are counted, by field; a row counts once, for the first it lacks.
    """
    records = gzip_records(path, BLOCK_BYTES, _objects, "JSON object", dropped, unreadable)
    while True:
        columns = {name: list[Any]() for name in schema.names}
        # Only the columns are kept: thousands of records in memory would slow down the garbage collector.
        for record in itertools.islice(records, BATCH_ROWS):
            for name, column in columns.items():
                column.append(record.get(name))
        arrays = [_CONVERSIONS[kind](column) for kind, column in zip(schema.types, columns.values(), strict=True)]
        table = pa.table(arrays, schema=schema)
        if not len(table):
            return
        for field, reason in required.items():
            dropped[reason] += table[field].null_count
            table = table.filter(pc.is_valid(table[field]))
        yield table


def _objects(block: bytes) -> Iterator[dict[str, Any] | None]:
    for line in block[:-1].split(b"\n"):
        try:
            value = _decode(line.decode())
        except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
            value = None
        yield value if isinstance(value, dict) else None


def _trimmed_texts(values: list[object]) -> pa.Array:
    texts = pa.array([encodable(value) if isinstance(value, str) else None for value in values], pa.string())
    trimmed = pc.utf8_trim_whitespace(texts)
    return pc.if_else(pc.equal(trimmed, ""), None, trimmed)


def _lists_of_texts(values: list[object]) -> pa.Array:
    lists = [
        [encodable(part) for part in value if isinstance(part, str)] if isinstance(value, list) else None for value in values
    ]
    return pa.array(lists, _TYPES["list"])


def _numbers(values: list[Any]) -> pa.Array:
    return pa.array([float(value) if _is_number(value) else None for value in values], pa.float64())


def _whole_numbers(values: list[Any]) -> pa.Array:
    return pa.array([int(value) if _is_number(value) and value == int(value) else None for value in values], pa.int64())


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 2**63


_CONVERSIONS = {
    _TYPES["text"]: _trimmed_texts,
    _TYPES["list"]: _lists_of_texts,
    _TYPES["number"]: _numbers,
    pa.int64(): _whole_numbers,
}
"""Functions that return JSON values as a column, by its type; values of other types and empty text become null."""
