"""Readers of the GroupLens archives: MovieLens 100K (``u.data``, ``u.item``), 1M and 10M (``.dat``), 20M, 25M and 32M (CSV).

pyarrow reads the ratings. It also parses the separator ``::``, as single colons with an empty field between them.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator
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
from llara_core.readers.text_lines import AGAIN, FIRST, text_lines
from llara_core.readers.values import short

BLOCK_BYTES = 1 << 24
RATINGS_HEADER, MOVIES_HEADER = "userId,movieId,rating,timestamp", "movieId,title,genres"
MAX_DIGITS = 9
NO_GENRES = "(no genres listed)"
N_ITEM_FIELDS = 24
# The flags at the end of a line of u.item, in their order; the first says that no genre is known.
GENRES = (
    None, "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy", "Film-Noir",
    "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
_KINDS = {c.USER: pa.uint32(), c.ITEM: pa.uint32(), c.RATING: pa.float64(), c.TIMESTAMP: pa.int64()}


def read(folder: Path, _: MovieLensConfig | SyntheticConfig) -> RawLog:
    """Reads the log in ``folder``, which holds ``u.data`` and ``u.item``.

    Raises:
        DataError: a file is missing or malformed (the message gives the line), or a rated item is not listed.
    """
    return _log(folder / "u.data", "\t", folder / "u.item", read_items)


def read_larger(folder: Path, config: LargerMovieLensConfig) -> RawLog:
    """Reads the log in ``folder``, which holds the ratings and the movies of the archive that ``config`` names.

    Raises:
        DataError: as of :func:`read`.
    """
    ratings, movies = (folder / name for name in config.files)
    if ratings.suffix == ".csv":
        return _log(ratings, ",", movies, lambda path: _listed(path, _csv_movies(path)))
    return _log(ratings, "::", movies, lambda path: _listed(path, _dat_movies(path, config.encoding)))


def _log(path: Path, separator: str, items_path: Path, read_listed: Callable[[Path], pd.DataFrame]) -> RawLog:
    ratings, items = read_ratings(path, separator), read_listed(items_path)
    unknown = ratings.loc[~ratings[c.ITEM].isin(items[c.ITEM]), c.ITEM]
    if len(unknown):
        raise DataError(
            f"{path}: {len(unknown)} ratings are of movies that {items_path.name} does not list, such as {unknown.iloc[0]}; "
            "take both files from the same archive"
        )
    return RawLog.number(ratings, items)


def read_ratings(path: Path, separator: str) -> pd.DataFrame:
    """Reads user, movie, rating and seconds since 1970 of each line; a CSV file has a header.

    Returns:
        ``user_id``, ``item_id`` (uint32), ``rating`` (float64) and ``timestamp`` (int64), in file order.

    Raises:
        DataError: the file is missing or empty, or a line is malformed (the message gives its number).
    """
    names, is_csv = list(_KINDS), separator == ","
    if separator == "::":
        names = [c.USER, "gap 1", c.ITEM, "gap 2", c.RATING, "gap 3", c.TIMESTAMP]
    kinds = {name: _KINDS.get(name, pa.null()) for name in names}  # a gap must be empty
    batches: list[pa.RecordBatch] = []
    line = 1 + is_csv
    try:
        with path.open("rb") as file:
            if is_csv:
                _check_header(path, file.readline(), RATINGS_HEADER)
            with pa_csv.open_csv(
                file,
                # Only a single thread numbers the rows.
                pa_csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False, column_names=names),
                pa_csv.ParseOptions(delimiter=separator[:1], quote_char=False, ignore_empty_lines=False),
                pa_csv.ConvertOptions(column_types=kinds, null_values=[""]),
            ) as reader:
                for batch in reader:
                    batches.append(_checked(path, line, batch.select(list(_KINDS))))
                    line += len(batch)
    except pa.ArrowInvalid as error:
        if "Empty CSV" not in str(error):
            row = re.search(r"Row #(\d+)", str(error))
            place = f"{path}:{int(row[1]) + is_csv}" if row else str(path)
            raise DataError(
                f"{place}: expected user, movie, rating and timestamp, all numbers, separated by {separator!r} "
                f"({str(error)[:200]}); {AGAIN}"
            ) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); {FIRST}") from error
    if not any(map(len, batches)):
        raise DataError(f"{path}: holds no ratings; {AGAIN}")
    ratings: pd.DataFrame = pa.Table.from_batches(batches).to_pandas()
    return ratings


def _checked(path: Path, first_line: int, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Returns the batch without blank lines.

    Raises:
        DataError: a line lacks a field, or a rating is no finite number.
    """
    absent = np.column_stack([column.is_null().to_numpy(zero_copy_only=False) for column in batch.columns])
    is_blank = absent.all(axis=1)
    is_wrong = (absent.any(axis=1) & ~is_blank) | ~np.isfinite(batch.column(c.RATING).fill_null(0).to_numpy())
    if is_wrong.any():
        row = int(is_wrong.argmax())
        raise DataError(
            f"{path}:{first_line + row}: user, movie, rating and timestamp must all be finite numbers, got "
            f"{list(batch.slice(row, 1).to_pylist()[0].values())}; {AGAIN}"
        )
    return batch.filter(pa.array(~is_blank)) if is_blank.any() else batch


def read_items(path: Path) -> pd.DataFrame:
    """Reads the items of a ``u.item`` in file order.

    Args:
        path: 24 fields per line, separated by ``|``, in ISO-8859-1; the first two are the id and the title, the last 19 are
            flags for :data:`GENRES`.

    Returns:
        ``item_id`` (int64), ``raw_title`` (as in the file; may be empty) and ``attributes`` (the genres).

    Raises:
        DataError: the file is missing or empty, a line is malformed, or an id occurs twice.
    """

    def rows() -> Iterator[tuple[str, str, str, Iterable[str]]]:
        for place, line in text_lines(path, "latin-1"):
            fields = line.split("|")
            if len(fields) != N_ITEM_FIELDS:
                raise DataError(f"{place}: expected {N_ITEM_FIELDS} fields separated by '|', got {len(fields)}: {short(line)}")
            flags = zip(GENRES, fields[-len(GENRES) :], strict=True)
            yield place, fields[0], fields[1], [genre for genre, flag in flags if genre is not None and flag.strip() == "1"]

    return _listed(path, rows())


def _dat_movies(path: Path, encoding: str) -> Iterator[tuple[str, str, str, Iterable[str]]]:
    """Yields place, id, title and genres of each line; a title may hold ``::`` itself."""
    for place, line in text_lines(path, encoding):
        movie, _, rest = line.partition("::")
        title, separator, genres = rest.rpartition("::")
        if not separator:
            raise DataError(f"{place}: expected id, title and genres separated by '::', got {line[:80]!r}; {AGAIN}")
        yield place, movie, title, genres.split("|")


def _csv_movies(path: Path) -> Iterator[tuple[str, str, str, Iterable[str]]]:
    """Yields place, id, title and genres of each row."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            _check_header(path, file.readline().encode(), MOVIES_HEADER)
            rows = csv.reader(file, strict=True)
            for row in filter(None, rows):
                place = f"{path}:{rows.line_num + 1}"
                if len(row) != 3:
                    raise DataError(f"{place}: expected movieId, title, genres, got {len(row)} fields; {AGAIN}")
                yield place, row[0], row[1], () if row[2] == NO_GENRES else row[2].split("|")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); {FIRST}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a CSV file in UTF-8 ({error}); {AGAIN}") from error


def _check_header(path: Path, line: bytes, expected: str) -> None:
    if line.rstrip(b"\r\n").decode(errors="replace") != expected:
        raise DataError(f"{path}:1: expected the header {expected!r}, got {line[:80]!r}; {AGAIN}")


def _listed(path: Path, rows: Iterator[tuple[str, str, str, Iterable[str]]]) -> pd.DataFrame:
    """Returns ``item_id`` (int64), ``raw_title`` (may be empty) and ``attributes`` (the genres), in file order."""
    titles: dict[int, str] = {}
    attributes: list[list[str]] = []
    for place, movie, title, genres in rows:
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
