"""Explained recommendations: ranked items, the recommender's own ranking, and reasons why items are not listed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, Field

from llara_core import columns as c
from llara_core.serving.model import Model
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


def describe_item(model: Model, item: int) -> Item:
    """Returns raw id and label of an item of the catalogue."""
    return Item(**_names(model, item))


def explain(model: Model, history: Sequence[int], rankings: Rankings, top: int, about: Sequence[int]) -> Explanation:
    """Explains the ranking of one history.

    Args:
        about: further items whose absence is explained.
    """
    system, retriever = model.parts.system, model.parts.retriever
    ranks = _ranks(rankings.system)
    ranks_alone = {} if rankings.alone is None else _ranks(rankings.alone)

    def excluded(item: int) -> ExcludedItem:
        reason: Literal["in_history", "ranked_lower", "not_retrieved"]
        if item in history:
            reason, why = "in_history", "already in the history"
        elif item in ranks:
            reason, why = "ranked_lower", f"{system} ranks it {ranks[item]} of {len(ranks)}"
        else:
            assert retriever is not None
            reason = "not_retrieved"
            why = f"{retriever.name} ranks it {ranks_alone[item]} and retrieves only its first {len(ranks)} for {system}"
        return ExcludedItem(**_names(model, item), reason=reason, why=why)

    alone = None
    if rankings.alone is not None and retriever is not None:
        alone = RecommenderAlone(name=retriever.name, recommendations=_listed(model, rankings.alone, top))
    expected = dict.fromkeys([*reversed(history), *list(ranks_alone)[:top], *about])
    n_unread = max(0, len(history) - model.ranker.max_history_len)
    return Explanation(
        system=system,
        history=[HistoryItem(**_names(model, item), read=place >= n_unread) for place, item in enumerate(history)],
        recommendations=_listed(model, rankings.system, top),
        recommender=alone,
        excluded=[excluded(item) for item in expected if ranks.get(item, top + 1) > top],
    )


def _names(model: Model, item: int) -> dict[str, Any]:
    row = model.items.iloc[item]
    return {"item": row[c.RAW_ITEM], "label": row[c.LABEL], "is_new": item >= model.n_known}


def _listed(model: Model, ranked: Ranked, top: int) -> list[RankedItem]:
    best = zip(ranked.items[:top].tolist(), ranked.scores[:top].tolist(), strict=True)
    return [RankedItem(**_names(model, item), rank=rank, score=score) for rank, (item, score) in enumerate(best, start=1)]


def _ranks(ranked: Ranked) -> dict[int, int]:
    """Returns the 1-based rank of each item, best first."""
    return {item: rank for rank, item in enumerate(ranked.items.tolist(), start=1)}
