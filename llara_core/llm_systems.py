"""Tuned and untuned LLM systems, loaded to be asked."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pandas as pd

from llara_core import columns as c
from llara_core.config import UNTUNED_OBJECTIVE, InferenceConfig, LlmConfig, PromptConfig, ScoreSource, Weights
from llara_core.errors import DataError
from llara_core.held_out import HeldOut, Order
from llara_core.llm import adapters, loading
from llara_core.llm.encoding import PromptEncoder
from llara_core.llm.hybrid import HybridLM
from llara_core.llm.item_vectors import item_vectors_for
from llara_core.objectives.base import LlmSystem
from llara_core.objectives.registry import load_objective
from llara_core.predictions import NOT_TUNED, file_name, read_predictions
from llara_core.prompts.rendering import ItemWording
from llara_core.ranking import opinion, shuffled_opinion


def load_system(
    source: Path | PromptConfig,
    llm_folder: Path,
    llm: LlmConfig,
    inference: InferenceConfig,
    wording: ItemWording,
    n_items: int,
    *,
    embeddings: Path | None = None,
    recommender_predictions: Path | None = None,
    weights: Weights = "replicated",
) -> LlmSystem:
    """A system that answers, tuned or not.

    Args:
        source: the adapter folder of a tuned system, or the prompt of one that is not tuned.
        llm_folder: made by ``fetch_llm``.
        llm: how the base model is loaded.
        inference: batch size, draws and length limit.
        wording: the dataset's words for items.
        n_items: of the prepared data.
        embeddings: item embeddings of the recommender that it was tuned on; None where it has none.
        recommender_predictions: folder of that recommender's own answers, for prompts that show its scores.
        weights: whether each of several processes holds all weights of the base model, or a part.

    Raises:
        ModelError: the adapter, the base model and the item embeddings do not belong together.
    """
    if isinstance(source, PromptConfig):
        encoder = PromptEncoder(loading.load_tokenizer(llm_folder), chat_template=source.chat_template)
        model = adapters.untuned_model(loading.load_base_model(llm_folder, llm, weights=weights), encoder)
        return LlmSystem(model, encoder, source, wording, inference, load_objective(UNTUNED_OBJECTIVE), NOT_TUNED)
    model, encoder, metadata = load_tuned_model(source, llm_folder, llm, embeddings, n_items, weights)
    opinions_of = None
    if recommender_predictions is not None:
        opinions_of = functools.partial(
            held_out_opinions, recommender_predictions, metadata.ablation.recommender_scores, metadata.seed
        )
    objective = load_objective(metadata.objective)
    return LlmSystem(model, encoder, metadata.prompt, wording, inference, objective, metadata.objective, opinions_of)


def load_tuned_model(
    adapter_folder: Path,
    llm_folder: Path,
    llm: LlmConfig,
    embeddings: Path | None,
    n_items: int,
    weights: Weights = "replicated",
) -> tuple[HybridLM, PromptEncoder, adapters.AdapterMetadata]:
    """A tuned model, the encoder of its prompts, and its metadata; arguments and errors as of :func:`load_system`."""
    metadata = adapters.read_metadata(adapter_folder)
    encoder = PromptEncoder(loading.load_tokenizer(llm_folder), chat_template=metadata.prompt.chat_template)
    item_vectors, embeddings_hash = item_vectors_for(
        metadata.prompt.representation, metadata.ablation, embeddings, n_items, metadata.seed
    )
    random_seed = metadata.seed if metadata.ablation.llm_weights == "random" else None
    model, _ = adapters.load_adapter(
        adapter_folder,
        loading.load_base_model(llm_folder, llm, random_seed=random_seed, weights=weights),
        encoder,
        item_vectors,
        llm=loading.fingerprint(llm_folder),
        item_embeddings=embeddings_hash,
    )
    return model, encoder, metadata


def held_out_opinions(folder: Path, source: ScoreSource, seed: int, held_out: HeldOut) -> pd.DataFrame:
    """What behaviour tokens carry of a recommender's scores of held-out candidates.

    Args:
        folder: of the recommender's own predictions.
        source: in training; scores shuffled there are shuffled here.
        seed: training seed.
        held_out: whose candidates are scored.

    Returns:
        Columns example_id, draw and scores, the last with ``(C, 2)`` arrays of :func:`llara_core.ranking.opinion`.

    Raises:
        DataError: the recommender scored other candidate sets.
    """
    file = held_out.folder(folder) / file_name("score", held_out.order)
    frame, metadata = read_predictions(file)
    if metadata.candidates_hash != held_out.candidates_hash:
        raise DataError(f"{file}: scores other candidate sets than {held_out.source} holds; run `dvc repro`")
    return shown_scores(frame, source, seed, held_out.order)


def shown_scores(frame: pd.DataFrame, source: ScoreSource, seed: int, order: Order) -> pd.DataFrame:
    """Rows of :data:`tables.PREDICTIONS` as :func:`held_out_opinions` gives them."""
    scores = opinion(np.stack(frame[c.SCORES].to_list()))
    if source == "shuffled":
        scores = shuffled_opinion(scores, seed, f"held out, {order}")
    return frame[[c.EXAMPLE, c.DRAW]].assign(**{c.SCORES: list(scores)})
