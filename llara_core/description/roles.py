"""Chooses the files of a log and the roles of their columns; a choice that is open names its rivals.

The evidence is names, types, distinct values and the overlap of item ids.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from llara_core.description.column import ColumnProfile, name_words, share
from llara_core.description.files import FoundFile
from llara_core.description.times import Choice, Confidence
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
MIN_OVERLAP, MIN_OVERLAP_OF_SAMPLE = 0.5, 0.01  # share of the log's item ids that the items must list, all or sampled
CLOSE_COLUMNS, CLOSE_FILES = 0.5, 3.0  # those whose scores differ by less are rivals
MAX_RATINGS = 101  # different values of a rating: 0 to 10 in tenths, or 0 to 100
MAX_DISTINCT_USERS = 0.9  # distinct values per row: users come again
MIN_DISTINCT_ITEMS = 0.4  # distinct values per row of the items, which may list one twice
MANY_MISSING = 0.05  # share of cells: few users are unknown
MAX_TITLE = 200  # characters on average

Profiles = dict[str, list[ColumnProfile]]
"""The columns of the files, by the names of the files."""
Rank = tuple[float, ...] | None
"""The higher, the better; None: the column cannot have the role."""


@dataclass(frozen=True)
class Roles:
    """The roles of the files and columns of a folder.

    Attributes:
        choices: by key of the section: ``interactions``, ``items``, ``columns.user``, ... and ``time_format``.
        noun, verb: for prompts.
        overlap: share of the item ids of the log that the items list.
        score: the higher, the better the evidence.
    """

    interactions: FoundFile
    items: FoundFile
    choices: dict[str, Choice]
    noun: str
    verb: str
    overlap: float
    score: tuple[float, int]

    def columns(self) -> dict[str, str | None]:
        return {key.removeprefix("columns."): found.value for key, found in self.choices.items() if key.startswith("columns.")}


def guess_roles(files: Sequence[FoundFile], profiles: Profiles) -> Roles | None:
    """Chooses two files whose item ids match, with a time and a user in the one and a title in the other; or one file with all.

    Only if there is no such pair may the time be missing. None: there is no pair at all.
    """
    found = [roles for log in files for items in files if (roles := _roles(log, items, profiles))]
    found = [roles for roles in found if roles.choices["columns.time"].value is not None] or found
    found.sort(key=lambda roles: roles.score, reverse=True)
    return replace(found[0], choices=_file_choices(found) | found[0].choices) if found else None


def _roles(log: FoundFile, items: FoundFile, profiles: Profiles) -> Roles | None:
    """Chooses the columns of two files; None: they are no log and its items."""
    of_log, of_items, is_same = profiles[log.name], profiles[items.name], log is items
    times = ranked(of_log, time_rank)
    if not times and (is_same or has_date_in_parts(of_log)):
        return None
    matches = []
    for item in of_log:
        is_unique = not times and item.share_distinct > MAX_DISTINCT_USERS
        if item in times[:1] or not item.is_id or max(item.says("time"), item.says("title")) >= 2 or is_unique:
            continue
        for item_id in [item] if is_same else [column for column in of_items if column.share_distinct >= MIN_DISTINCT_ITEMS]:
            overlap = 1.0 if is_same else share(pc.is_in(item.distinct, item_id.distinct))
            titles = ranked(of_items, partial(_title_rank, item_id=item_id, in_log=is_same))
            if item_id.is_id and titles and overlap >= (MIN_OVERLAP if items.is_whole else MIN_OVERLAP_OF_SAMPLE):
                named = item.says("item") - 3 * (item.says("user") >= 2) - item.says("rating")
                by_name = 2 * named + (item.words == item_id.words) + item_id.says("item")
                covered = len(item.distinct) * overlap / max(1, len(item_id.distinct))
                by_values = 4 * overlap + covered + (0 if is_same else 2 * item_id.share_distinct)
                matches.append((by_name + by_values, item, item_id, titles, overlap))
    if not matches:
        return None
    matches.sort(key=lambda match: match[0], reverse=True)
    score, item, item_id, titles, overlap = matches[0]
    users = ranked([column for column in of_log if column not in (*times[:1], item)], _user_rank)
    if not users:
        return None
    close = [match for match in matches[1:] if match[0] >= score - CLOSE_COLUMNS]
    # A file of its own for the items is better than titles in the log; of several logs the largest counts.
    score += (times[0].says("time") if times else 0) + 2 * users[0].says("user") + titles[0].says("title")
    score += 0.5 * any(column.says("rating") >= 2 for column in of_log) - 3 * is_same
    others = [column for column in of_log if column not in (*times[:1], item, users[0])]
    users = [column for column in users if column.has_id_word or not users[0].has_id_word]
    said = f"{overlap:.0%} of the ids of the log among them"
    choices = {
        "columns.user": _choice(users, "user", f"{len(users[0].distinct):,} different values in {log.sample.num_rows:,} rows"),
        "columns.item": _choice(
            [item, *(match[1] for match in close)],
            "item",
            "the titles stand in the same file" if is_same else f"{overlap:.0%} of its values are in {items.name}",
            overlap,
        ),
        **(_time_choices(times, others) if times else _no_time(profiles)),
        "columns.rating": _rating_choice(ranked(others, _rating_rank)),
        "columns.item_id": _choice(
            [item_id, *(match[2] for match in close if match[1] is item)],
            "item",
            f"{len(item_id.distinct):,} different values in {items.sample.num_rows:,} rows, {said}",
            overlap,
        ),
        "columns.title": _choice(titles, "title", f"text such as {short(titles[0].distinct[0].as_py())}"),
    }
    if "name" in users[0].words and choices["columns.user"].confidence == "sure":
        choices["columns.user"] = replace(choices["columns.user"], confidence="likely")  # two people may have one name
    verbs = {noun: verb for verb, nouns in VERBS.items() for noun in nouns.split()}
    words = [*item.words, *item_id.words, *name_words(Path(items.name).stem)]
    noun = next((word for word in words if word in verbs), "item")
    return Roles(log, items, choices, noun, verbs.get(noun, "chose"), overlap, (score, log.n_bytes))


def ranked(columns: Sequence[ColumnProfile], rank: Callable[[ColumnProfile], Rank]) -> list[ColumnProfile]:
    ranks = [(found, column) for column in columns if (found := rank(column)) is not None]
    return [column for _, column in sorted(ranks, key=lambda each: each[0], reverse=True)]


def time_rank(column: ColumnProfile) -> Rank:
    """Ranks by name, then numbers before text, as these are mostly finer."""
    says, times = column.says("time"), column.times
    is_id = max(column.says("user"), column.says("item")) >= 2
    if times is None or (not says and (is_id or times.confidence == "guess")) or not (times.is_dated or says >= 2):
        return None
    by_name = min(2, says) + 2 * times.is_dated - column.says_else("time")
    return by_name, says, times.confidence == "sure", column.numbers == 1


def _user_rank(column: ColumnProfile) -> Rank:
    says = column.says("user")
    is_other = max(column.says("item"), column.says("rating"), column.says("time")) >= 2
    if not column.is_id or len(column.distinct) < 2 or (says < 2 and (is_other or column.share_distinct > MAX_DISTINCT_USERS)):
        return None
    by_name = says, column.has_id_word, -column.says_else("user"), -(column.is_dated and says < 2)
    return *by_name, column.share_missing < MANY_MISSING, len(column.distinct)


def _title_rank(column: ColumnProfile, item_id: ColumnProfile, in_log: bool) -> Rank:
    says, n, length = column.says("title"), len(column.distinct), pc.mean(pc.utf8_length(column.text)).as_py() or 0
    is_text = column.numbers < 0.5 and 1 < length <= MAX_TITLE and not column.is_dated
    is_other = column is item_id or (column.says("user") >= 2 and not column.says("item")) or column.all_match(r"^https?://")
    # Words that repeat, as genres do, are no titles.
    if not is_text or is_other or (says < 2 and (in_log or n < len(item_id.distinct) / 2)):
        return None
    return min(2, says) + 0.5 * (column.says("item") >= 2), n


def _rating_rank(column: ColumnProfile) -> Rank:
    says = column.says("rating")
    return (not column.share_missing, says) if says and column.numbers == 1 and len(column.distinct) <= MAX_RATINGS else None


def _choice(ranked: Sequence[ColumnProfile], role: str, evidence: str, overlap: float | None = None) -> Choice:
    """Chooses the first column; the others are rivals.

    Args:
        overlap: of the ids, which needs no name; None: the name decides, and only those are rivals whose names say as much.
    """
    best, says = ranked[0], ranked[0].says(role)
    alike = [column.name for column in ranked if overlap is not None or column.says(role) >= min(2, says)]
    rivals = tuple(name for name in dict.fromkeys(alike) if name != best.name)
    is_sure = says >= 2 if overlap is None else overlap > 0.9
    confidence: Confidence = "guess" if rivals or not (says or is_sure) else "sure" if is_sure and says >= 2 else "likely"
    return Choice(best.name, confidence, ("", "its name, perhaps, and ", "its name, and ")[min(2, says)] + evidence, rivals)


def _time_choices(times: list[ColumnProfile], others: list[ColumnProfile]) -> dict[str, Choice]:
    best, guess = times[0], times[0].times
    assert guess is not None
    alike = [best, *(column for column in times[1:] if column.is_dated)]
    choices = {
        "columns.time": _choice(alike, "time", f"values such as {short(best.values.drop_null()[0].as_py())}"),
        "time_format": Choice(guess.time_format, guess.confidence, guess.why, guess.others),
    }
    clocks = [column for column in others if column.all_match(TIME_OF_DAY)]
    if clocks and guess.time_format == ISO and best.all_match(A_DAY):
        said = f"{best.name} has dates alone, this has such as {short(clocks[0].text[0].as_py())}"
        choices["columns.time_of_day"] = Choice(clocks[0].name, "likely", said, tuple(other.name for other in clocks[1:]))
    return choices


def _no_time(profiles: Profiles) -> dict[str, Choice]:
    said = "no column holds times, so the order of the file counts: make sure that it is one"
    if parts := [name for name, columns in profiles.items() if has_date_in_parts(columns)]:
        said += f". {parts[0]} has day, month and year apart; joined into one column, such as 2009-04-01, they are a time"
    return {key: Choice(None, "guess", said) for key in ("columns.time", "time_format")}


def _rating_choice(ranked: list[ColumnProfile]) -> Choice:
    if not ranked:
        return Choice(None, "likely", "no column of numbers is called like a rating")
    best = ranked[0]
    if best.share_missing:
        why = f"{best.name} lacks {best.share_missing:.1%} of its values, and rows without a rating would be dropped"
        return Choice(None, "likely", why)
    numbers = best.distinct.cast(pa.float64()).to_numpy()
    said = f"{len(numbers)} different numbers, {numbers.min():g} to {numbers.max():g}"
    return _choice([column for column in ranked if not column.share_missing], "rating", said)


def _file_choices(found: list[Roles]) -> dict[str, Choice]:
    best, log = found[0], found[0].interactions
    close = [roles for roles in found if roles.score[0] >= best.score[0] - CLOSE_FILES]
    logs = tuple(dict.fromkeys(roles.interactions.name for roles in close if roles.interactions is not log))
    lists = tuple(roles.items.name for roles in close if roles.interactions is log and roles.items not in (best.items, log))
    has_time = best.choices["columns.time"].value is not None
    said = f"it has columns for {'user, item and time' if has_time else 'user and item'}, and "
    said += f"{'' if log.is_whole else 'more than '}{log.sample.num_rows:,} rows"
    said += "; its names, its values or its size speak for it, and nothing is read of the others" if logs else ""
    choices = {"interactions": Choice(log.name, "guess" if logs else "sure", said, logs)}
    said = f"{best.overlap:.0%} of the items of the log are in it, with a text each"
    said = "no other file lists the items, but the interactions name them" if best.items is log else said
    return {**choices, "items": Choice(best.items.name, "sure" if best.overlap > 0.9 and not lists else "likely", said, lists)}


def has_date_in_parts(columns: list[ColumnProfile]) -> bool:
    return {"day", "month", "year"} <= {word for column in columns for word in column.words}
