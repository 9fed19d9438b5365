"""The rank of the next item among the whole catalogue, for every system that scores all items."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from llara_core.errors import DataError
from llara_core.runtime import seeding

History = Sequence[int] | npt.NDArray[np.integer]


def check_finite(scores: npt.NDArray[np.floating]) -> None:
    """Refuse scores that rank nothing: every comparison with NaN is false, so that a target that scores NaN would come first.

    Args:
        scores: ``(N, n)``, a row per history or candidate set.

    Raises:
        DataError: a score is NaN or infinite.
    """
    if n_bad := len(scores) - int(np.isfinite(scores).all(axis=1).sum()):
        raise DataError(
            f"{n_bad} of {len(scores)} rows of scores are not finite, so nothing can be ranked: the model has diverged; "
            "train it again with a lower learning rate"
        )


def catalogue_rank(
    scores: npt.NDArray[np.floating], targets: npt.NDArray[np.integer], histories: Sequence[History]
) -> npt.NDArray[np.int32]:
    """1-based rank of each target among all items but those of its history.

    History items are left out: in most logs nobody interacts with them again. A target that does stand in its own history is
    ranked all the same. Ties are counted against the target, so that a constant score ranks last, not first.

    Args:
        scores: ``(N, n_items)``; higher is better.
        targets: ``(N,)`` item ids.
        histories: ``N`` lists of item ids.

    Returns:
        ``(N,)`` int32.

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


def opinion(scores: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """What a recommender thinks of each candidate of a set, in units that mean the same for all recommenders.

    The standardised score tells all candidates apart; the share (softmax) tells the first from the second, whose standardised
    scores differ little.

    Args:
        scores: ``(..., C)`` logits.

    Returns:
        ``(..., C, 2)``: score with mean 0 and standard deviation 1 over the set (0 where all are equal), and share.

    >>> opinion(np.log([[1.0, 3.0], [2.0, 2.0]])).round(2).tolist()
    [[[-1.0, 0.25], [1.0, 0.75]], [[0.0, 0.5], [0.0, 0.5]]]
    """
    centred = scores.astype(np.float64) - scores.mean(axis=-1, keepdims=True, dtype=np.float64)
    spread = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True))
    standardised = centred / np.where(spread > 1e-12, spread, 1.0)
    odds = np.exp(centred - centred.max(axis=-1, keepdims=True))
    result: npt.NDArray[np.float32] = np.stack([standardised, odds / odds.sum(axis=-1, keepdims=True)], -1).astype(np.float32)
    return result


def shuffled_opinion(
    opinions: npt.NDArray[np.float32], seed: int, split: str, rows: npt.NDArray[np.integer] | None = None
) -> npt.NDArray[np.float32]:
    """Opinions dealt out to each set's candidates at random: a control, to see if it matters whose is whose.

    Args:
        opinions: ``(N, C, 2)`` of candidate sets.
        seed: of the random order.
        split: names the random stream.
        rows: ``(N,)`` ascending, which rows of a table the sets are; each is dealt out as if the whole table were given. None:
            they are the whole table.
    """
    n, n_candidates = opinions.shape[:2]
    stream = seeding.numpy_stream(seed, "shuffled opinions", split)
    drawn = np.empty((n, n_candidates))
    skipped = np.zeros(n, dtype=np.int64) if rows is None else np.diff(rows, prepend=-1) - 1
    for row, skip in zip(drawn, skipped.tolist(), strict=True):
        stream.bit_generator.advance(skip * n_candidates)  # type: ignore[attr-defined]  # a number of 64 bits each
        stream.random(out=row)
    return np.take_along_axis(opinions, np.argsort(drawn, axis=1)[..., None], axis=1)


def expected_hit_ratio(
    ranks: npt.NDArray[np.integer], n_eligible: npt.NDArray[np.integer], n_negatives: int
) -> npt.NDArray[np.float64]:
    """Probability that a target is ranked above all negatives of a random candidate set: HR@1 without the noise of a draw.

    Args:
        ranks: ``(N,)`` 1-based ranks of the targets among the eligible negatives and themselves.
        n_eligible: ``(N,)`` items that a negative may be.
        n_negatives: negatives per candidate set, drawn without replacement.

    Returns:
        ``(N,)`` of C(n_eligible - rank + 1, n_negatives) / C(n_eligible, n_negatives).

    >>> expected_hit_ratio(np.array([1, 2, 4]), np.array([3, 3, 3]), 2).round(3)  # 2 of 3 are drawn
    array([1.   , 0.333, 0.   ])
    """
    drawn = np.arange(n_negatives)
    worse = (n_eligible - ranks + 1)[:, None]
    ratios = np.clip(worse - drawn, 0, None) / np.maximum(n_eligible[:, None] - drawn, 1)
    return ratios.prod(axis=1)  # type: ignore[no-any-return]
