"""Ranked items for one history, from a tuned system: what a practitioner serves."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from llara_core import columns as c
from llara_core.config import InferenceConfig
from llara_core.data.titles import folded
from llara_core.errors import DataError
from llara_core.inference.candidates import answer_queries
from llara_core.inference.catalogue import HeadScorer
from llara_core.inference.prompts import ranking_queries
from llara_core.llm.adapters import AdapterFacts
from llara_core.llm.encoding import PromptEncoder
from llara_core.llm.hybrid import HybridLM
from llara_core.predictions import CatalogueScorer
from llara_core.prompts.rendering import Words


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
    n_candidates: int,
    top: int,
) -> pd.DataFrame:
    """The ``top`` items to follow ``history``, best first.

    A ``next_item`` adapter ranks the whole catalogue with its head. A ``generative`` one ranks a candidate set, as it was tuned
    to: here the ``n_candidates`` items that its recommender ranks first.

    Args:
        model: tuned, in evaluation mode.
        encoder: of its tokenizer.
        facts: of its adapter.
        retriever: the recommender under the model.
        history: item ids, oldest first.
        items: rows of :data:`tables.ITEMS`.
        words: the dataset's words.
        config: batch size and length limit.
        n_candidates: size of the candidate set of a ``generative`` adapter.
        top: number of items.

    Returns:
        Columns ``item_id``, ``label`` and ``score`` (a logit of the head, or a log-likelihood of the answer).
    """
    labels = encoder.safe_labels(items[c.LABEL].to_list())
    if facts.objective == "next_item":
        scores = HeadScorer(model, encoder, labels, words, facts.prompt, config.batch_size).score_catalogue([history])[0]
        ranked = _best(scores, history, top)
        values = scores[ranked]
    else:
        retrieved = _best(retriever.score_catalogue([history])[0], history, n_candidates)
        query = pd.DataFrame({c.EXAMPLE: [0], c.DRAW: [0], c.HISTORY: [list(history)], c.CANDIDATES: [retrieved.tolist()]})
        queries = ranking_queries(query, labels, words, facts.prompt)
        answers = answer_queries(model, encoder, queries, batch_size=1, max_new_tokens=config.max_new_tokens)
        order = np.argsort(-answers.scores[0], kind="stable")[:top]
        ranked, values = retrieved[order], answers.scores[0][order]
    return pd.DataFrame({c.ITEM: ranked, c.LABEL: items[c.LABEL].to_numpy()[ranked], "score": values})


def _best(scores: np.ndarray, history: Sequence[int], top: int) -> np.ndarray:
    scores = scores.astype(np.float64)
    scores[list(history)] = -np.inf
    return np.argsort(-scores, kind="stable")[: min(top, len(scores) - len(set(history)))]


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
