"""Conversion of rows that hold a user's whole sequence into one row per interaction."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Container

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from llara_core.errors import DataError
from llara_core.readers.values import IntArray, decoded, encodable, short

LIST = "list"
BRACKETS = r"^\[.*\]$"
# Lists in JSON and Python, with commas, and arrays as numpy prints them, with spaces and line feeds.
_TEXT = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_VALUE = rf"(?:{_TEXT}|[+-]?\.?[0-9][\w.+-]*|\.\.\.|null|None|nan|NaN)"
_PRINTED = rf"(?:{_TEXT}|[^\s,'\"\[\]()]+)"
_LIST = re.compile(rf"[\[(]\s*(?:{_VALUE}(?:\s*,\s*{_VALUE})*\s*,?|{_PRINTED}(?:\s+{_PRINTED})+)?\s*[\])]")
_NULLS = ("null", "None")


def one_row_per_item(
    names: list[str],
    columns: list[pa.Array],
    rows: IntArray,
    per_row: Container[str],
    separator: str,
    place: Callable[[int], str],
) -> tuple[list[pa.Array], IntArray]:
    """Returns columns and row numbers with one row per list element; an empty list becomes a row with a null.

    Args:
        names: names of the columns.
        columns: columns of lists, or of one value per row, which is repeated for each element.
        rows: numbers of the rows.
        per_row: names of the columns with one value per row.
        separator: separator of the elements in text, or :data:`LIST`.
        place: function that returns the place of a row, for messages.

    Raises:
        DataError: a value is not a list, or the lists of a row differ in length.
    """
    lists = {
        name: _lists(name, column, rows, separator, place)
        for name, column in zip(names, columns, strict=True)
        if name not in per_row
    }
    if not lists:
        return columns, rows
    counts = {name: pc.list_value_length(values).to_numpy() for name, values in lists.items()}
    first, *others = counts
    for other in others:
        if (differs := counts[first] != counts[other]).any():
            row = int(differs.argmax())
            raise DataError(
                f"{place(rows[row])}: {counts[first][row]} values in {first!r}, but {counts[other][row]} in {other!r}; the "
                "lists of a row must have the same length"
            )
    parents = np.repeat(np.arange(len(rows)), counts[first])
    flat = [
        lists[name].flatten() if name in lists else column.take(pa.array(parents))
        for name, column in zip(names, columns, strict=True)
    ]
    return flat, rows[parents]


def _lists(name: str, column: pa.Array, rows: IntArray, separator: str, place: Callable[[int], str]) -> pa.ListArray:
    """Returns the lists of a column; a null or empty list is replaced by a list of one null."""
    column = decoded(column)
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        column = column.cast(pa.list_(kind.value_type))
    elif not (pa.types.is_string(kind) or pa.types.is_null(kind)):
        raise DataError(f"{place(rows[0])}: column {name!r} is of type {kind}; with `sequences` it must hold lists or text")
    elif separator != LIST:
        text = pc.utf8_trim_whitespace(column.cast(pa.string()).fill_null(""))
        if len(text) and pc.all(pc.match_substring_regex(text, BRACKETS)).as_py():
            raise DataError(
                f"{place(rows[0])}: column {name!r}: {short(text[0].as_py())} is a list in brackets: set `sequences: list`"
            )
        return pc.split_pattern(text, separator)
    else:
        texts = enumerate(column.to_pylist())
        column = pa.array([_parsed(name, text or "", rows[row], place) for row, text in texts], pa.list_(pa.string()))
    empty = pc.fill_null(pc.equal(pc.list_value_length(column), 0), True)
    with_null = pa.concat_arrays([column, pa.array([[None]], column.type)])
    return with_null.take(pc.if_else(empty, len(column), pa.array(range(len(column)))))


def _parsed(name: str, text: str, row: int, place: Callable[[int], str]) -> list[str | None]:
    text = text.strip()
    if text and not _LIST.fullmatch(text):
        raise DataError(
            f"{place(row)}: column {name!r}: {short(text)} is not a list of texts or numbers, such as [1, 2]; if something "
            "else separates the items, name it in `sequences`"
        )
    values = re.findall(_PRINTED, text)
    if "..." in values:
        raise DataError(
            f"{place(row)}: column {name!r}: {short(text)} is a list whose middle was replaced by an ellipsis (...); write "
            "the whole list, for example with `tolist()`"
        )
    return [None if value in _NULLS else _value(value) for value in values]


def _value(text: str) -> str:
    """Returns a list element as text.

    >>> _value("1."), _value("'a b'"), _value('"caf\\\\u00e9"')
    ('1', 'a b', 'café')
    """
    if text[0] == '"':
        try:
            return encodable(json.loads(text))
        except ValueError:  # an escape that only Python knows
            pass
    return encodable(ast.literal_eval(text)) if text[0] in "'\"" else text.removesuffix(".")
