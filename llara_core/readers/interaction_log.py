"""The interaction log that every reader returns, with numbered users and items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from llara_core import columns as c

Counts = dict[str, int]


@dataclass(frozen=True)
class RawLog:
    """An interaction log as read, before any filter.

    Attributes:
        interactions: ``user_id`` and ``item_id`` (int32, numbered from 0), ``timestamp`` (int64, ticks since 1970 UTC) and,
            if the source has them, ``rating`` (float64) and ``split`` (codes into :data:`columns.SPLITS`); in file order.
        items: ``raw_id`` and ``raw_title`` (strings; a title may be empty) and, if the source describes its items,
            ``attributes`` (a list of strings per item); sorted by raw id; row number = ``item_id``.
        users: raw ids of the users in ascending order; position = ``user_id``.
        steps: users, items and interactions left after each step of the reader, ``raw`` first.
        dropped: number of rows that the reader dropped, by reason.
        ticks_per_second: resolution of ``timestamp``, that of the source; tables hold seconds.
    """

    interactions: pd.DataFrame
    items: pd.DataFrame
    users: pa.StringArray
    steps: Mapping[str, Counts]
    dropped: Mapping[str, int]
    ticks_per_second: int = 1

    @property
    def n_users(self) -> int:
        return len(self.users)

    @classmethod
    def number(
        cls,
        interactions: pd.DataFrame,
        items: pd.DataFrame,
        steps: Mapping[str, Counts] | None = None,
        ticks_per_second: int = 1,
    ) -> Self:
        """Numbers users and items in ascending order of their raw ids.

        Args:
            interactions: raw ``user_id`` and ``item_id`` (whole numbers or strings), ``timestamp`` and optionally ``rating``;
                all items occur in ``items``.
            items: raw ``item_id``, unique, ``raw_title`` and optionally ``attributes``.
            steps: counts after each step; None if ``raw`` is the only one.
        """
        items = items.sort_values(c.ITEM, ignore_index=True)
        users = np.unique(interactions[c.USER].to_numpy())
        numbered = interactions.assign(
            **{
                c.USER: np.searchsorted(users, interactions[c.USER].to_numpy()).astype(np.int32),
                c.ITEM: pd.Index(items[c.ITEM]).get_indexer(interactions[c.ITEM]).astype(np.int32),
            }
        )
        table = items.rename(columns={c.ITEM: c.RAW_ITEM}).astype({c.RAW_ITEM: str})
        raw_users = pa.array(users.astype(str), pa.string())
        return cls(numbered, table, raw_users, steps or {"raw": count(interactions)}, {}, ticks_per_second)


def number_ids(
    parts: list[pa.DictionaryArray], whole_numbers: str | None = None
) -> tuple[npt.NDArray[np.int32], pa.StringArray]:
    """Returns the number of each row's id, and the distinct ids in ascending order, at the positions of their numbers.

    Args:
        parts: ids, batch by batch; a dictionary may contain an id twice.
        whole_numbers: regular expression; ids that all match it are ordered by value, others by code point.
    """
    unified = pa.chunked_array(parts).unify_dictionaries()
    values = unified.chunk(0).dictionary
    ids = values.unique()
    by_value = whole_numbers is not None and pc.all(pc.match_substring_regex(ids, whole_numbers)).as_py()
    order = pc.array_sort_indices(ids.cast(pa.int64()) if by_value else ids).to_numpy()
    rank = np.empty(len(order), dtype=np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    number_of = rank[pc.index_in(values, ids).to_numpy()]
    return np.concatenate([number_of[part.indices.to_numpy()] for part in unified.chunks]), ids.take(pa.array(order))


def numbers_of(ids: pa.StringArray, known: pd.Series[str]) -> npt.NDArray[np.int32]:
    """Returns the position of each id among the known ids, or -1 if it is not among them."""
    numbers: npt.NDArray[np.int32] = pc.index_in(ids, pa.array(known, pa.string())).fill_null(-1).to_numpy()
    return numbers


def count(interactions: pd.DataFrame) -> Counts:
    """Returns the numbers of users, items and interactions."""
    return {"users": interactions[c.USER].nunique(), "items": interactions[c.ITEM].nunique(), "interactions": len(interactions)}


def one_of_each_pair(interactions: pd.DataFrame, which: Literal["first", "last"]) -> pd.DataFrame:
    """Returns the earliest or latest interaction of each user with each item, ties by row order; the index ascends."""
    ordered = interactions.sort_values(c.TIMESTAMP, kind="stable")
    return ordered.drop_duplicates([c.USER, c.ITEM], keep=which).sort_index()
