"""The prompts of held-out examples, as one table of strings and ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from llara_core.config import PromptConfig
from llara_core.errors import DataError
from llara_core.predictions import Questions
from llara_core.prompts.rendering import ItemWording, Prompt, answer_text, render_history, render_ranking, with_instruction
from llara_core.prompts.templates import HISTORY_TEMPLATES, RANKING_TEMPLATES
from llara_core.ranking import History
from llara_core.runtime import seeding

# The wording of a held-out prompt belongs to the test, not to the training seed: all seeds answer the same questions.
_TEMPLATE_SEED = 0


@dataclass(frozen=True)
class Query:
    """A prompt with candidates and the answers that name them, in candidate order."""

    prompt: Prompt
    answers: tuple[str, ...]


def ranking_queries(questions: Questions, wording: ItemWording, config: PromptConfig, *, tuned: bool = True) -> list[Query]:
    """One query per candidate set.

    Args:
        questions: histories, candidates and, for prompts that show them, opinions.
        wording: the dataset's words for items.
        config: what a prompt shows, and the choice of wording.
        tuned: whether the model that is asked was tuned on such prompts; the others are told how to answer.

    Raises:
        DataError: there are no opinions to be shown.
    """
    representation, labels, queries = config.representation, questions.labels, []
    opinions = questions.opinions if config.recommender_scores else None
    if config.recommender_scores and opinions is None:
        raise DataError("the prompts show the recommender's scores, but none are given; name the recommender")
    for row, items in enumerate(questions.candidates.tolist()):
        template = 0 if questions.ids is None else _template(config, len(RANKING_TEMPLATES), "generative", *questions.ids[row])
        shown: Any = None if opinions is None else opinions[row]  # an array is read like a sequence of its rows
        history = questions.histories[questions.of_history[row]]
        prompt = render_ranking(history, items, labels, wording, representation, template, slot=config.slot, scores=shown)
        answers = tuple(answer_text(item, labels, representation) for item in items)
        queries.append(Query(prompt if tuned else with_instruction(prompt), answers))
    return queries


def history_prompt(history: History, labels: Sequence[str], wording: ItemWording, config: PromptConfig) -> Prompt:
    """The prompt of the catalogue head; its wording depends on the items of the history alone, and not on their order."""
    items = [int(item) for item in history]
    template = _template(config, len(HISTORY_TEMPLATES), "next_item", *sorted(items))
    return render_history(items, labels, wording, config.representation, template, slot=config.slot)


def _template(config: PromptConfig, n_templates: int, *names: str | int) -> int:
    """The wording of a held-out prompt, from the random stream of these names."""
    if config.templates == "first":
        return 0
    rng = seeding.numpy_stream(_TEMPLATE_SEED, "held-out template", *names)
    return int(rng.integers(n_templates))


def batches(lengths: Sequence[int], batch_size: int) -> list[np.ndarray]:
    """Row numbers in batches of prompts of similar length, which wastes the least on padding."""
    order = np.argsort(lengths, kind="stable")
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
