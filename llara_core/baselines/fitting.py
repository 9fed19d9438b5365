"""Fits baselines by name; none of them needs training."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from llara_core import columns as c
from llara_core.answers.ranking import CatalogueScorer
from llara_core.baselines.neighbours import ContentKNN, ItemKNN
from llara_core.baselines.simple import Popularity, Random
from llara_core.config.sections import unknown
from llara_core.errors import ConfigError

# Constructors take the users (N,) and items (N,) of the training interactions, and the table of items.
SCORERS: dict[str, Callable[..., CatalogueScorer]] = {
    "random": Random,
    "popularity": Popularity,
    "item_knn": ItemKNN,
    "content_knn": ContentKNN,
}


def fit_baseline(name: str, interactions: pd.DataFrame, catalogue: pd.DataFrame) -> CatalogueScorer:
    """Returns the baseline ``name``, fitted on the training interactions.

    Args:
        interactions: training rows of :data:`tables.INTERACTIONS`.
        catalogue: rows of :data:`tables.ITEMS`.

    Raises:
        ConfigError: no baseline has this name.
    """
    if name not in SCORERS:
        raise ConfigError(unknown(name, "baseline", SCORERS))
    return SCORERS[name](interactions[c.USER].to_numpy(), interactions[c.ITEM].to_numpy(), catalogue)
