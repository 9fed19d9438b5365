"""Reader of the GroupLens archives MovieLens 100K (``u.data``, ``u.item``), 1M and 10M (``.dat``), 20M, 25M and 32M (CSV)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from llara_core import columns as c
from llara_core.config.datasets import MovieLensSection, TextLayout
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

# Separators of the ratings, and patterns of the id, the title and the genres of a movie, by suffix of the file.
SEPARATORS = {".data": "\t", ".dat": "::", ".csv": ","}
MOVIES = {
    ".item": Lines(
        r"(\d{1,9})\|([^|]*)" + r"\|[^|]*" * 3 + r"\|((?:[^|]*\|){18}[^|]*)",
        "id, title, 3 more fields and 19 flags, separated by '|'",
    ),
    ".dat": Lines(r"(\d{1,9})::(.*)::(.*)", "id, title and genres separated by '::'"),  # the title may contain the separator
    ".csv": Lines(
        r'(\d{1,9}),("(?:[^"]|"")*"|[^",]*),([^",]*)', "movieId, title, genres as CSV", header="movieId,title,genres"
    ),
}


def read(folder: Path, config: MovieLensSection) -> RawLog:
    """Reads the log in ``folder``, which holds the ratings and the movies under the names of ``config.files``.

    Raises:
        DataError: a file is missing or malformed (the message gives the line), or a rated item is not listed.
    """
    path, items_path = (folder / name for name in config.files)
    ratings, items = read_ratings(path, SEPARATORS[path.suffix]), read_items(items_path, config.encoding)
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


def read_items(path: Path, encoding: str = "latin-1") -> pd.DataFrame:
    """Returns ``item_id`` (int64), ``raw_title`` (may be empty) and ``attributes`` (the genres), in file order.

    Raises:
        DataError: the file is missing or empty, a line is malformed (the message gives its number), or an id occurs twice.
    """
    movies = replace(MOVIES[path.suffix], encoding=encoding).by_id(path)
    ids, titles = pd.Series(list(movies), dtype="int64"), [title for title, _ in movies.values()]
    if path.suffix == ".csv":
        titles = [title[1:-1].replace('""', '"') if title[:1] == '"' else title for title in titles]
    named = _named_flags if path.suffix == ".item" else _listed
    attributes = [[attribute("genres", named(genres))] for _, genres in movies.values()]
    return pd.DataFrame({c.ITEM: ids, c.RAW_TITLE: [title.strip() for title in titles], c.ATTRIBUTES: attributes})


def _named_flags(flags: str) -> list[str]:
    named = zip(GENRES, flags.split("|"), strict=True)
    return [genre for genre, flag in named if genre is not None and flag.strip() == "1"]


def _listed(genres: str) -> list[str]:
    return [] if genres == NO_GENRES else genres.split("|")
