"""Readers of the GroupLens archives: MovieLens 100K (``u.data``, ``u.item``), 1M and 10M (``.dat``), 20M, 25M and 32M (CSV)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from llara_core import columns as c
from llara_core.config import LargerMovieLensConfig, MovieLensConfig, SyntheticConfig
from llara_core.config.datasets import TextLayout
from llara_core.errors import DataError
from llara_core.readers.interaction_log import RawLog
from llara_core.readers.item_texts import attribute
from llara_core.readers.log_columns import columns
from llara_core.readers.log_files import LogTable
from llara_core.readers.text_lines import Lines

# Flags at the end of a line of u.item, in their order; the first means that no genre is known.
GENRES = (
    None, "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy", "Film-Noir",
    "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
NO_GENRES = "(no genres listed)"

# The id, the title and the genres of a movie.
U_ITEM = Lines(
    r"(\d{1,9})\|([^|]*)" + r"\|[^|]*" * 3 + r"\|((?:[^|]*\|){18}[^|]*)",
    "id, title, 3 more fields and 19 flags, separated by '|'",
    "latin-1",
)
CSV_MOVIES = Lines(
    r'(\d{1,9}),("(?:[^"]|"")*"|[^",]*),([^",]*)', "movieId, title, genres as CSV", header="movieId,title,genres"
)
DAT = r"(\d{1,9})::(.*)::(.*)"  # the title may contain the separator


def read(folder: Path, _: MovieLensConfig | SyntheticConfig) -> RawLog:
    """Reads the log in ``folder``, which holds ``u.data`` and ``u.item``.

    Raises:
        DataError: a file is missing or malformed (the message gives the line), or a rated item is not listed.
    """
    return _log(folder / "u.data", "\t", folder / "u.item", U_ITEM)


def read_larger(folder: Path, config: LargerMovieLensConfig) -> RawLog:
    """Reads the log in ``folder``, which holds the ratings and the movies of the archive that ``config`` names.

    Raises:
        DataError: a file is missing or malformed (the message gives the line), or a rated item is not listed.
    """
    ratings, movies = (folder / name for name in config.files)
    if ratings.suffix == ".csv":
        return _log(ratings, ",", movies, CSV_MOVIES)
    return _log(ratings, "::", movies, Lines(DAT, "id, title and genres separated by '::'", config.encoding))


def _log(path: Path, separator: str, items_path: Path, lines: Lines) -> RawLog:
    ratings, items = read_ratings(path, separator), read_items(items_path, lines)
    unknown = ratings.loc[~ratings[c.ITEM].isin(items[c.ITEM]), c.ITEM]
    if len(unknown):
        raise DataError(
            f"{path}: {len(unknown)} ratings are of movies that {items_path.name} does not list, such as {unknown.iloc[0]}; "
            "take both files from the same archive"
        )
    return RawLog.number(ratings, items)


def read_ratings(path: Path, separator: str) -> pd.DataFrame:
    """Reads user, movie, rating and time (seconds since 1970) of each line; a CSV file has a header.

    Returns:
        ``user_id``, ``item_id``, ``timestamp`` (int64) and ``rating`` (float64), in file order.

    Raises:
        DataError: the file is missing or empty, or a line is malformed (the message gives its number).
    """
    layout = TextLayout(separator, "utf-8", "none", None, header=separator == ",")
    names = ["userId", "movieId", "rating", "timestamp"] if layout.header else ["1", "2", "3", "4"]
    parts = [
        (user.whole_numbers(), item.whole_numbers(), rating.numbers(), time.whole_numbers())
        for user, item, rating, time in columns(LogTable(path.parent, path.name, layout), names, [])
    ]
    kinds = (c.USER, c.ITEM, c.RATING, c.TIMESTAMP)
    return pd.DataFrame({kind: np.concatenate(part) for kind, part in zip(kinds, zip(*parts, strict=True), strict=True)})


def read_items(path: Path, lines: Lines = U_ITEM) -> pd.DataFrame:
    """Returns ``item_id`` (int64), ``raw_title`` (may be empty) and ``attributes`` (the genres), in file order.

    Raises:
        DataError: the file is missing or empty, a line is malformed (the message gives its number), or an id occurs twice.
    """
    movies = lines.by_id(path)
    ids, titles = pd.Series(list(movies), dtype="int64"), [title for title, _ in movies.values()]
    if lines is CSV_MOVIES:
        titles = [title[1:-1].replace('""', '"') if title[:1] == '"' else title for title in titles]
    named = _named_flags if lines is U_ITEM else _listed
    attributes = [[attribute("genres", named(genres))] for _, genres in movies.values()]
    return pd.DataFrame({c.ITEM: ids, c.RAW_TITLE: [title.strip() for title in titles], c.ATTRIBUTES: attributes})


def _named_flags(flags: str) -> list[str]:
    named = zip(GENRES, flags.split("|"), strict=True)
    return [genre for genre, flag in named if genre is not None and flag.strip() == "1"]


def _listed(genres: str) -> list[str]:
    return [] if genres == NO_GENRES else genres.split("|")
