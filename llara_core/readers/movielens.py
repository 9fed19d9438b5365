"""Reader of the GroupLens 100K layout (``u.data`` and ``u.item``)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from llara_core import columns as c
from llara_core.config import MovieLensConfig, SyntheticConfig
from llara_core.errors import DataError
from llara_core.readers.interaction_log import RawLog
from llara_core.readers.item_texts import attribute

N_ITEM_FIELDS = 24
# The flags at the end of a line, in their order; the first says that no genre is known.
GENRES = (
    None, "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy", "Film-Noir",
    "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
_LARGEST = 2**63 - 1


def read(folder: Path, _: MovieLensConfig | SyntheticConfig) -> RawLog:
    """The log in ``folder``, which holds ``u.data`` and ``u.item``.

    Raises:
        DataError: a file is missing or malformed, or a rated item has no line in ``u.item``.
    """
    ratings, items = read_interactions(folder / "u.data"), read_items(folder / "u.item")
    unknown = ratings.loc[~ratings[c.ITEM].isin(items[c.ITEM]), c.ITEM]
    if len(unknown):
        raise DataError(
            f"{folder / 'u.data'}: {len(unknown)} ratings are of items that u.item does not list, such as {unknown.iloc[0]}; "
            "take both files from the same archive"
        )
    return RawLog.number(ratings, items)


def read_interactions(path: Path) -> pd.DataFrame:
    """The ratings in file order, with raw ids.

    Args:
        path: a ``u.data``: user, item, rating and seconds since 1970 per line, separated by tabs.

    Returns:
        ``user_id``, ``item_id`` and ``timestamp`` (int64) and ``rating`` (float64).

    Raises:
        DataError: the file is missing or empty, or a line is malformed (the message gives its number).
    """
    rows = []
    for place, line in _lines(path):
        fields = line.split("\t")
        if len(fields) != 4:
            raise DataError(f"{place}: expected user, item, rating and timestamp separated by tabs, got {_short(line)}")
        user, item, timestamp = (_integer(place, name, fields[i]) for name, i in (("user", 0), ("item", 1), ("timestamp", 3)))
        rows.append((user, item, _rating(place, fields[2]), timestamp))
    if not rows:
        raise DataError(f"{path}: holds no ratings; delete its folder and run the download stage again")
    frame = pd.DataFrame(rows, columns=[c.USER, c.ITEM, c.RATING, c.TIMESTAMP])
    return frame.astype({c.USER: "int64", c.ITEM: "int64", c.RATING: "float64", c.TIMESTAMP: "int64"})


def read_items(path: Path) -> pd.DataFrame:
    """The items in file order.

    Args:
        path: a ``u.item``: 24 fields per line, separated by ``|``, in ISO-8859-1; the first two are the id and the title, the
            last 19 are flags for :data:`GENRES`.

    Returns:
        ``item_id`` (int64), ``raw_title`` (as in the file; may be empty) and ``attributes`` (the genres).

    Raises:
        DataError: the file is missing or empty, a line is malformed, or an id occurs twice.
    """
    titles: dict[int, str] = {}
    genres: list[list[str]] = []
    for place, line in _lines(path):
        fields = line.split("|")
        if len(fields) != N_ITEM_FIELDS:
            raise DataError(f"{place}: expected {N_ITEM_FIELDS} fields separated by '|', got {len(fields)}: {_short(line)}")
        item = _integer(place, "item", fields[0])
        if item in titles:
            raise DataError(f"{place}: item {item} occurs a second time; ids must be unique")
        titles[item] = fields[1].strip()
        flags = zip(GENRES, fields[-len(GENRES) :], strict=True)
        genres.append([attribute("genres", (genre for genre, flag in flags if genre is not None and flag.strip() == "1"))])
    if not titles:
        raise DataError(f"{path}: holds no items; delete its folder and run the download stage again")
    ids = pd.Series(list(titles), dtype="int64")
    return pd.DataFrame({c.ITEM: ids, c.RAW_TITLE: list(titles.values()), c.ATTRIBUTES: genres})


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Place (for messages) and text of each line that is not blank."""
    try:
        text = path.read_bytes().decode("latin-1")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); run the download stage first") from error
    # splitlines() would also break at 0x85, a control character in ISO-8859-1.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"{path}:{number}", line.removesuffix("\r")


def _integer(place: str, name: str, text: str) -> int:
    # int() alone would also accept "1_0", " 1" and digits of other scripts.
    if not (text.isascii() and text.isdigit() and int(text[:20]) <= _LARGEST):
        raise DataError(f"{place}: the {name} must be a whole number from 0 to {_LARGEST}, got {_short(text)}")
    return int(text)


def _rating(place: str, text: str) -> float:
    try:
        rating = float(text)
    except ValueError:
        rating = math.nan
    if not math.isfinite(rating):
        raise DataError(f"{place}: the rating must be a finite number, got {_short(text)}")
    return rating


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")
