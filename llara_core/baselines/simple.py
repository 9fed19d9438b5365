"""Baselines that do not use the history: a random ranking, and popularity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from llara_core.answers.ranking import History
from llara_core.runtime import seeding


class Random:
    """Ranks the catalogue in a random order: among ``C`` candidates the target is first with probability 1/C.

    The order depends on the history alone, so a second run returns the same scores.

    Args:
        users, items: ignored.
        catalogue: rows of :data:`tables.ITEMS`.
    """

    def __init__(self, users: npt.NDArray[np.integer], items: npt.NDArray[np.integer], catalogue: pd.DataFrame) -> None:
        self.n_items = len(catalogue)

    def score_catalogue(self, histories: Sequence[History]) -> npt.NDArray[np.float32]:
        """Returns scores ``(B, n_items)``: each row is a uniformly random permutation of 0 to ``n_items - 1``."""
        scores = np.empty((len(histories), self.n_items), dtype=np.float32)
        for row, history in zip(scores, histories, strict=True):
            row[:] = seeding.numpy_stream(0, "random ranking", *map(int, history)).permutation(self.n_items)
        return scores


class Popularity:
    """Scores an item by its number of training interactions, whatever the history.

    Args:
        users: ignored.
        items: item id of every training interaction, ``(N,)``.
        catalogue: rows of :data:`tables.ITEMS`; an item without interactions scores 0.

    >>> Popularity(np.array([0, 0, 1]), np.array([2, 0, 2]), pd.DataFrame(index=range(3))).score_catalogue([[1]])
    array([[1., 0., 2.]], dtype=float32)
    """

    def __init__(self, users: npt.NDArray[np.integer], items: npt.NDArray[np.integer], catalogue: pd.DataFrame) -> None:
        self.counts = np.bincount(items, minlength=len(catalogue)).astype(np.float32)

    def score_catalogue(self, histories: Sequence[History]) -> npt.NDArray[np.float32]:
        """Returns scores ``(B, n_items)``, the same row for every history."""
        return np.tile(self.counts, (len(histories), 1))
