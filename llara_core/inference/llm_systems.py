"""Language models, tuned or not, that answer by writing a candidate's title or by scores of the catalogue head."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from llara_core import columns as c
from llara_core.answers import predictions
from llara_core.answers.held_out import HeldOut, Order
from llara_core.answers.parsing import parse_answer
from llara_core.answers.predictions import NOT_TUNED, Answers, Questions, from_choices, from_scores, score_candidates
from llara_core.answers.prompts import ranking_queries
from llara_core.config import OBJECTIVES, UNTUNED_OBJECTIVE, LlmConfig, PromptConfig, ScoreSource, Weights
from llara_core.errors import DataError
from llara_core.inference.candidate_answers import answer_queries
from llara_core.inference.catalogue import HeadScorer
from llara_core.llm import adapters, loading
from llara_core.llm.encoding import PromptEncoder
from llara_core.llm.hybrid import HybridLM
from llara_core.llm.item_vectors import item_vectors_for
from llara_core.llm.prompts.rendering import ItemWording
from llara_core.llm.score_features import normalise_scores, shuffled_score_features


@dataclass(frozen=True)
class AnswerLimits:
    """Limits on the cost of answers, from the section ``inference``.

    Attributes:
        batch_size: prompts per pass.
        max_draws: candidate sets per held-out example that are answered by prompts with candidates.
        max_new_tokens: limit of a written answer, which a ranking does not need.
        num_beams: number of beams in generation.
    """

    batch_size: int
    max_draws: int = 1
    max_new_tokens: int = 1
    num_beams: int = 1


@dataclass(frozen=True)
class LlmAnswers:
    """A language model's answers to ``N`` sets of ``C`` candidates.

    Attributes:
        scores: ``(N, C)`` float32; higher is better.
        catalogue_rank: ``(N,)`` int32 ranks of the targets among all items; None if they are not ranked.
        choices: further modes, each with ``N`` places of the chosen candidates (None: an invalid answer) and ``N`` written
            answers (None: the mode writes none).
    """

    scores: npt.NDArray[np.float32]
    catalogue_rank: npt.NDArray[np.int32] | None = None
    choices: Mapping[str, tuple[Sequence[int | None], Sequence[str] | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class LlmSystem(ABC):
    """A language model, tuned or not, that answers questions.

    Attributes:
        prompt: prompt settings; for a tuned system, those of its tuning.
        objective: tuning objective; ``none`` for an untuned system, whose prompts carry an instruction.
        score_features_of: returns the score features of held-out candidates, for prompts that show them: columns example_id,
            draw and scores, the last with ``(C, 2)`` arrays of :func:`llara_core.llm.score_features.normalise_scores`.
        scores_catalogue: whether the system scores all items.
    """

    scores_catalogue: ClassVar[bool]

    model: HybridLM
    encoder: PromptEncoder
    prompt: PromptConfig
    wording: ItemWording
    limits: AnswerLimits
    objective: str
    score_features_of: Callable[[HeldOut], pd.DataFrame] | None = None

    @abstractmethod
    def ask(self, questions: Questions) -> LlmAnswers:
        """Answers candidate sets in every mode of the system.

        Raises:
            DataError: the prompts show scores, but the questions have none.
            ModelError: a prompt is longer than the language model reads.
        """

    def answer(self, held_out: HeldOut) -> Answers:
        """Answers the held-out questions; prompts with candidates answer the first draws alone.

        Raises:
            DataError: the recommender did not score a candidate set whose prompt shows its scores.
        """
        asked = held_out if self.scores_catalogue else held_out.first_draws(self.limits.max_draws)
        questions = Questions.of(asked)
        if self.prompt.recommender_scores and self.score_features_of is not None:
            questions = replace(questions, score_features=_aligned_score_features(asked, self.score_features_of(asked)))
        answers = self.ask(questions)
        tables = {mode: from_choices(asked.candidates, *choices) for mode, choices in answers.choices.items()}
        tables["score"] = from_scores(asked.candidates, answers.scores, answers.catalogue_rank)
        return Answers(tables, f"prompts dated {self.encoder.chat_date}" if self.encoder.chat_date else "")


class TitleAnswerer(LlmSystem):
    """Answers a prompt with candidates in three ways: by free text, by the likeliest title, and by scores of all titles."""

    scores_catalogue = False

    def ask(self, questions: Questions) -> LlmAnswers:
        labels, texts = self.encoder.safe_labels(questions.labels), questions.texts
        if self.prompt.item_text == "full":
            texts = self.encoder.safe_labels(texts)
        safe = replace(questions, labels=labels, texts=texts)
        queries = ranking_queries(safe, self.wording, self.prompt, tuned=self.objective != NOT_TUNED)
        answers = answer_queries(
            self.model,
            self.encoder,
            queries,
            batch_size=self.limits.batch_size,
            max_new_tokens=self.limits.max_new_tokens,
            num_beams=self.limits.num_beams,
        )
        named = [parse_answer(text, query.answers) for text, query in zip(answers.texts, queries, strict=True)]
        choices = {"generate": (named, answers.texts), "constrained": (answers.constrained.tolist(), None)}
        return LlmAnswers(answers.scores, choices=choices)


class HeadAnswerer(LlmSystem):
    """Scores all items with the catalogue head, from a prompt that shows the history alone."""

    scores_catalogue = True

    def ask(self, questions: Questions) -> LlmAnswers:
        labels = self.encoder.safe_labels(questions.labels)
        scorer = HeadScorer(self.model, self.encoder, labels, self.wording, self.prompt, self.limits.batch_size)
        return LlmAnswers(*score_candidates(scorer, questions))


def answerer(objective: str) -> type[TitleAnswerer | HeadAnswerer]:
    """Returns the class of systems that were tuned on an objective."""
    return TitleAnswerer if OBJECTIVES[objective].writes_title else HeadAnswerer


def load_system(
    source: Path | PromptConfig,
    llm_folder: Path,
    llm: LlmConfig,
    limits: AnswerLimits,
    wording: ItemWording,
    n_items: int,
    *,
    embeddings: Path | None = None,
    recommender_predictions: Path | None = None,
    weights: Weights = "replicated",
) -> LlmSystem:
    """Loads a tuned or an untuned system.

    Args:
        source: adapter folder of a tuned system, or prompt settings of an untuned one.
        llm_folder: folder of the stage ``fetch_llm``.
        embeddings: item embeddings of the system's recommender; None if it has none.
        recommender_predictions: folder of that recommender's predictions, for prompts that show its scores.
        weights: whether each of several processes holds all weights of the base model, or a part.

    Raises:
        ModelError: the adapter, the base model and the item embeddings do not belong together.
    """
    if isinstance(source, PromptConfig):
        encoder = PromptEncoder(loading.load_tokenizer(llm_folder), chat_template=source.chat_template)
        model = adapters.untuned_model(loading.load_base_model(llm_folder, llm, weights=weights), encoder)
        return answerer(UNTUNED_OBJECTIVE)(model, encoder, source, wording, limits, NOT_TUNED)
    model, encoder, metadata = load_tuned_model(source, llm_folder, llm, embeddings, n_items, weights)
    score_features_of = None
    if recommender_predictions is not None:
        score_features_of = functools.partial(
            held_out_score_features, recommender_predictions, metadata.ablation.recommender_scores, metadata.seed
        )
    return answerer(metadata.objective)(model, encoder, metadata.prompt, wording, limits, metadata.objective, score_features_of)


def load_tuned_model(
    adapter_folder: Path,
    llm_folder: Path,
    llm: LlmConfig,
    embeddings: Path | None,
    n_items: int,
    weights: Weights = "replicated",
) -> tuple[HybridLM, PromptEncoder, adapters.AdapterMetadata]:
    """Loads a tuned model, its prompt encoder and its metadata; arguments and errors are those of :func:`load_system`."""
    metadata = adapters.read_metadata(adapter_folder)
    encoder = PromptEncoder(loading.load_tokenizer(llm_folder), chat_template=metadata.prompt.chat_template)
    item_vectors, embeddings_hash = item_vectors_for(
        metadata.prompt.representation, metadata.ablation, embeddings, n_items, metadata.seed
    )
    random_seed = metadata.seed if metadata.ablation.llm_weights == "random" else None
    model = adapters.load_adapter(
        adapter_folder,
        loading.load_base_model(llm_folder, llm, random_seed=random_seed, weights=weights),
        encoder,
        item_vectors,
        llm=loading.fingerprint(llm_folder),
        item_embeddings=embeddings_hash,
    )
    return model, encoder, metadata


def held_out_score_features(folder: Path, source: ScoreSource, seed: int, held_out: HeldOut) -> pd.DataFrame:
    """Returns the score features of held-out candidates, in the columns example_id, draw and scores (``(C, 2)`` arrays).

    If ``source`` says that tuning shuffled the scores, these are shuffled, too.

    Raises:
        DataError: the recommender scored other candidate sets.
    """
    file = held_out.folder(folder) / predictions.file_name("score", held_out.order)
    frame, metadata = predictions.read_predictions(file)
    if metadata.candidates_hash != held_out.candidates_hash:
        raise DataError(f"{file}: scores other candidate sets than {held_out.source} holds; run `dvc repro`")
    return shown_score_features(frame, source, seed, held_out.order)


def shown_score_features(frame: pd.DataFrame, source: ScoreSource, seed: int, order: Order) -> pd.DataFrame:
    """Returns the score features of rows of :data:`tables.PREDICTIONS`, in the columns of :func:`held_out_score_features`."""
    scores = normalise_scores(np.stack(frame[c.SCORES].to_list()))
    if source == "shuffled":
        scores = shuffled_score_features(scores, seed, f"held out, {order}")
    return frame[c.SET_KEYS].assign(**{c.SCORES: list(scores)})


def _aligned_score_features(asked: HeldOut, score_features: pd.DataFrame) -> list[npt.NDArray[np.float32]]:
    """Returns the score features in the order of the candidate sets."""
    rows = asked.candidates.merge(score_features, on=c.SET_KEYS, how="left", validate="one_to_one")
    if (missing := rows[c.SCORES].isna()).any():
        example, draw = rows.loc[missing, c.SET_KEYS].iloc[0]
        raise DataError(f"the recommender did not score the candidate set of example {example}, draw {draw}; run `dvc repro`")
    return rows[c.SCORES].to_list()
