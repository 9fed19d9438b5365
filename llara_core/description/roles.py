"""Chooses a log and its items among the files, and the roles of their columns: by names, types, distinct values and the overlap
of item ids. Each choice says what speaks for it and what would do as well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pyarrow.compute as pc

from llara_core.description.column import ID_WORDS, Column, name_words
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
CLOSE_COLUMNS, CLOSE_FILES = 0.5, 3.0  # largest differences in score between the best and an alternative
MAX_RATINGS = 101  # distinct ratings: 0 to 10 in tenths, or 0 to 100
MAX_DISTINCT_USERS = 0.9  # distinct values per row, since users return
MIN_DISTINCT_ITEMS = 0.4  # distinct values per row of the items, which may list an item twice
MANY_MISSING = 0.05  # share of missing values; few users are unknown
MAX_TITLE = 200  # mean number of characters of titles
FEW = 12  # distinct texts of a column by which rows can be chosen

Rank = tuple[float, ...] | None
"""The highest is the best; a column without a rank cannot have the role."""


@dataclass(frozen=True)
class Roles:
    """The roles of files and columns.

    Attributes:
        choices: choices by key of the section: ``interactions``, ``items``, ``columns.user``, ... and ``time_format``.
        overlap: share of the log's item ids that the item file lists.
        score: strength of the evidence, and size of the log.
    """

    interactions: FoundFile
    items: FoundFile
    choices: dict[str, Choice]
    overlap: float
    score: tuple[float, int]

    def columns(self) -> dict[str, str | None]:
        return {key.partition(".")[2]: choice.value for key, choice in self.choices.items() if key.startswith("columns.")}

    def words(self) -> dict[str, str]:
        """Returns the words for an item and an interaction in prompts, by key of the section."""
        verbs = {noun: verb for verb, nouns in VERBS.items() for noun in nouns.split()}
        names = [self.choices[key].value or "" for key in ("columns.item", "columns.item_id")]
        words = [word for name in (*names, Path(self.items.name).stem) for word in name_words(name)]
        noun = next((word for word in words if word in verbs), "item")
        return {"noun": noun, "verb": verbs.get(noun, "chose")}

    def unused(self) -> list[str]:
        """Returns the uses of the other columns: to choose rows of the log, as attributes of the items, or none."""
        uses, used = list[str](), self.columns().values()
        rest = [column for column in self.interactions.columns if column.name not in used]
        filters = [column for column in rest if 1 < len(column.distinct) <= min(FEW, len(column.text) // 2)]
        filters = [column for column in filters if column.share_numeric < 1]
        for column in filters:
            texts = [text for text, _ in Counter(column.text.to_pylist()).most_common()]
            shown = ", ".join(map(short, texts[:3])) + (", ..." if len(texts) > 3 else "")
            keep = f"{{{column.name}: [{texts[0]}]}}"
            uses.append(f"{column.name} ({shown}): to use only some rows, add for example `keep: {keep}`")
        of_items = [] if self.items is self.interactions else self.items.columns
        of_items = [column for column in of_items if column.name not in used]
        attributes = [column for column in of_items if len(column.distinct) > 1]
        if names := ", ".join(column.name for column in attributes):
            uses.append(f"{names}: to use them as attributes of the items, set `columns.attributes: [{names}]`")
        useless = [column.name for column in (*rest, *of_items) if column not in filters and column not in attributes]
        return [*uses, *([f"{', '.join(useless)}: no use found"] if useless else [])]


def choose_roles(files: Sequence[FoundFile]) -> Roles | None:
    """Chooses a log and the file of its items, which may be the same; None if there are none.

    A log without times is chosen only if no other has times.
    """
    pairs = [roles for log in files for items in files if (roles := _of_pair(log, items, files))]
    pairs = [roles for roles in pairs if roles.columns()["time"] is not None] or pairs
    if not pairs:
        return None
    best, *others = sorted(pairs, key=lambda roles: roles.score, reverse=True)
    log, items = best.interactions, best.items
    close = [roles for roles in others if roles.score[0] >= best.score[0] - CLOSE_FILES]
    logs = tuple(dict.fromkeys(roles.interactions.name for roles in close if roles.interactions is not log))
    lists = tuple(roles.items.name for roles in close if roles.interactions is log and roles.items is not log)
    why = f"it has a user and an item in {'' if log.is_whole else 'more than '}{log.n_rows:,} rows"
    why += "; its names, values or size decided, and the alternatives are not read" if logs else ""
    chosen = {"interactions": Choice(log.name, "guess" if logs else "sure", why, logs)}
    why = f"it lists {best.overlap:.0%} of the items in the log, each with a text"
    why = "no other file lists the items, but this one has their titles, too" if items is log else why
    chosen["items"] = Choice(items.name, "sure" if best.overlap > 0.9 and not lists else "likely", why, lists)
    return replace(best, choices=chosen | best.choices)


def _of_pair(log: FoundFile, items: FoundFile, files: Sequence[FoundFile]) -> Roles | None:
    """Chooses the columns of two files; None if they cannot be a log and its items."""
    times = _ranked(log.columns, _time_rank)
    if not times and (items is log or _has_date_in_parts(log)):
        return None
    matches = sorted(_matches(log, items, times), key=lambda match: match[0], reverse=True)
    if not matches:
        return None
    score, item, item_id, titles, overlap = matches[0]
    users = _ranked([column for column in log.columns if column not in (*times[:1], item)], _user_rank)
    if not users:
        return None
    others = [column for column in log.columns if column not in (*times[:1], item, users[0])]
    close = [match for match in matches[1:] if match[0] >= score - CLOSE_COLUMNS]
    # A separate file of items is better than titles in the log; of several logs the largest is chosen.
    score += (times[0].score("time") if times else 0) + 2 * users[0].score("user") + titles[0].score("title")
    score += 0.5 * any(column.score("rating") >= 2 for column in log.columns) - 3 * (items is log)
    of_items = "the titles are in the same file" if items is log else f"{overlap:.0%} of its values are in {items.name}"
    user = _choice(users, "user", f"{len(users[0].distinct):,} different values in {log.n_rows:,} rows")
    if "name" in users[0].words and user.confidence == "sure":
        user = replace(user, confidence="likely")  # two people may have one name
    choices = {
        "columns.user": user,
        "columns.item": _choice([item, *(other for _, other, *_ in close)], "item", of_items, overlap),
        **_time_choices(times, others, files),
        "columns.rating": _rating_choice(others),
        "columns.item_id": _choice(
            [item_id, *(ids for _, other, ids, *_ in close if other is item)],
            "item",
            f"{len(item_id.distinct):,} different values in {items.n_rows:,} rows",
            overlap,
        ),
        "columns.title": _choice(titles, "title", f"text such as {short(titles[0].distinct[0].as_py())}"),
    }
    return Roles(log, items, choices, overlap, (score, log.n_bytes))


def _matches(
    log: FoundFile, items: FoundFile, times: Sequence[Column]
) -> Iterator[tuple[float, Column, Column, list[Column], float]]:
    """Yields score, item column of the log, id column of the items, possible titles (best first), and share of the log's item
    ids that the items list, for each pair of columns that match."""
    for item in log.columns:
        is_other = item in times[:1] or max(item.score("time"), item.score("title")) >= 2
        if is_other or not item.is_id or (not times and item.share_distinct > MAX_DISTINCT_USERS):
            continue
        for item_id in [item] if items is log else items.columns:
            if not item_id.is_id or (item_id.share_distinct < MIN_DISTINCT_ITEMS and items is not log):
                continue
            overlap = share(pc.is_in(item.distinct, item_id.distinct))
            titles = _ranked(items.columns, partial(_title_rank, item_id=item_id, in_log=items is log))
            if titles and overlap >= (MIN_OVERLAP if items.is_whole else MIN_OVERLAP_OF_SAMPLE):
                by_name = item.score("item") - 3 * (item.score("user") >= 2) - item.score("rating")
                by_name = 2 * by_name + (item.words == item_id.words) + item_id.score("item")
                covered = len(item.distinct) * overlap / max(1, len(item_id.distinct))
                by_values = 4 * overlap + covered + (0 if items is log else 2 * item_id.share_distinct)
                yield by_name + by_values, item, item_id, titles, overlap


def _ranked(columns: Sequence[Column], rank: Callable[[Column], Rank]) -> list[Column]:
    """Returns the columns that can have a role, the best one first."""
    ranks = [(place, column) for column in columns if (place := rank(column)) is not None]
    return [column for _, column in sorted(ranks, key=lambda pair: pair[0], reverse=True)]


def _time_rank(column: Column) -> Rank:
    """Ranks by name, then numbers before text, since they are often finer."""
    score, times = column.score("time"), column.times
    is_id = max(column.score("user"), column.score("item")) >= 2
    if times is None or (not score and (is_id or times.confidence == "guess")) or not (times.is_dated or score >= 2):
        return None
    return min(2, score) + 2 * times.is_dated, score, times.confidence == "sure", column.share_numeric == 1


def _user_rank(column: Column) -> Rank:
    score, has_id_word = column.score("user"), not ID_WORDS.isdisjoint(column.words)
    is_other = max(map(column.score, ("item", "rating", "time"))) >= 2
    if not column.is_id or len(column.distinct) < 2 or (score < 2 and (is_other or column.share_distinct > MAX_DISTINCT_USERS)):
        return None
    return score, has_id_word, -(column.is_dated and score < 2), column.share_missing < MANY_MISSING, len(column.distinct)


def _title_rank(column: Column, item_id: Column, in_log: bool) -> Rank:
    score, n, length = column.score("title"), len(column.distinct), pc.mean(pc.utf8_length(column.text)).as_py() or 0
    is_text = column.share_numeric < 0.5 and 1 < length <= MAX_TITLE and not column.is_dated
    is_other = column is item_id or (column.score("user") >= 2 and not column.score("item"))
    # Texts that repeat, as genres do, are not titles.
    repeats = score < 2 and (in_log or n < len(item_id.distinct) / 2)
    if not is_text or is_other or repeats or column.all_match(r"^https?://"):
        return None
    return min(2, score) + 0.5 * (column.score("item") >= 2), n


def _choice(columns: Sequence[Column], role: str, evidence: str, overlap: float | None = None) -> Choice:
    """Chooses the first column; the others are alternatives.

    Args:
        overlap: share of matching ids, which makes a name unnecessary; without it, alternatives need a name that is as clear.
    """
    best, score = columns[0], columns[0].score(role)
    alike = [column.name for column in columns if overlap is not None or column.score(role) >= min(2, score)]
    alternatives = tuple(name for name in dict.fromkeys(alike) if name != best.name)
    is_sure = score >= 2 if overlap is None else overlap > 0.9
    is_open = alternatives or not (score or is_sure)
    confidence: Confidence = "guess" if is_open else "sure" if is_sure and score >= 2 else "likely"
    why = ("", "the name may say so; ", "the name says so; ")[min(2, score)] + evidence
    return Choice(best.name, confidence, why, alternatives)


def _time_choices(times: list[Column], others: list[Column], files: Sequence[FoundFile]) -> dict[str, Choice]:
    if not times:
        why = "no column holds times, so the order of the file counts: check that the oldest rows come first"
        why = ". ".join([why, *_dates_in_parts(files)])
        return {"columns.time": Choice(None, "guess", why), "time_format": Choice(None, "guess", "there are no times")}
    best, guess = times[0], times[0].times
    assert guess is not None
    alike = [best, *(column for column in times[1:] if column.is_dated)]
    values = f"values such as {short(best.values.drop_null()[0].as_py())}"
    choices: dict[str, Choice] = {"columns.time": _choice(alike, "time", values), "time_format": guess}
    clocks = [column for column in others if column.all_match(TIME_OF_DAY)]
    if clocks and guess.value == ISO and best.all_match(A_DAY):
        why = f"{best.name} holds only dates, this column times of day such as {short(clocks[0].text[0].as_py())}"
        choices["columns.time_of_day"] = Choice(clocks[0].name, "likely", why, tuple(other.name for other in clocks[1:]))
    return choices


def _rating_choice(columns: list[Column]) -> Choice:
    named = [column for column in columns if column.score("rating") and column.share_numeric == 1]
    named = [column for column in named if len(column.distinct) <= MAX_RATINGS]
    if not named:
        return Choice(None, "likely", "no column of numbers has the name of a rating")
    best = max(named, key=lambda column: (not column.share_missing, column.score("rating")))
    if best.share_missing:
        why = f"{best.name} lacks {best.share_missing:.1%} of its values, and rows without a rating would be dropped"
        return Choice(None, "likely", why)
    whole = [best, *(column for column in named if column is not best and not column.share_missing)]
    return _choice(whole, "rating", f"{len(best.distinct)} different numbers")


def explain_no_log(files: Sequence[FoundFile]) -> str:
    """Returns why no pair of files is a log with its items."""
    lines = [
        "found no log with its items. A row of a log has a user, an item and a time; a row of the items has an id and a title:"
    ]
    logs = {file.name: times[:1] for file in files if (times := _ranked(file.columns, _time_rank))}
    for file in files:
        seen = {"a time": logs.get(file.name, [])}
        seen |= {f"a {role}": [column for column in file.columns if column.score(role) >= 2] for role in ("user", "title")}
        has = ", ".join(f"{what} ({matching[0].name!r})" for what, matching in seen.items() if matching)
        names = ", ".join(column.name for column in file.columns)
        lines.append(f"  {file.name}: columns {names}; {f'has {has}' if has else 'nothing looks like a time, user or title'}")
    if not logs:
        return "\n".join([*lines, "No file has a column of times, which give the order.", *_dates_in_parts(files)])
    lines.append(
        f"{', '.join(logs)} may be the log, but no file lists at least {MIN_OVERLAP:.0%} of the ids of one of its columns, "
        "once each and with a text. Is the file of titles missing, or are its ids written differently? (If there are no "
        "titles, columns.title may name the column of the ids; recommenders need no titles.)"
    )
    return "\n".join(lines)


def _has_date_in_parts(file: FoundFile) -> bool:
    return {"day", "month", "year"} <= {word for column in file.columns for word in column.words}


def _dates_in_parts(files: Sequence[FoundFile]) -> list[str]:
    advice = "has day, month and year in separate columns: join them into one, such as 2009-04-01"
    return [f"{file.name} {advice}" for file in files if _has_date_in_parts(file)]
