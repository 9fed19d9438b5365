"""From raw files to the tables that everything else reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from llara_core import columns as c
from llara_core import tables
from llara_core.config import DatasetConfig
from llara_core.data import movielens
from llara_core.data.filtering import filter_interactions, sort_sequences
from llara_core.data.splitting import STRATEGIES, make_examples
from llara_core.data.titles import clean_title, unique_labels
from llara_core.errors import DataError


@dataclass(frozen=True)
class Prepared:
    """The tables :data:`tables.INTERACTIONS`, :data:`tables.ITEMS`, :data:`tables.EXAMPLES`, and what is in them."""

    interactions: pd.DataFrame
    items: pd.DataFrame
    examples: pd.DataFrame
    statistics: dict[str, Any]

    def write(self, folder: Path) -> None:
        """Write the three tables into ``folder``, all or none."""
        with tables.atomic_path(folder) as staged:
            tables.write_table(staged / "interactions.parquet", self.interactions, tables.INTERACTIONS)
            tables.write_table(staged / "items.parquet", self.items, tables.ITEMS)
            tables.write_table(staged / "examples.parquet", self.examples, tables.EXAMPLES)


def prepare(folder: Path, config: DatasetConfig) -> Prepared:
    """Read, filter, split and number one data set.

    Items without a title are dropped with their interactions, and counted. User and item ids are contiguous, in ascending
    order of the raw ids.

    Args:
        folder: holds ``u.data`` and ``u.item``.

    Raises:
        DataError: a raw file is missing or malformed, or the filter leaves too little for the split.
    """
    ratings = movielens.read_interactions(folder / "u.data")
    raw_items = movielens.read_items(folder / "u.item")
    _check_items_known(folder, ratings, raw_items)
    titled = raw_items[raw_items[movielens.RAW_TITLE] != ""]
    usable = ratings[ratings[c.ITEM].isin(titled[c.ITEM])]
    kept, steps = filter_interactions(
        usable,
        min_rating=config.min_rating,
        min_user_interactions=config.min_user_interactions,
        min_item_interactions=config.min_item_interactions,
    )
    if kept.empty:
        raise DataError(f"the filter leaves no interaction of {len(ratings)} in {folder}; after each step: {steps}")
    catalogue = titled if config.catalogue == "full" else titled[titled[c.ITEM].isin(kept[c.ITEM])]
    items = _number_items(catalogue, kept)
    split = STRATEGIES[config.split.strategy](_number(kept, items), config.split.train, config.split.validation)
    interactions = split[tables.INTERACTIONS.names]
    examples = make_examples(interactions, config.max_history_len)
    statistics = {
        **_table_1(interactions, items),
        "dropped": {
            "items_without_title": len(raw_items) - len(titled),
            "interactions_without_title": len(ratings) - len(usable),
            "users_with_one_interaction": steps["users"]["users"] - steps["sequences"]["users"],
        },
        "left_after": steps,
        **_describe(interactions, examples),
    }
    return Prepared(interactions, items, examples, statistics)


def _check_items_known(folder: Path, ratings: pd.DataFrame, items: pd.DataFrame) -> None:
    unknown = ratings.loc[~ratings[c.ITEM].isin(items[c.ITEM]), c.ITEM]
    if len(unknown):
        raise DataError(
            f"{folder / 'u.data'}: {len(unknown)} ratings are of items that u.item does not list, such as {unknown.iloc[0]}; "
            "take both files from the same archive"
        )


def _number_items(catalogue: pd.DataFrame, kept: pd.DataFrame) -> pd.DataFrame:
    """The items table; rows ascend by raw id, and ``item_id`` is the row."""
    catalogue = catalogue.sort_values(c.ITEM)
    raw_ids = catalogue[c.ITEM].to_list()
    cleaned = [clean_title(raw) for raw in catalogue[movielens.RAW_TITLE]]
    titles, years = [title for title, _ in cleaned], [year for _, year in cleaned]
    names = [str(raw_id) for raw_id in raw_ids]
    return pd.DataFrame(
        {
            c.ITEM: np.arange(len(raw_ids)),
            c.RAW_ITEM: names,
            c.TITLE: titles,
            c.LABEL: unique_labels(titles, years, names),
            c.N_INTERACTIONS: kept[c.ITEM].value_counts().reindex(raw_ids, fill_value=0).to_numpy(),
        }
    )


def _number(kept: pd.DataFrame, items: pd.DataFrame) -> pd.DataFrame:
    """The kept interactions as sequences, with contiguous ids."""
    item_ids = {int(raw_id): item_id for raw_id, item_id in zip(items[c.RAW_ITEM], items[c.ITEM], strict=True)}
    users = np.unique(kept[c.USER].to_numpy())
    numbered = kept.copy()
    numbered[c.USER] = np.searchsorted(users, kept[c.USER].to_numpy())
    numbered[c.ITEM] = kept[c.ITEM].map(item_ids)
    return sort_sequences(numbered)


def _table_1(interactions: pd.DataFrame, items: pd.DataFrame) -> dict[str, int]:
    """The columns of the paper's Table 1."""
    return {"sequences": interactions[c.USER].nunique(), "items": len(items), "interactions": len(interactions)}


def _describe(interactions: pd.DataFrame, examples: pd.DataFrame) -> dict[str, Any]:
    trained = interactions.loc[interactions[c.SPLIT] == c.TRAIN, c.ITEM].unique()
    held_out = {name: examples[examples[c.SPLIT] == name] for name in c.HELD_OUT}
    tied = interactions.duplicated([c.USER, c.TIMESTAMP], keep=False)
    return {
        "interactions_per_split": _per_split(interactions.groupby(c.SPLIT).size()),
        "users_per_split": _per_split(interactions.groupby(c.SPLIT)[c.USER].nunique()),
        "examples_per_split": _per_split(examples.groupby(c.SPLIT).size()),
        "cold_targets": {name: int((~rows[c.TARGET].isin(trained)).sum()) for name, rows in held_out.items()},
        "mean_history_len": {
            name: round(float(examples.loc[examples[c.SPLIT] == name, c.HISTORY].map(len).mean()), 4) for name in c.SPLITS
        },
        "tied_timestamps_share": round(float(tied.mean()), 4),
    }


def _per_split(counts: pd.Series[int]) -> dict[str, int]:
    return {name: int(counts.get(name, 0)) for name in c.SPLITS}
