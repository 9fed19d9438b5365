"""A small data set with planted sequential structure in the layout of MovieLens 100K, for tests without downloads.

All items lie on one hidden cycle. A user starts anywhere, moves on to the next item of the cycle with probability 0.8, else
jumps to any item, and never sees an item twice. So popularity is about chance, and a first-order rule finds the next of 20
candidates about three times in four. Neighbours on the cycle share a genre, so that genres tell what follows even an item
without interactions.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt

from llara_core.runtime.seeding import numpy_stream
from llara_core.tables import atomic_path

logger = logging.getLogger(__name__)

N_USERS = 120
N_ITEMS = 60
N_GENRES = 19
MIN_LENGTH, MAX_LENGTH = 12, 30
P_SUCCESSOR = 0.8
RATINGS, RATING_SHARES = (1, 2, 3, 4, 5), (0.02, 0.03, 0.25, 0.4, 0.3)
START = 852_076_800  # 1997-01-01 UTC
DAY_S = 86_400

ONSETS = ("b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z")
VOWELS = ("a", "e", "i", "o", "u")
CODAS = ("", "l", "n", "r", "s")
ENDINGS = ("", "", "", ", The", ", A")


def write(folder: Path) -> None:
    """Writes ``u.data`` and ``u.item`` into ``folder``, with the same bytes each time."""
    with atomic_path(folder) as staged:
        staged.mkdir()
        (staged / "u.data").write_bytes(_ratings().encode("latin-1"))
        (staged / "u.item").write_bytes(_items().encode("latin-1"))
    logger.info("%s: generated %d users and %d items", folder, N_USERS, N_ITEMS)


def _ratings() -> str:
    rng = numpy_stream(0, "synthetic", "ratings")
    cycle = _cycle(rng)
    starts = START + DAY_S * rng.permutation(N_USERS)
    rows = []
    for user in range(N_USERS):
        timestamp = int(starts[user])
        for item in _sequence(rng, cycle):
            rating = rng.choice(RATINGS, p=RATING_SHARES)
            rows.append((user + 1, item + 1, rating, timestamp))
            timestamp += int(rng.integers(1, 2 * DAY_S))
    # The original is in no order either, so a reader must sort.
    return "".join("\t".join(map(str, rows[row])) + "\n" for row in rng.permutation(len(rows)))


def _cycle(rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Returns the 0-based items in the order of the hidden cycle: the first draw of the stream of the ratings."""
    return rng.permutation(N_ITEMS)


def _sequence(rng: np.random.Generator, cycle: npt.NDArray[np.int64]) -> list[int]:
    """Returns the 0-based items of one user, in order."""
    unseen = np.roll(cycle, -int(rng.integers(N_ITEMS))).tolist()  # items ahead on the cycle, nearest first
    items = [unseen.pop(0)]
    length = rng.integers(MIN_LENGTH, MAX_LENGTH + 1)
    while len(items) < length:
        jump = int(rng.integers(len(unseen))) if rng.random() >= P_SUCCESSOR else 0
        unseen = unseen[jump:] + unseen[:jump]
        items.append(unseen.pop(0))
    return items


def _items() -> str:
    rng = numpy_stream(0, "synthetic", "titles")
    places = np.argsort(_cycle(numpy_stream(0, "synthetic", "ratings")))
    names: set[str] = set()
    lines: list[str] = []
    while len(lines) < N_ITEMS:
        name = " ".join(_word(rng) for _ in range(2))
        if name in names:
            continue
        names.add(name)
        year = rng.integers(1930, 1998)
        title = f"{name}{rng.choice(ENDINGS)} ({year})"
        genre = 1 + places[len(lines)] * (N_GENRES - 1) // N_ITEMS  # never the first, which says that none is known
        flags = ["1" if number == genre else "0" for number in range(N_GENRES)]
        lines.append("|".join([str(len(lines) + 1), title, f"01-Jan-{year}", "", "", *flags]) + "\n")
    return "".join(lines)


def _word(rng: np.random.Generator) -> str:
    return "".join(rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(CODAS) for _ in range(2)).capitalize()
