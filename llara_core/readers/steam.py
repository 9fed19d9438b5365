"""Reader of the Steam files of the McAuley lab, UCSD (``steam_reviews.json.gz`` and ``steam_games.json.gz``).

Despite their names, each line is not JSON but a dictionary as Python 2 prints it (``{u'id': u'10', ...}``).
``ast.literal_eval`` defines the meaning of a line, but it would take ten times as long as decompression for the 7.8 million
reviews. Therefore a regular expression parses the lines that it matches, and ``literal_eval`` all others.

Source: W.-C. Kang and J. McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018, who published the files.
"""

from __future__ import annotations

import ast
import itertools
import re
import warnings
from array import array
from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from llara_core import columns as c
from llara_core.config import SteamConfig
from llara_core.errors import DataError
from llara_core.readers.gzip_blocks import AGAIN, gzip_records
from llara_core.readers.interaction_log import Counts, RawLog, count, one_of_each_pair
from llara_core.readers.item_texts import attribute
from llara_core.readers.values import encodable

REVIEWS = "steam_reviews.json.gz"
GAMES = "steam_games.json.gz"
ATTRIBUTES = ("genres", "tags", "developer")
KIND = "Python dictionary"

# Unpacked size. Longer lines are unreadable, which limits memory and the recursion of literal_eval on damaged files; reviews
# have at most 8,000 characters, or 80,000 bytes if all are escaped.
BLOCK_BYTES = 1 << 18

Fields = tuple[object, object, object]

# Content of a string: printable ASCII except the quote and the backslash, and the escapes that Python 2 prints.
_ESCAPE = r"""\\[\\'"nrt]|\\u[0-9a-f][0-9a-f][0-9a-f][0-9a-f]|\\x[0-9a-f][0-9a-f]|\\U00(?:0[0-9a-f]|10)[0-9a-f]{4}"""
_PLAIN, _PLAIN_IN_DOUBLE = r"[ -&(-\[\]-~]", r"[ !#-\[\]-~]"
_SINGLE, _DOUBLE = (rf"{plain}*+(?:(?:{_ESCAPE}){plain}*+)*" for plain in (_PLAIN, _PLAIN_IN_DOUBLE))
_STRING = rf"""(?:'{_SINGLE}'|"{_DOUBLE}")"""
_NUMBER = r"(?:0|[1-9][0-9]{0,15}+)(?:\.[0-9]{1,20}+)?"
# Excludes the required keys, so that each occurs exactly once in a matching review.
_OTHER = rf"""u'(?!username'|product_id'|date')[a-z_]++': (?:u{_STRING}|{_NUMBER}|True|False|None)"""
_REVIEW = (
    rf"\{{(?:{_OTHER}, )*u'username': u({_STRING}), (?:{_OTHER}, )*u'product_id': u'({_PLAIN}++)', "
    rf"(?:{_OTHER}, )*u'date': u'({_PLAIN}*+)'(?:, {_OTHER})*\}}\r?"
)
REVIEW_LINE = re.compile(rf"(?:{_REVIEW}|([^\n]*))\n")
"""Matches a line decoded as Latin-1. Groups: user (with quotes and escapes), product and date; or only the whole line."""


def read(folder: Path, _: SteamConfig) -> RawLog:
    """Reads the log in ``folder``, which holds ``steam_reviews.json.gz`` and ``steam_games.json.gz``.

    The user is the ``username`` of a review, as in SASRec's preparation of this file. It is a display name, so people with the
    same name are one user; many reviews lack a ``user_id`` that would distinguish them. The item is the ``product_id``, the
    timestamp is 00:00 UTC of the ``date``. Raw ids are text, ordered by code point. Items are all games with an id and a title,
    reviewed or not.

    Steps: ``raw``, reviews with user, product and date; ``known``, reviews of games with a title; ``distinct``, the earliest
    review of each user and game, or the first in the file on the same day. Every other line is counted once, by reason, in
    ``dropped``.

    The reviews are streamed; only numbers and user names stay in memory.

    Raises:
        DataError: a file is missing, not an intact gzip file or mostly unreadable, or has no usable line.
    """
    dropped: Counts = {}
    items = read_games(folder / GAMES, dropped)
    log, users = _read_reviews(folder / REVIEWS, items[c.RAW_ITEM].to_list(), dropped)
    steps = {"raw": count(log)}
    log = log[log[c.ITEM] < len(items)]
    if log.empty:
        raise DataError(f"{folder / REVIEWS}: none of its reviews is of a game in {GAMES}; take both files from one source")
    steps["known"] = count(log)
    log = one_of_each_pair(log, "first").reset_index(drop=True)
    steps["distinct"] = count(log)
    n_raw, n_known, n_distinct = (step["interactions"] for step in steps.values())
    dropped |= {"reviews_of_unknown_products": n_raw - n_known, "reviews_repeated": n_known - n_distinct}
    ascending = np.array(sorted(log[c.USER].unique().tolist(), key=users.__getitem__))
    numbers = np.empty(len(users), dtype=np.int32)
    numbers[ascending] = np.arange(len(ascending))
    raw_users = pa.array([users[number] for number in ascending], pa.string())
    return RawLog(log.assign(**{c.USER: numbers[log[c.USER]]}), items, raw_users, steps, dropped)


def read_games(path: Path, dropped: Counts) -> pd.DataFrame:
    """Reads ``raw_id``, ``raw_title`` and ``attributes`` (genres, tags, developer) of the games, sorted by id.

    The title is ``title`` or, if that is empty, ``app_name``; the first line with a title is used for each id.

    Args:
        path: path of ``steam_games.json.gz``.
        dropped: receives the number of dropped lines, by reason.

    Raises:
        DataError: the file is missing, not an intact gzip file or mostly unreadable, or lists no game.
    """
    dropped |= dict.fromkeys(("games_unreadable", "games_without_id", "games_without_title", "games_repeated"), 0)
    games: dict[str, tuple[str, list[str]]] = {}
    for game in gzip_records(path, BLOCK_BYTES, _literals, KIND, dropped, "games_unreadable"):
        raw_id = _text(game.get("id"))
        title = _text(game.get("title")).strip() or _text(game.get("app_name")).strip()
        if not raw_id:
            dropped["games_without_id"] += 1
        elif not title:
            dropped["games_without_title"] += 1
        elif raw_id in games:
            dropped["games_repeated"] += 1
        else:
            games[raw_id] = title, [attribute(name, _texts(game.get(name))) for name in ATTRIBUTES]
    if not games:
        raise DataError(f"{path}: lists no game with an id and a title; {AGAIN}")
    rows = [(raw_id, *games[raw_id]) for raw_id in sorted(games)]
    return pd.DataFrame(rows, columns=[c.RAW_ITEM, c.RAW_TITLE, c.ATTRIBUTES])


def review_fields(block: bytes) -> Iterator[Fields | None]:
    r"""Yields ``username``, ``product_id`` and ``date`` of each line (None if missing), or None for one that is no dictionary.

    The values equal those of ``ast.literal_eval``, also where :data:`REVIEW_LINE` replaces it.

    Args:
        block: whole lines, each with its line feed.

    >>> list(review_fields(rb"{u'username': u'Zo\xeb', u'product_id': u'10', u'date': u'2017-12-17'}" + b"\n{'page': 1}\n?\n"))
    [('Zoë', '10', '2017-12-17'), (None, None, None), None]
    """
    for user, product, day, line in REVIEW_LINE.findall(block.decode("latin-1")):
        if product:
            # Python's parser decodes escapes with the same codec.
            name = user[1:-1]
            yield name.encode().decode("unicode_escape") if "\\" in name else name, product, day
        else:
            review = _literal(line.encode("latin-1"))
            yield None if review is None else (review.get("username"), review.get("product_id"), review.get("date"))


def _read_reviews(path: Path, games: list[str], dropped: Counts) -> tuple[pd.DataFrame, list[str]]:
    """Returns the complete reviews in file order, and the names of the users.

    Users are numbered by first occurrence, items by position in ``games``; products missing there have higher numbers.
    """
    reasons = ("reviews_unreadable", "reviews_without_user", "reviews_without_product", "reviews_without_date")
    dropped |= dict.fromkeys(reasons, 0)
    users: defaultdict[str, int] = defaultdict(itertools.count().__next__)
    products = defaultdict(itertools.count(len(games)).__next__, {raw_id: number for number, raw_id in enumerate(games)})
    user_numbers, product_numbers, timestamps = array("i"), array("i"), array("q")
    for user, product, day in gzip_records(path, BLOCK_BYTES, review_fields, KIND, dropped, "reviews_unreadable"):
        if not (isinstance(user, str) and user):
            dropped["reviews_without_user"] += 1
        elif not (isinstance(product, str) and product):
            dropped["reviews_without_product"] += 1
        elif not isinstance(day, str) or (timestamp := _midnight(day)) is None:
            dropped["reviews_without_date"] += 1
        else:
            user_numbers.append(users[user])
            product_numbers.append(products[product])
            timestamps.append(timestamp)
    if not timestamps:
        raise DataError(f"{path}: holds no review with user, product and date; {AGAIN}")
    columns = {c.USER: np.asarray(user_numbers), c.ITEM: np.asarray(product_numbers), c.TIMESTAMP: np.asarray(timestamps)}
    return pd.DataFrame(columns), list(users)


def _literals(block: bytes) -> Iterator[dict[Any, Any] | None]:
    return map(_literal, block[:-1].split(b"\n"))


def _literal(line: bytes) -> dict[Any, Any] | None:
    """Returns the dictionary of a line, or None if the line is not the literal of a dictionary in UTF-8."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # unknown escapes such as \d
            value = ast.literal_eval(line.decode())
    # TypeError: unhashable keys; OverflowError: huge numbers; RecursionError and MemoryError: deep nesting.
    except (SyntaxError, ValueError, TypeError, OverflowError, RecursionError, MemoryError):
        return None
    return value if isinstance(value, dict) else None


def _texts(value: object) -> list[str]:
    """Returns the texts of a list, or of a single value."""
    return [_text(part) for part in (value if isinstance(value, list) else [value])]


def _text(value: object) -> str:
    """Returns the value if it is text, otherwise the empty string."""
    return encodable(value) if isinstance(value, str) else ""


@lru_cache(maxsize=4096)
def _midnight(day: str) -> int | None:
    """Returns the seconds since 1970 at 00:00 UTC of a date ``YYYY-MM-DD``, or None if it does not exist."""
    try:
        parsed = date.fromisoformat(day)
    except ValueError:
        return None
    # fromisoformat also accepts other formats, such as 20171217 and 2017-W50-7.
    return (parsed - date(1970, 1, 1)).days * 86_400 if parsed.isoformat() == day else None
