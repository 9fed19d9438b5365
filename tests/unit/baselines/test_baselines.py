"""Random ranking, popularity, item-kNN and content-kNN."""

from math import log, sqrt

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from llara_core import columns as c
from llara_core.baselines import neighbours
from llara_core.baselines.fitting import fit_baseline
from llara_core.baselines.neighbours import ItemKNN
from llara_core.baselines.simple import Random
from llara_core.errors import ConfigError

# Users 0..3 chose {0, 1}, {0, 1, 2}, {1, 3} and {0, 1}; nobody chose item 4. Items 0..3 have 3, 4, 1 and 1 users.
LOG = pd.DataFrame({c.USER: [0, 0, 1, 1, 1, 2, 2, 3, 3], c.ITEM: [0, 1, 0, 1, 2, 1, 3, 0, 1]})
COSINE = {(0, 1): 3 / sqrt(3 * 4), (0, 2): 1 / sqrt(3 * 1), (1, 2): 1 / sqrt(4 * 1), (1, 3): 1 / sqrt(4 * 1)}
# Popularity, below the least similarity: 1/4 for two items of 4 users that share one.
FALLBACK = np.array([3, 4, 1, 1, 0]) / (4 + 1) ** 2

NOBODY = (np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int32))


def catalogue(n_items: int) -> pd.DataFrame:
    """A table of items of which only the size matters."""
    return pd.DataFrame({c.ITEM: range(n_items)})


def random_log(n_users: int, n_items: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame({c.USER: rng.integers(n_users, size=600), c.ITEM: rng.integers(n_items, size=600)})


def test_popularity_counts() -> None:
    scores = fit_baseline("popularity", LOG, catalogue(5)).score_catalogue([[0], [4, 2]])
    np.testing.assert_array_equal(scores, [[3, 4, 1, 1, 0], [3, 4, 1, 1, 0]])


def test_item_knn_sums_the_similarities_to_the_history() -> None:
    scores = fit_baseline("item_knn", LOG, catalogue(5)).score_catalogue([[0], np.array([1, 2])])
    assert scores.dtype == np.float32
    # Item 0 is not its own neighbour, and shares no user with 3 and 4.
    np.testing.assert_allclose(scores[0], [FALLBACK[0], COSINE[0, 1], COSINE[0, 2], FALLBACK[3], 0], rtol=1e-6)
    expected = [COSINE[0, 1] + COSINE[0, 2], COSINE[1, 2], COSINE[1, 2], COSINE[1, 3], 0]
    np.testing.assert_allclose(scores[1], expected, rtol=1e-6)


def test_item_knn_ranks_strangers_by_popularity_behind_every_neighbour() -> None:
    scores = fit_baseline("item_knn", random_log(40, 100), catalogue(101)).score_catalogue([[item] for item in range(100)])
    popularity = fit_baseline("popularity", random_log(40, 100).drop_duplicates(), catalogue(101)).score_catalogue([[0]])[0]
    for row in scores:
        fallback = np.isclose(row, popularity / (popularity.max() + 1) ** 2, rtol=1e-6)
        assert 0 < fallback.sum() < 101
        assert row[fallback].max() < row[~fallback].min()


def test_item_knn_keeps_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "N_NEIGHBOURS", 1)
    scores = ItemKNN(LOG[c.USER].to_numpy(), LOG[c.ITEM].to_numpy(), catalogue(5)).score_catalogue([[0], [1], [2]])
    # Items 0 and 1 are nearest to each other; item 2 is nearer to 0 than to 1, since 0 has fewer users; 2 is nearest to none.
    np.testing.assert_allclose(scores[0, [1, 2]], [COSINE[0, 1], COSINE[0, 2]], rtol=1e-6)
    np.testing.assert_allclose(scores[1, [0, 2]], [COSINE[0, 1], FALLBACK[2]], rtol=1e-6)
    np.testing.assert_allclose(scores[2], FALLBACK, rtol=1e-6)


def test_item_knn_has_the_cosines_of_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "N_NEIGHBOURS", 100)
    log = random_log(40, 100)
    ours = ItemKNN(log[c.USER].to_numpy(), log[c.ITEM].to_numpy(), catalogue(100)).similarity_from.toarray()
    cosines = cosine_similarity(pd.crosstab(log[c.ITEM], log[c.USER]).reindex(range(100), fill_value=0) > 0)
    np.testing.assert_allclose(ours, cosines - np.diag(np.diag(cosines)), atol=1e-6)


def test_item_knn_counts_a_repetition_once_and_reads_no_order() -> None:
    once = fit_baseline("item_knn", LOG, catalogue(5))
    twice = fit_baseline("item_knn", pd.concat([LOG, LOG]), catalogue(5))
    np.testing.assert_array_equal(twice.score_catalogue([[1, 0, 1]]), once.score_catalogue([[0, 1]]))


def test_item_knn_is_the_same_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    log, histories = random_log(40, 100), [[item, (item * 7) % 100] for item in range(100)]
    whole = fit_baseline("item_knn", log, catalogue(100)).score_catalogue(histories)
    monkeypatch.setattr(neighbours, "ITEM_BLOCK", 7)
    monkeypatch.setattr(neighbours, "HISTORY_BLOCK", 3)
    np.testing.assert_array_equal(fit_baseline("item_knn", log, catalogue(100)).score_catalogue(histories), whole)


def test_content_knn_sums_the_cosines_of_the_texts() -> None:
    texts = ["Heat: Crime", "Ice: Crime", "Heat: heat", "?!", "Ice: Drama"]
    scores = fit_baseline("content_knn", LOG, pd.DataFrame({c.TEXT: texts})).score_catalogue([[0], np.array([0, 4]), [3]])
    assert scores.dtype == np.float32
    # Of the 5 texts 2 have "heat", "crime" or "ice" each, and 1 has "drama".
    common, rare = log(6 / 3) + 1, log(6 / 2) + 1
    with_drama = common / sqrt(common**2 + rare**2)  # share of "ice" in the vector of item 4
    # Items 0 and 1 share one of two words of equal weight; item 2 has one word alone, as often as it occurs.
    np.testing.assert_allclose(scores[0], [1, 1 / 2, 1 / sqrt(2), 0, 0], rtol=1e-6)
    np.testing.assert_allclose(scores[1], [1, 1 / 2 + with_drama / sqrt(2), 1 / sqrt(2), 0, 1], rtol=1e-6)
    np.testing.assert_allclose(scores[2], [0, 0, 0, 1, 0], rtol=1e-6)  # a text without words is like itself


def test_content_knn_reads_no_interactions() -> None:
    items = pd.DataFrame({c.TEXT: ["Heat: Crime", "Ice: Crime", "Drama"]})
    ours, other = (
        fit_baseline("content_knn", interactions, items).score_catalogue([[0], [1, 2]]) for interactions in (LOG, LOG[:0])
    )
    np.testing.assert_array_equal(ours, other)


def test_random_hits_one_in_twenty_and_repeats_itself() -> None:
    histories = [[first, second] for first in range(100) for second in range(40)]
    ranking = Random(*NOBODY, catalogue(20))
    scores = ranking.score_catalogue(histories)
    # The standard error over 4000 histories is sqrt(0.05 * 0.95 / 4000) = 0.0034.
    assert np.mean(scores.argmax(axis=1) == 3) == pytest.approx(1 / 20, abs=4 * 0.0034)
    np.testing.assert_array_equal(np.sort(scores), np.tile(np.arange(20), (4000, 1)))
    np.testing.assert_array_equal(ranking.score_catalogue([np.array([5, 7], dtype=np.int32)])[0], scores[5 * 40 + 7])


def test_an_unknown_baseline_is_named() -> None:
    with pytest.raises(ConfigError, match=r"unknown baseline 'user_knn'.*item_knn.*popularity.*random"):
        fit_baseline("user_knn", LOG, catalogue(5))
