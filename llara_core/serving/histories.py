"""Histories of many users: from a file, or those of the prepared data; and the table of what is recommended to them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from llara_core import columns as c
from llara_core import tables
from llara_core.config import DatasetConfig, OwnLogConfig
from llara_core.errors import DataError
from llara_core.serving.ranking import Ranked
from llara_core.serving.titles import ItemFinder

logger = logging.getLogger(__name__)

Histories = dict[str, list[int]]  # item ids, oldest first, by user


@dataclass(frozen=True)
class HistoryFormat:
    """What a file of histories looks like.

    Attributes:
        user: any id.
        item: the data set's raw id; where the file has it, ``title`` is not looked at.
        title: as of :meth:`ItemFinder.by_title`.
        time: numbers or ISO 8601; where the file lacks it, the rows of a user are oldest first.
        separator, encoding: of a CSV file.
    """

    user: str = c.USER
    item: str = c.ITEM
    title: str = c.TITLE
    time: str = c.TIMESTAMP
    separator: str = ","
    encoding: str = "utf-8"

    @classmethod
    def of(cls, dataset: DatasetConfig) -> HistoryFormat:
        """As in the user's own log, where the data set is one whose columns have names."""
        if isinstance(dataset, OwnLogConfig) and dataset.header:
            names = dataset.columns
            title = names.title if dataset.item_layout.header else c.TITLE
            return cls(names.user, names.item, title, names.time or c.TIMESTAMP, dataset.separator, dataset.encoding)
        return cls()


def read_histories(path: Path, items: pd.DataFrame, names: HistoryFormat) -> Histories:
    """The histories of a CSV or Parquet file with a row per interaction.

    Left out, counted and logged are rows without a user or an item, and rows whose item the catalogue lacks.

    Args:
        path: of the file; the ending ``.parquet`` says that it is one, else it is CSV.
        items: rows of :data:`tables.ITEMS`.
        names: of its columns, and how it is written.

    Raises:
        DataError: the file is missing or malformed, lacks a column, or has no usable row; or a time cannot be read.
    """
    rows = _read(path, names)
    item_column = names.item if names.item in rows else names.title
    if missing := [name for name in (names.user, item_column) if name not in rows]:
        raise DataError(
            f"{path}: has no column {missing[0]!r}; expected {names.user!r} with {names.item!r} (raw ids) or {names.title!r}, "
            f"and {names.time!r} if the rows are not oldest first; found {list(rows.columns)}"
        )
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
    """All columns as text without surrounding white space; "" where there is no value."""
    try:
        rows = pd.read_parquet(path) if path.suffix == ".parquet" else _read_csv(path, names)
    except FileNotFoundError as error:
        raise DataError(f"{path}: not found") from error
    except (OSError, ValueError) as error:  # pandas' and pyarrow's own errors among them
        raise DataError(f"{path}: cannot be read ({error}); give a CSV file with a header, or a Parquet file") from error
    return pd.DataFrame({str(name): _text(rows[name]) for name in rows.columns})


def _read_csv(path: Path, names: HistoryFormat) -> pd.DataFrame:
    with warnings.catch_warnings():
        # Of rows with more fields than the header has, pandas drops the last ones: half of an unquoted `Paris, Texas`.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            return pd.read_csv(
                path, dtype=str, keep_default_na=False, index_col=False, sep=names.separator, encoding=names.encoding
            )
        except pd.errors.ParserWarning as error:
            raise ValueError("a row has more fields than the header; quote fields that hold the separator") from error


def _text(values: pd.Series[Any]) -> pd.Series[str]:
    if pd.api.types.is_float_dtype(values) and (values.dropna() % 1 == 0).all():
        values = values.astype("Int64")  # ids beside a missing one
    return values.astype("string").fillna("").str.strip().astype(object)


def _times(times: pd.Series[str], path: Path) -> npt.NDArray[Any]:
    numbers = pd.to_numeric(times, errors="coerce")
    if not numbers.isna().any():
        return numbers.to_numpy()
    dates = pd.to_datetime(times, errors="coerce", utc=True, format="ISO8601")
    if (bad := dates.isna()).any():
        neither = bad & numbers.isna()
        row = int(np.argmax(neither if neither.any() else bad))
        raise DataError(
            f"{path}, row {row + 1}: the time {times.iloc[row]!r} is neither a number nor ISO 8601, as all of the column must "
            "be; or sort the rows oldest first and leave the column out"
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
