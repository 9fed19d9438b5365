"""Histories of many users, from a file or from the prepared data, and the table of their recommendations."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.config import DatasetConfig, OwnLogConfig
from llara_core.data.filtering import filter_rows, sort_sequences
from llara_core.description.times import guess_times
from llara_core.errors import DataError
from llara_core.readers.interaction_log import numbers_of
from llara_core.readers.log_columns import ISO, NUMBER
from llara_core.readers.log_files import LogTable
from llara_core.readers.own_log import read_interactions, refuse_other_spelling
from llara_core.readers.values import decoded, listed
from llara_core.serving.item_finder import ItemFinder
from llara_core.serving.new_items import section_of_files
from llara_core.serving.ranking import Ranked

logger = logging.getLogger(__name__)

Histories = dict[str, list[int]]  # item ids, oldest first, by user


def read_histories(path: Path, items: pd.DataFrame, dataset: DatasetConfig) -> Histories:
    """Reads the histories in a file or a folder of files by the rules of the stage ``prepare``.

    A file is read by :func:`section_of_files`. If the column of ids is missing, that of titles may replace it
    (:meth:`ItemFinder.by_title`). Rules for other missing columns do not apply, which is logged; minimum counts never apply.
    Dropped rows are counted and logged.

    Args:
        items: rows of :data:`tables.ITEMS`.

    Returns:
        Histories in the order of the users' first rows.

    Raises:
        DataError: the file is missing or malformed, lacks a column, or has no usable row.
    """
    if not path.exists():
        raise DataError(f"{path}: not found")
    base = section_of_files(dataset)
    table = LogTable.of_interactions(path.parent, base, path.name)
    config = _for_columns(base, table)
    if config.time_format is not None and not isinstance(dataset, OwnLogConfig):
        config = config.model_copy(update={"time_format": _time_format(table, config)})
    raw = read_interactions(table, config, is_whole=False)
    by_id = config.columns.item == base.columns.item
    numbers = numbers_of(raw.items, items[c.RAW_ITEM]) if by_id else _items_by_title(raw.items.to_pylist(), items, path)
    log = raw.log.assign(**{c.ITEM: numbers[raw.log[c.ITEM].to_numpy()]})
    unknown = raw.items.filter(pa.array(numbers < 0))
    if by_id:
        refuse_other_spelling(table, config.columns.item, unknown, items[c.RAW_ITEM])
    known = log[log[c.ITEM] >= 0]
    if known.empty:
        raise DataError(
            f"{path}: no row has a user and an item of the catalogue; ids of the catalogue look like "
            f"{items[c.RAW_ITEM].iloc[0]!r}"
        )
    kept, _ = filter_rows(known, config)
    dropped = {**raw.dropped, "interactions_by_min_rating_or_repeats": len(known) - len(kept)}
    if reasons := ", ".join(f"{reason} {n}" for reason, n in dropped.items() if n):
        logger.warning("%s: rows dropped by the rules of the section: %s", path, reasons)
    if len(unknown):
        logger.warning(
            "%s: %d rows dropped: their %d items are not in the catalogue or share a title, e.g. %r",
            path,
            len(log) - len(known),
            len(unknown),
            unknown[0].as_py(),
        )
    if n_without := log[c.USER].nunique() - kept[c.USER].nunique():
        logger.warning("%s: users without a usable item, who get no recommendation: %d", path, n_without)
    histories = {user: group.to_list() for user, group in sort_sequences(kept).groupby(c.USER)[c.ITEM]}
    return {raw.users[user].as_py(): histories[user] for user in pd.unique(kept[c.USER]).tolist()}


def prepared_histories(dataset: str, users: Sequence[str] = ()) -> Histories:
    """Returns the whole histories of users of the prepared data, by raw id.

    Args:
        users: raw ids; empty: all users, in the order of their ids.

    Raises:
        DataError: an id is unknown, or the prepared tables are missing.
    """
    table = tables.read_table(paths.users(dataset), tables.USERS)
    raw_ids = table.set_index(c.USER)[c.RAW_USER]
    if unknown := sorted({*users} - {*raw_ids}):
        raise DataError(f"{paths.users(dataset)}: has no user {unknown[0]!r}; raw ids look like {raw_ids.iloc[0]!r}")
    interactions = tables.read_table(paths.interactions(dataset), tables.INTERACTIONS)
    if users:
        interactions = interactions[interactions[c.USER].isin(raw_ids.index[raw_ids.isin(users)])]
    ordered = interactions.sort_values([c.USER, c.POSITION])
    raw_id: dict[Any, str] = raw_ids.to_dict()
    histories = {raw_id[user]: group.to_list() for user, group in ordered.groupby(c.USER)[c.ITEM]}
    return {user: histories[user] for user in users} if users else histories


def recommendations_table(users: Sequence[str], ranked: Sequence[Ranked], items: pd.DataFrame, n_known: int) -> pd.DataFrame:
    """Builds a table of recommendations: user, rank (from 1), item (raw id), label, score, and is_new if items were added.

    Args:
        ranked: recommendations of each user.
        items: rows of :data:`tables.ITEMS`.
        n_known: number of items known in training, which come first.
    """
    if n_without := sum(not len(one.items) for one in ranked):
        logger.warning("%d of %d histories contain the whole catalogue and get no recommendation", n_without, len(ranked))
    chosen = np.concatenate([one.items for one in ranked]) if ranked else np.empty(0, dtype=np.int64)
    table = pd.DataFrame(
        {
            "user": np.repeat(np.array(users, dtype=object), [len(one.items) for one in ranked]),
            "rank": [rank for one in ranked for rank in range(1, len(one.items) + 1)],
            "item": items[c.RAW_ITEM].to_numpy()[chosen],
            "label": items[c.LABEL].to_numpy()[chosen],
            "score": np.concatenate([one.scores for one in ranked]) if ranked else np.empty(0, dtype=np.float32),
        }
    )
    return table if n_known == len(items) else table.assign(is_new=chosen >= n_known)


def check_output(path: Path) -> None:
    """Checks that :func:`write_recommendations` can write a file, which may follow hours of work.

    Raises:
        DataError: the suffix is neither ``.csv`` nor ``.parquet``, the path is a folder, or its folder cannot be written to.
    """
    if path.suffix not in (".csv", ".parquet") or path.is_dir():
        raise DataError(f"{path}: name a file that ends in .csv or .parquet")
    folder = next(parent for parent in path.absolute().parents if parent.exists())  # the others are created
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise DataError(f"{path}: {folder} is not a folder that can be written to; choose another one")


def write_recommendations(path: Path, table: pd.DataFrame) -> None:
    """Writes the table as CSV or Parquet, by the suffix of ``path``, completely or not at all."""
    check_output(path)
    with tables.atomic_path(path) as staged:
        if path.suffix == ".csv":
            table.to_csv(staged, index=False)
        else:
            table.to_parquet(staged, index=False)


def _for_columns(config: OwnLogConfig, table: LogTable) -> OwnLogConfig:
    """Adapts the section to the columns of a file: drops rules for missing columns, and replaces a missing id by the title."""
    found, names = table.names(), config.columns
    changes: dict[str, Any] = {}
    if names.item not in found and config.item_layout.header:
        changes["item"] = names.title
    if missing := [name for name in (names.user, changes.get("item", names.item)) if name not in found]:
        raise DataError(
            f"{table.path}: has no column {missing[0]!r}; expected {names.user!r} with {names.item!r} (raw ids) or "
            f"{names.title!r}, and {names.time or c.TIMESTAMP!r} unless the rows are ordered oldest first; found {found}"
        )
    rules = dict[str, Any]()
    if names.time is not None and names.time not in found:
        changes |= {"time": None, "time_of_day": None}
        rules |= {"time_format": None, "time_of_day_format": None}
    if names.rating is not None and names.rating not in found:
        changes["rating"] = None
        if config.min_rating is not None:
            logger.warning(
                "%s: min_rating %g does not apply: there is no column %r", table.path, config.min_rating, names.rating
            )
    if absent := [name for name in config.keep if name not in found]:
        rules["keep"] = {name: values for name, values in config.keep.items() if name in found}
        logger.warning("%s: keep does not apply to the missing columns %s", table.path, listed(absent))
    return config.model_copy(update={**rules, "columns": names.model_copy(update=changes)})


def _time_format(table: LogTable, config: OwnLogConfig) -> str:
    """Returns the time format that the first values of a file have; if they are ambiguous, seconds or ISO 8601."""
    assert config.columns.time is not None
    for values, _ in table.read([config.columns.time]):
        text = decoded(values[0])
        if not len(text):  # the rows repeat the header
            continue
        guess = guess_times(text, config.missing)
        if guess is not None and not guess.alternatives:
            return guess.value
        return "seconds" if re.match(NUMBER, str(text[0].as_py())) else ISO
    return ISO


def _items_by_title(names: list[str], items: pd.DataFrame, path: Path) -> npt.NDArray[np.int64]:
    """Finds the item of each title; -1 if there is none or several."""
    finder = ItemFinder(items)
    matches = [finder.titled(name) for name in names]
    if loose := [name for name, (_, is_loose) in zip(names, matches, strict=True) if is_loose]:
        logger.info(
            "%s: %d titles match only without their year or with their article moved, e.g. %r", path, len(loose), loose[0]
        )
    return np.array([-1 if item is None else item for item, _ in matches])
