"""From rows that are a user's whole sequence to rows that are an interaction each."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from llara_core.errors import DataError
from llara_core.readers.values import encodable, short

LIST = "list"
BRACKETS = r"^\[.*\]$"
# As numpy prints an array: values between spaces and line feeds, without commas.
_VALUE = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^\s,'"\[\]()]+"""
_ARRAY = re.compile(rf"\[\s*(?:{_VALUE})(?:\s+(?:{_VALUE}))+\s*\]")
_decode = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str).decode


def one_row_per_item(
    names: list[str],
    columns: list[pa.Array],
    rows: Sequence[int],
    is_list: list[bool],
    separator: str,
    place: Callable[[int], str],
) -> tuple[list[pa.Array], Sequence[int]]:
    """The columns with a row per element of their lists; an empty list becomes a row without a value, so that it is counted.

    Args:
        rows: their numbers.
        is_list: which columns hold lists; the others are repeated.
        separator: between the elements of text, or :data:`LIST`.
        place: where a row stands, for messages.

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


def _lists(name: str, column: pa.Array, rows: Sequence[int], separator: str, place: Callable[[int], str]) -> pa.ListArray:
    """The lists of a column, none of them null or empty."""
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
        column = pa.array(
            [_parsed(name, text, rows[row], place) for row, text in enumerate(column.to_pylist())], pa.list_(pa.string())
        )
    empty = pc.fill_null(pc.equal(pc.list_value_length(column), 0), True)
    if not pc.any(empty).as_py():
        return column
    one_null = pa.array([[None]], column.type)
    return (
        pa.chunked_array([column, one_null]).combine_chunks().take(pc.if_else(empty, len(column), pa.array(range(len(column)))))
    )


def _parsed(name: str, text: str | None, row: int, place: Callable[[int], str]) -> list[str | None]:
    if text is None or not text.strip():
        return []
    for read in (_decode, _array, ast.literal_eval):
        try:
            found = read(text.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, list | tuple) and ... in found:
            raise DataError(
                f"{place(row)}: column {name!r}: {short(text)} is a list of which a part was left out (...); write all of it, "
                "for example with `tolist()`"
            )
        if isinstance(found, list | tuple) and all(_is_plain(value) for value in found):
            return [None if value is None else encodable(str(value)) for value in found]
    raise DataError(
        f"{place(row)}: column {name!r}: {short(text)} is no list of texts or numbers, such as [1, 2]; if something else "
        "stands between the items, name it in `sequences`"
    )


def _array(text: str) -> list[object]:
    """The values of an array as numpy prints it; Python would join texts that stand side by side.

    >>> _array("[ 7  10\\n 12]"), _array("['a b' 'c']"), _array("[1. 2.5 ... 9.]")
    (['7', '10', '12'], ['a b', 'c'], ['1', '2.5', Ellipsis, '9'])
    """
    if not _ARRAY.fullmatch(text):
        raise ValueError(text)
    return [
        ast.literal_eval(value) if value[0] in "'\"" else ... if value == "..." else value.removesuffix(".")
        for value in re.findall(_VALUE, text)
    ]


def _is_plain(value: object) -> bool:
    return value is None or (isinstance(value, str | int) and not isinstance(value, bool))
