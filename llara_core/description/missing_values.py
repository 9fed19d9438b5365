"""Counts missing values in the files of an own log, and texts that may mean one, on every row."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from llara_core.config import OwnLogConfig
from llara_core.readers.log_files import LogTable

DOUBTFUL = {"-", "--", "?", "unknown", "undefined", "anonymous", "guest", "none", "nil", "null", "(null)", "missing", "na"}
DOUBTFUL |= {"n.a.", "n/d", "#n/a", "-1", "00000000-0000-0000-0000-000000000000"}
"""Placeholders, in lower case, that may have to be listed in a section's ``missing``."""
IDS = ("user", "item")


def describe_missing(folder: Path, config: OwnLogConfig) -> dict[str, Any]:
    """Returns, for each column of the section, the numbers of missing values and of placeholders, by text, and for users and
    items also the most frequent id."""
    log = _describe_table(LogTable.of_interactions(folder, config, config.interactions), config.log_columns, config.missing)
    items = {"item_id": config.columns.item_id, "title": config.columns.title}
    return log | _describe_table(LogTable.of_items(folder, config), items, config.missing)


def _describe_table(table: LogTable, purposes: dict[str, str], missing: list[str]) -> dict[str, Any]:
    counts = {purpose: Counter[str]() for purpose in purposes}
    marks, n_rows = pa.array(["", *{mark.lower() for mark in missing} | DOUBTFUL]), 0
    for columns, rows in table.read(list(purposes.values())):
        n_rows += len(rows)
        for purpose, column in zip(purposes, columns, strict=True):
            text = _text(column)
            if purpose not in IDS:
                text = text.filter(pc.is_in(pc.utf8_lower(text), marks))
            values, numbers = pc.value_counts(text).flatten()
            counts[purpose].update(dict(zip(values.to_pylist(), numbers.to_pylist(), strict=True)))
    facts: dict[str, dict[str, Any]] = {}
    for purpose, name in purposes.items():
        by_text = counts[purpose].most_common()
        empty = {text or "(empty)": n for text, n in by_text if text in ("", *missing)}
        known = [(text, n) for text, n in by_text if text not in ("", *missing)]
        doubtful = {text: n for text, n in known if text.lower() in DOUBTFUL}
        facts[purpose] = {"column": name, "rows": n_rows, "missing": empty, "doubtful": doubtful}
        if purpose in IDS:
            facts[purpose]["most_frequent"] = {"id": known[0][0], "rows": known[0][1]} if known else None
    return facts


def _text(column: pa.Array) -> pa.StringArray:
    """Returns trimmed text, empty for null and for NaN, which pandas writes for a missing number."""
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    return pc.utf8_trim_whitespace(column.cast(pa.string())).fill_null("")
