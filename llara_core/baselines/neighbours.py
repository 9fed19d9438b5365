"""Baselines that score an item by its similarity to the items of the history, in common users or in text."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from llara_core import columns as c
from llara_core.answers.ranking import History
from llara_core.runtime.memory import histories_at_a_time

# The number maximises hit ratio@1 on validation: 20, 50, 100 and 200 neighbours give .42, .47, .45 and .46 on MovieLens, and
# .26, .34, .34 and .33 on LastFM. The standard error over the users is .04, so finer steps would fit noise.
N_NEIGHBOURS = 50

# Rows whose products are in memory at a time (a large catalogue takes fewer); a row may be as long as the catalogue.
ITEM_BLOCK = 256
HISTORY_BLOCK = 256


class ItemKNN:
    """Scores an item by the sum of its similarities to those items of the history that are among its nearest neighbours.

    The similarity of two items is the cosine between the sets of their training users: ``n_ij / sqrt(n_i n_j)`` with ``n_i``
    users of item i and ``n_ij`` users of both. Each item keeps its :data:`N_NEIGHBOURS` most similar other items, the lower id
    first among equally similar ones. Items without a neighbour in the history rank below all others, by popularity.

    The order of the history and repetitions in it are ignored: more weight for recent items lowered the hit ratio on
    MovieLens' validation split. A term that shrinks the similarity of items with few users (Ferrari Dacrema et al., 2019)
    lowered it on LastFM, and changed it by less than its standard error on MovieLens.

    Args:
        users: user id of every training interaction, ``(N,)``.
        items: item id of every training interaction, ``(N,)``.
        catalogue: rows of :data:`tables.ITEMS`.

    Source: Deshpande and Karypis (2004). There the neighbours of an item of the history are kept, here those of the scored
    item, which does better on validation.
    """

    def __init__(self, users: npt.NDArray[np.integer], items: npt.NDArray[np.integer], catalogue: pd.DataFrame) -> None:
        by_user = _sets(users, items, (int(users.max(initial=-1)) + 1, len(catalogue)))
        counts = by_user.sum(axis=0)
        self.similarity_from = _neighbours(by_user, counts).T.tocsr()  # row: item of the history, column: scored item
        # Always below 1 / max(n), the smallest similarity of two items that share a user.
        self.fallback = (counts / (counts.max() + 1) ** 2).astype(np.float32)

    def score_catalogue(self, histories: Sequence[History]) -> npt.NDArray[np.float32]:
        """Returns scores ``(B, n_items)``, at least 0."""
        scores = np.empty((len(histories), len(self.fallback)), dtype=np.float32)
        block = histories_at_a_time(len(self.fallback), HISTORY_BLOCK)
        for start in range(0, len(histories), block):
            part = histories[start : start + block]
            rows = np.repeat(np.arange(len(part)), [len(history) for history in part])
            by_history = _sets(rows, np.concatenate(part), (len(part), len(self.fallback)))
            similarity = (by_history @ self.similarity_from).toarray()
            np.maximum(similarity, self.fallback, out=scores[start : start + block])
        return scores


class ContentKNN:
    """Scores an item by the summed similarity of its text to the texts of the history's items.

    The similarity of two texts is the cosine of their TF-IDF vectors of words. No interaction counts, so items without any are
    scored like all others.

    On the validation questions of ``movielens_cold``, using the largest similarity instead of the sum, weighting recent items
    and leaving out rare words all lowered the hit ratio or did not change it.

    Args:
        users, items: ignored.
        catalogue: rows of :data:`tables.ITEMS`, whose texts are used.
    """

    def __init__(self, users: npt.NDArray[np.integer], items: npt.NDArray[np.integer], catalogue: pd.DataFrame) -> None:
        # A text without a word counts as one word, since a catalogue may have no other texts.
        words = TfidfVectorizer(token_pattern=r"\w+|^\W+$", dtype=np.float32)
        self.texts = words.fit_transform(catalogue[c.TEXT])  # (n_items, n_words), rows of length 1

    def score_catalogue(self, histories: Sequence[History]) -> npt.NDArray[np.float32]:
        """Returns scores ``(B, n_items)``, at least 0 and at most the length of the history."""
        scores = np.empty((len(histories), self.texts.shape[0]), dtype=np.float32)
        for row, history in zip(scores, histories, strict=True):
            row[:] = self.texts @ np.asarray(self.texts[np.asarray(history)].sum(axis=0)).ravel()
        return scores


def _sets(rows: npt.NDArray[np.integer], items: npt.NDArray[np.integer], shape: tuple[int, int]) -> sparse.csr_array:
    """Returns a sparse float32 matrix of ``shape`` with 1 where a row has an item, however often."""
    matrix = sparse.coo_array((np.ones(len(rows), dtype=np.float32), (rows, items)), shape=shape).tocsr()
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def _neighbours(by_user: sparse.csr_array, counts: npt.NDArray[np.float32]) -> sparse.csr_array:
    """Returns sparse ``(n_items, n_items)`` similarities of each item (row) to its nearest neighbours."""
    by_item, norms = by_user.T.tocsr(), np.sqrt(counts)
    blocks = []
    n_rows = histories_at_a_time(len(counts), ITEM_BLOCK)
    for start in range(0, len(counts), n_rows):
        shared = by_item[start : start + n_rows] @ by_user  # numbers of common users, (n_rows, n_items)
        shared.sort_indices()
        rows = start + np.repeat(np.arange(shared.shape[0]), np.diff(shared.indptr))
        shared.data /= norms[rows] * norms[shared.indices]
        shared.data[rows == shared.indices] = 0
        # The sort is stable, since partitions order ties differently on different processors.
        nearest = [
            first + np.argsort(-shared.data[first:last], kind="stable")[:N_NEIGHBOURS]
            for first, last in pairwise(shared.indptr)
        ]
        kept = np.concatenate(nearest)
        indptr = np.cumsum([0, *map(len, nearest)])
        blocks.append(sparse.csr_array((shared.data[kept], shared.indices[kept], indptr), shape=shared.shape))
    return sparse.vstack(blocks, format="csr")
