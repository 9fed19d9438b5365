"""Texts in the files of an own log that stand for no value, or may do so: counted on every row."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from llara_core.config import OwnLogConfig
from llara_core.readers.log_files import Table

DOUBTFUL = {"-", "--", "?", "unknown", "undefined", "anonymous", "guest", "none", "nil", "null", "(null)", "missing", "na"}
DOUBTFUL |= {"n.a.", "n/d", "#n/a", "-1", "00000000-0000-0000-0000-000000000000"}
"""In lower case: placeholders that a section's ``missing`` may have to name."""


def describe_marks(folder: Path, config: OwnLogConfig) -> dict[str, Any]:
    """For each column that ``config`` names: how many cells are empty or hold a mark of ``missing``, by mark, and how many hold
    a text that may be one; for users and items also the most frequent id."""
    found = _of_table(Table.of_interactions(folder, config, config.interactions), config.log_columns, config.missing)
    items = {"item_id": config.columns.item_id, "title": config.columns.title}
    return found | _of_table(Table.of_items(folder, config), items, config.missing)


def _of_table(table: Table, purposes: dict[str, str], missing: list[str]) -> dict[str, Any]:
    marked = {purpose: Counter[str]() for purpose in purposes}
    doubtful = {purpose: Counter[str]() for purpose in purposes}
    ids = {purpose: Counter[str]() for purpose in purposes if purpose in ("user", "item")}
    n_rows = 0
    for columns, rows in table.read(list(purposes.values())):
        n_rows += len(rows)
        for purpose, column in zip(purposes, columns, strict=True):
            for text, n in _values(column, None if purpose in ids else [*missing, *DOUBTFUL]).items():
                if text == "" or text in missing:
                    marked[purpose][text or "(empty)"] += n
                    continue
                if text.lower() in DOUBTFUL:
                    doubtful[purpose][text] += n
                if purpose in ids:
                    ids[purpose][text] += n
    return {
        purpose: {
            "column": name,
            "rows": n_rows,
            "missing": dict(marked[purpose].most_common()),
            "doubtful": dict(doubtful[purpose].most_common()),
            **({"most_frequent": _first(ids[purpose])} if purpose in ids else {}),
        }
        for purpose, name in purposes.items()
    }


def _values(column: pa.Array, wanted: list[str] | None) -> Counter[str]:
    """How often each text occurs, trimmed, and nulls as the empty one; only the empty one and those ``wanted``, in any case.

    Args:
        wanted: None: all.
    """
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    if wanted is not None and not (pa.types.is_string(column.type) or pa.types.is_dictionary(column.type)):
        return Counter({"": column.null_count}) if column.null_count else Counter()
    counted = pc.value_counts(column.dictionary_encode() if not pa.types.is_dictionary(column.type) else column)
    values, counts = counted.field(0), np.asarray(counted.field(1))
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    text = pc.utf8_trim_whitespace(values.cast(pa.string()).fill_null(""))
    if wanted is not None:
        kept = pc.is_in(pc.utf8_lower(text), pa.array(["", *{mark.lower() for mark in wanted}]))
        text, counts = text.filter(kept), counts[kept.to_numpy(zero_copy_only=False)]
    total = Counter[str]()
    for value, n in zip(text.to_pylist(), counts.tolist(), strict=True):
        total[value] += n
    return total


def _first(ids: Counter[str]) -> dict[str, Any] | None:
    return {"id": ids.most_common(1)[0][0], "rows": ids.most_common(1)[0][1]} if ids else None
