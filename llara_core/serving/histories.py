"""Histories of many users: from a file, or those of the prepared data; and the table of what is recommended to them."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from llara_core import columns as c
from llara_core import tables
from llara_core.config import DatasetConfig, OwnLogConfig
from llara_core.data.filtering import filter_rows, sort_sequences
from llara_core.description.section import section
from llara_core.description.times import guess_times
from llara_core.errors import DataError
from llara_core.readers.log_columns import ISO, NUMBER
from llara_core.readers.log_files import LogTable
from llara_core.readers.own_log import numbers_of, read_interactions, refuse_other_spelling
from llara_core.readers.values import listed
from llara_core.serving.ranking import Ranked
from llara_core.serving.titles import ItemFinder

logger = logging.getLogger(__name__)

Histories = dict[str, list[int]]  # item ids, oldest first, by user


def read_histories(path: Path, items: pd.DataFrame, dataset: DatasetConfig) -> Histories:
    """The histories of a file, or a folder of files, read as ``prepare`` reads the interactions of the data set.

    That is, by the section of an own log; else as :func:`_section` says. Where the file lacks the column of ids, it may have
    that of titles (:meth:`ItemFinder.by_title`). Rules for other columns that it lacks do not apply, which is logged, nor do
    minimum counts. Rows that are left out are counted and logged.

    Args:
        path: of the file.
        items: rows of :data:`tables.ITEMS`.

    Returns:
        In the order in which the file names the users.

    Raises:
        DataError: the file is missing or malformed, lacks a column, or has no usable row.
    """
    if not path.exists():
        raise DataError(f"{path}: not found")
    asked = _section(dataset)
    table = LogTable.of_interactions(path.parent, asked, path.name)
    config = _for_columns(asked, table)
    if config.time_format is not None and not isinstance(dataset, OwnLogConfig):
        config = config.model_copy(update={"time_format": _time_format(table, config)})
    found = read_interactions(table, config, is_whole=False)
    by_id = config.columns.item == asked.columns.item
    numbers = numbers_of(found.items, items[c.RAW_ITEM]) if by_id else _titled(found.items.to_pylist(), items, path)
    log = found.log.assign(**{c.ITEM: numbers[found.log[c.ITEM].to_numpy()]})
    unknown = found.items.filter(pa.array(numbers < 0))
    if by_id:
        refuse_other_spelling(table, config.columns.item, unknown, items[c.RAW_ITEM])
    known = log[log[c.ITEM] >= 0]
    if known.empty:
        raise DataError(
            f"{path}: no row has a user and an item of the catalogue; ids there look like {items[c.RAW_ITEM].iloc[0]!r}"
        )
    kept, _ = filter_rows(known, config)
    dropped = {**found.dropped, "interactions_by_min_rating_or_repeats": len(known) - len(kept)}
    if reasons := ", ".join(f"{reason} {n}" for reason, n in dropped.items() if n):
        logger.warning("%s: rows left out, by the rules of the section: %s", path, reasons)
    if len(unknown):
        logger.warning(
            "%s: %d rows left out: their %d items are not in the catalogue, or share a title, e.g. %r",
            path,
            len(log) - len(known),
            len(unknown),
            unknown[0].as_py(),
        )
    if n_without := log[c.USER].nunique() - kept[c.USER].nunique():
        logger.warning("%s: users without an item that counts, who get no recommendation: %d", path, n_without)
    histories = {user: group.to_list() for user, group in sort_sequences(kept).groupby(c.USER)[c.ITEM]}
    return {found.users[user].as_py(): histories[user] for user in pd.unique(kept[c.USER]).tolist()}


def prepared_histories(interactions: pd.DataFrame) -> Histories:
    """The whole history of every user of the prepared data, by ``user_id``.

    Args:
        interactions: rows of :data:`tables.INTERACTIONS`.
    """
    ordered = interactions.sort_values([c.USER, c.POSITION])
    return {str(user): group.to_list() for user, group in ordered.groupby(c.USER)[c.ITEM]}


def recommendations_table(
    users: Sequence[str], ranked: Sequence[Ranked], items: pd.DataFrame, n_known: int | None = None
) -> pd.DataFrame:
    """One row per recommendation: user, rank (from 1), item (raw id), label, score; where items are new, also is_new.

    Args:
        n_known: items that are not new, the first ones; None: all.
    """
    if n_without := sum(not len(one.items) for one in ranked):
        logger.warning("%d of %d histories hold the whole catalogue and get no recommendation", n_without, len(ranked))
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
    return table if n_known is None or n_known == len(items) else table.assign(is_new=chosen >= n_known)


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


def _section(dataset: DatasetConfig) -> OwnLogConfig:
    """How a file of histories is read: an own log by its section; for another data set with the project's own names of columns
    and the data set's own rules for ratings and repeats."""
    if isinstance(dataset, OwnLogConfig):
        return dataset
    lowest, repeat = (None, None) if dataset.is_presplit else (dataset.lowest_rating, dataset.kept_repeat)
    rating = None if lowest is None else c.RATING
    names = {"user": c.USER, "item": c.ITEM, "time": c.TIMESTAMP, "rating": rating, "item_id": c.ITEM, "title": c.TITLE}
    return section(columns=names, min_rating=lowest, repeats=repeat or "keep")


def _for_columns(config: OwnLogConfig, table: LogTable) -> OwnLogConfig:
    """The section without what needs columns that the file lacks, and with the column of titles where it lacks that of ids."""
    found, names = table.names(), config.columns
    changes: dict[str, Any] = {}
    if names.item not in found and config.item_layout.header:
        changes["item"] = names.title
    if missing := [name for name in (names.user, changes.get("item", names.item)) if name not in found]:
        raise DataError(
            f"{table.path}: has no column {missing[0]!r}; expected {names.user!r} with {names.item!r} (raw ids) or "
            f"{names.title!r}, and {names.time or c.TIMESTAMP!r} if the rows are not oldest first; found {found}"
        )
    rules = dict[str, Any]()
    if names.time is not None and names.time not in found:
        changes |= {"time": None, "time_of_day": None}
        rules |= {"time_format": None, "time_of_day_format": None}
    if names.rating is not None and names.rating not in found:
        changes["rating"] = None
        if config.min_rating is not None:
            logger.warning(
                "%s: min_rating %g does not apply, since there is no column %r", table.path, config.min_rating, names.rating
            )
    if absent := [name for name in config.keep if name not in found]:
        rules["keep"] = {name: values for name, values in config.keep.items() if name in found}
        logger.warning("%s: keep does not apply to %s, which are no columns here", table.path, listed(absent))
    return config.model_copy(update={**rules, "columns": names.model_copy(update=changes)})


def _time_format(table: LogTable, config: OwnLogConfig) -> str:
    """Of a file whose section names none: what the first values look like, if it is one thing."""
    assert config.columns.time is not None
    for values, _ in table.read([config.columns.time]):
        text = values[0].dictionary_decode() if pa.types.is_dictionary(values[0].type) else values[0]
        guess = guess_times(text, config.missing)
        if guess is not None and not guess.others:
            return guess.time_format
        return "seconds" if re.match(NUMBER, str(text[0].as_py())) else ISO
    return ISO


def _titled(names: list[str], items: pd.DataFrame, path: Path) -> npt.NDArray[np.int64]:
    """The item of each title; -1 where no single item is called so."""
    finder = ItemFinder(items)
    found = [finder.titled(name) for name in names]
    if loose := [name for name, (_, loosely) in zip(names, found, strict=True) if loosely]:
        logger.info(
            "%s: %d titles are read without their year or with their article moved, e.g. %r", path, len(loose), loose[0]
        )
    return np.array([-1 if item is None else item for item, _ in found])
