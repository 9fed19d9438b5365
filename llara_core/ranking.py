"""Ranks of targets among the whole catalogue, and normalised scores of candidates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from llara_core import columns as c
from llara_core.errors import DataError
from llara_core.runtime import seeding

History = Sequence[int] | npt.NDArray[np.integer]


def check_finite(scores: npt.NDArray[np.floating], examples: npt.ArrayLike | None = None) -> None:
    """Refuses scores that rank nothing: every comparison with NaN is false, so a target that scores NaN would come first.

    Args:
        scores: ``(N, n)``, one row per history or candidate set.
        examples: ``(N,)`` example id of each row, for the message.

    Raises:
        DataError: a score is NaN or infinite.
    """
    bad = ~np.isfinite(scores).all(axis=1)
    if bad.any():
        first = "" if examples is None else f" (first: {c.EXAMPLE} {np.asarray(examples)[bad.argmax()]})"
        raise DataError(
            f"{bad.sum()} of {len(scores)} rows of scores are not finite{first}, so nothing can be ranked: the model has "
            "diverged; train it again with a lower learning rate"
        )


def catalogue_rank(
    scores: npt.NDArray[np.floating], targets: npt.NDArray[np.integer], histories: Sequence[History]
) -> npt.NDArray[np.int32]:
    """Returns the 1-based ranks ``(N,)`` int32 of the targets among all items but those of their histories.

    History items are left out: in most logs nobody interacts with them again. A target that occurs in its own history is
    ranked all the same. Ties count against the target, so a constant score ranks last, not first.

    Args:
        scores: ``(N, n_items)``; higher is better.
        targets: ``(N,)`` item ids.
        histories: ``N`` lists of item ids.

    Raises:
        DataError: a score is not finite.

    >>> catalogue_rank(np.array([[0.9, 0.5, 0.7, 0.5]]), np.array([1]), [[0]])
    array([3], dtype=int32)
    """
    check_finite(scores)
    rows = np.arange(len(targets))
    lengths = [len(history) for history in histories]
    seen = np.concatenate([np.asarray(history, dtype=np.int64) for history in histories]) if rows.size else rows
    ahead = scores >= scores[rows, targets][:, None]
    ahead[np.repeat(rows, lengths), seen] = False
    ahead[rows, targets] = True
    ranks: npt.NDArray[np.int32] = ahead.sum(axis=1, dtype=np.int32)
    return ranks


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


def expected_hit_ratio(
    ranks: npt.NDArray[np.integer], n_eligible: npt.NDArray[np.integer], n_negatives: int
) -> npt.NDArray[np.float64]:
    """Probability ``(N,)`` that a target ranks above all negatives of a random candidate set: HR@1 without sampling noise.

    It is C(n_eligible - rank + 1, n_negatives) / C(n_eligible, n_negatives).

    Args:
        ranks: ``(N,)`` 1-based ranks of the targets among the eligible negatives and themselves.
        n_eligible: ``(N,)`` numbers of eligible negatives.
        n_negatives: negatives per candidate set, drawn without replacement.

    >>> expected_hit_ratio(np.array([1, 2, 4]), np.array([3, 3, 3]), 2).round(3)  # 2 of 3 are drawn
    array([1.   , 0.333, 0.   ])
    """
    drawn = np.arange(n_negatives)
    worse = (n_eligible - ranks + 1)[:, None]
    ratios = np.clip(worse - drawn, 0, None) / np.maximum(n_eligible[:, None] - drawn, 1)
    return ratios.prod(axis=1)  # type: ignore[no-any-return]
