"""Importer of the frames that the paper's authors publish: their very training, validation and test rows."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from llara_core import columns as c
from llara_core.config import ReleasedFramesConfig
from llara_core.config.datasets import MOVIELENS_ITEMS
from llara_core.errors import DataError
from llara_core.readers import movielens
from llara_core.readers.frame_pickles import read_frame
from llara_core.readers.text_lines import text_lines
from llara_core.readers.titles import plain_title

SEQUENCE, LENGTH, NEXT = "seq", "len_seq", "next"
_SHAPES = {
    SEQUENCE: "a list of item ids, or of (item id, rating) pairs, of one length in all rows",
    LENGTH: "a whole number",
    NEXT: "an item id, or an (item id, rating) pair, as in all other rows",
}
_ID_AND_NAME = re.compile(r"(\d{1,9})::(.*)", re.ASCII)

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ReleasedFrames:
    """The content of the three frames and the names.

    Attributes:
        sequences: ``user_id``, ``item_id`` and ``position`` (int32), ``timestamp`` (int64) and ``split``; by user and position.
            Neither users nor times are published: a user is a chain of rows (:func:`read`), and ``timestamp`` is the position.
        examples: ``user_id`` (int32), ``split``, ``history`` (int32 arrays, oldest first, at least one item) and ``target``
            (int32); training, validation, test, each in the order of its frame.
        items: ``raw_id`` and ``raw_title`` (strings); row number = ``item_id``, the frames' own id.
        dropped: ``rows_without_history``, which give nothing to prompt with.
    """

    sequences: pd.DataFrame
    examples: pd.DataFrame
    items: pd.DataFrame
    dropped: Mapping[str, int]


@dataclass(frozen=True)
class _Rows:
    """One frame, checked.

    Attributes:
        histories: shape ``(rows, T)``, padded at the end.
        lengths: items of each history, shape ``(rows,)``.
        targets: shape ``(rows,)``.
    """

    histories: IntArray
    lengths: IntArray
    targets: IntArray


def read(folder: Path, config: ReleasedFramesConfig) -> ReleasedFrames:
    """Imports the frames in ``folder``.

    A frame has the columns ``seq`` (a list of item ids, padded at the end with the number of items), ``len_seq`` (how many are
    not padding) and ``next`` (an item id). An (id, rating) pair may replace an id; ratings are ignored. ``len_seq`` may be 1
    where there is only padding, as some code of that family writes it.

    The frames do not say to whom a row belongs. A training row continues the row before it if its history is that row's history
    plus its target, cut at the front to the width of ``seq``. Rows that continue each other form a chain, which counts as one
    user, whose items are the history of its first row and then all its targets. In the published order (user by user, one row
    per position, from the empty history on) this recovers every user, since an empty history continues nothing. In other orders
    a chain may be part of a user, or of two where one user's items happen to continue another's. Examples do not depend on
    this: they are the rows themselves. Each validation and test row is a chain of its own. User ids number the chains, in the
    order of the frames.

    Args:
        folder: holds the four files that ``config`` names. A name file called ``u.item`` has the GroupLens layout, and its ids
            are the frames' plus 1; any other has UTF-8 lines ``id::name`` with the frames' ids.
        config: histories longer than its ``max_history_len`` lose their oldest items.

    Raises:
        DataError: a file is missing or malformed (the message gives the line or row), or no row of a frame has a history.
    """
    items = _read_items(folder / config.names)
    sequences, examples, dropped, n_users = [], [], 0, 0
    for split, name in ((c.TRAIN, config.train), (c.VALIDATION, config.validation), (c.TEST, config.test)):
        rows = _read_rows(folder / name, len(items))
        first = ~_continues(rows, len(items)) if split == c.TRAIN else np.ones(len(rows.targets), dtype=bool)
        users = (n_users + np.cumsum(first) - 1).astype(np.int32)
        n_users = int(users[-1]) + 1
        sequences.append(_sequences(rows, first, users).assign(**{c.SPLIT: split}))
        examples.append(_examples(rows, users, config.max_history_len).assign(**{c.SPLIT: split}))
        dropped += int((rows.lengths == 0).sum())
    return ReleasedFrames(
        sequences=pd.concat(sequences, ignore_index=True),
        examples=pd.concat(examples, ignore_index=True),
        items=items,
        dropped={"rows_without_history": dropped},
    )


def _read_rows(path: Path, n_items: int) -> _Rows:
    frame = read_frame(path)
    if missing := [column for column in _SHAPES if column not in frame]:
        raise DataError(f"{path}: lacks the columns {missing}; it has {list(frame.columns)}")
    if frame.empty:
        raise DataError(f"{path}: holds no rows; copy the published file again")
    histories, lengths, targets = (_read_numbers(path, column, frame[column].tolist()) for column in _SHAPES)
    padded = histories == n_items
    counted = (~padded).sum(axis=1)
    cells, last = {SEQUENCE: histories, LENGTH: lengths, "n": counted, NEXT: targets}, n_items - 1

    def refuse(wrong: BoolArray, said: str) -> None:
        _refuse(path, wrong, lambda row: said.format(**{name: values[row].tolist() for name, values in cells.items()}))

    refuse(
        (histories.min(axis=1) < 0) | (histories.max(axis=1) > n_items),
        f"{SEQUENCE} {{seq}} holds ids that are neither 0 to {last}, which have a name, nor {n_items}, the padding; take "
        "frames and names of the same data set",
    )
    is_early = (padded[:, :-1] & ~padded[:, 1:]).any(axis=1)
    refuse(is_early, f"{SEQUENCE} {{seq}} holds padding ({n_items}) before an item; padding belongs at the end")
    refuse(
        np.where(counted == 0, (lengths != 0) & (lengths != 1), lengths != counted),
        f"{LENGTH} is {{len_seq}}, but {SEQUENCE} {{seq}} holds {{n}} items before the padding, which is the number of names, "
        f"{n_items}",
    )
    refuse((targets < 0) | (targets > last), f"{NEXT} is {{next}}, but the items with a name are 0 to {last}")
    if not counted.any():
        raise DataError(f"{path}: no row has a history, so there is nothing to prompt with")
    return _Rows(histories, counted, targets)


def _refuse(path: Path, wrong: BoolArray, describe: Callable[[int], str]) -> None:
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(f"{path}: row {row} (from 0): {describe(row)}")


def _read_numbers(path: Path, column: str, cells: list[object]) -> IntArray:
    """Returns the ids or lengths of one column: shape ``(rows, T)`` for ``seq``, else ``(rows,)``."""
    n_dims = 1 if column == SEQUENCE else 0
    rows = [_numbers(cell) for cell in cells]
    shape = rows[0].shape
    paired = shape[n_dims:] == (2,) and column != LENGTH
    shaped = rows[0].size > 0 and (paired or len(shape) == n_dims)

    def describe(row: int) -> str:
        # reprlib: a cell may be nested deeper than repr can follow.
        return f"{column} must be {_SHAPES[column]}, got {reprlib.repr(cells[row])}"

    _refuse(path, np.array([not shaped or row.shape != shape or row.dtype.kind not in "iuf" for row in rows]), describe)
    values = np.stack(rows)[..., 0] if paired else np.stack(rows)
    whole = np.isfinite(values) & (values == np.floor(values))
    _refuse(path, ~whole.reshape(len(rows), -1).all(axis=1), describe)
    return values.astype(np.int64)


def _numbers(cell: object) -> npt.NDArray[np.float64]:
    """Returns a cell as an array of any dtype; empty if its parts differ in length."""
    try:
        return np.asarray(cell)
    except ValueError:
        return np.empty(0)


def _continues(rows: _Rows, padding: int) -> BoolArray:
    """Returns for each row whether its history is that of the row before plus its target."""
    n_rows, width = rows.histories.shape
    following = np.column_stack([rows.histories, np.full(n_rows, padding)])
    following[np.arange(n_rows), rows.lengths] = rows.targets
    following = np.where((rows.lengths == width)[:, None], following[:, 1:], following[:, :-1])
    return np.concatenate([[False], (following[:-1] == rows.histories[1:]).all(axis=1)])


def _sequences(rows: _Rows, first: BoolArray, users: npt.NDArray[np.int32]) -> pd.DataFrame:
    """Returns the chains: the history of each chain's first row, then all its targets."""
    kept = first[:, None] & (np.arange(rows.histories.shape[1]) < rows.lengths[:, None])
    kept = np.column_stack([kept, np.ones(len(kept), dtype=bool)])
    user = np.repeat(users, kept.sum(axis=1))
    position = np.arange(len(user)) - np.searchsorted(user, user)
    return pd.DataFrame(
        {
            c.USER: user,
            c.ITEM: np.column_stack([rows.histories, rows.targets])[kept].astype(np.int32),
            c.TIMESTAMP: position.astype(np.int64),
            c.POSITION: position.astype(np.int32),
        }
    )


def _examples(rows: _Rows, users: npt.NDArray[np.int32], max_history_len: int) -> pd.DataFrame:
    asked = np.flatnonzero(rows.lengths)
    ends = rows.lengths[asked]
    starts = np.maximum(ends - max_history_len, 0)
    histories = rows.histories[asked].astype(np.int32)
    return pd.DataFrame(
        {
            c.USER: users[asked],
            c.HISTORY: [history[start:end] for history, start, end in zip(histories, starts, ends, strict=True)],
            c.TARGET: rows.targets[asked].astype(np.int32),
        }
    )


def _read_items(path: Path) -> pd.DataFrame:
    """Returns ``raw_id``, ``raw_title`` and, from ``u.item``, ``attributes``; row number = the frames' id."""
    attributes: dict[int, list[str]] = {}
    if path.name == MOVIELENS_ITEMS:
        table = movielens.read_items(path)
        ids = table[c.ITEM].tolist()
        titles: dict[int, str] = dict(zip(ids, table[c.RAW_TITLE], strict=True))
        attributes, first = dict(zip(ids, table[c.ATTRIBUTES], strict=True)), 1
    else:
        first, titles = 0, _read_names(path)
    expected = range(first, first + len(titles))
    for item in expected:
        if item not in titles:
            raise DataError(
                f"{path}: names {len(titles)} items, so their ids must be {expected[0]} to {expected[-1]}; {item} is missing"
            )
        if not plain_title(titles[item]):
            raise DataError(f"{path}: item {item} has an empty name; give it one, since the frames' ids allow no gap")
    columns = {c.RAW_ITEM: [str(item) for item in expected], c.RAW_TITLE: [titles[item] for item in expected]}
    return pd.DataFrame({**columns, c.ATTRIBUTES: [attributes.get(item, []) for item in expected]})


def _read_names(path: Path) -> dict[int, str]:
    names: dict[int, str] = {}
    for place, line in text_lines(path, "utf-8-sig", "save the file as UTF-8", "copy it from where the frames are"):
        match = _ID_AND_NAME.fullmatch(line)
        if match is None:
            raise DataError(f"{place}: expected id::name with a whole number as id, got {line[:80]!r}")
        if int(match[1]) in names:
            raise DataError(f"{place}: item {match[1]} occurs a second time; ids must be unique")
        names[int(match[1])] = match[2].strip()
    if not names:
        raise DataError(f"{path}: holds no names; copy it again")
    return names
