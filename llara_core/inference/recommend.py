"""Ranked items for one history, from a tuned system: what a practitioner serves."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from llara_core import columns as c
from llara_core.errors import DataError
from llara_core.predictions import CatalogueScorer
from llara_core.ranking import check_finite
from llara_core.readers.titles import folded

if TYPE_CHECKING:
    from llara_core.objectives.base import LlmSystem, Retrieved

logger = logging.getLogger(__name__)


def find_items(names: Sequence[str], items: pd.DataFrame) -> list[int]:
    """Item ids by label or, where only one item has it, by title; case does not matter.

    Raises:
        DataError: a name fits no item or several; the message lists the nearest labels.
    """
    return [_find_item(name, items) for name in names]


def recommend(
    system: LlmSystem,
    retriever: CatalogueScorer,
    history: Sequence[int],
    items: pd.DataFrame,
    *,
    max_history_len: int,
    n_candidates: int,
    top: int,
) -> pd.DataFrame:
    """The ``top`` items to follow ``history``, best first; none of them stands in it.

    Args:
        system: tuned.
        retriever: the recommender under it.
        history: item ids, oldest first, as far back as it is known.
        items: rows of :data:`tables.ITEMS`.
        max_history_len: most recent items that the model reads.
        n_candidates: items that the retriever proposes to a system whose prompts list candidates; the others rank the whole
            catalogue.
        top: number of items.

    Returns:
        Columns ``item_id``, ``label`` and ``score`` (of the system's objective: a logit or a log-likelihood).

    Raises:
        DataError: the history is empty or holds the whole catalogue, or a score is not finite.
    """
    if not history:
        raise DataError("the history is empty; name at least one title with --item")
    if len(set(history)) == len(items):
        raise DataError(f"the history holds all {len(items)} items of the catalogue, which leaves none to recommend")
    read = list(history[-max_history_len:])
    if len(read) < len(history):
        logger.info("the model reads the last %d of %d items; none of all is recommended", len(read), len(history))

    def retrieve() -> Retrieved:
        scores = retriever.score_catalogue([read])[0]
        return _best(np.arange(len(scores)), scores, history, n_candidates)

    labels = system.encoder.safe_labels(items[c.LABEL].to_list())
    ranked, scores = _best(*system.answers_as.score_items(system, read, labels, retrieve), history, top)
    return pd.DataFrame({c.ITEM: ranked, c.LABEL: items[c.LABEL].to_numpy()[ranked], "score": scores})


def _best(items: np.ndarray, scores: np.ndarray, seen: Sequence[int], n: int) -> Retrieved:
    """The ``n`` best of ``items`` outside ``seen``, best first, with their scores; of equal ones the first comes first."""
    check_finite(scores[None])
    new = ~np.isin(items, seen)
    items, scores = items[new], scores[new]
    order = np.argsort(-scores, kind="stable")[:n]
    return items[order], scores[order]


def _find_item(name: str, items: pd.DataFrame) -> int:
    wanted = folded(name.strip())
    for column in (c.LABEL, c.TITLE):
        found = items.loc[items[column].map(folded) == wanted, c.ITEM]
        if len(found) == 1:
            return int(found.iloc[0])
    near = difflib.get_close_matches(name, items[c.LABEL].to_list(), n=3, cutoff=0.4)
    raise DataError(
        f"no single item is called {name!r}; "
        + (f"did you mean {', '.join(map(repr, near))}?" if near else "see items.parquet")
    )
