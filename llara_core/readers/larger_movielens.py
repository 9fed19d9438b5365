"""Reader of the larger MovieLens archives: 1M and 10M (``.dat``, fields between ``::``), 20M, 25M and 32M (CSV).

The ratings are streamed through pyarrow, which also parses ``::``, as single colons with an empty field between them.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv

from llara_core import columns as c
from llara_core.config import LargerMovieLensConfig
from llara_core.errors import DataError
from llara_core.readers.interaction_log import RawLog
from llara_core.readers.item_texts import attribute

BLOCK_BYTES = 1 << 24
RATINGS_HEADER, MOVIES_HEADER = ["userId", "movieId", "rating", "timestamp"], ["movieId", "title", "genres"]
_KINDS = {c.USER: pa.int32(), c.ITEM: pa.int32(), c.RATING: pa.float64(), c.TIMESTAMP: pa.int64()}
MAX_DIGITS = 9
NO_GENRES = "(no genres listed)"
_AGAIN = "delete its folder and run the download stage again"


def read(folder: Path, config: LargerMovieLensConfig) -> RawLog:
    """The log in ``folder``, which holds the ratings and the movies of the archive that ``config`` names.

    Raises:
        DataError: a file is missing or malformed (the message gives the line), or a rated movie is not listed.
    """
    ratings_file, movies_file = (folder / name for name in config.files)
    is_csv = ratings_file.suffix == ".csv"
    ratings = _read_ratings(ratings_file, is_csv)
    movies = _listed(movies_file, _csv_movies(movies_file) if is_csv else _dat_movies(movies_file, config.encoding))
    is_unknown = ~ratings[c.ITEM].isin(movies[c.ITEM]).to_numpy()
    if is_unknown.any():
        raise DataError(
            f"{ratings_file}: {is_unknown.sum()} ratings are of movies that {movies_file.name} does not list, such as "
            f"{ratings[c.ITEM].iloc[is_unknown.argmax()]}; take both files from the same archive"
        )
    return RawLog.number(ratings, movies)


def _read_ratings(path: Path, is_csv: bool) -> pd.DataFrame:
    """``user_id``, ``item_id`` (int32), ``rating`` and ``timestamp``, in file order."""
    names = list(_KINDS) if is_csv else [c.USER, "gap 1", c.ITEM, "gap 2", c.RATING, "gap 3", c.TIMESTAMP]
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
                pa_csv.ParseOptions(delimiter="," if is_csv else ":", quote_char=False, ignore_empty_lines=False),
                pa_csv.ConvertOptions(column_types=kinds, null_values=[""]),
            ) as reader:
                for batch in reader:
                    batches.append(_checked(path, line, batch.select(list(_KINDS))))
                    line += len(batch)
    except pa.ArrowInvalid as error:
        if "Empty CSV" in str(error):
            raise DataError(f"{path}: holds no ratings; {_AGAIN}") from error
        row = re.search(r"Row #(\d+)", str(error))
        place = f"{path}:{int(row[1]) + is_csv}" if row else str(path)
        separator = "," if is_csv else "::"
        raise DataError(
            f"{place}: expected user, movie, rating and timestamp, all numbers, separated by {separator!r} ({error}); {_AGAIN}"
        ) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); run the download stage first") from error
    ratings = pa.Table.from_batches(batches)
    if not len(ratings):
        raise DataError(f"{path}: holds no ratings; {_AGAIN}")
    frame: pd.DataFrame = ratings.to_pandas()
    return frame


def _checked(path: Path, first_line: int, batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch without blank lines.

    Raises:
        DataError: a line lacks a field, or a rating is no finite number.
    """
    absent = np.column_stack([column.is_null().to_numpy(zero_copy_only=False) for column in batch.columns])
    ratings = batch.column(list(_KINDS).index(c.RATING)).fill_null(0).to_numpy()
    is_blank = absent.all(axis=1)
    is_wrong = (absent.any(axis=1) & ~is_blank) | ~np.isfinite(ratings)
    if is_wrong.any():
        row = int(is_wrong.argmax())
        raise DataError(
            f"{path}:{first_line + row}: user, movie, rating and timestamp must all be finite numbers, got "
            f"{list(batch.slice(row, 1).to_pylist()[0].values())}; {_AGAIN}"
        )
    return batch.filter(pa.array(~is_blank)) if is_blank.any() else batch


def _dat_movies(path: Path, encoding: str) -> Iterator[tuple[str, str, str, str]]:
    """Place, id, title and genres of each line that is not blank; a title may hold ``::`` itself."""
    try:
        text = path.read_bytes().decode(encoding)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); run the download stage first") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: byte {error.object[error.start]:#04x} is not {encoding}; {_AGAIN}") from error
    # splitlines() would break at other characters too
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        movie, _, rest = line.removesuffix("\r").partition("::")
        title, separator, genres = rest.rpartition("::")
        if not separator:
            raise DataError(f"{path}:{number}: expected id, title and genres separated by '::', got {line[:80]!r}; {_AGAIN}")
        yield f"{path}:{number}", movie, title, genres


def _csv_movies(path: Path) -> Iterator[tuple[str, str, str, str]]:
    """Place, id, title and genres of each row."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            _check_header(path, file.readline().encode(), MOVIES_HEADER)
            rows = csv.reader(file, strict=True)
            for row in rows:
                place = f"{path}:{rows.line_num + 1}"
                if not row:
                    continue
                if len(row) != len(MOVIES_HEADER):
                    raise DataError(f"{place}: expected {', '.join(MOVIES_HEADER)}, got {len(row)} fields; {_AGAIN}")
                yield place, row[0], row[1], row[2]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); run the download stage first") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a CSV file in UTF-8 ({error}); {_AGAIN}") from error


def _check_header(path: Path, line: bytes, expected: list[str]) -> None:
    if line.rstrip(b"\r\n").decode(errors="replace").split(",") != expected:
        raise DataError(f"{path}:1: expected the header {','.join(expected)!r}, got {line[:80]!r}; {_AGAIN}")


def _listed(path: Path, rows: Iterator[tuple[str, str, str, str]]) -> pd.DataFrame:
    """``item_id`` (int64), ``raw_title`` (may be empty) and ``attributes`` (the genres), in file order."""
    titles: dict[int, str] = {}
    attributes: list[list[str]] = []
    for place, movie, title, genres in rows:
        if not (movie.isascii() and movie.isdigit() and len(movie) <= MAX_DIGITS):
            raise DataError(f"{place}: the movie's id must be a whole number, got {movie[:80]!r}; {_AGAIN}")
        if int(movie) in titles:
            raise DataError(f"{place}: movie {movie} occurs a second time; ids must be unique")
        titles[int(movie)] = title.strip()
        attributes.append([attribute("genres", () if genres == NO_GENRES else genres.split("|"))])
    if not titles:
        raise DataError(f"{path}: holds no movies; {_AGAIN}")
    ids = pd.Series(list(titles), dtype="int64")
    return pd.DataFrame({c.ITEM: ids, c.RAW_TITLE: list(titles.values()), c.ATTRIBUTES: attributes})
