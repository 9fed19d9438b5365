"""Importer of the data frames with training, validation and test rows that the paper's authors publish."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from llara_core import columns as c
from llara_core.config import ReleasedFramesConfig
from llara_core.config.datasets import MOVIELENS_ITEMS
from llara_core.errors import DataError
from llara_core.readers import movielens
from llara_core.readers.frame_pickles import read_frame
from llara_core.readers.text_lines import Lines
from llara_core.readers.titles import plain_title
from llara_core.readers.values import BoolArray, IntArray

SEQUENCE, LENGTH, NEXT = "seq", "len_seq", "next"
_SHAPES = {
    SEQUENCE: "a list of item ids, or of (item id, rating) pairs, of one length in all rows",
    LENGTH: "a whole number",
    NEXT: "an item id, or an (item id, rating) pair, as in all other rows",
}
_NAMES = Lines(
    r"(\d{1,9})::(.*)",
    "id::name with a whole number as id",
    "utf-8-sig",
    again="save the file as UTF-8, with a line for each item",
    first="copy it from where the frames are",
)


@dataclass(frozen=True)
class ReleasedFrames:
    """Content of the three frames and the file of item names.

    Attributes:
        sequences: ``user_id``, ``item_id`` and ``position`` (int32), ``timestamp`` (int64) and ``split``; by user and position.
            Neither users nor times are published: a user is a chain of rows (:func:`read`), and ``timestamp`` is the position.
        examples: ``user_id`` (int32), ``split``, ``history`` (int32 arrays, oldest first, at least one item) and ``target``
            (int32); training, validation, test, each in the order of its frame.
        items: ``raw_id`` and ``raw_title`` (strings); row number = ``item_id``, the id in the frames.
        dropped: ``rows_without_history``, the number of rows that cannot become prompts.
    """

    sequences: pd.DataFrame
    examples: pd.DataFrame
    items: pd.DataFrame
    dropped: Mapping[str, int]


@dataclass(frozen=True)
class _Rows:
    """The verified rows of a frame."""

    histories: IntArray  # (rows, T), padded at the end
    lengths: IntArray  # (rows,), number of items of each history
    targets: IntArray  # (rows,)


def read(folder: Path, config: ReleasedFramesConfig) -> ReleasedFrames:
    """Imports the frames in ``folder``.

    A frame has the columns ``seq`` (a list of item ids, padded at the end with the number of items), ``len_seq`` (the number of
    ids that are not padding; 0 or 1 if all are) and ``next`` (an item id). Pairs (id, rating) may replace ids; ratings are
    ignored.

    The frames do not contain users. A training row continues the previous row if its history is the history of that row plus
    its target, cut at the front to the width of ``seq``. Rows that continue each other form a chain, which is treated as a
    user whose items are the history of the first row and the targets of all rows. In the published order (user by user, one row
    per position, starting with an empty history) this recovers every user. In other orders, a chain may be a part of a user, or
    join two users if the items of one happen to continue those of the other. Examples do not depend on this, since they are
    the rows themselves. Each validation and test row is its own chain. User ids number the chains in the order of the frames.

    Args:
        folder: folder of the four files that ``config`` names. If the file of names is called ``u.item``, it has the GroupLens
            layout, with ids one higher than in the frames; otherwise UTF-8 lines ``id::name`` with the ids of the frames.
        config: names of the files, and ``max_history_len``; longer histories lose their oldest items.

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
    padded, last = histories == n_items, n_items - 1
    n_filled = (~padded).sum(axis=1)
    seq = f"{SEQUENCE} {{history}} holds"
    for wrong, complaint in (
        (
            ((histories < 0) | (histories > n_items)).any(axis=1),
            f"{seq} ids that are neither 0 to {last}, which have a name, nor {n_items}, the padding; take frames and names of "
            "the same data set",
        ),
        (
            (padded[:, :-1] & ~padded[:, 1:]).any(axis=1),
            f"{seq} padding ({n_items}) before an item; padding belongs at the end",
        ),
        (
            (lengths != n_filled) & ~((n_filled == 0) & (lengths == 1)),
            f"{LENGTH} is {{length}}, but {seq} {{n}} items before the padding, which is the number of names, {n_items}",
        ),
        ((targets < 0) | (targets > last), f"{NEXT} is {{target}}, but the items with a name are 0 to {last}"),
    ):
        row = int(wrong.argmax())
        values = {"history": histories[row].tolist(), "length": lengths[row], "n": n_filled[row], "target": targets[row]}
        _refuse(path, np.asarray(wrong), complaint.format(**values))
    if not n_filled.any():
        raise DataError(f"{path}: no row has a history, so there is nothing to prompt with")
    return _Rows(histories, n_filled, targets)


def _refuse(path: Path, wrong: BoolArray, complaint: str) -> None:
    if wrong.any():
        raise DataError(f"{path}: row {int(wrong.argmax())} (from 0): {complaint}")


def _read_numbers(path: Path, column: str, cells: list[object]) -> IntArray:
    """Returns the ids or lengths of one column: shape ``(rows, T)`` for ``seq``, otherwise ``(rows,)``."""
    n_dims = 1 if column == SEQUENCE else 0
    rows = [_numbers(cell) for cell in cells]
    shape = rows[0].shape
    are_pairs = shape[n_dims:] == (2,) and column != LENGTH
    is_valid = rows[0].size > 0 and (are_pairs or len(shape) == n_dims)
    wrong = np.array([not (is_valid and row.shape == shape and row.dtype.kind in "iuf") for row in rows])
    if not wrong.any():
        values = np.stack(rows)[..., 0] if are_pairs else np.stack(rows)
        whole = np.isfinite(values) & (values == np.floor(values))
        wrong = ~whole.reshape(len(rows), -1).all(axis=1)
    # reprlib, since a cell may be nested too deeply for repr.
    _refuse(path, wrong, f"{column} must be {_SHAPES[column]}, got {reprlib.repr(cells[int(wrong.argmax())])}")
    return values.astype(np.int64)


def _numbers(cell: object) -> npt.NDArray[np.float64]:
    """Returns a cell as an array of any dtype; empty if its elements differ in length."""
    try:
        return np.asarray(cell)
    except ValueError:
        return np.empty(0)


def _continues(rows: _Rows, padding: int) -> BoolArray:
    """Returns whether the history of each row is the history of the previous row plus its target."""
    n_rows, width = rows.histories.shape
    following = np.column_stack([rows.histories, np.full(n_rows, padding)])
    following[np.arange(n_rows), rows.lengths] = rows.targets
    following = np.where((rows.lengths == width)[:, None], following[:, 1:], following[:, :-1])
    return np.concatenate([[False], (following[:-1] == rows.histories[1:]).all(axis=1)])


def _sequences(rows: _Rows, first: BoolArray, users: npt.NDArray[np.int32]) -> pd.DataFrame:
    """Returns the items of each chain: the history of its first row and the targets of all its rows."""
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
    kept = np.flatnonzero(rows.lengths)
    pairs = zip(rows.histories[kept].astype(np.int32), rows.lengths[kept], strict=True)
    return pd.DataFrame(
        {
            c.USER: users[kept],
            c.HISTORY: [history[:length][-max_history_len:] for history, length in pairs],
            c.TARGET: rows.targets[kept].astype(np.int32),
        }
    )


def _read_items(path: Path) -> pd.DataFrame:
    """Returns ``raw_id``, ``raw_title`` and ``attributes`` (none except from ``u.item``); row number = id in the frames."""
    attributes: dict[Any, list[str]] = {}
    if path.name == MOVIELENS_ITEMS:
        table, first = movielens.read_items(path).set_index(c.ITEM), 1
        titles, attributes = table[c.RAW_TITLE].to_dict(), table[c.ATTRIBUTES].to_dict()
    else:
        titles, first = {item: name.strip() for item, (name,) in _NAMES.by_id(path).items()}, 0
    expected = range(first, first + len(titles))
    for item in expected:
        if item not in titles:
            raise DataError(
                f"{path}: names {len(titles)} items, so their ids must be {expected[0]} to {expected[-1]}; {item} is missing"
            )
        if not plain_title(titles[item]):
            raise DataError(f"{path}: item {item} has an empty name; give it one, since the frames' ids allow no gap")
    rows = [(str(item), titles[item], attributes.get(item, [])) for item in expected]
    return pd.DataFrame(rows, columns=[c.RAW_ITEM, c.RAW_TITLE, c.ATTRIBUTES])
