"""Builds sequence recommenders by name, from flat arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from llara_core.config import RecommendersConfig
from llara_core.errors import ModelError
from llara_core.recommenders.base import FetchEncoder, SequenceRecommender
from llara_core.recommenders.caser import Caser
from llara_core.recommenders.gru4rec import Gru4Rec
from llara_core.recommenders.morec import MoRec
from llara_core.recommenders.sasrec import SasRec
from llara_core.recommenders.sasrec_text import SasRecText

# The class behind each section of `recommenders` in params.yaml.
MODELS: dict[str, type[SequenceRecommender]] = {
    "gru4rec": Gru4Rec,
    "caser": Caser,
    "sasrec": SasRec,
    "morec": MoRec,
    "sasrec_text": SasRecText,
}


def builder(
    name: str, config: RecommendersConfig, items: pd.DataFrame, max_history_len: int, fetch_encoder: FetchEncoder
) -> tuple[Callable[[], SequenceRecommender], dict[str, Any]]:
    """Returns a function that builds a freshly initialised model each time it is called, and the model's arguments.

    ``items`` are rows of :data:`tables.ITEMS`; only recommenders that read texts call ``fetch_encoder``.

    Raises:
        ConfigError: no recommender has this name.
    """
    arguments = model_arguments(name, config, len(items), max_history_len)
    return MODELS[name].builder(name, arguments, config.options_of(name), config.loss, items, fetch_encoder)


def model_arguments(name: str, config: RecommendersConfig, n_items: int, max_history_len: int) -> dict[str, Any]:
    """Returns the JSON-serialisable arguments of the recommender's class, as a checkpoint keeps them.

    Raises:
        ConfigError: no recommender has this name.
    """
    section = config.options_of(name)
    shared = {"n_items": n_items, "embedding_dim": config.embedding_dim, "max_history_len": max_history_len}
    return shared | section.model_dump(exclude=set(section.training_keys))


def build(name: str, arguments: dict[str, Any]) -> SequenceRecommender:
    """Returns a freshly initialised model.

    Raises:
        ModelError: the class does not take ``arguments``, for example those of a checkpoint of another version.
    """
    try:
        return MODELS[name](**arguments)
    except TypeError as error:
        raise ModelError(f"{name}: the arguments {arguments} do not fit this version: {error}") from error
