"""Which file holds the interactions and which the items, and what their columns mean, told from names and values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from llara_core.description.files import FoundFile
from llara_core.description.times import Confidence, TimeGuess, guess_times
from llara_core.errors import DataError
from llara_core.readers.log_columns import NUMBER
from llara_core.readers.log_files import short

_USERS = (
    "user customer member reviewer visitor client account buyer reader listener player person subscriber patron viewer uid u"
)
_ITEMS = (
    "item movie film product asin sku article track song artist album book isbn game app business video show recipe course "
    "place restaurant venue poi news i"
)
WORDS: dict[str, tuple[set[str], set[str]]] = {
    "user": (set(_USERS.split()), {"session", "device", "author", "who"}),
    "item": (set(_ITEMS.split()), {"content", "page", "url", "object", "target"}),
    "time": ({"time", "timestamp", "datetime", "ts"}, {"date", "day", "at", "when", "created", "on"}),
    "rating": ({"rating", "stars", "score", "overall"}, {"rate", "value", "weight", "vote", "preference", "grade"}),
    "title": ({"title", "name"}, {"label", "headline", "description"}),
}
"""Words in the name of a column that speak for a purpose: strongly, and weakly."""
_SUFFIXES = ("id", "name", "title", "time", "date", "stamp", "key", "code", "no", "nr", "number")
_ABOUT_IDS = {"id", "key", "code", "no", "nr", "number", "idx", "index"}

MIN_OVERLAP = 0.5  # share of the item ids of the log that the items must list
MAX_RATINGS = 101  # different values of a rating: 0 to 10 in tenths, or 0 to 100
MAX_DISTINCT_USERS = 0.9  # of the rows: users come again
MIN_DISTINCT_ITEMS = 0.4  # of the rows of the items, which may list one twice
MANY_MISSING = 0.05  # of a column's cells: few users are unknown
MAX_TITLE = 200  # characters on average

VERBS = {
    "watched": "movie film video show",
    "read": "book article news",
    "listened to": "song track artist album",
    "played": "game",
    "bought": "product",
    "cooked": "recipe",
    "visited": "restaurant venue place business",
}
"""What people do with things, by verb: for the prompts."""


@dataclass(frozen=True)
class Choice:
    """The column or file that was chosen for a purpose; ``rivals`` would do as well."""

    value: str | None
    confidence: Confidence
    why: str
    rivals: tuple[str, ...] = ()


@dataclass(frozen=True)
class Roles:
    """What the files and columns of a folder mean.

    Attributes:
        interactions, items: the chosen files.
        choices: by key of the section: ``interactions``, ``items``, ``columns.user``, ... and ``time_format``.
        noun, verb: for prompts.
    """

    interactions: FoundFile
    items: FoundFile
    choices: dict[str, Choice]
    noun: str
    verb: str

    def columns(self) -> dict[str, str | None]:
        names = ("user", "item", "time", "rating", "item_id", "title")
        return {name: self.choices[f"columns.{name}"].value for name in names}


class _Column:
    """A column of a sample."""

    def __init__(self, name: str, values: pa.Array, missing: list[str]) -> None:
        self.name, self.values, self._missing = name, values, missing
        self.words = name_words(name)

    @cached_property
    def text(self) -> pa.StringArray:
        """The values that are not missing, as text; none if they are neither text nor numbers."""
        kind, values = self.values.type, self.values.drop_null()
        if pa.types.is_floating(kind):
            numbers = values.to_numpy(zero_copy_only=False)
            numbers = numbers[np.isfinite(numbers)]
            is_whole = bool((np.floor(numbers) == numbers).all() and (np.abs(numbers) < 2**53).all())
            values = pa.array(numbers.astype(np.int64) if is_whole else numbers)
        elif pa.types.is_decimal(kind):
            values = values.cast(pa.string())
            return pc.replace_substring_regex(values, r"\.0+$", "")
        elif not (pa.types.is_integer(kind) or pa.types.is_string(kind)):
            return pa.array([], pa.string())
        text = pc.utf8_trim_whitespace(values.cast(pa.string()))
        return text.filter(pc.invert(pc.is_in(text, pa.array(["", *self._missing], pa.string()))))

    @cached_property
    def distinct(self) -> pa.StringArray:
        return self.text.unique()

    @cached_property
    def share_distinct(self) -> float:
        return len(self.distinct) / max(1, len(self.text))

    @cached_property
    def numbers(self) -> float:
        """Share of the values that are numbers."""
        return float(pc.mean(pc.match_substring_regex(self.text, NUMBER).cast(pa.int8())).as_py() or 0)

    @cached_property
    def is_whole(self) -> bool:
        """Whole numbers, or text that is no number: what can be an id."""
        return bool(len(self.text)) and (
            self.numbers < 1 or pc.all(pc.match_substring_regex(self.text, r"^-?[0-9]+(\.0+)?$")).as_py()
        )

    @cached_property
    def times(self) -> TimeGuess | None:
        return guess_times(self.values, self._missing) if len(self.values) > self.values.null_count else None

    @cached_property
    def mean_length(self) -> float:
        return float(pc.mean(pc.utf8_length(self.text)).as_py() or 0)

    @cached_property
    def share_missing(self) -> float:
        return 1 - len(self.text) / max(1, len(self.values))

    def speaks_against(self, role: str) -> int:
        """How strongly the name speaks for another purpose, if it does not speak for this one as strongly."""
        other = max(self.speaks_for(name) for name in WORDS if name != role)
        return other if other > self.speaks_for(role) else 0

    def speaks_for(self, role: str) -> int:
        """3: the name says nothing else; 2: it has a word that says so; 1: a weak word; 0: nothing."""
        strong, weak = WORDS[role]
        rest = [word for word in self.words if word not in strong | _ABOUT_IDS]
        if strong & set(self.words):
            return 2 if rest else 3
        return 1 if weak & set(self.words) else 0


def name_words(name: str) -> list[str]:
    """The words of a column's name, in lower case.

    >>> name_words("unixReviewTime"), name_words("user_id"), name_words("movieid")
    (['unix', 'review', 'time'], ['user', 'id'], ['movie', 'id'])
    """
    known = set().union(*(strong | weak for strong, weak in WORDS.values()))
    words = []
    for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name):
        lower = word.lower()
        suffix = next((end for end in _SUFFIXES if lower.endswith(end) and lower.removesuffix(end).rstrip("s") in known), None)
        parts = [lower.removesuffix(suffix), suffix] if suffix and lower not in known else [lower]
        words += [part.removesuffix("s") if part.removesuffix("s") in known else part for part in parts]
    return words


def guess_roles(files: Sequence[FoundFile], missing: list[str]) -> Roles:
    """Choose files and columns: two files whose item ids match, with a time and a user in the one, a title in the other.

    Raises:
        DataError: no pair of files (or single file) has what a log needs; the message says what is missing.
    """
    columns = {
        file.name: [_Column(name, file.sample[name].combine_chunks(), missing) for name in file.sample.column_names]
        for file in files
    }
    pairs = [
        pair
        for log in files
        for items in files
        if (pair := _pair(log, columns[log.name], items, columns[items.name])) is not None
    ]
    if not pairs:
        raise DataError(_what_is_missing(columns))
    pairs.sort(key=lambda pair: pair.score, reverse=True)
    return _roles(pairs, columns)


@dataclass(frozen=True)
class _Pair:
    """A way to read two files as a log and its items; the higher the score, the better the evidence."""

    log: FoundFile
    items: FoundFile
    time: _Column
    item: _Column
    item_id: _Column
    title: _Column
    overlap: float
    score: tuple[float, int]
    item_rivals: tuple[tuple[str, str], ...]


def _pair(log: FoundFile, log_columns: list[_Column], items: FoundFile, item_columns: list[_Column]) -> _Pair | None:
    times = _ranked_times(log_columns)
    if not times:
        return None
    time = times[0]
    is_same = log is items
    matches = []
    for item in log_columns:
        if item is time or not item.is_whole or item.speaks_for("time") >= 2 or item.speaks_for("title") >= 2:
            continue
        for item_id in [item] if is_same else item_columns:
            if not item_id.is_whole or (not is_same and item_id.share_distinct < MIN_DISTINCT_ITEMS):
                continue
            titles = _ranked_titles(item_columns, item_id, is_same)
            if not titles or not len(item.distinct):
                continue
            listed = pc.is_in(item.distinct, item_id.distinct)
            overlap = 1.0 if is_same else float(pc.mean(listed.cast(pa.int8())).as_py())
            if overlap < MIN_OVERLAP and items.is_whole:
                continue
            named = item.speaks_for("item") - 3 * (item.speaks_for("user") >= 2) - item.speaks_for("rating")
            named_alike = 1 if item.words == item_id.words else 0
            covered = len(item.distinct) * overlap / max(1, len(item_id.distinct))
            by_name = 2 * named + named_alike + item_id.speaks_for("item")
            by_values = 4 * overlap + covered + (0 if is_same else 2 * item_id.share_distinct)
            matches.append((by_name + by_values, item, item_id, titles[0], overlap))
    if not matches:
        return None
    matches.sort(key=lambda match: match[0], reverse=True)
    score, item, item_id, title, overlap = matches[0]
    users = _ranked_users(log_columns, {time.name, item.name})
    if not users:
        return None
    rivals = tuple((match[1].name, match[2].name) for match in matches[1:] if match[0] >= score - 0.5)
    # A file of its own for the items is better than titles in the log; of several logs the largest counts.
    score += time.speaks_for("time") + 2 * users[0].speaks_for("user") + title.speaks_for("title")
    score += 0.5 * any(column.speaks_for("rating") >= 2 for column in log_columns) - 3 * is_same
    return _Pair(log, items, time, item, item_id, title, overlap, (score, log.n_bytes), rivals)


def _ranked_times(columns: list[_Column]) -> list[_Column]:
    """Columns that may be the time, best first: by name, then numbers before text, as these are mostly finer."""

    def rank(column: _Column) -> tuple[int, ...]:
        assert column.times is not None
        return (
            min(2, column.speaks_for("time")) + 2 * column.times.is_dated - column.speaks_against("time"),
            column.speaks_for("time"),
            column.times.confidence == "sure",
            column.numbers == 1,
        )

    ids = [column for column in columns if column.speaks_for("user") >= 2 or column.speaks_for("item") >= 2]
    fitting = [
        column
        for column in columns
        if column.times is not None
        and (column.times.is_dated or column.speaks_for("time") >= 2)
        and not (column in ids and not column.speaks_for("time"))
        and (column.times.confidence != "guess" or column.speaks_for("time") >= 1)
    ]
    return sorted(fitting, key=rank, reverse=True)


def _ranked_users(columns: list[_Column], taken: set[str]) -> list[_Column]:
    def may_be(column: _Column) -> bool:
        n, n_distinct = len(column.text), len(column.distinct)
        comes_again = n_distinct <= MAX_DISTINCT_USERS * n or column.speaks_for("user") >= 2
        other = max(column.speaks_for("item"), column.speaks_for("rating"), column.speaks_for("time")) >= 2
        is_other = other and column.speaks_for("user") < 2
        return column.name not in taken and column.is_whole and n_distinct > 1 and comes_again and not is_other

    def rank(column: _Column) -> tuple[int, ...]:
        dated = column.times is not None and column.times.is_dated and column.speaks_for("user") < 2
        return (
            column.speaks_for("user"),
            bool(set(column.words) & _ABOUT_IDS),
            -column.speaks_against("user"),
            -dated,
            column.share_missing < MANY_MISSING,
            len(column.distinct),
        )

    return sorted(filter(may_be, columns), key=rank, reverse=True)


def _ranked_titles(columns: list[_Column], item_id: _Column, in_log: bool) -> list[_Column]:
    def may_be(column: _Column) -> bool:
        is_text = len(column.text) > 0 and column.numbers < 0.5 and 1 < column.mean_length <= MAX_TITLE
        named = column.speaks_for("title") >= 2
        is_url = bool(pc.all(pc.match_substring_regex(column.distinct.slice(0, 100), r"^https?://")).as_py())
        dated = column.times is not None and column.times.is_dated
        # Names of users, and words that repeat as genres do, are no titles.
        repeats = len(column.distinct) < len(item_id.distinct) / 2
        is_user = column.speaks_for("user") >= 2 and not column.speaks_for("item")
        if in_log and not named:
            return False
        return is_text and not is_url and not dated and not is_user and (named or not repeats) and column is not item_id

    def rank(column: _Column) -> tuple[float, ...]:
        about = 0.5 * (column.speaks_for("item") >= 2)
        return (min(2, column.speaks_for("title")) + about, len(column.distinct))

    return sorted(filter(may_be, columns), key=rank, reverse=True)


def _ranked_ratings(columns: list[_Column], taken: set[str]) -> list[_Column]:
    fitting = [
        column
        for column in columns
        if column.name not in taken
        and column.numbers == 1
        and column.speaks_for("rating")
        and len(column.distinct) <= MAX_RATINGS
    ]
    return sorted(fitting, key=lambda column: column.speaks_for("rating"), reverse=True)


def _roles(pairs: list[_Pair], columns: dict[str, list[_Column]]) -> Roles:
    best = pairs[0]
    log, items = columns[best.log.name], columns[best.items.name]
    times = _ranked_times(log)
    users = _ranked_users(log, {best.time.name, best.item.name})
    titles = _ranked_titles(items, best.item_id, best.log is best.items)
    ratings = _ranked_ratings(log, {best.time.name, best.item.name, users[0].name})
    assert best.time.times is not None
    choices = _file_choices(pairs)
    n_rows = best.log.sample.num_rows
    choices["columns.user"] = _choice(users, "user", f"{len(users[0].distinct):,} different values in {n_rows:,} rows")
    if "name" in users[0].words and choices["columns.user"].confidence == "sure":
        choices["columns.user"] = replace(choices["columns.user"], confidence="likely")  # two people may have one name
    listed = (
        "the titles stand in the same file"
        if best.log is best.items
        else f"{best.overlap:.0%} of its values are in {best.items.name}"
    )
    rivals = tuple(dict.fromkeys(item for item, _ in best.item_rivals if item != best.item.name))
    choices["columns.item"] = _of_evidence(best.item, "item", listed, rivals, sure=best.overlap > 0.9)
    choices["columns.time"] = _choice(times, "time", f"values such as {short(best.time.values.drop_null()[0].as_py())}")
    choices["time_format"] = Choice(
        best.time.times.time_format, best.time.times.confidence, best.time.times.why, best.time.times.others
    )
    choices["columns.rating"] = (
        _choice(ratings, "rating", f"{len(ratings[0].distinct)} different numbers, {_range(ratings[0])}")
        if ratings
        else Choice(None, "likely", "no column of numbers is called like a rating")
    )
    rivals = tuple(
        dict.fromkeys(other for item, other in best.item_rivals if item == best.item.name and other != best.item_id.name)
    )
    unique = f"{len(best.item_id.distinct):,} different values in {best.items.sample.num_rows:,} rows"
    choices["columns.item_id"] = _of_evidence(
        best.item_id, "item", f"{unique}, the ids of the log among them", rivals, sure=best.overlap > 0.9
    )
    choices["columns.title"] = _choice(titles, "title", f"text such as {short(titles[0].distinct[0].as_py())}")
    verbs = {noun: verb for verb, nouns in VERBS.items() for noun in nouns.split()}
    words = [*best.item.words, *best.item_id.words, *name_words(Path(best.items.name).stem)]
    noun = next((word for word in words if word in verbs), "item")
    return Roles(best.log, best.items, choices, noun, verbs.get(noun, "chose"))


def _file_choices(pairs: list[_Pair]) -> dict[str, Choice]:
    best = pairs[0]
    other_logs = dict.fromkeys(pair.log.name for pair in pairs if pair.log is not best.log)
    n_rows = f"{best.log.sample.num_rows:,} rows" if best.log.is_whole else f"more than {best.log.sample.num_rows:,} rows"
    said = f"it has a user, an item and a time in each of {n_rows}"
    if other_logs:
        said += ", and has the better names or more bytes; of the others nothing is read"
    choices = {"interactions": Choice(best.log.name, "guess" if other_logs else "sure", said, tuple(other_logs))}
    other_items = dict.fromkeys(pair.items.name for pair in pairs if pair.log is best.log and pair.items is not best.items)
    if best.log is best.items:
        said = "no other file lists the items, but the interactions name them"
    else:
        said = f"{best.overlap:.0%} of the items of the log are in it, with a text each"
    confidence: Confidence = "sure" if best.overlap > 0.9 and not other_items else "likely"
    choices["items"] = Choice(best.items.name, confidence, said, tuple(name for name in other_items if name != best.log.name))
    return choices


def _choice(ranked: list[_Column], role: str, evidence: str) -> Choice:
    """The first of ``ranked``; others whose name speaks as strongly are its rivals."""
    best, *others = ranked
    level = best.speaks_for(role)
    has_id = bool(set(best.words) & _ABOUT_IDS)
    rivals = tuple(
        other.name
        for other in others
        if other.speaks_for(role) >= min(2, level)
        and (role != "time" or (other.times is not None and other.times.is_dated))
        and (role != "user" or not has_id or set(other.words) & _ABOUT_IDS)
    )
    return _of_evidence(best, role, evidence, rivals, sure=level >= 2)


def _of_evidence(column: _Column, role: str, evidence: str, rivals: tuple[str, ...], *, sure: bool) -> Choice:
    level = column.speaks_for(role)
    named = "its name, and " if level >= 2 else "its name, perhaps, and " if level else ""
    confidence: Confidence = "guess" if rivals or (not level and not sure) else "sure" if sure and level >= 2 else "likely"
    return Choice(column.name, confidence, named + evidence, rivals)


def _range(column: _Column) -> str:
    numbers: Any = column.distinct.cast(pa.float64()).to_numpy()
    return f"{numbers.min():g} to {numbers.max():g}"


def _what_is_missing(columns: dict[str, list[_Column]]) -> str:
    """Why no pair of files is a log, from what each lacks."""
    lines = [
        "no files here are a log and its items. A log has a user, an item and a time in each row; items have an id and a title:"
    ]
    for name, found in columns.items():
        times, titles = _ranked_times(found), [column for column in found if column.speaks_for("title") >= 2]
        users = [column for column in found if column.speaks_for("user") >= 2]
        has = [f"{what} {of[0].name!r}" for what, of in (("a time", times), ("a user", users), ("a title", titles)) if of]
        names = ", ".join(column.name for column in found)
        lines.append(f"  {name}: columns {names}; {'has ' + ', '.join(has) if has else 'no time, user or title is seen'}")
    logs = [name for name, found in columns.items() if _ranked_times(found)]
    if not logs:
        lines.append("No file has a column of times, without which there is no order.")
        for name, found in columns.items():
            if {"day", "month", "year"} <= {word for column in found for word in column.words}:
                lines.append(f"{name} has day, month and year apart: join them into one column, such as 2009-04-01.")
    else:
        lines.append(
            f"{', '.join(logs)} may be the log, but no file lists at least {MIN_OVERLAP:.0%} of the ids of one of its columns, "
            "once each and with a text: is the file of titles missing, or are its ids written otherwise?"
        )
    return "\n".join(lines)
