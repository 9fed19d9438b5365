"""Readers of the GroupLens archives: MovieLens 100K (``u.data``, ``u.item``), 1M and 10M (``.dat``), 20M, 25M and 32M (CSV).

pyarrow reads the ratings. It parses the separator ``::`` as two colons with an empty field between them.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv

from llara_core import columns as c
from llara_core.config import LargerMovieLensConfig, MovieLensConfig, SyntheticConfig
from llara_core.errors import DataError
from llara_core.readers.interaction_log import RawLog
from llara_core.readers.item_texts import attribute
from llara_core.readers.text_lines import AGAIN, FIRST, lines_below, text_lines
from llara_core.readers.values import short

BLOCK_BYTES = 1 << 24
RATINGS_HEADER, MOVIES_HEADER = "userId,movieId,rating,timestamp", "movieId,title,genres"
MAX_DIGITS = 9
NO_GENRES = "(no genres listed)"
N_ITEM_FIELDS = 24
# Flags at the end of a line of u.item, in their order; the first means that no genre is known.
GENRES = (
    None, "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy", "Film-Noir",
    "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
_TYPES = {c.USER: pa.uint32(), c.ITEM: pa.uint32(), c.RATING: pa.float64(), c.TIMESTAMP: pa.int64()}

Movie = tuple[str, str, str, Iterable[str]]  # place in the file, id, title and genres


def read(folder: Path, _: MovieLensConfig | SyntheticConfig) -> RawLog:
    """Reads the log in ``folder``, which holds ``u.data`` and ``u.item``.

    Raises:
        DataError: a file is missing or malformed (the message gives the line), or a rated item is not listed.
    """
    return _log(folder / "u.data", "\t", folder / "u.item", _u_item_movies(folder / "u.item"))


def read_larger(folder: Path, config: LargerMovieLensConfig) -> RawLog:
    """Reads the log in ``folder``, which holds the ratings and the movies of the archive that ``config`` names.

    Raises:
        DataError: a file is missing or malformed (the message gives the line), or a rated item is not listed.
    """
    ratings, movies = (folder / name for name in config.files)
    if ratings.suffix == ".csv":
        return _log(ratings, ",", movies, _csv_movies(movies))
    return _log(ratings, "::", movies, _dat_movies(movies, config.encoding))


def _log(path: Path, separator: str, items_path: Path, movies: Iterator[Movie]) -> RawLog:
    ratings, items = read_ratings(path, separator), _items(items_path, movies)
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
        ``user_id``, ``item_id`` (uint32), ``rating`` (float64) and ``timestamp`` (int64), in file order.

    Raises:
        DataError: the file is missing or empty, or a line is malformed (the message gives its number).
    """
    is_csv, names = separator == ",", list(_TYPES)
    if separator == "::":
        names = [c.USER, "gap 1", c.ITEM, "gap 2", c.RATING, "gap 3", c.TIMESTAMP]
    try:
        with path.open("rb") as file:
            if is_csv and (header := file.readline().decode(errors="replace").rstrip("\r\n")) != RATINGS_HEADER:
                raise DataError(f"{path}:1: expected the header {RATINGS_HEADER!r}, got {short(header)}; {AGAIN}")
            table = pa_csv.read_csv(
                file,
                # Only a single thread reports row numbers in errors.
                pa_csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False, column_names=names),
                pa_csv.ParseOptions(delimiter=separator[:1], quote_char=False, ignore_empty_lines=False),
                # The gaps must be empty, hence the type null.
                pa_csv.ConvertOptions(column_types={name: _TYPES.get(name, pa.null()) for name in names}, null_values=[""]),
            ).select(list(_TYPES))
    except pa.ArrowInvalid as error:
        if "Empty CSV" in str(error):
            raise DataError(f"{path}: holds no ratings; {AGAIN}") from error
        row = re.search(r"Row #(\d+)", str(error))
        place = f"{path}:{int(row[1]) + is_csv}" if row else str(path)
        raise DataError(
            f"{place}: expected user, movie, rating and timestamp, all numbers, separated by {separator!r} "
            f"({str(error)[:200]}); {AGAIN}"
        ) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); {FIRST}") from error
    absent = np.column_stack([column.is_null().to_numpy() for column in table.columns])
    is_blank = absent.all(axis=1)
    is_wrong = (absent.any(axis=1) & ~is_blank) | ~np.isfinite(table[c.RATING].fill_null(0).to_numpy())
    if is_wrong.any():
        row_number = int(is_wrong.argmax())
        raise DataError(
            f"{path}:{row_number + 1 + is_csv}: user, movie, rating and timestamp must all be finite numbers, got "
            f"{list(table.slice(row_number, 1).to_pylist()[0].values())}; {AGAIN}"
        )
    if is_blank.all():
        raise DataError(f"{path}: holds no ratings; {AGAIN}")
    ratings: pd.DataFrame = (table.filter(pa.array(~is_blank)) if is_blank.any() else table).to_pandas()
    return ratings


def read_items(path: Path) -> pd.DataFrame:
    """Reads the items of ``u.item`` in file order.

    A line has 24 fields in ISO-8859-1, separated by ``|``; the first two are the id and the title, the last 19 the flags of
    :data:`GENRES`.

    Returns:
        ``item_id`` (int64), ``raw_title`` (as in the file; may be empty) and ``attributes`` (the genres).

    Raises:
        DataError: the file is missing or empty, a line is malformed, or an id occurs twice.
    """
    return _items(path, _u_item_movies(path))


def _u_item_movies(path: Path) -> Iterator[Movie]:
    for place, line in text_lines(path, "latin-1"):
        fields = line.split("|")
        if len(fields) != N_ITEM_FIELDS:
            raise DataError(f"{place}: expected {N_ITEM_FIELDS} fields separated by '|', got {len(fields)}: {short(line)}")
        flags = zip(GENRES, fields[-len(GENRES) :], strict=True)
        yield place, fields[0], fields[1], [genre for genre, flag in flags if genre is not None and flag.strip() == "1"]


def _dat_movies(path: Path, encoding: str) -> Iterator[Movie]:
    for place, line in text_lines(path, encoding):
        movie, _, rest = line.partition("::")
        title, separator, genres = rest.rpartition("::")  # the title may contain the separator
        if not separator:
            raise DataError(f"{place}: expected id, title and genres separated by '::', got {line[:80]!r}; {AGAIN}")
        yield place, movie, title, genres.split("|")


def _csv_movies(path: Path) -> Iterator[Movie]:
    for place, line in lines_below(path, "utf-8", MOVIES_HEADER):
        try:
            movie, title, genres = next(csv.reader([line], strict=True))
        except (csv.Error, ValueError) as error:
            raise DataError(f"{place}: expected movieId, title, genres as CSV, got {short(line)}; {AGAIN}") from error
        yield place, movie, title, () if genres == NO_GENRES else genres.split("|")


def _items(path: Path, movies: Iterator[Movie]) -> pd.DataFrame:
    """Returns ``item_id`` (int64), ``raw_title`` (may be empty) and ``attributes`` (the genres), in file order."""
    titles: dict[int, str] = {}
    attributes: list[list[str]] = []
    for place, movie, title, genres in movies:
        if not (movie.isascii() and movie.isdigit() and len(movie) <= MAX_DIGITS):
            raise DataError(f"{place}: the movie's id must be a whole number, got {short(movie)}; {AGAIN}")
        if int(movie) in titles:
            raise DataError(f"{place}: movie {movie} occurs a second time; ids must be unique")
        titles[int(movie)] = title.strip()
        attributes.append([attribute("genres", genres)])
    if not titles:
        raise DataError(f"{path}: holds no movies; {AGAIN}")
    ids = pd.Series(list(titles), dtype="int64")
    return pd.DataFrame({c.ITEM: ids, c.RAW_TITLE: list(titles.values()), c.ATTRIBUTES: attributes})
