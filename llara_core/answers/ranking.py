"""Ranks of targets among the whole catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from llara_core import columns as c
from llara_core.errors import DataError

History = Sequence[int] | npt.NDArray[np.integer]


class CatalogueScorer(Protocol):
    """Interface of models that score all items for a user's history."""

    def score_catalogue(self, histories: Sequence[History]) -> npt.NDArray[np.float32]:
        """Scores every item as the next one, ``(B, n_items)``; higher is better."""


def check_finite(scores: npt.NDArray[np.floating], examples: npt.ArrayLike | None = None, source: str = "") -> None:
    """Refuses scores that rank nothing: every comparison with NaN is false, so a target that scores NaN would come first.

    Args:
        scores: ``(N, n)``, one row per history or candidate set.
        examples: ``(N,)`` example id of each row, for the message.
        source: name of the scores' file, for the message.

    Raises:
        DataError: a score is NaN or infinite.
    """
    bad = ~np.isfinite(scores).all(axis=1)
    if bad.any():
        first = "" if examples is None else f" (first: {c.EXAMPLE} {np.asarray(examples)[bad.argmax()]})"
        raise DataError(
            f"{f'{source}: ' if source else ''}{bad.sum()} of {len(scores)} rows of scores are not finite{first}, so nothing "
            "can be ranked: the model has diverged; train it again with a lower learning rate"
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


def expected_hit_ratio(
    ranks: npt.NDArray[np.integer], n_eligible: npt.NDArray[np.integer], n_negatives: int
) -> npt.NDArray[np.float64]:
    """Returns the probability ``(N,)`` that a target ranks above all negatives of a random candidate set: HR@1 without sampling
    noise.

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
