"""A recommender's scores of candidates, as prompts show them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from llara_core.runtime import seeding


def normalise_scores(scores: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Normalises a recommender's scores ``(..., C)`` over each candidate set, so that they mean the same for all recommenders.

    The results are score features ``(..., C, 2)``: the score with mean 0 and standard deviation 1 over the set (0 where all
    scores are equal), and the softmax share. The standardised score tells all candidates apart; the share tells the first from
    the second, whose standardised scores differ little.

    >>> normalise_scores(np.log([[1.0, 3.0], [2.0, 2.0]])).round(2).tolist()
    [[[-1.0, 0.25], [1.0, 0.75]], [[0.0, 0.5], [0.0, 0.5]]]
    """
    centred = scores.astype(np.float64) - scores.mean(axis=-1, keepdims=True, dtype=np.float64)
    spread = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True))
    standardised = centred / np.where(spread > 1e-12, spread, 1.0)
    odds = np.exp(centred - centred.max(axis=-1, keepdims=True))
    result: npt.NDArray[np.float32] = np.stack([standardised, odds / odds.sum(axis=-1, keepdims=True)], -1).astype(np.float32)
    return result


def shuffled_score_features(
    score_features: npt.NDArray[np.float32], seed: int, split: str, rows: npt.NDArray[np.integer] | None = None
) -> npt.NDArray[np.float32]:
    """Permutes the score features within each candidate set at random: a control for whether they belong to the right items.

    Args:
        score_features: ``(N, C, 2)``.
        rows: ``(N,)`` ascending row numbers of the sets in a table; each set is permuted as if the whole table were given.
            None: the sets are the whole table.
    """
    n, n_candidates = score_features.shape[:2]
    stream = seeding.numpy_stream(seed, "shuffled opinions", split)
    drawn = np.empty((n, n_candidates))
    skipped = np.zeros(n, dtype=np.int64) if rows is None else np.diff(rows, prepend=-1) - 1
    for row, skip in zip(drawn, skipped.tolist(), strict=True):
        stream.bit_generator.advance(skip * n_candidates)  # type: ignore[attr-defined]  # a number of 64 bits each
        stream.random(out=row)
    return np.take_along_axis(score_features, np.argsort(drawn, axis=1)[..., None], axis=1)
