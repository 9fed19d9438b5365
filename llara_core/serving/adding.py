"""New items put beside those that a loaded system was trained with: which systems can, and how."""

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
from llara_core.serving.parts import Parts
from llara_core.serving.ranking import Ranker


def add_items(ranker: Ranker, parts: Parts, items: pd.DataFrame, n_known: int, encoder: Path | None) -> Ranker:
    """The ranker with the last of ``items``, which it lacks, in its catalogue; whatever fails leaves it as it was.

    The recommender reads their texts. To a language model with behaviour tokens, the vector of a new item is what the
    recommender makes of its text, as that of an item without interactions was in tuning; one with a catalogue head also encodes
    the text itself.

    Args:
        ranker: loaded from ``parts``; its models grow.
        items: rows of :data:`tables.ITEMS`, all of them.
        n_known: items that training knew, the first ones.
        encoder: as of :func:`encode_new`.

    Raises:
        ConfigError: the system cannot take new items.
        ModelError: the encoder cannot be had, or is not the one of the training.
    """
    source = text_source(parts, ranker.system)
    llm, recommender = ranker.system, ranker.retriever
    assert isinstance(recommender, MoRec)
    n_new = len(items) - len(ranker.labels)
    encoded = encode_new(items, n_new, recommender.item_embedding.text_vectors, source, encoder)
    texts = None if llm is None else _llm_texts(llm, items[-n_new:])
    # Nothing below fails on account of an item.
    recommender.add_items(encoded)
    if llm is not None and llm.model.item_vectors is not None:
        vectors = torch.from_numpy(recommender.text_embeddings()[-n_new:])
        if texts is not None:
            vectors = vectors / rms(torch.from_numpy(recommender.item_embeddings()[:n_known]))
        llm.model.add_items(vectors, texts)
    return replace(ranker, labels=items[c.LABEL].to_list())


def text_source(parts: Parts, llm: LlmSystem | None) -> checkpoints.TextSource:
    """Where the text vectors of a system's recommender come from.

    Args:
        parts: of the system.
        llm: its language model; None: the recommender ranks alone.

    Raises:
        ConfigError: the system cannot take new items; the message says why, and which ones can.
        ModelError: the recommender's encoder is not known, or was tuned and not kept.
    """
    name, retriever = parts.system, parts.retriever
    if llm is not None and llm.scores_catalogue and llm.model.new_items is None:
        raise ConfigError(takes_no_new_items(name, "it was tuned to score items by their ids (tune.new_share is 0)"))
    facts = None if retriever is None or retriever.checkpoint is None else checkpoints.read_facts(retriever.checkpoint)
    if facts is None or not RECOMMENDERS[facts.type].reads_titles:
        raise ConfigError(takes_no_new_items(name))
    if llm is not None and llm.model.item_vectors is not None and isinstance(parts.llm, Path):
        adapter = adapters.read_metadata(parts.llm)
        if adapter.recommender != facts.type or adapter.ablation.item_vectors != "recommender":
            raise ConfigError(takes_no_new_items(name, f"the vectors of its items are not those of {facts.type}"))
    if facts.texts is None:
        raise ModelError(
            f"{facts.type}: its checkpoint does not say which encoder read its items; run `dvc repro train_recommender` again"
        )
    if facts.texts.train_encoder:
        raise ModelError(
            f"{facts.type} tuned its text encoder (train_encoder: true), which a checkpoint does not keep, so it cannot read "
            "new items; train it with train_encoder: false"
        )
    return facts.texts


def _llm_texts(llm: LlmSystem, items: pd.DataFrame) -> torch.Tensor | None:
    """The texts of items ``(N, d_text)`` as the language model encodes them for its compact items; None where it has none."""
    known = llm.model.new_items
    if known is None:
        return None
    texts = items[c.TEXT if llm.prompt.item_text == "full" else c.LABEL].to_list()
    with llm.model.llm.disable_adapter():
        return encode_added(
            llm.model.causal_lm, llm.encoder, llm.encoder.safe_labels(texts), known.text_weight, known.text_bias
        )
