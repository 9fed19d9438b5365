"""Prepares a data set: from raw files to the tables that all other stages read."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.config import DatasetConfig, LogSection
from llara_core.config.datasets import DatasetSection
from llara_core.data.filtering import filter_interactions, sort_sequences, users_with_one_interaction
from llara_core.data.splitting import SPLIT_DTYPE, divide, examples_table, keep_training_users, make_examples, out_of_time_order
from llara_core.errors import DataError
from llara_core.readers.interaction_log import Counts, RawLog
from llara_core.readers.item_texts import item_text
from llara_core.readers.item_titles import clean_titles
from llara_core.readers.registry import READERS
from llara_core.readers.released_frames import ReleasedFrames
from llara_core.readers.titles import plain_title, unique_labels

logger = logging.getLogger(__name__)

_USER_OF_LOG = "user_of_log"  # position in :attr:`RawLog.users`


@dataclass(frozen=True)
class Prepared:
    """The tables :data:`tables.INTERACTIONS`, :data:`tables.ITEMS`, :data:`tables.EXAMPLES` and :data:`tables.USERS`, and
    statistics."""

    interactions: pd.DataFrame
    items: pd.DataFrame
    examples: pa.Table
    users: pd.DataFrame
    statistics: dict[str, Any]

    def write(self, folder: Path) -> None:
        """Writes the tables into ``folder`` atomically."""
        with tables.atomic_path(folder) as staged:
            tables.write_table(staged / paths.INTERACTIONS, self.interactions, tables.INTERACTIONS)
            tables.write_table(staged / paths.ITEMS, self.items, tables.ITEMS)
            tables.write_table(staged / paths.EXAMPLES, self.examples, tables.EXAMPLES)
            tables.write_table(staged / paths.USERS, self.users, tables.USERS)


def prepare(folder: Path, config: DatasetConfig) -> Prepared:
    """Reads, filters, splits and numbers one data set.

    Items without a title are dropped with their interactions, and counted. User and item ids are contiguous, in ascending
    order of the raw ids; released frames keep their item ids, filter and split.

    Args:
        folder: folder of the raw files, which have the names that the data set's reader expects.

    Raises:
        DataError: a raw file is missing or malformed, or the filter leaves too little for the split.
    """
    raw = READERS[config.format](folder, config)
    return _prepare_frames(raw, config) if config.is_presplit else _prepare_log(raw, config, folder)


def _prepare_log(raw: RawLog, config: LogSection, folder: Path) -> Prepared:
    titled = np.array([plain_title(title) != "" for title in raw.items[c.RAW_TITLE]])
    if not titled.any():
        raise DataError(f"{folder}: no item has a title, and prompts are made of titles; check the item file and its columns")
    usable = raw.interactions[titled[raw.interactions[c.ITEM].to_numpy()]]
    kept, steps = filter_interactions(usable, config)
    steps = {**raw.steps, **steps}
    if kept.empty:
        raise DataError(f"the filter leaves no interaction of {len(raw.interactions)} in {folder}; after each step: {steps}")
    n_interactions = np.bincount(kept[c.ITEM], minlength=len(raw.items))
    in_catalogue = titled if config.catalogue == "full" else n_interactions > 0
    items, titles = _items_table(raw.items[in_catalogue], n_interactions[in_catalogue], config)
    in_sequences = np.bincount(kept[c.USER], minlength=raw.n_users) > 0
    numbered = kept.assign(
        **{
            c.USER: _new_ids(in_sequences)[kept[c.USER].to_numpy()],
            c.ITEM: _new_ids(in_catalogue)[kept[c.ITEM].to_numpy()],
            _USER_OF_LOG: kept[c.USER],  # a split may renumber users again
        }
    )
    sequences = sort_sequences(numbered, by_time=config.is_ordered_by_time)
    divided = divide(sequences, config.split, raw.ticks_per_second)
    share = config.split.train_users
    interactions = divided if share == 1 else keep_training_users(divided, share)
    examples = make_examples(interactions, config.max_history_len)
    dropped = {
        **raw.dropped,
        "items_without_title": int((~titled).sum()),
        "interactions_without_title": len(raw.interactions) - len(usable),
        "users_with_one_interaction": users_with_one_interaction(steps),
    }
    if config.split.cold_items is not None:
        dropped["training_interactions_of_cold_items"] = len(sequences) - len(divided)
    if interactions is not divided:
        dropped["training_users"] = divided[c.USER].nunique() - interactions[c.USER].nunique()
        dropped["interactions_of_training_users"] = len(divided) - len(interactions)
    if not config.is_ordered_by_time:
        logger.warning(
            "%s: sequences follow the order of the file, not time; a next item is meaningful only if that order is", folder
        )
    facts: dict[str, Any] = {
        "order": "time" if config.is_ordered_by_time else "file",
        "dropped": dropped,
        "left_after": steps,
        "titles": titles,
    }
    if config.split.strategy == "files":
        facts["out_of_time_order"] = out_of_time_order(interactions)
    first = interactions.drop_duplicates(c.USER)
    raw_ids = raw.users.take(pa.array(first[_USER_OF_LOG])).to_pylist()
    users = pd.DataFrame({c.USER: first[c.USER], c.RAW_USER: raw_ids}).sort_values(c.USER, ignore_index=True)
    return _prepared(interactions, items, examples, users, facts, raw.ticks_per_second)


def _prepare_frames(frames: ReleasedFrames, config: DatasetConfig) -> Prepared:
    n_interactions = np.bincount(frames.sequences[c.ITEM], minlength=len(frames.items))
    split = frames.sequences[c.SPLIT].astype(SPLIT_DTYPE)
    histories = frames.examples[c.HISTORY]
    examples = examples_table(
        frames.examples[c.USER].to_numpy(),
        frames.examples[c.SPLIT].map(c.SPLITS.index).to_numpy(dtype=np.int8),
        np.concatenate([np.empty(0, dtype=np.int32), *histories]),
        histories.map(len).to_numpy(),
        frames.examples[c.TARGET].to_numpy(),
    )
    items, titles = _items_table(frames.items, n_interactions, config)
    facts = {"dropped": dict(frames.dropped), "titles": titles}
    numbers = np.unique(frames.sequences[c.USER])
    users = pd.DataFrame({c.USER: numbers, c.RAW_USER: numbers.astype(str)})  # the frames have no ids of users
    return _prepared(frames.sequences.assign(**{c.SPLIT: split}), items, examples, users, facts)


def _prepared(
    interactions: pd.DataFrame,
    items: pd.DataFrame,
    examples: pa.Table,
    users: pd.DataFrame,
    facts: dict[str, Any],
    ticks_per_second: int = 1,
) -> Prepared:
    interactions = interactions[tables.INTERACTIONS.names]
    sizes = {"sequences": interactions[c.USER].nunique(), "items": len(items), "interactions": len(interactions)}
    statistics = {**sizes, **facts, **_describe(interactions, items, examples)}
    if ticks_per_second > 1:
        interactions = interactions.assign(**{c.TIMESTAMP: interactions[c.TIMESTAMP] // ticks_per_second})
    return Prepared(interactions, items, examples, users, statistics)


def _new_ids(kept: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
    """Returns the new id of each old one: the kept ones are numbered from 0, and the values of others are meaningless."""
    return (np.cumsum(kept) - 1).astype(np.int32)


def _items_table(
    catalogue: pd.DataFrame, n_interactions: npt.NDArray[np.integer], config: DatasetSection
) -> tuple[pd.DataFrame, Counts]:
    """Returns the items table, whose ``item_id`` is the row number, and the counts of :attr:`CleanTitles.counts`.

    Args:
        catalogue: ``raw_id``, ``raw_title`` and perhaps ``attributes``.
    """
    names = catalogue[c.RAW_ITEM].to_list()
    cleaned = clean_titles(catalogue[c.RAW_TITLE], config.titles, config.titles_are_movies)
    attributes: Iterable[list[str]] = catalogue[c.ATTRIBUTES] if c.ATTRIBUTES in catalogue else [[]] * len(names)
    described = zip(cleaned.titles, cleaned.years, attributes, strict=True)
    table = {
        c.ITEM: np.arange(len(names)),
        c.RAW_ITEM: names,
        c.TITLE: cleaned.titles,
        c.LABEL: unique_labels(cleaned.titles, cleaned.years, names),
        c.TEXT: [item_text(*item) for item in described],
        c.N_INTERACTIONS: n_interactions,
    }
    return pd.DataFrame(table), cleaned.counts


def _describe(interactions: pd.DataFrame, items: pd.DataFrame, examples: pa.Table) -> dict[str, Any]:
    trained = np.zeros(len(items), dtype=bool)
    trained[interactions.loc[interactions[c.SPLIT] == c.TRAIN, c.ITEM]] = True
    by_split = {name: examples.filter(pc.field(c.SPLIT) == name) for name in c.SPLITS}
    return {
        "interactions_per_split": _per_split(interactions.groupby(c.SPLIT, observed=True).size()),
        "users_per_split": _per_split(interactions.groupby(c.SPLIT, observed=True)[c.USER].nunique()),
        "examples_per_split": {name: len(rows) for name, rows in by_split.items()},
        "cold_targets": {name: int((~trained[by_split[name][c.TARGET].to_numpy()]).sum()) for name in c.HELD_OUT},
        "mean_history_len": {
            name: round(pc.mean(pc.list_value_length(rows[c.HISTORY])).as_py(), 4) for name, rows in by_split.items()
        },
        "targets_in_history": {name: _targets_in_history(by_split[name]) for name in c.HELD_OUT},
        "tied_timestamps_share": round(_tied_share(interactions), 4),
    }


def _targets_in_history(examples: pa.Table) -> int:
    """Counts examples whose history contains the target, which reveals it, since no negative is in the history."""
    targets, histories = examples[c.TARGET].to_pylist(), examples[c.HISTORY].to_pylist()
    return sum(target in history for target, history in zip(targets, histories, strict=True))


def _tied_share(interactions: pd.DataFrame) -> float:
    """Returns the share of the interactions whose timestamp equals that of another interaction of the same user."""
    users, times = interactions[c.USER].to_numpy(), interactions[c.TIMESTAMP].to_numpy()
    order = np.lexsort((times, users))
    with_next = (users[order][1:] == users[order][:-1]) & (times[order][1:] == times[order][:-1])
    return float((np.append(with_next, False) | np.append(False, with_next)).mean())


def _per_split(counts: pd.Series[int]) -> dict[str, int]:
    return {name: int(counts.get(name, 0)) for name in c.SPLITS}
