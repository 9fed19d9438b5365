"""Popularity: every user gets the items that most training interactions chose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from llara_core.errors import ConfigError
from llara_core.ranking import History

if TYPE_CHECKING:
    from llara_core.predictions import CatalogueScorer


class Popularity:
    """Scores an item by its number of training interactions, whatever the history.

    Args:
        items: item id of every training interaction.
        n_items: size of the catalogue; an item without interactions scores 0.

    >>> Popularity(np.array([2, 0, 2]), n_items=3).score_catalogue([[1]])
    array([[1., 0., 2.]], dtype=float32)
    """

    def __init__(self, items: npt.NDArray[np.integer], n_items: int) -> None:
        self.counts = np.bincount(items, minlength=n_items).astype(np.float32)

    def score_catalogue(self, histories: Sequence[History]) -> npt.NDArray[np.float32]:
        """Scores ``(B, n_items)``, the same row for every history."""
        return np.tile(self.counts, (len(histories), 1))


def fit_baseline(name: str, items: npt.NDArray[np.integer], n_items: int) -> CatalogueScorer:
    """The baseline ``name``, fitted on the item ids of the training interactions.

    Raises:
        ConfigError: no baseline has this name.
    """
    if name not in BASELINES:
        raise ConfigError(f"unknown baseline {name!r}; choose from {sorted(BASELINES)}")
    return BASELINES[name](items, n_items)


BASELINES = {"popularity": Popularity}
