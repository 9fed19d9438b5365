"""An LLM system's predictions, by every way of answering that its objective has."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from llara_core import columns as c
from llara_core.config import InferenceConfig, Objective, PromptConfig, ScoreSource
from llara_core.errors import DataError
from llara_core.evaluation.parsing import parse_answer
from llara_core.inference.candidates import answer_queries
from llara_core.inference.catalogue import HeadScorer
from llara_core.inference.prompts import ranking_queries
from llara_core.llm.encoding import PromptEncoder
from llara_core.llm.hybrid import HybridLM
from llara_core.predictions import Order, from_choices, from_scores, predict, questions
from llara_core.prompts.rendering import Words
from llara_core.ranking import opinion, shuffled_opinion

ScoresOf = Callable[[Order], pd.DataFrame]


def shown_scores(frame: pd.DataFrame, source: ScoreSource, seed: int, order: Order) -> pd.DataFrame:
    """A recommender's predictions as what behaviour tokens carry of them.

    Args:
        frame: rows of :data:`tables.PREDICTIONS` of the recommender under the system.
        source: in training; scores shuffled there are shuffled here.
        seed: training seed.
        order: of the histories.

    Returns:
        Columns example_id, draw and scores, the last with ``(C, 2)`` arrays of :func:`llara_core.ranking.opinion`.
    """
    scores = opinion(np.stack(frame[c.SCORES].to_list()))
    if source == "shuffled":
        scores = shuffled_opinion(scores, seed, f"held out, {order}")
    return frame[[c.EXAMPLE, c.DRAW]].assign(**{c.SCORES: list(scores)})


def predict_orders(
    model: HybridLM,
    encoder: PromptEncoder,
    objective: Objective | None,
    prompt: PromptConfig,
    examples: pd.DataFrame,
    candidates: pd.DataFrame,
    labels: list[str],
    words: Words,
    config: InferenceConfig,
    scores_of: ScoresOf | None = None,
) -> Iterator[tuple[Order, str, pd.DataFrame]]:
    """The tables of :func:`predict_cell` as (order of the histories, mode, table), for both orders where
    ``config.shuffled_histories`` asks this kind of system for both."""
    shuffled = config.shuffled_histories == "all" or (config.shuffled_histories == "catalogue" and objective == "next_item")
    for order, asked in questions(examples, candidates, shuffled=shuffled).items():
        scores = scores_of(order) if scores_of is not None and prompt.recommender_scores else None
        for mode, frame in predict_cell(model, encoder, objective, prompt, *asked, labels, words, config, scores).items():
            yield order, mode, frame


def predict_cell(
    model: HybridLM,
    encoder: PromptEncoder,
    objective: Objective | None,
    prompt: PromptConfig,
    examples: pd.DataFrame,
    candidates: pd.DataFrame,
    labels: list[str],
    words: Words,
    config: InferenceConfig,
    scores: pd.DataFrame | None,
) -> dict[str, pd.DataFrame]:
    """Predictions tables by mode.

    Args:
        model: in evaluation mode.
        encoder: of its tokenizer.
        objective: what it was tuned for; None for an untuned one, which answers as a ``generative`` one does, told how.
        prompt: how it is prompted, as in tuning.
        examples: rows of :data:`tables.EXAMPLES`.
        candidates: rows of :data:`tables.CANDIDATE_SETS` of the held-out splits.
        labels: of all items.
        words: the dataset's words.
        config: batch size, draws and length limit.
        scores: of :func:`shown_scores`, for prompts that show them.

    Returns:
        ``next_item``: ``score``, by the head, for all draws. ``generative``: ``generate``, ``constrained`` and ``score``, for
        the first ``config.max_draws`` draws.

    Raises:
        DataError: a candidate set that is asked has no scores to be shown.
    """
    labels = encoder.safe_labels(labels)
    if objective == "next_item":
        scorer = HeadScorer(model, encoder, labels, words, prompt, config.batch_size)
        return {"score": predict(scorer, examples, candidates)}
    asked = candidates[candidates[c.DRAW] < config.max_draws].reset_index(drop=True)
    rows = asked.merge(examples[[c.EXAMPLE, c.HISTORY]], on=c.EXAMPLE, how="left", validate="many_to_one")
    if prompt.recommender_scores:
        if scores is None:
            raise DataError("the prompts show the recommender's scores, but none are given; name the recommender")
        rows = rows.merge(scores, on=[c.EXAMPLE, c.DRAW], how="left", validate="one_to_one")
        if (missing := rows[c.SCORES].isna()).any():
            raise DataError(
                f"the recommender scored no candidate set of example {rows.loc[missing, c.EXAMPLE].iloc[0]}; run `dvc repro`"
            )
    queries = ranking_queries(rows, labels, words, prompt, tuned=objective is not None)
    answers = answer_queries(model, encoder, queries, batch_size=config.batch_size, max_new_tokens=config.max_new_tokens)
    parsed = [parse_answer(text, query.answers) for text, query in zip(answers.texts, queries, strict=True)]
    return {
        "generate": from_choices(asked, parsed, answers.texts),
        "constrained": from_choices(asked, answers.constrained.tolist()),
        "score": from_scores(asked, answers.scores),
    }
