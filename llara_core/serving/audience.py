"""Audiences: the users for whom an item ranks highest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from llara_core.serving.ranking import Ranked


@dataclass(frozen=True)
class AudienceMember:
    """A user and the 1-based rank of the item among the user's recommendations."""

    user: str
    rank: int


def audiences(ranked: Iterable[Ranked], users: Sequence[str], items: Sequence[int], top: int) -> list[list[AudienceMember]]:
    """Returns for each item the ``top`` users for whom it ranks highest, best first, without users whose list lacks it.

    Equal ranks are ordered by the item's softmax probability, since scores are not comparable across histories.

    Args:
        ranked: ranking of all items for each user.
        users: names of the users, in the same order.
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
        found.append([AudienceMember(users[column], int(ranks[row, column])) for column in order[:top]])
    return found
