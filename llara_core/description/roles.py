"""Chooses the files of a log and the roles of their columns; a choice that is open names its rivals.

The evidence is names, types, distinct values and the overlap of item ids.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from llara_core.description.column import ColumnProfile, name_words, share
from llara_core.description.files import FoundFile
from llara_core.description.times import Choice, Confidence
from llara_core.errors import DataError
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
FEW = 12  # distinct texts of a column by which rows may be chosen

Rank = tuple[float, ...] | None
"""The higher, the better; None: the column cannot have the role."""


@dataclass(frozen=True)
class Roles:
    """What the files and columns of a folder mean.

    Attributes:
        choices: by key of the section: ``interactions``, ``items``, ``columns.user``, ... and ``time_format``.
        noun, verb: for prompts.
        unused: a sentence for each use that the other columns may have.
    """

    interactions: FoundFile
    items: FoundFile
    choices: dict[str, Choice]
    noun: str
    verb: str
    unused: list[str]

    def columns(self) -> dict[str, str | None]:
        return {key.removeprefix("columns."): found.value for key, found in self.choices.items() if key.startswith("columns.")}


@dataclass(frozen=True)
class _Pair:
    """Two files read as a log and its items; times, users and titles are ranked, ``rivals`` are other pairs of item ids."""

    log: FoundFile
    items: FoundFile
    times: list[ColumnProfile]
    users: list[ColumnProfile]
    titles: list[ColumnProfile]
    item: ColumnProfile
    item_id: ColumnProfile
    overlap: float
    score: tuple[float, int]
    rivals: list[tuple[str, str]]


def guess_roles(files: Sequence[FoundFile], missing: list[str]) -> Roles:
    """Chooses two files whose item ids match, with a time and a user in the one and a title in the other; or one file with all.

    Only if there is no such pair may the time be missing.

    Raises:
        DataError: there is no such pair; the message says what each file lacks.
    """
    profiles = {
        file.name: [ColumnProfile(name, file.sample[name], missing) for name in file.sample.column_names] for file in files
    }
    found = [pair for log in files for items in files if (pair := _pair(log, items, profiles))]
    pairs = [pair for pair in found if pair.times] or found
    if not pairs:
        raise DataError(_what_is_missing(profiles))
    return _roles(sorted(pairs, key=lambda pair: pair.score, reverse=True), profiles)


def _pair(log: FoundFile, items: FoundFile, profiles: dict[str, list[ColumnProfile]]) -> _Pair | None:
    of_log, of_items, is_same = profiles[log.name], profiles[items.name], log is items
    times = _ranked(of_log, _time_rank)
    if not times and (is_same or _has_date_in_parts(of_log)):
        return None
    matches = []
    for item in of_log:
        is_unique = not times and item.share_distinct > MAX_DISTINCT_USERS
        if item in times[:1] or not item.is_id or max(item.says("time"), item.says("title")) >= 2 or is_unique:
            continue
        for item_id in [item] if is_same else [column for column in of_items if column.share_distinct >= MIN_DISTINCT_ITEMS]:
            overlap = 1.0 if is_same else share(pc.is_in(item.distinct, item_id.distinct))
            titles = _ranked(of_items, lambda column, item_id=item_id: _title_rank(column, item_id, is_same))  # type: ignore[misc]
            if item_id.is_id and titles and overlap >= (MIN_OVERLAP if items.is_whole else MIN_OVERLAP_OF_SAMPLE):
                named = item.says("item") - 3 * (item.says("user") >= 2) - item.says("rating")
                by_name = 2 * named + (item.words == item_id.words) + item_id.says("item")
                covered = len(item.distinct) * overlap / max(1, len(item_id.distinct))
                by_values = 4 * overlap + covered + (0 if is_same else 2 * item_id.share_distinct)
                matches.append((by_name + by_values, item, item_id, titles, overlap))
    matches.sort(key=lambda match: match[0], reverse=True)
    taken = [*times[:1], *(match[1] for match in matches[:1])]
    users = _ranked([column for column in of_log if column not in taken], _user_rank)
    if not matches or not users:
        return None
    score, item, item_id, titles, overlap = matches[0]
    rivals = [(match[1].name, match[2].name) for match in matches[1:] if match[0] >= score - CLOSE_COLUMNS]
    # A file of its own for the items is better than titles in the log; of several logs the largest counts.
    score += (times[0].says("time") if times else 0) + 2 * users[0].says("user") + titles[0].says("title")
    score += 0.5 * any(column.says("rating") >= 2 for column in of_log) - 3 * is_same
    return _Pair(log, items, times, users, titles, item, item_id, overlap, (score, log.n_bytes), rivals)


def _ranked(columns: Sequence[ColumnProfile], rank: Callable[[ColumnProfile], Rank]) -> list[ColumnProfile]:
    ranks = [(found, column) for column in columns if (found := rank(column)) is not None]
    return [column for _, column in sorted(ranks, key=lambda each: each[0], reverse=True)]


def _time_rank(column: ColumnProfile) -> Rank:
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


def _roles(pairs: list[_Pair], profiles: dict[str, list[ColumnProfile]]) -> Roles:
    best = pairs[0]
    log, items, times, item, item_id = best.log, best.items, best.times, best.item, best.item_id
    others = [column for column in profiles[log.name] if column not in (*times[:1], item, best.users[0])]
    n_rows, overlap, has_id = log.sample.num_rows, f"{best.overlap:.0%}", best.users[0].has_id_word
    found = _file_choices(pairs)
    users = [column for column in best.users if column.has_id_word or not has_id]
    found["columns.user"] = _choice(users, "user", f"{len(users[0].distinct):,} different values in {n_rows:,} rows")
    if "name" in users[0].words and found["columns.user"].confidence == "sure":
        found["columns.user"] = replace(found["columns.user"], confidence="likely")  # two people may have one name
    said = "the titles stand in the same file" if log is items else f"{overlap} of its values are in {items.name}"
    found["columns.item"] = _choice([item], "item", said, [name for name, _ in best.rivals], best.overlap)
    found |= _time_choices(times, others, profiles)
    found["columns.rating"] = _rating_choice(_ranked(others, _rating_rank))
    said = f"{len(item_id.distinct):,} different values in {items.sample.num_rows:,} rows"
    said += f", {overlap} of the ids of the log among them"
    rivals = [of_items for of_log, of_items in best.rivals if of_log == item.name]
    found["columns.item_id"] = _choice([item_id], "item", said, rivals, best.overlap)
    found["columns.title"] = _choice(best.titles, "title", f"text such as {short(best.titles[0].distinct[0].as_py())}")
    verbs = {noun: verb for verb, nouns in VERBS.items() for noun in nouns.split()}
    words = [*item.words, *item_id.words, *name_words(Path(items.name).stem)]
    noun = next((word for word in words if word in verbs), "item")
    used = {choice.value for choice in found.values()}
    unused = _unused(profiles[log.name], [] if log is items else profiles[items.name], used)
    return Roles(log, items, found, noun, verbs.get(noun, "chose"), unused)


def _choice(
    ranked: Sequence[ColumnProfile], role: str, evidence: str, rivals: Sequence[str] = (), overlap: float | None = None
) -> Choice:
    """Chooses the first column; rivals are also the others whose names speak as strongly.

    Args:
        overlap: of the ids, which needs no name; None: the name decides.
    """
    best, says = ranked[0], ranked[0].says(role)
    alike = [*rivals, *(column.name for column in ranked if column.says(role) >= min(2, says))]
    others = tuple(name for name in dict.fromkeys(alike) if name != best.name)
    is_sure = says >= 2 if overlap is None else overlap > 0.9
    confidence: Confidence = "guess" if others or not (says or is_sure) else "sure" if is_sure and says >= 2 else "likely"
    return Choice(best.name, confidence, ("", "its name, perhaps, and ", "its name, and ")[min(2, says)] + evidence, others)


def _time_choices(
    times: list[ColumnProfile], others: list[ColumnProfile], profiles: dict[str, list[ColumnProfile]]
) -> dict[str, Choice]:
    if not times or (guess := times[0].times) is None:
        said = "no column holds times, so the order of the file counts: make sure that it is one"
        if parts := [name for name, columns in profiles.items() if _has_date_in_parts(columns)]:
            said += f". {parts[0]} has day, month and year apart; joined into one column, such as 2009-04-01, they are a time"
        return {key: Choice(None, "guess", said) for key in ("columns.time", "time_format")}
    best, ranked = times[0], [times[0], *(column for column in times[1:] if column.is_dated)]
    choices = {
        "columns.time": _choice(ranked, "time", f"values such as {short(best.values.drop_null()[0].as_py())}"),
        "time_format": Choice(guess.time_format, guess.confidence, guess.why, guess.others),
    }
    clocks = [column for column in others if column.all_match(TIME_OF_DAY)]
    if clocks and guess.time_format == ISO and best.all_match(A_DAY):
        said = f"{best.name} has dates alone, this has such as {short(clocks[0].text[0].as_py())}"
        choices["columns.time_of_day"] = Choice(clocks[0].name, "likely", said, tuple(other.name for other in clocks[1:]))
    return choices


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


def _file_choices(pairs: list[_Pair]) -> dict[str, Choice]:
    best, log = pairs[0], pairs[0].log
    close = [pair for pair in pairs if pair.score[0] >= best.score[0] - CLOSE_FILES]
    logs = tuple(dict.fromkeys(pair.log.name for pair in close if pair.log is not log))
    lists = tuple(dict.fromkeys(pair.items.name for pair in close if pair.log is log and pair.items not in (best.items, log)))
    n_rows = f"{'' if log.is_whole else 'more than '}{log.sample.num_rows:,} rows"
    said = f"it has columns for {'user, item and time' if best.times else 'user and item'}, and {n_rows}"
    said += "; its names, its values or its size speak for it, and nothing is read of the others" if logs else ""
    choices = {"interactions": Choice(log.name, "guess" if logs else "sure", said, logs)}
    said = f"{best.overlap:.0%} of the items of the log are in it, with a text each"
    said = "no other file lists the items, but the interactions name them" if best.items is log else said
    confidence: Confidence = "sure" if best.overlap > 0.9 and not lists else "likely"
    return {**choices, "items": Choice(best.items.name, confidence, said, lists)}


def _unused(log: list[ColumnProfile], items: list[ColumnProfile], used: Collection[str | None]) -> list[str]:
    """Returns what the other columns may serve for: to choose rows of the log, as attributes of the items, or for nothing."""
    said, left = [], []
    for column in (column for column in log if column.name not in used):
        if 1 < len(column.distinct) <= min(FEW, len(column.text) // 2) and column.numbers < 1:
            texts = [text for text, _ in Counter(column.text.to_pylist()).most_common()]
            shown = ", ".join(map(short, texts[:3])) + (", ..." if len(texts) > 3 else "")
            said.append(f"{column.name} ({shown}): rows can be chosen by it, as in `keep: {{{column.name}: [{texts[0]}]}}`")
        else:
            left.append(column.name)
    varied = {column.name: len(column.distinct) > 1 for column in items if column.name not in used}
    left += [name for name, is_varied in varied.items() if not is_varied]
    if names := ", ".join(name for name, is_varied in varied.items() if is_varied):
        said.append(f"{names}: attributes of the items, for `columns.attributes: [{names}]`")
    return [*said, *([f"no use is seen for {', '.join(left)}"] if left else [])]


def _has_date_in_parts(columns: list[ColumnProfile]) -> bool:
    return {"day", "month", "year"} <= {word for column in columns for word in column.words}


def _what_is_missing(profiles: dict[str, list[ColumnProfile]]) -> str:
    """Returns why no pair of files is a log, by what each file lacks."""
    said = (
        "no files here are a log and its items. A log has a user, an item and a time in each row; items have an id and a title:"
    )
    logs = {name: times[:1] for name, found in profiles.items() if (times := _ranked(found, _time_rank))}
    for name, found in profiles.items():
        seen = {"a time": logs.get(name, [])}
        seen |= {f"a {role}": [column for column in found if column.says(role) >= 2] for role in ("user", "title")}
        has = ", ".join(f"{what} {columns[0].name!r}" for what, columns in seen.items() if columns)
        names = ", ".join(column.name for column in found)
        said += f"\n  {name}: columns {names}; {f'has {has}' if has else 'no time, user or title is seen'}"
    if logs:
        return (
            f"{said}\n{', '.join(logs)} may be the log, but no file lists at least {MIN_OVERLAP:.0%} of the ids of one of its "
            "columns, once each and with a text: is the file of titles missing, or are its ids written otherwise? "
            "(Recommenders need no titles: a section may name the ids in columns.title, too.)"
        )
    said += "\nNo file has a column of times, without which there is no order."
    for name, found in profiles.items():
        if _has_date_in_parts(found):
            said += f"\n{name} has day, month and year apart: join them into one column, such as 2009-04-01."
    return said
