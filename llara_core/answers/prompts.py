"""Renders the prompts of held-out examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llara_core.answers.predictions import Questions
from llara_core.answers.ranking import History
from llara_core.config import PromptConfig
from llara_core.errors import DataError
from llara_core.llm.prompts.rendering import ItemWording, Prompt, answer_text, render_history, render_ranking, with_instruction
from llara_core.llm.prompts.templates import HISTORY_TEMPLATES, RANKING_TEMPLATES
from llara_core.runtime import seeding

# Fixed, so that runs of all training seeds answer prompts of the same wording.
_TEMPLATE_SEED = 0


@dataclass(frozen=True)
class Query:
    """A prompt with candidates, and the answers that name them, in candidate order."""

    prompt: Prompt
    answers: tuple[str, ...]


def ranking_queries(questions: Questions, wording: ItemWording, config: PromptConfig, *, tuned: bool = True) -> list[Query]:
    """Returns one query per candidate set; a model that was not tuned on such prompts gets an instruction.

    Raises:
        DataError: the prompts show scores or texts of items, but the questions have none.
    """
    representation, labels, queries = config.representation, questions.labels, []
    score_features = questions.score_features if config.recommender_scores else None
    if config.recommender_scores and score_features is None:
        raise DataError("the prompts show the recommender's scores, but none are given; name the recommender")
    texts = questions.texts if config.item_text == "full" else None
    if texts is not None and len(texts) != len(labels):
        raise DataError("the prompts show the texts of items, but none are given; run `dvc repro prepare`")
    for row, items in enumerate(questions.candidates.tolist()):
        template = 0 if questions.ids is None else _template(config, len(RANKING_TEMPLATES), "generative", *questions.ids[row])
        shown: Any = None if score_features is None else score_features[row]  # an array is read like a sequence of its rows
        history = questions.histories[questions.of_history[row]]
        prompt = render_ranking(
            history,
            items,
            labels,
            wording,
            representation,
            template,
            slot=config.slot,
            scores=shown,
            candidate_texts=texts,
        )
        answers = tuple(answer_text(item, labels, representation) for item in items)
        queries.append(Query(prompt if tuned else with_instruction(prompt), answers))
    return queries


def history_prompt(history: History, labels: Sequence[str], wording: ItemWording, config: PromptConfig) -> Prompt:
    """Renders the prompt of the catalogue head; its wording depends on the set of items in the history, not on their order."""
    items = [int(item) for item in history]
    template = _template(config, len(HISTORY_TEMPLATES), "next_item", *sorted(items))
    return render_history(items, labels, wording, config.representation, template, slot=config.slot)


def _template(config: PromptConfig, n_templates: int, *names: str | int) -> int:
    """Returns the wording of a held-out prompt, drawn from the random stream of these names."""
    if config.templates == "first":
        return 0
    rng = seeding.numpy_stream(_TEMPLATE_SEED, "held-out template", *names)
    return int(rng.integers(n_templates))
