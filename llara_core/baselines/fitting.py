"""Fits baselines by name; none of them needs training."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from typing import TYPE_CHECKING

import pandas as pd

from llara_core import columns as c
from llara_core.config import BASELINES
from llara_core.config.recommenders import unknown
from llara_core.errors import ConfigError

if TYPE_CHECKING:
    from llara_core.answers.ranking import CatalogueScorer


def fit_baseline(name: str, interactions: pd.DataFrame, catalogue: pd.DataFrame) -> CatalogueScorer:
    """Returns the baseline ``name``, fitted on the training interactions.

    Args:
        interactions: training rows of :data:`tables.INTERACTIONS`.
        catalogue: rows of :data:`tables.ITEMS`.

    Raises:
        ConfigError: no baseline has this name.
    """
    if name not in BASELINES:
        raise ConfigError(unknown(name, "baseline", BASELINES))
    fit: Callable[..., CatalogueScorer] = pkgutil.resolve_name(BASELINES[name])
    return fit(interactions[c.USER].to_numpy(), interactions[c.ITEM].to_numpy(), catalogue)
