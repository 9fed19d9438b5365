"""Ranked items for one history, from a tuned system: what a practitioner serves."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd

from llara_core import columns as c
from llara_core.config import InferenceConfig
from llara_core.errors import DataError
from llara_core.inference.candidates import answer_queries
from llara_core.inference.catalogue import HeadScorer
from llara_core.inference.prompts import ranking_queries
from llara_core.llm.adapters import AdapterFacts
from llara_core.llm.encoding import PromptEncoder
from llara_core.llm.hybrid import HybridLM
from llara_core.predictions import CatalogueScorer
from llara_core.prompts.rendering import Words
from llara_core.ranking import check_finite, opinion
from llara_core.readers.titles import folded

logger = logging.getLogger(__name__)


def find_items(names: Sequence[str], items: pd.DataFrame) -> list[int]:
    """Item ids by label or, where only one item has it, by title; case does not matter.

    Raises:
        DataError: a name fits no item or several; the message lists the nearest labels.
    """
    return [_find_item(name, items) for name in names]


def recommend(
    model: HybridLM,
    encoder: PromptEncoder,
    facts: AdapterFacts,
    retriever: CatalogueScorer,
    history: Sequence[int],
    items: pd.DataFrame,
    words: Words,
    config: InferenceConfig,
    *,
    max_history_len: int,
    n_candidates: int,
    top: int,
) -> pd.DataFrame:
    """The ``top`` items to follow ``history``, best first; none of them stands in it.

    A ``next_item`` adapter ranks the whole catalogue with its head. A ``generative`` one ranks a candidate set, as it was tuned
    to: here the ``n_candidates`` items that its recommender ranks first.

    Args:
        model: tuned, in evaluation mode.
        encoder: of its tokenizer.
        facts: of its adapter.
        retriever: the recommender under the model.
        history: item ids, oldest first, as far back as it is known.
        items: rows of :data:`tables.ITEMS`.
        words: the dataset's words.
        config: batch size and length limit.
        max_history_len: most recent items that the model reads.
        n_candidates: size of the candidate set of a ``generative`` adapter.
        top: number of items.

    Returns:
        Columns ``item_id``, ``label`` and ``score`` (a logit of the head, or a log-likelihood of the answer).

    Raises:
        DataError: the history is empty or holds the whole catalogue, or a score is not finite.
    """
    if not history:
        raise DataError("the history is empty; name at least one title with --item")
    read = list(history[-max_history_len:])
    if len(read) < len(history):
        logger.info("the model reads the last %d of %d items; none of all is recommended", len(read), len(history))
    labels = encoder.safe_labels(items[c.LABEL].to_list())
    if facts.objective == "next_item":
        scores = HeadScorer(model, encoder, labels, words, facts.prompt, config.batch_size).score_catalogue([read])[0]
        ranked = _best(scores, history, top)
        values = scores[ranked]
    else:
        scores = retriever.score_catalogue([read])[0]
        retrieved = _best(scores, history, n_candidates)
        query = pd.DataFrame(
            {
                c.EXAMPLE: [0],
                c.DRAW: [0],
                c.HISTORY: [read],
                c.CANDIDATES: [retrieved.tolist()],
                c.SCORES: [opinion(scores[retrieved])],
            }
        )
        queries = ranking_queries(query, labels, words, facts.prompt)
        answers = answer_queries(model, encoder, queries, batch_size=1, max_new_tokens=config.max_new_tokens)
        check_finite(answers.scores)
        order = np.argsort(-answers.scores[0], kind="stable")[:top]
        ranked, values = retrieved[order], answers.scores[0][order]
    return pd.DataFrame({c.ITEM: ranked, c.LABEL: items[c.LABEL].to_numpy()[ranked], "score": values})


def _best(scores: np.ndarray, history: Sequence[int], top: int) -> np.ndarray:
    check_finite(scores[None])
    n_new = len(scores) - len(set(history))
    if n_new == 0:
        raise DataError(f"the history holds all {len(scores)} items of the catalogue, which leaves none to recommend")
    scores = scores.astype(np.float64)
    scores[list(history)] = -np.inf
    return np.argsort(-scores, kind="stable")[: min(top, n_new)]


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
