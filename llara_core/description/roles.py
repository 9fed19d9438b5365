"""Chooses the files of a log and the roles of their columns, from names, types, distinct values and the overlap of item ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from llara_core.description.column import ColumnProfile, name_words
from llara_core.description.files import FoundFile
from llara_core.description.times import Choice, Confidence, share
from llara_core.readers.log_columns import ISO, TIME_OF_DAY
from llara_core.readers.values import short

VERBS = {
    "watched": "movie film video show",
    "read": "book article news",
    "listened to": "song track artist album",
    "played": "game",
    "bought": "product",
    "cooked": "recipe",
    "visited": "restaurant venue place business",
}
"""Verbs for prompts, with the nouns that they go with."""

A_DAY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
MIN_OVERLAP, MIN_OVERLAP_OF_SAMPLE = 0.5, 0.01  # share of the log's item ids in a whole item file, and in a sampled one
CLOSE_COLUMNS, CLOSE_FILES = 0.5, 3.0  # largest differences in score of an alternative
MAX_RATINGS = 101  # distinct ratings: 0 to 10 in tenths, or 0 to 100
MAX_DISTINCT_USERS = 0.9  # distinct values per row, since users return
MIN_DISTINCT_ITEMS = 0.4  # distinct values per row of the items, which may list an item twice
MANY_MISSING = 0.05  # share of the cells; few users are unknown
MAX_TITLE = 200  # characters on average

Profiles = dict[str, list[ColumnProfile]]
"""Columns by file name."""
Rank = tuple[float, ...] | None
"""The highest is the best; a column without a rank cannot have the role."""


@dataclass(frozen=True)
class Roles:
    """The roles of files and columns.

    Attributes:
        choices: choices by key of the section: ``interactions``, ``items``, ``columns.user``, ... and ``time_format``.
        noun: word for an item in prompts.
        verb: word for an interaction in prompts.
        overlap: share of the log's item ids that the item file lists.
        score: strength of the evidence, and size of the log.
    """

    interactions: FoundFile
    items: FoundFile
    choices: dict[str, Choice]
    noun: str
    verb: str
    overlap: float
    score: tuple[float, int]

    def columns(self) -> dict[str, str | None]:
        return {
            key.removeprefix("columns."): choice.value for key, choice in self.choices.items() if key.startswith("columns.")
        }


def guess_roles(files: Sequence[FoundFile], profiles: Profiles) -> Roles | None:
    """Chooses a log and the file of its items, which may be the same; None if there are none.

    A log without times is chosen only if no other has times.
    """
    pairs = [roles for log in files for items in files if (roles := _roles(log, items, profiles))]
    pairs = [roles for roles in pairs if roles.choices["columns.time"].value is not None] or pairs
    pairs.sort(key=lambda roles: roles.score, reverse=True)
    return replace(pairs[0], choices=_file_choices(pairs) | pairs[0].choices) if pairs else None


def _roles(log: FoundFile, items: FoundFile, profiles: Profiles) -> Roles | None:
    """Chooses the columns of two files; None if they cannot be a log and its items."""
    columns, is_same = profiles[log.name], log is items
    times = ranked(columns, time_rank)
    if not times and (is_same or _has_date_in_parts(columns)):
        return None
    matches = sorted(_matches(columns, times, items, profiles[items.name]), key=lambda match: match[0], reverse=True)
    if not matches:
        return None
    score, item, item_id, titles, overlap = matches[0]
    users = ranked([column for column in columns if column not in (*times[:1], item)], _user_rank)
    if not users:
        return None
    others = [column for column in columns if column not in (*times[:1], item, users[0])]
    close = [match[1:3] for match in matches[1:] if match[0] >= score - CLOSE_COLUMNS]
    # A separate file of items is better than titles in the log; of several logs the largest is chosen.
    score += (times[0].name_score("time") if times else 0) + 2 * users[0].name_score("user") + titles[0].name_score("title")
    score += 0.5 * any(column.name_score("rating") >= 2 for column in columns) - 3 * is_same
    users = [column for column in users if column.has_id_word or not users[0].has_id_word]
    of_users = f"{len(users[0].distinct):,} different values in {log.sample.num_rows:,} rows"
    of_items = "the titles are in the same file" if is_same else f"{overlap:.0%} of its values are in {items.name}"
    of_ids = f"{len(item_id.distinct):,} different values in {items.sample.num_rows:,} rows"
    of_ids += f", among them {overlap:.0%} of the item ids in the log"
    choices = {
        "columns.user": _choice(users, "user", of_users),
        "columns.item": _choice([item, *(other for other, _ in close)], "item", of_items, overlap),
        **(_time_choices(times, others) if times else _no_time(profiles)),
        "columns.rating": _rating_choice(ranked(others, _rating_rank)),
        "columns.item_id": _choice([item_id, *(ids for other, ids in close if other is item)], "item", of_ids, overlap),
        "columns.title": _choice(titles, "title", f"text such as {short(titles[0].distinct[0].as_py())}"),
    }
    if "name" in users[0].words and choices["columns.user"].confidence == "sure":
        choices["columns.user"] = replace(choices["columns.user"], confidence="likely")  # two people may have one name
    verbs = {noun: verb for verb, nouns in VERBS.items() for noun in nouns.split()}
    words = [*item.words, *item_id.words, *name_words(Path(items.name).stem)]
    noun = next((word for word in words if word in verbs), "item")
    return Roles(log, items, choices, noun, verbs.get(noun, "chose"), overlap, (score, log.n_bytes))


def _matches(
    columns: list[ColumnProfile], times: list[ColumnProfile], items: FoundFile, item_columns: list[ColumnProfile]
) -> Iterator[tuple[float, ColumnProfile, ColumnProfile, list[ColumnProfile], float]]:
    """Yields score, item column of the log, id column of the items, possible titles (best first), and share of the log's item
    ids that the items list, for each pair of columns that match."""
    is_same = columns is item_columns
    for item in columns:
        is_unique = not times and item.share_distinct > MAX_DISTINCT_USERS
        is_other = item in times[:1] or max(item.name_score("time"), item.name_score("title")) >= 2
        if is_unique or is_other or not item.is_id:
            continue
        for item_id in [item] if is_same else item_columns:
            if not item_id.is_id or (item_id.share_distinct < MIN_DISTINCT_ITEMS and not is_same):
                continue
            overlap = share(pc.is_in(item.distinct, item_id.distinct))
            titles = ranked(item_columns, partial(_title_rank, item_id=item_id, in_log=is_same))
            if titles and overlap >= (MIN_OVERLAP if items.is_whole else MIN_OVERLAP_OF_SAMPLE):
                by_name = item.name_score("item") - 3 * (item.name_score("user") >= 2) - item.name_score("rating")
                by_name = 2 * by_name + (item.words == item_id.words) + item_id.name_score("item")
                covered = len(item.distinct) * overlap / max(1, len(item_id.distinct))
                by_values = 4 * overlap + covered + (0 if is_same else 2 * item_id.share_distinct)
                yield by_name + by_values, item, item_id, titles, overlap


def ranked(columns: Sequence[ColumnProfile], rank: Callable[[ColumnProfile], Rank]) -> list[ColumnProfile]:
    """Returns the columns that can have a role, the best one first."""
    ranks = [(place, column) for column in columns if (place := rank(column)) is not None]
    return [column for _, column in sorted(ranks, key=lambda pair: pair[0], reverse=True)]


def time_rank(column: ColumnProfile) -> Rank:
    """Ranks by name, then numbers before text, since they are often finer."""
    score, times = column.name_score("time"), column.times
    is_id = max(column.name_score("user"), column.name_score("item")) >= 2
    if times is None or (not score and (is_id or times.confidence == "guess")) or not (times.is_dated or score >= 2):
        return None
    by_name = min(2, score) + 2 * times.is_dated - column.other_name_score("time")
    return by_name, score, times.confidence == "sure", column.share_numeric == 1


def _user_rank(column: ColumnProfile) -> Rank:
    score = column.name_score("user")
    is_other = max(map(column.name_score, ("item", "rating", "time"))) >= 2
    if not column.is_id or len(column.distinct) < 2 or (score < 2 and (is_other or column.share_distinct > MAX_DISTINCT_USERS)):
        return None
    by_name = score, column.has_id_word, -column.other_name_score("user"), -(column.is_dated and score < 2)
    return *by_name, column.share_missing < MANY_MISSING, len(column.distinct)


def _title_rank(column: ColumnProfile, item_id: ColumnProfile, in_log: bool) -> Rank:
    score, n, length = column.name_score("title"), len(column.distinct), pc.mean(pc.utf8_length(column.text)).as_py() or 0
    is_text = column.share_numeric < 0.5 and 1 < length <= MAX_TITLE and not column.is_dated
    is_other = column is item_id or (column.name_score("user") >= 2 and not column.name_score("item"))
    # Texts that repeat, as genres do, are not titles.
    repeats = score < 2 and (in_log or n < len(item_id.distinct) / 2)
    if not is_text or is_other or repeats or column.all_match(r"^https?://"):
        return None
    return min(2, score) + 0.5 * (column.name_score("item") >= 2), n


def _rating_rank(column: ColumnProfile) -> Rank:
    score = column.name_score("rating")
    is_rating = score and column.share_numeric == 1 and len(column.distinct) <= MAX_RATINGS
    return (not column.share_missing, score) if is_rating else None


def _choice(columns: Sequence[ColumnProfile], role: str, evidence: str, overlap: float | None = None) -> Choice:
    """Chooses the first column; the others are alternatives.

    Args:
        overlap: share of matching ids, which makes a name unnecessary; without it, alternatives need a name that is as clear.
    """
    best, score = columns[0], columns[0].name_score(role)
    alike = [column.name for column in columns if overlap is not None or column.name_score(role) >= min(2, score)]
    alternatives = tuple(name for name in dict.fromkeys(alike) if name != best.name)
    is_sure = score >= 2 if overlap is None else overlap > 0.9
    is_open = alternatives or not (score or is_sure)
    confidence: Confidence = "guess" if is_open else "sure" if is_sure and score >= 2 else "likely"
    why = ("", "the name may say so; ", "the name says so; ")[min(2, score)] + evidence
    return Choice(best.name, confidence, why, alternatives)


def _time_choices(times: list[ColumnProfile], others: list[ColumnProfile]) -> dict[str, Choice]:
    best, guess = times[0], times[0].times
    assert guess is not None
    alike = [best, *(column for column in times[1:] if column.is_dated)]
    choices: dict[str, Choice] = {
        "columns.time": _choice(alike, "time", f"values such as {short(best.values.drop_null()[0].as_py())}"),
        "time_format": guess,
    }
    clocks = [column for column in others if column.all_match(TIME_OF_DAY)]
    if clocks and guess.value == ISO and best.all_match(A_DAY):
        why = f"{best.name} holds only dates, this column times of day such as {short(clocks[0].text[0].as_py())}"
        choices["columns.time_of_day"] = Choice(clocks[0].name, "likely", why, tuple(other.name for other in clocks[1:]))
    return choices


def _no_time(profiles: Profiles) -> dict[str, Choice]:
    why = "no column holds times, so the order of the file counts: check that the oldest rows come first"
    time = Choice(None, "guess", ". ".join([why, *dates_in_parts(profiles)]))
    return {"columns.time": time, "time_format": Choice(None, "guess", "there are no times")}


def _rating_choice(columns: list[ColumnProfile]) -> Choice:
    if not columns:
        return Choice(None, "likely", "no column of numbers has the name of a rating")
    best = columns[0]
    if best.share_missing:
        why = f"{best.name} lacks {best.share_missing:.1%} of its values, and rows without a rating would be dropped"
        return Choice(None, "likely", why)
    numbers = best.distinct.cast(pa.float64()).to_numpy()
    evidence = f"{len(numbers)} different numbers, {numbers.min():g} to {numbers.max():g}"
    return _choice([column for column in columns if not column.share_missing], "rating", evidence)


def _file_choices(pairs: list[Roles]) -> dict[str, Choice]:
    """Chooses the files of the first pair; the pairs are sorted by score."""
    best, log = pairs[0], pairs[0].interactions
    close = [roles for roles in pairs if roles.score[0] >= best.score[0] - CLOSE_FILES]
    logs = tuple(dict.fromkeys(roles.interactions.name for roles in close if roles.interactions is not log))
    lists = tuple(roles.items.name for roles in close if roles.interactions is log and roles.items not in (best.items, log))
    has_time = best.choices["columns.time"].value is not None
    why = f"it has columns for {'user, item and time' if has_time else 'user and item'}, and "
    why += f"{'' if log.is_whole else 'more than '}{log.sample.num_rows:,} rows"
    why += "; its names, values or size decided, and the alternatives are not read" if logs else ""
    choices = {"interactions": Choice(log.name, "guess" if logs else "sure", why, logs)}
    why = f"it lists {best.overlap:.0%} of the items in the log, each with a text"
    why = "no other file lists the items, but this one has their titles, too" if best.items is log else why
    return {**choices, "items": Choice(best.items.name, "sure" if best.overlap > 0.9 and not lists else "likely", why, lists)}


def _has_date_in_parts(columns: list[ColumnProfile]) -> bool:
    return {"day", "month", "year"} <= {word for column in columns for word in column.words}


def dates_in_parts(profiles: Profiles) -> list[str]:
    """Returns advice for each file with day, month and year in separate columns."""
    return [
        f"{name} has day, month and year in separate columns: join them into one, such as 2009-04-01"
        for name, columns in profiles.items()
        if _has_date_in_parts(columns)
    ]
