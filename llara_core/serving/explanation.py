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


def describe_items(model: Model, items: Sequence[int]) -> list[Item]:
    """Returns raw ids and labels of items of the catalogue."""
    return [Item(**names) for names in _fields(model, items)]


def explain(model: Model, history: Sequence[int], rankings: Rankings, top: int, about: Sequence[int]) -> Explanation:
    """Explains the ranking of one history.

    Args:
        about: further items whose absence is explained.
    """
    system, retriever = model.parts.system, model.parts.retriever
    ranks = _ranks(rankings.system)
    ranks_alone = {} if rankings.alone is None else _ranks(rankings.alone)
    chosen = set(history)

    def reason(item: int) -> dict[str, str]:
        if item in chosen:
            return {"reason": "in_history", "why": "already in the history"}
        if item in ranks:
            return {"reason": "ranked_lower", "why": f"{system} ranks it {ranks[item]} of {len(ranks)}"}
        assert retriever is not None
        place = f"{retriever.name} ranks it {ranks_alone[item]}"
        return {"reason": "not_retrieved", "why": f"{place} and retrieves only its first {len(ranks)} for {system}"}

    alone = None
    if rankings.alone is not None and retriever is not None:
        alone = RecommenderAlone(name=retriever.name, recommendations=_listed(model, rankings.alone, top))
    expected = dict.fromkeys([*reversed(history), *list(ranks_alone)[:top], *about])
    left_out = [item for item in expected if ranks.get(item, top + 1) > top]
    n_unread = max(0, len(history) - model.ranker.max_history_len)
    return Explanation(
        system=system,
        history=[HistoryItem(**names, read=place >= n_unread) for place, names in enumerate(_fields(model, history))],
        recommendations=_listed(model, rankings.system, top),
        recommender=alone,
        excluded=[
            ExcludedItem.model_validate(names | reason(item))
            for item, names in zip(left_out, _fields(model, left_out), strict=True)
        ],
    )


def _fields(model: Model, items: Sequence[int]) -> list[dict[str, Any]]:
    rows = model.items.iloc[list(items)]
    named = zip(items, rows[c.RAW_ITEM], rows[c.LABEL], strict=True)
    return [{"item": raw_id, "label": label, "is_new": item >= model.n_known} for item, raw_id, label in named]


def _listed(model: Model, ranked: Ranked, top: int) -> list[RankedItem]:
    names, scores = _fields(model, ranked.items[:top].tolist()), ranked.scores[:top].tolist()
    return [RankedItem(**name, rank=rank, score=score) for rank, (name, score) in enumerate(zip(names, scores, strict=True), 1)]


def _ranks(ranked: Ranked) -> dict[int, int]:
    """Returns the 1-based rank of each item, best first."""
    return {item: rank for rank, item in enumerate(ranked.items.tolist(), start=1)}
