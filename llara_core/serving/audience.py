"""For whom an item ranks highest: recommendations the other way round."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from llara_core.serving.ranking import Ranked


@dataclass(frozen=True)
class Reached:
    """A user, and the rank of the item among all that are recommended to this user, from 1."""

    user: str
    rank: int


def audiences(ranked: Iterable[Ranked], users: Sequence[str], items: Sequence[int], top: int) -> list[list[Reached]]:
    """For each item the ``top`` users for whom it ranks highest, best first; without those whose list lacks it.

    Of equal ranks the one comes first where the item's share in the softmax of the scores is larger: scores themselves are not
    comparable across histories.

    Args:
        ranked: of each user, all items.
        users: aligned.
        items: item ids.
    """
    ranks = np.zeros((len(items), len(users)), dtype=np.int64)  # 0: not in the list
    shares = np.zeros((len(items), len(users)))
    for column, one in enumerate(ranked):
        share = np.exp(one.scores - one.scores.max(initial=-np.inf), dtype=np.float64)
        for row, item in enumerate(items):
            (place,) = np.nonzero(one.items == item)
            if len(place):
                ranks[row, column] = place[0] + 1
                shares[row, column] = share[place[0]] / share.sum()
    found = []
    for row in range(len(items)):
        order = [column for column in np.lexsort((-shares[row], ranks[row])).tolist() if ranks[row, column]]
        found.append([Reached(users[column], int(ranks[row, column])) for column in order[:top]])
    return found
