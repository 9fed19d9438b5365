"""Python interface of a loaded system: histories of titles in, ranked items out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from llara_core import columns as c
from llara_core.errors import ConfigError, DataError
from llara_core.serving import bundle
from llara_core.serving.adding import add_items, text_source
from llara_core.serving.item_finder import ItemFinder
from llara_core.serving.new_items import NewItem, check_items, read_new_items, with_new_items
from llara_core.serving.parts import SystemParts
from llara_core.serving.ranking import AudienceMember, Ranked, Ranker, audiences


@dataclass(frozen=True)
class Recommendation:
    """One recommended item."""

    label: str  # title, with what distinguishes it from other items of the same title
    score: float  # higher is better; only differences between scores of one model for one history are meaningful
    item: str  # raw id
    is_new: bool = False  # whether the item was added by :meth:`Model.add_items`


class Model:
    """A loaded system.

    Args:
        ranker: ranks items for histories.
        items: rows of :data:`tables.ITEMS`.
        parts: parts that the ranker was loaded from.

    Attributes:
        n_known: number of items known in training; later items are new.
        finder: finds items by name.
    """

    def __init__(self, ranker: Ranker, items: pd.DataFrame, parts: SystemParts) -> None:
        self.ranker, self.items, self.parts = ranker, items, parts
        self.n_known = len(items)
        self.finder = ItemFinder(items)

    def add_items(self, items: Sequence[NewItem | Mapping[str, Any]], encoder: str | Path | None = None) -> None:
        """Adds items that were not part of training, which are then ranked with the others by their texts, without tuning.

        They exist as long as this object.

        >>> model.add_items([{"item_id": "9001", "title": "Heat 2", "attributes": ["Action", "Crime"]}])  # doctest: +SKIP

        Args:
            items: new items, or the fields of :class:`NewItem`; ``attributes`` holds the same kinds of values as in training,
                such as genres.
            encoder: folder of the text encoder; None: that of training, which is fetched if necessary.

        Raises:
            DataError: an item is malformed or its id exists already; none is added.
            ConfigError: the system cannot take new items; the message names those that can.
            ModelError: the encoder is not available, or is not that of training.
        """
        self._add(check_items(items), lambda number: f"items[{number}]", encoder)

    def add_items_from(self, path: Path, encoder: str | Path | None = None) -> None:
        """Adds the items of a file (:func:`read_new_items`), as :meth:`add_items` does."""
        self._add(*read_new_items(path, self.parts.item_reading), encoder)

    def _add(self, new: Sequence[NewItem], place: Callable[[int], str], encoder: str | Path | None) -> None:
        text_source(self.parts, self.ranker.llm)  # a system that cannot take new items is refused before they are checked
        if not new:
            raise DataError("there are no items to add")
        items = with_new_items(self.items, self.finder, new, self.parts.item_reading, place)
        self.ranker = add_items(self.ranker, self.parts, items, self.n_known, None if encoder is None else Path(encoder))
        self.items = items
        self.finder = ItemFinder(items)  # last, since other threads expect its answers among the items

    def audience(self, item: str | int, histories: Mapping[str, Sequence[str | int]], top: int = 10) -> list[AudienceMember]:
        """Returns the users for whom an item ranks highest, best first, without users who have the item already.

        Args:
            item: label, title or raw id.
            histories: history of each user, as in :meth:`recommend`.

        Raises:
            DataError: as in :meth:`recommend`.
        """
        by_user = {user: self.finder.history(history) for user, history in histories.items()}
        (users,) = self.audience_ids([self.finder.find(item)], by_user, top)
        return users

    def audience_ids(
        self, items: Sequence[int], histories: Mapping[str, Sequence[int]], top: int = 10
    ) -> list[list[AudienceMember]]:
        """Returns the audience of several items, for histories of item ids."""
        if top < 1:
            raise DataError(f"top is {top}; it has to be at least 1")
        ranked = self.ranker.rank(list(histories.values()), top=len(self.items))
        return audiences(ranked, list(histories), items, top)

    def recommend(
        self, history: Sequence[str | int], top: int = 10, *, candidates: int | None = None, retrieve_only: bool = False
    ) -> list[Recommendation]:
        """Recommends items after a history, best first, without any item of the history, however long it is.

        Args:
            history: labels, titles or raw ids (:meth:`ItemFinder.find`), oldest first.
            top: number of items; fewer are returned if fewer are left.
            candidates: items that the recommender retrieves for the language model; None: as many as in the
                system's evaluation, or all for a system that scores the whole catalogue.
            retrieve_only: whether to rank with the recommender only.

        Raises:
            DataError: the history is empty or holds the whole catalogue, a name fits no item or several, or a score is not
                finite.
            ConfigError: there is no retriever.
            ModelError: the prompt does not fit into the language model's context.
        """
        (ranked,) = self.recommend_ids([self.finder.history(history)], top, candidates=candidates, retrieve_only=retrieve_only)
        rows = self.items.iloc[ranked.items]
        named = zip(ranked.items.tolist(), rows[c.LABEL], ranked.scores.tolist(), rows[c.RAW_ITEM], strict=True)
        return [Recommendation(label, score, raw_id, item >= self.n_known) for item, label, score, raw_id in named]

    def recommend_ids(
        self,
        histories: Sequence[Sequence[int]],
        top: int = 10,
        *,
        candidates: int | None = None,
        retrieve_only: bool = False,
    ) -> list[Ranked]:
        """Recommends for many histories of item ids, which are row numbers of :attr:`items`."""
        for name, value in (("top", top), ("candidates", 1 if candidates is None else candidates)):
            if value < 1:
                raise DataError(f"{name} is {value}; it has to be at least 1")
        return list(self.ranker.rank(histories, top=top, n_candidates=candidates, retrieve_only=retrieve_only))


def load(folder: str | Path, llm: str | Path | None = None, *, dtype: str | None = None, batch_size: int = 8) -> Model:
    """Loads an exported system, which needs only its folder and its language model.

    >>> model = load("OUT", llm="data/llm")  # doctest: +SKIP
    >>> model.recommend(["Toy Story", "Fargo"], top=10)  # doctest: +SKIP

    Args:
        folder: folder written by ``pipeline.export``.
        llm: folder of the language model that the system requires, from ``pipeline.fetch_llm``; None for a recommender.
        dtype: dtype of the language model's weights, as ``llm.dtype``; None: as at export.
        batch_size: histories per pass of the language model.

    Raises:
        DataError: the folder is not an export, is incomplete or damaged.
        ModelError: ``llm`` is another language model, or is missing where one is required.
        ConfigError: the dtype is unknown, or the batch size is below 1.
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
