"""Turns rows that are a user's whole sequence into rows that are an interaction each."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from llara_core.errors import DataError
from llara_core.readers.values import encodable, short

LIST = "list"
BRACKETS = r"^\[.*\]$"
# Lists of JSON and Python, with commas, and arrays as numpy prints them, with spaces and line feeds.
_TEXT = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_VALUE = rf"(?:{_TEXT}|[+-]?\.?[0-9][\w.+-]*|\.\.\.|null|None|nan|NaN)"
_PRINTED = rf"(?:{_TEXT}|[^\s,'\"\[\]()]+)"
_LIST = re.compile(rf"[\[(]\s*(?:{_VALUE}(?:\s*,\s*{_VALUE})*\s*,?|{_PRINTED}(?:\s+{_PRINTED})+)?\s*[\])]")
_NULLS = ("null", "None")

Rows = npt.NDArray[np.int64]


def one_row_per_item(
    names: list[str], columns: list[pa.Array], rows: Rows, is_list: list[bool], separator: str, place: Callable[[int], str]
) -> tuple[list[pa.Array], Rows]:
    """Returns the columns with a row per element of their lists; an empty list becomes a row without a value, to be counted.

    Args:
        rows: numbers of the rows.
        is_list: whether each column holds lists; the others are repeated.
        separator: between the elements of text, or :data:`LIST`.
        place: returns where a row stands, for messages.

    Raises:
        DataError: a value is no list, or the lists of a row differ in length.
    """
    lists = {
        name: _lists(name, column, rows, separator, place)
        for name, column, is_one in zip(names, columns, is_list, strict=True)
        if is_one
    }
    if not lists:  # `rows` are looked through for one column alone
        return columns, rows
    counts = {name: pc.list_value_length(values).to_numpy() for name, values in lists.items()}
    first, *others = counts
    for other in others:
        if (differs := counts[first] != counts[other]).any():
            row = int(differs.argmax())
            raise DataError(
                f"{place(rows[row])}: {counts[first][row]} values in {first!r}, but {counts[other][row]} in {other!r}; the "
                "lists of a row must be of one length"
            )
    parents = np.repeat(np.arange(len(rows)), counts[first])
    spread = [
        lists[name].flatten() if name in lists else column.take(pa.array(parents))
        for name, column in zip(names, columns, strict=True)
    ]
    return spread, rows[parents]


def _lists(name: str, column: pa.Array, rows: Rows, separator: str, place: Callable[[int], str]) -> pa.ListArray:
    """Returns the lists of a column, none of them null or empty."""
    column = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
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
            f"{place(row)}: column {name!r}: {short(text)} is no list of texts or numbers, such as [1, 2]; if something else "
            "stands between the items, name it in `sequences`"
        )
    values = re.findall(_PRINTED, text)
    if "..." in values:
        raise DataError(
            f"{place(row)}: column {name!r}: {short(text)} is a list of which a part was left out (...); write all of it, "
            "for example with `tolist()`"
        )
    return [None if value in _NULLS else _value(value) for value in values]


def _value(text: str) -> str:
    """Returns the text of a value in a list.

    >>> _value("1."), _value("'a b'"), _value('"caf\\\\u00e9"')
    ('1', 'a b', 'café')
    """
    if text[0] == '"':
        try:
            return encodable(json.loads(text))
        except ValueError:  # of Python's escapes JSON knows only some
            pass
    return encodable(ast.literal_eval(text)) if text[0] in "'\"" else text.removesuffix(".")
