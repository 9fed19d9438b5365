"""From a recommender's scores over the catalogue to the predictions table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from llara_core import columns as c
from llara_core import predictions
from llara_core.errors import DataError
from llara_core.ranking import catalogue_rank

if TYPE_CHECKING:
    from llara_core.recommenders.base import CatalogueScorer


def predict(recommender: CatalogueScorer, examples: pd.DataFrame, candidates: pd.DataFrame) -> pd.DataFrame:
    """Predictions over candidate sets, with the target's rank among the whole catalogue.

    Args:
        recommender: scores each example's history once, however many candidate sets the example has.
        examples: rows of :data:`tables.EXAMPLES`; further ones than the candidates need are ignored.
        candidates: ``N`` rows of :data:`tables.CANDIDATE_SETS`.

    Returns:
        ``N`` rows of :data:`tables.PREDICTIONS`, in the order of ``candidates``.

    Raises:
        DataError: a candidate set belongs to no example.
    """
    asked = examples[examples[c.EXAMPLE].isin(candidates[c.EXAMPLE])].reset_index(drop=True)
    rows = pd.Index(asked[c.EXAMPLE]).get_indexer(candidates[c.EXAMPLE])
    if (rows < 0).any():
        orphan = candidates[c.EXAMPLE].iloc[int((rows < 0).argmax())]
        raise DataError(f"candidate sets ask for {c.EXAMPLE} {orphan}, which the examples lack; run `dvc repro` again")
    histories = asked[c.HISTORY].to_list()
    catalogue = recommender.score_catalogue(histories)
    ranks = catalogue_rank(catalogue, asked[c.TARGET].to_numpy(), histories)
    items = np.stack(candidates[c.CANDIDATES].to_list())
    return predictions.from_scores(candidates, catalogue[rows[:, None], items], ranks[rows])
