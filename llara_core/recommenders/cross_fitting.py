"""Scores training candidates with recommenders that were not trained on the user (cross-fitting).

A recommender overfits its training users: its scores are better for them than they will be for a new user. A language model
that learns from such scores how far to trust the recommender trusts it too far.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from llara_core import columns as c
from llara_core import tables
from llara_core.answers.ranking import CatalogueScorer, check_finite
from llara_core.runtime import seeding
from llara_core.runtime.memory import histories_at_a_time

BLOCK_EXAMPLES = 4096  # examples scored at a time; a large catalogue takes fewer


def user_folds(users: npt.NDArray[np.integer], n_folds: int, seed: int, dataset: str) -> npt.NDArray[np.int64]:
    """Returns a random fold for each of ``N`` distinct users, ``(N,)`` in ``[0, n_folds)``; folds have nearly equal sizes."""
    folds = np.arange(len(users)) % n_folds
    return seeding.numpy_stream(seed, "user folds", dataset).permutation(folds)


def cross_fit(
    fit: Callable[[pd.DataFrame, int], CatalogueScorer],
    in_sample: CatalogueScorer,
    interactions: pd.DataFrame,
    examples: pa.Table,
    candidates: pa.Table,
    *,
    n_items: int,
    n_folds: int,
    seed: int,
    dataset: str,
) -> Iterator[pa.Table]:
    """Scores every training candidate set twice: in sample, and by a recommender that was not trained on the user.

    Yields the rows of :data:`tables.TRAINING_SCORES` in parts, in the order of ``candidates``.

    Args:
        fit: trains a recommender on the training rows of the given interactions; the second argument is the number of the fold.
        in_sample: recommender trained on all training users.
        interactions: rows of :data:`tables.INTERACTIONS`.
        examples: training rows of :data:`tables.EXAMPLES`.
        candidates: rows of :data:`tables.CANDIDATE_SETS` of these examples, sorted by example and draw.
        n_items: size of the catalogue.
    """
    users = np.unique(interactions.loc[interactions[c.SPLIT] == c.TRAIN, c.USER].to_numpy())
    folds = user_folds(users, n_folds, seed, dataset)
    others: list[CatalogueScorer] = []
    for fold in range(n_folds):
        hidden = interactions[c.USER].isin(users[folds == fold]) & (interactions[c.SPLIT] == c.TRAIN)
        others.append(fit(interactions[~hidden], fold))
    fold_of_example = folds[np.searchsorted(users, examples[c.USER].to_numpy())]
    n_draws = len(candidates) // max(len(examples), 1)
    block = histories_at_a_time(n_items, BLOCK_EXAMPLES)
    for start in range(0, len(examples), block):
        histories = examples[c.HISTORY].slice(start, block).to_pylist()
        rows = candidates.slice(start * n_draws, len(histories) * n_draws)
        sets = np.array(rows[c.CANDIDATES].to_pylist()).reshape(len(histories), n_draws, -1)
        by_all = _gather(in_sample, histories, sets)
        by_others = np.empty_like(by_all)
        of_block = fold_of_example[start : start + block]
        for fold in range(n_folds):
            (places,) = np.nonzero(of_block == fold)
            if len(places):
                by_others[places] = _gather(others[fold], [histories[place] for place in places], sets[places])
        columns = {
            c.EXAMPLE: rows[c.EXAMPLE],
            c.DRAW: rows[c.DRAW],
            c.IN_SAMPLE: tables.list_column(by_all),
            c.OUT_OF_FOLD: tables.list_column(by_others),
        }
        yield pa.table(columns, schema=tables.TRAINING_SCORES)


def _gather(
    scorer: CatalogueScorer, histories: Sequence[Sequence[int]], sets: npt.NDArray[np.integer]
) -> npt.NDArray[np.float32]:
    """Scores the candidates ``(B, draws, C)`` of ``B`` histories; the result has the same shape."""
    catalogue = scorer.score_catalogue(histories)
    check_finite(catalogue)
    return np.take_along_axis(catalogue, sets.reshape(len(sets), -1), axis=1).reshape(sets.shape)
