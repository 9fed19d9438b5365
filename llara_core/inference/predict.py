"""An LLM system's predictions, by every way of answering that its objective has."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from llara_core import columns as c
from llara_core.config import InferenceConfig, Objective, PromptConfig
from llara_core.evaluation.parsing import parse_answer
from llara_core.inference.candidates import answer_queries
from llara_core.inference.catalogue import HeadScorer
from llara_core.inference.prompts import ranking_queries
from llara_core.llm.encoding import PromptEncoder
from llara_core.llm.hybrid import HybridLM
from llara_core.predictions import Order, from_choices, from_scores, predict, questions
from llara_core.prompts.rendering import Words


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
) -> Iterator[tuple[Order, str, pd.DataFrame]]:
    """The tables of :func:`predict_cell` as (order of the histories, mode, table), with ``config.shuffled_histories`` for both
    orders."""
    for order, asked in questions(examples, candidates, shuffled=config.shuffled_histories).items():
        for mode, frame in predict_cell(model, encoder, objective, prompt, *asked, labels, words, config).items():
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

    Returns:
        ``next_item``: ``score``, by the head, for all draws. ``generative``: ``generate``, ``constrained`` and ``score``, for
        the first ``config.max_draws`` draws.
    """
    labels = encoder.safe_labels(labels)
    if objective == "next_item":
        scorer = HeadScorer(model, encoder, labels, words, prompt, config.batch_size)
        return {"score": predict(scorer, examples, candidates)}
    asked = candidates[candidates[c.DRAW] < config.max_draws].reset_index(drop=True)
    rows = asked.merge(examples[[c.EXAMPLE, c.HISTORY]], on=c.EXAMPLE, how="left", validate="many_to_one")
    queries = ranking_queries(rows, labels, words, prompt, tuned=objective is not None)
    answers = answer_queries(model, encoder, queries, batch_size=config.batch_size, max_new_tokens=config.max_new_tokens)
    parsed = [parse_answer(text, query.answers) for text, query in zip(answers.texts, queries, strict=True)]
    return {
        "generate": from_choices(asked, parsed, answers.texts),
        "constrained": from_choices(asked, answers.constrained.tolist()),
        "score": from_scores(asked, answers.scores),
    }
