"""Histories of many users: from a file, or those of the prepared data; and the table of what is recommended to them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from llara_core import columns as c
from llara_core import tables
from llara_core.config import DatasetConfig, OwnLogConfig, TextLayout
from llara_core.errors import DataError
from llara_core.readers.log_columns import Column, columns
from llara_core.readers.log_files import Table
from llara_core.serving.ranking import Ranked
from llara_core.serving.titles import ItemFinder

logger = logging.getLogger(__name__)

Histories = dict[str, list[int]]  # item ids, oldest first, by user


_PLAIN_CSV = TextLayout(",", "utf-8", "checked", None, header=True)


@dataclass(frozen=True)
class HistoryFormat:
    """What a file of histories looks like.

    Attributes:
        user: any id.
        item: the data set's raw id; where the file has it, ``title`` is not looked at.
        title: as of :meth:`ItemFinder.by_title`.
        time: numbers or ISO 8601; where the file lacks it, the rows of a user are oldest first.
        layout: of text.
        sequences: as in the section of an own log.
        missing: texts that mean a missing value, besides the empty one.
        keep: columns of which only some values count, where the file has them.
    """

    user: str = c.USER
    item: str = c.ITEM
    title: str = c.TITLE
    time: str = c.TIMESTAMP
    layout: TextLayout = _PLAIN_CSV
    sequences: str | None = None
    missing: Sequence[str] = ()
    keep: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, dataset: DatasetConfig) -> HistoryFormat:
        """As in the user's own log, where the data set is one whose columns have names."""
        if isinstance(dataset, OwnLogConfig) and dataset.header:
            names = dataset.columns
            title = names.title if dataset.item_layout.header else c.TITLE
            return cls(
                names.user,
                names.item,
                title,
                names.time or c.TIMESTAMP,
                dataset.log_layout,
                dataset.sequences,
                dataset.missing,
                dataset.keep,
            )
        return cls()


def read_histories(path: Path, items: pd.DataFrame, names: HistoryFormat) -> Histories:
    """The histories of a file, or a folder of files, as the reader of own logs takes them.

    Left out, counted and logged are rows that ``names.keep`` refuses, rows without a user or an item, and rows whose item the
    catalogue lacks.

    Args:
        path: of the file.
        items: rows of :data:`tables.ITEMS`.
        names: of its columns, and how it is written.

    Raises:
        DataError: the file is missing or malformed, lacks a column, or has no usable row; or a time cannot be read.
    """
    rows = _read(path, names)
    item_column = names.item if names.item in rows else names.title
    if names.time in rows:
        rows = rows.iloc[np.argsort(_times(rows[names.time], path), kind="stable")]
    complete = rows[names.user].ne("") & rows[item_column].ne("")
    finder = ItemFinder(items)
    found = _numbers(rows.loc[complete, item_column], finder, path, by_id=item_column == names.item)
    usable = rows.loc[complete, [names.user]].assign(item=rows.loc[complete, item_column].map(found)).dropna()
    if usable.empty:
        raise DataError(
            f"{path}: no row has a user and an item of the catalogue; ids there look like {items[c.RAW_ITEM].iloc[0]!r}"
        )
    if n_unknown := int(complete.sum()) - len(usable):
        unknown = [name for name, item in found.items() if item is None]
        logger.warning(
            "%s: %d rows left out: their %d items are not in the catalogue, or share a title, e.g. %r",
            path,
            n_unknown,
            len(unknown),
            unknown[0],
        )
    if n_incomplete := len(rows) - int(complete.sum()):
        logger.warning("%s: %d rows without a user or an item are left out", path, n_incomplete)
    if without := set(rows.loc[complete, names.user]) - set(usable[names.user]):
        logger.warning("%s: users without an item of the catalogue, who get no recommendation: %d", path, len(without))
    return {str(user): [int(item) for item in group] for user, group in usable.groupby(names.user, sort=False)["item"]}


def prepared_histories(interactions: pd.DataFrame) -> Histories:
    """The whole history of every user of the prepared data, by ``user_id``.

    Args:
        interactions: rows of :data:`tables.INTERACTIONS`.
    """
    ordered = interactions.sort_values([c.USER, c.POSITION])
    return {str(user): group.to_list() for user, group in ordered.groupby(c.USER)[c.ITEM]}


def recommendations_table(users: Sequence[str], ranked: Sequence[Ranked], items: pd.DataFrame) -> pd.DataFrame:
    """One row per recommendation: user, rank (from 1), item (raw id), label, score."""
    if n_without := sum(not len(one.items) for one in ranked):
        logger.warning("%d of %d histories hold the whole catalogue and get no recommendation", n_without, len(ranked))
    chosen = np.concatenate([one.items for one in ranked]) if ranked else np.empty(0, dtype=np.int64)
    return pd.DataFrame(
        {
            "user": np.repeat(np.array(users, dtype=object), [len(one.items) for one in ranked]),
            "rank": [rank for one in ranked for rank in range(1, len(one.items) + 1)],
            "item": items[c.RAW_ITEM].to_numpy()[chosen],
            "label": items[c.LABEL].to_numpy()[chosen],
            "score": np.concatenate([one.scores for one in ranked]) if ranked else np.empty(0, dtype=np.float32),
        }
    )


def check_output(path: Path) -> None:
    """Refuse an output file that :func:`write_recommendations` could not write, before hours of work.

    Raises:
        DataError: its ending is neither ``.csv`` nor ``.parquet``, or it is a folder.
    """
    if path.suffix not in (".csv", ".parquet") or path.is_dir():
        raise DataError(f"{path}: name a file that ends in .csv or .parquet")


def write_recommendations(path: Path, table: pd.DataFrame) -> None:
    """Write the table as CSV or Parquet, by the ending of ``path``, all of it or nothing."""
    check_output(path)
    with tables.atomic_path(path) as staged:
        if path.suffix == ".csv":
            table.to_csv(staged, index=False)
        else:
            table.to_parquet(staged, index=False)


def _read(path: Path, names: HistoryFormat) -> pd.DataFrame:
    """The user, the item or else the title, and the time if it is there, as trimmed text; "" where there is no value.

    The index counts the rows of the file.
    """
    if not path.exists():
        raise DataError(f"{path}: not found")
    table = Table(path.parent, path.name, names.layout, names.sequences, [names.user, *names.keep])
    found = table.names()
    item = names.item if names.item in found else names.title
    if missing := [name for name in (names.user, item) if name not in found]:
        raise DataError(
            f"{path}: has no column {missing[0]!r}; expected {names.user!r} with {names.item!r} (raw ids) or {names.title!r}, "
            f"and {names.time!r} if the rows are not oldest first; found {found}"
        )
    wanted = [name for name in (names.user, item, names.time, *names.keep) if name in found]
    rows = pd.concat(
        (
            pd.DataFrame({column.name: _text(column, is_time=column.name == names.time) for column in batch})
            for batch in columns(table, wanted, list(names.missing))
        ),
        ignore_index=True,
    )
    is_kept = np.ones(len(rows), dtype=np.bool_)
    for name in names.keep:
        if name in found:
            is_kept &= rows[name].isin([value.strip() for value in names.keep[name]]).to_numpy()
    if n_others := int((~is_kept).sum()):
        logger.warning("%s: %d rows left out: `keep` asks for other values", path, n_others)
    return rows[is_kept]


def _text(column: Column, *, is_time: bool) -> pd.Series[str]:
    values = column.values.dictionary_decode() if pa.types.is_dictionary(column.values.type) else column.values
    column = replace(column, values=values.cast(pa.string()) if is_time else values)
    texts = column.texts()
    text: pd.Series[str] = pc.if_else(pc.is_in(texts, column.marks), "", texts).to_pandas()
    return text.astype(object)


def _times(times: pd.Series[str], path: Path) -> npt.NDArray[Any]:
    numbers = pd.to_numeric(times, errors="coerce")
    if not numbers.isna().any():
        return numbers.to_numpy()
    dates = pd.to_datetime(times, errors="coerce", utc=True, format="ISO8601")
    if (bad := dates.isna()).any():
        neither = bad & numbers.isna()
        row = int(np.argmax(neither if neither.any() else bad))
        raise DataError(
            f"{path}, row {times.index[row] + 1}: the time {times.iloc[row]!r} is neither a number nor ISO 8601, as all of the "
            "column must be; or sort the rows oldest first and leave the column out"
        )
    return dates.to_numpy()


def _numbers(names: Iterable[str], finder: ItemFinder, path: Path, *, by_id: bool) -> Mapping[str, int | None]:
    """The item of each distinct name; None where no single item is called so."""
    if by_id:
        return {name: finder.with_raw_id(name) for name in dict.fromkeys(names)}
    found = {name: finder.titled(name) for name in dict.fromkeys(names)}
    if loose := [name for name, (_, loosely) in found.items() if loosely]:
        logger.info(
            "%s: %d titles are read without their year or with their article moved, e.g. %r", path, len(loose), loose[0]
        )
    return {name: item for name, (item, _) in found.items()}
