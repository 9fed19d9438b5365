"""Extends the catalogue of a loaded system by new items, if the system reads item texts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from llara_core import columns as c
from llara_core.config.recommenders import RECOMMENDERS, takes_no_new_items
from llara_core.errors import ConfigError, ModelError
from llara_core.inference.llm_systems import LlmSystem
from llara_core.llm import adapters
from llara_core.llm.item_texts import encode_added
from llara_core.llm.projector import rms
from llara_core.recommenders import checkpoints
from llara_core.recommenders.morec import MoRec
from llara_core.serving.new_items import encode_new
from llara_core.serving.parts import SystemParts
from llara_core.serving.ranking import Ranker


def add_items(ranker: Ranker, parts: SystemParts, items: pd.DataFrame, n_known: int, encoder: Path | None) -> Ranker:
    """Returns the ranker with new items in its catalogue; if anything fails, the given one is unchanged.

    The recommender encodes their texts. For a language model with behaviour tokens, the vector of a new item is the
    recommender's embedding of its text, as for items without interactions during tuning; a catalogue head also encodes the text
    itself.

    Args:
        ranker: ranker loaded from ``parts``; its models are extended.
        items: rows of :data:`tables.ITEMS` of the whole catalogue; those that the ranker lacks come last.
        n_known: number of items known in training, which come first.
        encoder: folder of the text encoder, as in :func:`encode_new`.

    Raises:
        ConfigError: the system cannot take new items.
        ModelError: the encoder is not available, or is not that of training.
    """
    source = text_source(parts, ranker.llm)
    llm, recommender = ranker.llm, ranker.retriever
    assert isinstance(recommender, MoRec)
    n_new = len(items) - len(ranker.labels)
    encoded = encode_new(items, n_new, recommender.item_embedding.text_vectors, source, encoder)
    texts = None if llm is None else _llm_texts(llm, items[-n_new:])
    # All checks of the items precede this line.
    recommender.add_items(encoded)
    if llm is not None and llm.model.item_vectors is not None:
        vectors = torch.from_numpy(recommender.text_embeddings()[-n_new:])
        if texts is not None:
            vectors = vectors / rms(torch.from_numpy(recommender.item_embeddings()[:n_known]))
        llm.model.add_items(vectors, texts)
    return replace(ranker, labels=items[c.LABEL].to_list(), texts=items[c.TEXT].to_list())


def text_source(parts: SystemParts, llm: LlmSystem | None) -> checkpoints.TextSource:
    """Returns the source of the text vectors of a system's recommender.

    Raises:
        ConfigError: the system cannot take new items; the message gives the reason and the systems that can.
        ModelError: the recommender's encoder is unknown, or was tuned and not kept.
    """
    name, retriever = parts.system, parts.retriever
    if llm is not None and llm.scores_catalogue and llm.model.new_items is None:
        raise ConfigError(takes_no_new_items(name, "it was tuned to score items by their ids (tune.new_share is 0)"))
    facts = None if retriever is None or retriever.checkpoint is None else checkpoints.read_metadata(retriever.checkpoint)
    if facts is None or not RECOMMENDERS[facts.type].reads_titles:
        raise ConfigError(takes_no_new_items(name))
    if llm is not None and llm.model.item_vectors is not None and isinstance(parts.llm, Path):
        adapter = adapters.read_metadata(parts.llm)
        if adapter.recommender != facts.type or adapter.ablation.item_vectors != "recommender":
            raise ConfigError(takes_no_new_items(name, f"the vectors of its items are not those of {facts.type}"))
    if facts.texts is None:
        raise ModelError(
            f"{facts.type}: its checkpoint does not name the encoder of its items; run `dvc repro train_recommender` again"
        )
    if facts.texts.train_encoder:
        raise ModelError(
            f"{facts.type} tuned its text encoder (train_encoder: true), which a checkpoint does not keep, so it cannot read "
            "new items; train it with train_encoder: false"
        )
    return facts.texts


def _llm_texts(llm: LlmSystem, items: pd.DataFrame) -> torch.Tensor | None:
    """Encodes texts ``(N, d_text)`` for the language model's compact items; None if it has none."""
    known = llm.model.new_items
    if known is None:
        return None
    texts = items[c.TEXT if llm.prompt.item_text == "full" else c.LABEL].to_list()
    with llm.model.llm.disable_adapter():
        return encode_added(
            llm.model.causal_lm, llm.encoder, llm.encoder.safe_labels(texts), known.text_weight, known.text_bias
        )
