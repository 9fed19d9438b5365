"""The sequence recommenders by name, built from flat arguments."""

from __future__ import annotations

from typing import Any

from llara_core.config import RecommendersConfig
from llara_core.errors import ConfigError, ModelError
from llara_core.recommenders.base import SequenceRecommender
from llara_core.recommenders.caser import Caser
from llara_core.recommenders.gru4rec import Gru4Rec
from llara_core.recommenders.morec import MoRec
from llara_core.recommenders.sasrec import SasRec

MODELS: dict[str, type[SequenceRecommender]] = {"gru4rec": Gru4Rec, "caser": Caser, "sasrec": SasRec, "morec": MoRec}
# Keys of a recommender's section that say how to train it and not what it is.
TRAINING_KEYS = {"l2", "encoder", "revision", "train_encoder", "encoder_learning_rate"}


def model_arguments(name: str, config: RecommendersConfig, n_items: int, max_history_len: int) -> dict[str, Any]:
    """The arguments of ``name``'s class under ``config``; JSON-serialisable, so that a checkpoint can hold them.

    Raises:
        ConfigError: no recommender has this name.
    """
    if name not in MODELS:
        raise ConfigError(f"unknown recommender {name!r}; choose from {sorted(MODELS)}")
    shared = {"n_items": n_items, "embedding_dim": config.embedding_dim, "max_history_len": max_history_len}
    own: dict[str, Any] = getattr(config, name).model_dump(exclude=TRAINING_KEYS)
    return shared | own


def build(name: str, arguments: dict[str, Any]) -> SequenceRecommender:
    """A freshly initialised model.

    Raises:
        ModelError: ``arguments`` are not those of the class, as from a checkpoint of another version.
    """
    try:
        return MODELS[name](**arguments)
    except TypeError as error:
        raise ModelError(f"{name}: the arguments {arguments} do not fit this version: {error}") from error
