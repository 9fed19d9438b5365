"""Reader of the Amazon reviews of the McAuley lab, UCSD, of 2018 and 2023: one JSON object per line, packed with gzip.

pyarrow extracts the needed fields from blocks of lines. A block that it rejects, because of a damaged line or a field of
another type, is parsed again line by line, so that only unreadable lines are dropped and counted.

Source: J. Ni, J. Li and J. McAuley, EMNLP 2019 (the reviews of 2018); Y. Hou et al., arXiv 2403.03952 (2023).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pa_json

from llara_core import columns as c
from llara_core.config import AmazonSection
from llara_core.errors import DataError
from llara_core.readers.gzip_blocks import AGAIN, gzip_blocks, refuse_other_files
from llara_core.readers.interaction_log import Counts, RawLog, count, number_ids, numbers_of
from llara_core.readers.item_texts import attribute
from llara_core.readers.item_titles import first_titles
from llara_core.readers.values import encodable, listed

BLOCK_BYTES = 1 << 24  # unpacked; a longer line is unreadable
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
    log, item_ids, n_users = _read_reviews(folder / config.reviews_file, config, dropped)
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
    return RawLog(known, catalogue, n_users, steps, dropped, config.ticks_per_second)


def _read_items(path: Path, config: AmazonSection, dropped: Counts) -> pd.DataFrame:
    """Returns ``raw_id``, ``raw_title`` (may be empty) and ``attributes``, sorted by id."""
    attribute_types = [(name, _TYPES[kind]) for name, kind in config.attribute_fields.items()]
    schema = pa.schema([(config.item_field, pa.string()), ("title", pa.string()), *attribute_types])
    dropped |= dict.fromkeys(("items_unreadable", "items_without_id", "titles_that_are_scripts"), 0)
    ids, titles, attributes = list[pa.Array](), list[pa.Array](), list[list[str]]()
    for table in _tables(path, schema, dropped, "items_unreadable"):
        table = _complete(table, {config.item_field: "items_without_id"}, dropped)
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


def _texts(value: str | float | list[str | None] | None) -> list[str]:
    parts = value if isinstance(value, list) else [value]
    return [part if isinstance(part, str) else f"{part:g}" for part in parts if part is not None]


def _read_reviews(path: Path, config: AmazonSection, dropped: Counts) -> tuple[pd.DataFrame, pa.StringArray, int]:
    """Returns the complete reviews in file order, with numbered users and items; the item ids; and the number of users."""
    fields = (config.user_field, config.item_field, config.time_field, config.rating_field)
    schema = pa.schema(list(zip(fields, (pa.string(), pa.string(), pa.int64(), pa.float64()), strict=True)))
    reasons = {field: f"reviews_without_{name}" for field, name in zip(fields, ("user", "item", "time", "rating"), strict=True)}
    dropped |= dict.fromkeys(("reviews_unreadable", *reasons.values()), 0)
    users, items = list[pa.DictionaryArray](), list[pa.DictionaryArray]()
    times, ratings = list[npt.NDArray[np.int64]](), list[npt.NDArray[np.float64]]()
    for table in _tables(path, schema, dropped, "reviews_unreadable"):
        table = _complete(table, reasons, dropped)
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
    return pd.DataFrame(log, copy=False), item_ids, len(user_ids)


def _tables(path: Path, schema: pa.Schema, dropped: Counts, unreadable: str) -> Iterator[pa.Table]:
    """Yields the fields of ``schema`` block by block, text trimmed; missing, empty and wrongly typed values are null."""
    n_lines, first_unreadable = 0, 0
    for block in gzip_blocks(path, BLOCK_BYTES):
        table = _parsed(block, schema)
        if table is None:
            rows, bad_lines = _parsed_by_line(block, schema)
            table = pa.Table.from_pylist(rows, schema)
            if bad_lines:
                first_unreadable = first_unreadable or n_lines + bad_lines[0]
                dropped[unreadable] += len(bad_lines)
        n_lines += block.count(b"\n")
        for place, field in enumerate(schema):
            if pa.types.is_string(field.type):
                text = pc.utf8_trim_whitespace(table.column(place))
                table = table.set_column(place, field, pc.if_else(pc.equal(text, ""), None, text))
        yield table
    refuse_other_files(path, "JSON object", dropped[unreadable], n_lines, first_unreadable)


def _parsed(block: bytes, schema: pa.Schema) -> pa.Table | None:
    """Returns the fields of a block; None if a line is damaged or a field is of another type."""
    try:
        table = pa_json.read_json(
            pa.BufferReader(block),
            pa_json.ReadOptions(use_threads=False, block_size=len(block) + 1),
            pa_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
        table.validate(full=True)  # detects text that is not UTF-8
    except pa.ArrowInvalid:
        return None
    # pyarrow also accepts several objects on a line, and one on several lines.
    return table.select(schema.names) if len(table) == block.count(b"\n") else None


def _parsed_by_line(block: bytes, schema: pa.Schema) -> tuple[list[dict[str, object]], list[int]]:
    """Returns the objects of a block, and the numbers, from 1, of the lines that are not JSON objects."""
    rows, bad_lines = [], []
    for number, line in enumerate(block[:-1].split(b"\n"), start=1):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
            value = None
        if isinstance(value, dict):
            rows.append({field.name: _of_type(value.get(field.name), field.type) for field in schema})
        else:
            bad_lines.append(number)
    return rows, bad_lines


def _of_type(value: object, kind: pa.DataType) -> object:
    """Returns the value if it is of the type, otherwise None."""
    if pa.types.is_string(kind):
        return encodable(value) if isinstance(value, str) else None
    if pa.types.is_list(kind):
        return [_of_type(part, pa.string()) for part in value] if isinstance(value, list) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    if pa.types.is_floating(kind):
        return float(value)
    return int(value) if value == int(value) and abs(value) < 2**63 else None


def _complete(table: pa.Table, reasons: dict[str, str], dropped: Counts) -> pa.Table:
    """Returns the rows that have all fields in ``reasons``; each other row is counted once, for the first field it lacks."""
    for field, reason in reasons.items():
        if n_missing := table[field].null_count:
            dropped[reason] += n_missing
            table = table.filter(pc.is_valid(table[field]))
    return table
