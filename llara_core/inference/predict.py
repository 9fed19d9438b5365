"""A tuned system's predictions, by every way of answering that its objective has."""

from __future__ import annotations

import pandas as pd

from llara_core import columns as c
from llara_core.config import InferenceConfig
from llara_core.evaluation.parsing import parse_answer
from llara_core.inference.candidates import answer_queries
from llara_core.inference.catalogue import HeadScorer
from llara_core.inference.prompts import ranking_queries
from llara_core.llm.adapters import AdapterFacts
from llara_core.llm.encoding import PromptEncoder
from llara_core.llm.hybrid import HybridLM
from llara_core.predictions import from_scores, predict
from llara_core.prompts.rendering import Words


def predict_cell(
    model: HybridLM,
    encoder: PromptEncoder,
    facts: AdapterFacts,
    examples: pd.DataFrame,
    candidates: pd.DataFrame,
    labels: list[str],
    words: Words,
    config: InferenceConfig,
) -> dict[str, pd.DataFrame]:
    """Predictions tables by mode.

    Args:
        model: tuned, in evaluation mode.
        encoder: of its tokenizer.
        facts: of its adapter.
        examples: rows of :data:`tables.EXAMPLES`.
        candidates: rows of :data:`tables.CANDIDATE_SETS` of the held-out splits.
        labels: of all items.
        words: the dataset's words.
        config: batch size, draws and length limit.

    Returns:
        ``next_item`` adapters: ``score``, by the head, for all draws. ``generative`` ones: ``generate``, ``constrained`` and
        ``score``, for the first ``config.max_draws`` draws.
    """
    labels = encoder.safe_labels(labels)
    if facts.objective == "next_item":
        scorer = HeadScorer(model, encoder, labels, words, facts.prompt, config.batch_size)
        return {"score": predict(scorer, examples, candidates)}
    asked = candidates[candidates[c.DRAW] < config.max_draws].reset_index(drop=True)
    rows = asked.merge(examples[[c.EXAMPLE, c.HISTORY]], on=c.EXAMPLE, how="left", validate="many_to_one")
    queries = ranking_queries(rows, labels, words, facts.prompt)
    answers = answer_queries(model, encoder, queries, batch_size=config.batch_size, max_new_tokens=config.max_new_tokens)
    parsed = [parse_answer(text, query.answers) for text, query in zip(answers.texts, queries, strict=True)]
    return {
        "generate": _chosen(asked, parsed, answers.texts),
        "constrained": _chosen(asked, answers.constrained.tolist(), None),
        "score": from_scores(asked, answers.scores),
    }


def _chosen(candidates: pd.DataFrame, chosen: list[int | None], texts: list[str] | None) -> pd.DataFrame:
    """Predictions of a mode that names one candidate and ranks nothing."""
    predicted = [None if index is None else row[index] for row, index in zip(candidates[c.CANDIDATES], chosen, strict=True)]
    return pd.DataFrame(
        {
            c.EXAMPLE: candidates[c.EXAMPLE],
            c.DRAW: candidates[c.DRAW],
            c.SCORES: None,
            c.TEXT: texts,
            c.PREDICTED: pd.array(predicted, dtype="Int32"),
            c.VALID: [index is not None for index in chosen],
            c.CATALOGUE_RANK: pd.array([pd.NA] * len(chosen), dtype="Int32"),
        }
    )
