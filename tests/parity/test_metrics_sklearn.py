"""Our ranking metrics against scikit-learn's on the same scores."""

import numpy as np
import pytest
from sklearn.metrics import label_ranking_average_precision_score, ndcg_score, top_k_accuracy_score

from llara_core.evaluation import metrics

RNG = np.random.default_rng(3)
SCORES = RNG.normal(size=(200, 20))  # no ties, which scikit-learn averages
TARGET = RNG.integers(20, size=200)
RELEVANT = np.eye(20)[TARGET]
RANKS = metrics.rank_of_target(SCORES, TARGET)


@pytest.mark.parametrize("k", [1, 3, 5, 10])
def test_hit_ratio_is_top_k_accuracy(k: int) -> None:
    assert metrics.hit_ratio(RANKS, k) == pytest.approx(top_k_accuracy_score(TARGET, SCORES, k=k, labels=np.arange(20)))


@pytest.mark.parametrize("k", [3, 5, 10, 20])
def test_ndcg(k: int) -> None:
    assert metrics.ndcg(RANKS, k) == pytest.approx(ndcg_score(RELEVANT, SCORES, k=k))


def test_mean_reciprocal_rank_is_label_ranking_precision_with_one_label() -> None:
    assert metrics.mean_reciprocal_rank(RANKS) == pytest.approx(label_ranking_average_precision_score(RELEVANT, SCORES))
