"""Which file holds the interactions and which the items, and what their columns mean, told from names and values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from llara_core.description.column import ABOUT_IDS, Column, name_words
from llara_core.description.files import FoundFile
from llara_core.description.times import Confidence
from llara_core.errors import DataError
from llara_core.readers.log_columns import ISO, TIME_OF_DAY
from llara_core.readers.values import short

A_DAY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
MIN_OVERLAP = 0.5  # share of the item ids of the log that the items must list
MIN_OVERLAP_OF_SAMPLE = 0.01  # where only some of the items are known
CLOSE = 0.5, 3.0  # columns, and files, whose scores differ by less are rivals
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
        names = ("user", "item", "time", "time_of_day", "rating", "item_id", "title")
        return {name: self.choices[f"columns.{name}"].value for name in names if f"columns.{name}" in self.choices}


def guess_roles(files: Sequence[FoundFile], missing: list[str]) -> Roles:
    """Choose files and columns: two files whose item ids match, with a time and a user in the one, a title in the other.

    Only if there is no such pair may the time be missing.

    Raises:
        DataError: no pair of files (or single file) has what a log needs; the message says what is missing.
    """
    columns = {
        file.name: [Column(name, file.sample[name].combine_chunks(), missing) for name in file.sample.column_names]
        for file in files
    }
    pairs: list[_Pair] = []
    for has_time in (True, False):
        found = (_pair(log, columns[log.name], items, columns[items.name], has_time) for log in files for items in files)
        pairs = pairs or [pair for pair in found if pair is not None]
    if not pairs:
        raise DataError(_what_is_missing(columns))
    pairs.sort(key=lambda pair: pair.score, reverse=True)
    return _roles(pairs, columns)


@dataclass(frozen=True)
class _Pair:
    """A way to read two files as a log and its items; the higher the score, the better the evidence."""

    log: FoundFile
    items: FoundFile
    time: Column | None
    item: Column
    item_id: Column
    title: Column
    overlap: float
    score: tuple[float, int]
    item_rivals: tuple[tuple[str, str], ...]


def _pair(
    log: FoundFile, log_columns: list[Column], items: FoundFile, item_columns: list[Column], has_time: bool
) -> _Pair | None:
    times = _ranked_times(log_columns)
    is_same = log is items
    if bool(times) != has_time or (not has_time and (is_same or _has_date_in_parts(log_columns))):
        return None
    time = times[0] if times else None
    matches = []
    for item in log_columns:
        if item is time or not item.is_whole or item.speaks_for("time") >= 2 or item.speaks_for("title") >= 2:
            continue
        for item_id in [item] if is_same else item_columns:
            if not item_id.is_whole or (not is_same and item_id.share_distinct < MIN_DISTINCT_ITEMS):
                continue
            titles = _ranked_titles(item_columns, item_id, is_same)
            if not titles or not len(item.distinct) or (not has_time and item.share_distinct > MAX_DISTINCT_USERS):
                continue
            listed = pc.is_in(item.distinct, item_id.distinct)
            overlap = 1.0 if is_same else float(pc.mean(listed.cast(pa.int8())).as_py())
            if overlap < (MIN_OVERLAP if items.is_whole else MIN_OVERLAP_OF_SAMPLE):
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
    users = _ranked_users(log_columns, {column.name for column in (time, item) if column is not None})
    if not users:
        return None
    rivals = tuple((match[1].name, match[2].name) for match in matches[1:] if match[0] >= score - CLOSE[0])
    # A file of its own for the items is better than titles in the log; of several logs the largest counts.
    score += (time.speaks_for("time") if time is not None else 0) + 2 * users[0].speaks_for("user") + title.speaks_for("title")
    score += 0.5 * any(column.speaks_for("rating") >= 2 for column in log_columns) - 3 * is_same
    return _Pair(log, items, time, item, item_id, title, overlap, (score, log.n_bytes), rivals)


def _ranked_times(columns: list[Column]) -> list[Column]:
    """Columns that may be the time, best first: by name, then numbers before text, as these are mostly finer."""

    def rank(column: Column) -> tuple[int, ...]:
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


def _ranked_users(columns: list[Column], taken: set[str]) -> list[Column]:
    def may_be(column: Column) -> bool:
        n, n_distinct = len(column.text), len(column.distinct)
        comes_again = n_distinct <= MAX_DISTINCT_USERS * n or column.speaks_for("user") >= 2
        other = max(column.speaks_for("item"), column.speaks_for("rating"), column.speaks_for("time")) >= 2
        is_other = other and column.speaks_for("user") < 2
        return column.name not in taken and column.is_whole and n_distinct > 1 and comes_again and not is_other

    def rank(column: Column) -> tuple[int, ...]:
        dated = column.times is not None and column.times.is_dated and column.speaks_for("user") < 2
        return (
            column.speaks_for("user"),
            bool(set(column.words) & ABOUT_IDS),
            -column.speaks_against("user"),
            -dated,
            column.share_missing < MANY_MISSING,
            len(column.distinct),
        )

    return sorted(filter(may_be, columns), key=rank, reverse=True)


def _ranked_titles(columns: list[Column], item_id: Column, in_log: bool) -> list[Column]:
    def may_be(column: Column) -> bool:
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

    def rank(column: Column) -> tuple[float, ...]:
        about = 0.5 * (column.speaks_for("item") >= 2)
        return (min(2, column.speaks_for("title")) + about, len(column.distinct))

    return sorted(filter(may_be, columns), key=rank, reverse=True)


def _ranked_ratings(columns: list[Column], taken: set[str], *, with_gaps: bool) -> list[Column]:
    """Columns that may be the rating; those with gaps would cost the rows without a rating."""
    fitting = [
        column
        for column in columns
        if column.name not in taken
        and column.numbers == 1
        and column.speaks_for("rating")
        and len(column.distinct) <= MAX_RATINGS
        and (column.share_missing > 0) == with_gaps
    ]
    return sorted(fitting, key=lambda column: column.speaks_for("rating"), reverse=True)


def _roles(pairs: list[_Pair], columns: dict[str, list[Column]]) -> Roles:
    best = pairs[0]
    log, items = columns[best.log.name], columns[best.items.name]
    times = _ranked_times(log)
    users = _ranked_users(log, {column.name for column in (best.time, best.item) if column is not None})
    titles = _ranked_titles(items, best.item_id, best.log is best.items)
    taken = {column.name for column in (best.time, best.item, users[0]) if column is not None}
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
    choices |= _time_choices(times, log, taken) if times else _no_time_choices(columns)
    choices["columns.rating"] = _rating_choice(log, taken)
    rivals = tuple(
        dict.fromkeys(other for item, other in best.item_rivals if item == best.item.name and other != best.item_id.name)
    )
    unique = f"{len(best.item_id.distinct):,} different values in {best.items.sample.num_rows:,} rows"
    choices["columns.item_id"] = _of_evidence(
        best.item_id, "item", f"{unique}, {best.overlap:.0%} of the ids of the log among them", rivals, sure=best.overlap > 0.9
    )
    choices["columns.title"] = _choice(titles, "title", f"text such as {short(titles[0].distinct[0].as_py())}")
    verbs = {noun: verb for verb, nouns in VERBS.items() for noun in nouns.split()}
    words = [*best.item.words, *best.item_id.words, *name_words(Path(best.items.name).stem)]
    noun = next((word for word in words if word in verbs), "item")
    return Roles(best.log, best.items, choices, noun, verbs.get(noun, "chose"))


def _time_choices(times: list[Column], log: list[Column], taken: set[str]) -> dict[str, Choice]:
    best, found = times[0], times[0].times
    assert found is not None
    choices = {
        "columns.time": _choice(times, "time", f"values such as {short(best.values.drop_null()[0].as_py())}"),
        "time_format": Choice(found.time_format, found.confidence, found.why, found.others),
    }
    clocks = [column for column in log if column.name not in taken and _all_match(column, TIME_OF_DAY)]
    if clocks and found.time_format == ISO and _all_match(best, A_DAY):
        said = f"{best.name} has dates alone, this has such as {short(clocks[0].text[0].as_py())}"
        choices["columns.time_of_day"] = Choice(clocks[0].name, "likely", said, tuple(other.name for other in clocks[1:]))
    return choices


def _no_time_choices(columns: dict[str, list[Column]]) -> dict[str, Choice]:
    said = "no column holds times, so the order of the file counts: make sure that it is one"
    if parts := [name for name, found in columns.items() if _has_date_in_parts(found)]:
        said += f". {parts[0]} has day, month and year apart; joined into one column, such as 2009-04-01, they are a time"
    return {key: Choice(None, "guess", said) for key in ("columns.time", "time_format")}


def _all_match(column: Column, pattern: str) -> bool:
    return len(column.text) > 0 and bool(pc.all(pc.match_substring_regex(column.text, pattern)).as_py())


def _has_date_in_parts(columns: list[Column]) -> bool:
    return {"day", "month", "year"} <= {word for column in columns for word in column.words}


def _rating_choice(columns: list[Column], taken: set[str]) -> Choice:
    if ratings := _ranked_ratings(columns, taken, with_gaps=False):
        return _choice(ratings, "rating", f"{len(ratings[0].distinct)} different numbers, {_range(ratings[0])}")
    if gaps := _ranked_ratings(columns, taken, with_gaps=True):
        why = f"{gaps[0].name} lacks {gaps[0].share_missing:.1%} of its values, and rows without a rating would be dropped"
        return Choice(None, "likely", why)
    return Choice(None, "likely", "no column of numbers is called like a rating")


def _file_choices(pairs: list[_Pair]) -> dict[str, Choice]:
    best = pairs[0]
    close = [pair for pair in pairs if pair.score[0] >= best.score[0] - CLOSE[1]]
    other_logs = dict.fromkeys(pair.log.name for pair in close if pair.log is not best.log)
    n_rows = f"{best.log.sample.num_rows:,} rows" if best.log.is_whole else f"more than {best.log.sample.num_rows:,} rows"
    said = f"it has columns for {'user, item and time' if best.time is not None else 'user and item'}, and {n_rows}"
    if other_logs:
        said += "; its names, its values or its size speak for it, and nothing is read of the others"
    choices = {"interactions": Choice(best.log.name, "guess" if other_logs else "sure", said, tuple(other_logs))}
    other_items = dict.fromkeys(pair.items.name for pair in close if pair.log is best.log and pair.items is not best.items)
    if best.log is best.items:
        said = "no other file lists the items, but the interactions name them"
    else:
        said = f"{best.overlap:.0%} of the items of the log are in it, with a text each"
    confidence: Confidence = "sure" if best.overlap > 0.9 and not other_items else "likely"
    choices["items"] = Choice(best.items.name, confidence, said, tuple(name for name in other_items if name != best.log.name))
    return choices


def _choice(ranked: list[Column], role: str, evidence: str) -> Choice:
    """The first of ``ranked``; others whose name speaks as strongly are its rivals."""
    best, *others = ranked
    level = best.speaks_for(role)
    has_id = bool(set(best.words) & ABOUT_IDS)
    rivals = tuple(
        other.name
        for other in others
        if other.speaks_for(role) >= min(2, level)
        and (role != "time" or (other.times is not None and other.times.is_dated))
        and (role != "user" or not has_id or set(other.words) & ABOUT_IDS)
    )
    return _of_evidence(best, role, evidence, rivals, sure=level >= 2)


def _of_evidence(column: Column, role: str, evidence: str, rivals: tuple[str, ...], *, sure: bool) -> Choice:
    level = column.speaks_for(role)
    named = "its name, and " if level >= 2 else "its name, perhaps, and " if level else ""
    confidence: Confidence = "guess" if rivals or (not level and not sure) else "sure" if sure and level >= 2 else "likely"
    return Choice(column.name, confidence, named + evidence, rivals)


def _range(column: Column) -> str:
    numbers: Any = column.distinct.cast(pa.float64()).to_numpy()
    return f"{numbers.min():g} to {numbers.max():g}"


def _what_is_missing(columns: dict[str, list[Column]]) -> str:
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
            if _has_date_in_parts(found):
                lines.append(f"{name} has day, month and year apart: join them into one column, such as 2009-04-01.")
    else:
        lines.append(
            f"{', '.join(logs)} may be the log, but no file lists at least {MIN_OVERLAP:.0%} of the ids of one of its columns, "
            "once each and with a text: is the file of titles missing, or are its ids written otherwise? (Recommenders need no "
            "titles: a section may name the ids in columns.title, too.)"
        )
    return "\n".join(lines)
