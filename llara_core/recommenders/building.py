"""Fresh models of any recommender, as often as a search or a cross-fit needs them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from llara_core import columns as c
from llara_core.config import RecommendersConfig
from llara_core.recommenders import models, morec
from llara_core.recommenders.base import SequenceRecommender

logger = logging.getLogger(__name__)


def builder(
    name: str, config: RecommendersConfig, items: pd.DataFrame, max_history_len: int, encoders: Path
) -> tuple[Callable[[], SequenceRecommender], dict[str, Any]]:
    """A function that builds a freshly initialised model, and the arguments of its class.

    Args:
        name: of the recommender.
        config: its section and the shared ones.
        items: rows of :data:`tables.ITEMS`.
        max_history_len: longest history, in items.
        encoders: folder that keeps fetched text encoders (MoRec).

    Raises:
        ConfigError: no recommender has this name.
    """
    arguments = models.model_arguments(name, config, len(items), max_history_len)
    if name != "morec":
        return partial(models.build, name, arguments), arguments
    from llara_core.fetching.llm import fetch_encoder
    from llara_core.recommenders.text_encoder import TextEncoder

    source = fetch_encoder(config.morec.encoder, config.morec.revision, encoders)
    encoder = TextEncoder(source, items[c.LABEL].tolist())
    logger.info("%s: %d titles, %d dimensions", config.morec.encoder, len(items), encoder.dim)
    arguments["text_dim"] = encoder.dim
    return partial(morec.from_titles, arguments, encoder, config), arguments
