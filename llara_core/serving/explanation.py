"""Explained recommendations: ranked items, the recommender's own ranking, and reasons why items are not listed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, Field

from llara_core import columns as c
from llara_core.serving.ranking import Ranked


class Item(BaseModel):
    """An item of the catalogue."""

    item: str = Field(description="raw id")
    label: str = Field(description="title, with what distinguishes it from other items of the same title")
    is_new: bool = Field(description="whether it was added after training")


class HistoryItem(Item):
    """An item of the history."""

    read: bool = Field(description="whether it is among the most recent items, which the system reads")


class RankedItem(Item):
    """A recommended item."""

    rank: int = Field(description="1-based rank")
    score: float = Field(description="higher is better; not comparable across histories or systems")


class ExcludedItem(Item):
    """An item that is not recommended."""

    reason: Literal["in_history", "ranked_lower", "not_retrieved"]
    why: str = Field(description="the reason as text")


class RecommenderAlone(BaseModel):
    """Recommendations of the recommender that retrieves for a language model."""

    name: str
    recommendations: list[RankedItem]


class Explanation(BaseModel):
    """Recommendations for one history, with explanations."""

    system: str
    history: list[HistoryItem]
    recommendations: list[RankedItem] = Field(description="best first, without items of the history")
    recommender: RecommenderAlone | None = Field(description="null if the system is a recommender or has none")
    excluded: list[ExcludedItem] = Field(
        description="items of the history, of the recommender's own list and of `about` that are not recommended"
    )


@dataclass(frozen=True)
class Rankings:
    """All items that a system ranks for one history."""

    system: Ranked  # ranking of the system
    alone: Ranked | None  # ranking of the recommender that retrieves for it; None without one


class Explainer:
    """Turns rankings into explained recommendations.

    Args:
        items: rows of :data:`tables.ITEMS`.
        retriever: name of the recommender that retrieves for it; None without one.
        max_history_len: most recent items that are read.
        n_known: number of items known in training; later items are new.
    """

    def __init__(self, items: pd.DataFrame, system: str, retriever: str | None, max_history_len: int, n_known: int) -> None:
        self._labels, self._raw_ids = items[c.LABEL].to_list(), items[c.RAW_ITEM].to_list()
        self._system, self._retriever, self._max_history_len = system, retriever, max_history_len
        self._n_known = n_known

    def item(self, item: int) -> Item:
        return Item(**self._names(item))

    def explain(self, history: Sequence[int], rankings: Rankings, top: int, about: Sequence[int]) -> Explanation:
        """Explains the ranking of one history.

        Args:
            about: further items whose absence is explained.
        """
        listed = self._listed(rankings.system, top)
        alone = None
        expected = [*reversed(history)]
        if rankings.alone is not None and self._retriever is not None:
            alone = RecommenderAlone(name=self._retriever, recommendations=self._listed(rankings.alone, top))
            expected += rankings.alone.items[:top].tolist()
        shown = set(rankings.system.items[:top].tolist())
        left_out = [item for item in dict.fromkeys([*expected, *about]) if item not in shown]
        ranks = _ranks(rankings.system)
        ranks_alone = {} if rankings.alone is None else _ranks(rankings.alone)
        n_unread = max(0, len(history) - self._max_history_len)
        return Explanation(
            system=self._system,
            history=[HistoryItem(**self._names(item), read=place >= n_unread) for place, item in enumerate(history)],
            recommendations=listed,
            recommender=alone,
            excluded=[self._excluded(item, history, ranks, ranks_alone) for item in left_out],
        )

    def _names(self, item: int) -> dict[str, Any]:
        return {"item": self._raw_ids[item], "label": self._labels[item], "is_new": item >= self._n_known}

    def _listed(self, ranked: Ranked, top: int) -> list[RankedItem]:
        best = zip(ranked.items[:top].tolist(), ranked.scores[:top].tolist(), strict=True)
        return [RankedItem(**self._names(item), rank=rank, score=score) for rank, (item, score) in enumerate(best, start=1)]

    def _excluded(
        self, item: int, history: Sequence[int], ranks: Mapping[int, int], ranks_alone: Mapping[int, int]
    ) -> ExcludedItem:
        reason: Literal["in_history", "ranked_lower", "not_retrieved"]
        if item in history:
            reason, why = "in_history", "already in the history"
        elif item in ranks:
            reason, why = "ranked_lower", f"{self._system} ranks it {ranks[item]} of {len(ranks)}"
        else:
            reason = "not_retrieved"
            why = f"{self._retriever} ranks it {ranks_alone[item]} and retrieves only its first {len(ranks)} for {self._system}"
        return ExcludedItem(**self._names(item), reason=reason, why=why)


def _ranks(ranked: Ranked) -> dict[int, int]:
    return {item: rank for rank, item in enumerate(ranked.items.tolist(), start=1)}
