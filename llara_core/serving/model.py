"""A system that recommends, for use from Python: a history of titles in, ranked items out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from llara_core import columns as c
from llara_core.errors import ConfigError, DataError
from llara_core.serving import bundle
from llara_core.serving.adding import add_items, text_source
from llara_core.serving.audience import Reached, audiences
from llara_core.serving.new_items import NewItem, check_items, read_new_items, with_new_items
from llara_core.serving.parts import Parts
from llara_core.serving.ranking import Ranked, Ranker
from llara_core.serving.titles import ItemFinder


@dataclass(frozen=True)
class Recommendation:
    """One recommended item.

    Attributes:
        label: its title, with what tells it from others of the same title.
        score: higher is better; of one model's scores for one history only the differences mean something.
        item: its raw id.
        is_new: whether it was added by :meth:`Model.add_items`.
    """

    label: str
    score: float
    item: str
    is_new: bool = False


class Model:
    """A system that is loaded.

    Args:
        ranker: what ranks.
        items: rows of :data:`tables.ITEMS`.
        parts: that the ranker was loaded from.

    Attributes:
        n_known: items that were there from the start; those behind them are new.
        finder: finds items by name.
    """

    def __init__(self, ranker: Ranker, items: pd.DataFrame, parts: Parts) -> None:
        self.ranker, self.items, self.parts = ranker, items, parts
        self.n_known = len(items)
        self.finder = ItemFinder(items)

    def add_items(self, items: Sequence[NewItem | Mapping[str, Any]], encoder: str | Path | None = None) -> None:
        """Add items that training never saw: from now on they are ranked with the others, by their texts, without tuning.

        Added items live as long as this object.

        >>> model.add_items([{"item_id": "9001", "title": "Heat 2", "attributes": ["Action", "Crime"]}])  # doctest: +SKIP

        Args:
            items: or the fields of :class:`NewItem`; in ``attributes`` what the training knew of its items, such as genres.
            encoder: folder of the text encoder; None: that of the training, which is fetched if need be.

        Raises:
            DataError: an item is malformed, or its id exists already; none is added.
            ConfigError: the system recommends by what it was trained with alone; the message says which ones do not.
            ModelError: the encoder cannot be had, or is not that of the training.
        """
        self._add(check_items(items), None, encoder)

    def add_items_from(self, path: Path, encoder: str | Path | None = None) -> None:
        """As :meth:`add_items`, from a file (:func:`read_new_items`)."""
        self._add(*read_new_items(path, self.parts.item_reading), encoder)

    def _add(self, new: Sequence[NewItem], places: Sequence[str] | None, encoder: str | Path | None) -> None:
        text_source(self.parts, self.ranker.system)  # what cannot take any says so before it looks for mistakes in them
        if not new:
            raise DataError("there are no items to add")
        items = with_new_items(self.items, self.finder, new, self.parts.item_reading, places)
        self.ranker = add_items(self.ranker, self.parts, items, self.n_known, None if encoder is None else Path(encoder))
        self.items, self.finder = items, ItemFinder(items)

    def audience(self, item: str | int, histories: Mapping[str, Sequence[str | int]], top: int = 10) -> list[Reached]:
        """The users for whom an item ranks highest, best first; those who have it already are left out.

        Args:
            item: label, title or raw id.
            histories: by user, as of :meth:`recommend`.
            top: users wanted.

        Raises:
            DataError: as of :meth:`recommend`.
        """
        found = {user: self.finder.history(history) for user, history in histories.items()}
        (reached,) = self.audience_ids([self.finder.find(item)], found, top)
        return reached

    def audience_ids(self, items: Sequence[int], histories: Mapping[str, Sequence[int]], top: int = 10) -> list[list[Reached]]:
        """As :meth:`audience`, for several items and for histories of item ids at once."""
        if top < 1:
            raise DataError(f"top is {top}; it has to be at least 1")
        ranked = self.ranker.rank_each(list(histories.values()), top=len(self.items))
        return audiences(ranked, list(histories), items, top)

    def recommend(
        self, history: Sequence[str | int], top: int = 10, *, candidates: int | None = None, retrieve_only: bool = False
    ) -> list[Recommendation]:
        """The items that should follow a history, best first; none of the history is among them, however long it is.

        Args:
            history: labels, titles or raw ids (:meth:`ItemFinder.find`), oldest first.
            top: items wanted; fewer come back where fewer are left.
            candidates: items that the recommender retrieves for the language model to rank; None: as many as in the system's
                evaluation, or, for a system that scores the whole catalogue, all.
            retrieve_only: the recommender's own ranking.

        Raises:
            DataError: the history is empty or holds the whole catalogue, a name fits no item or several, or a score is not
                finite.
            ConfigError: nothing can retrieve.
            ModelError: the prompt is longer than the language model reads.
        """
        (ranked,) = self.recommend_ids([self.finder.history(history)], top, candidates=candidates, retrieve_only=retrieve_only)
        labels, raw_ids = self.items[c.LABEL].to_list(), self.items[c.RAW_ITEM].to_list()
        return [
            Recommendation(labels[item], score, raw_ids[item], item >= self.n_known)
            for item, score in zip(ranked.items.tolist(), ranked.scores.tolist(), strict=True)
        ]

    def recommend_ids(
        self,
        histories: Sequence[Sequence[int]],
        top: int = 10,
        *,
        candidates: int | None = None,
        retrieve_only: bool = False,
    ) -> list[Ranked]:
        """As :meth:`recommend`, for many histories of item ids (rows of :attr:`items`) at once."""
        for name, value in (("top", top), ("candidates", 1 if candidates is None else candidates)):
            if value < 1:
                raise DataError(f"{name} is {value}; it has to be at least 1")
        return self.ranker.rank(histories, top=top, n_candidates=candidates, retrieve_only=retrieve_only)


def load(folder: str | Path, llm: str | Path | None = None, *, dtype: str | None = None, batch_size: int = 8) -> Model:
    """Load an exported system; nothing but its folder and the language model is needed.

    >>> model = load("OUT", llm="data/llm")  # doctest: +SKIP
    >>> model.recommend(["Toy Story", "Fargo"], top=10)  # doctest: +SKIP

    Args:
        folder: written by ``pipeline.export``.
        llm: folder of the language model that it was made for, from ``pipeline.fetch_llm``; None for a recommender.
        dtype: of the language model's weights, as ``llm.dtype``; None: as at export.
        batch_size: histories per pass of the language model.

    Raises:
        DataError: the folder is no export, incomplete or damaged.
        ModelError: ``llm`` is another language model, or none where one is needed.
        ConfigError: no dtype is called so, or the batch size is below 1.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}; it has to be at least 1")
    folder = Path(folder)
    metadata, parts = bundle.open_bundle(folder)
    settings = None
    if metadata.llm is not None and llm is not None:
        metadata.llm.check(folder, Path(llm))
        settings = bundle.llm_config(metadata.llm, dtype)
    return Model(parts.load(None if llm is None else Path(llm), settings, batch_size), parts.read_items(), parts)
