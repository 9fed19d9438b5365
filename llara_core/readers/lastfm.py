"""Reader of the GroupLens archive HetRec 2011 Last.fm 2K (``artists.dat`` and ``user_taggedartists.dat``)."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pandas as pd

from llara_core import columns as c
from llara_core.config import LastFmConfig
from llara_core.errors import DataError
from llara_core.readers.interaction_log import RawLog, count
from llara_core.readers.item_texts import attribute
from llara_core.readers.text_lines import Lines

ARTISTS, TAGGED, TIMED = "artists.dat", "user_taggedartists.dat", "user_taggedartists-timestamps.dat"
TAGS = "tags.dat"
DAY_MS = 86_400_000
EPOCH = date(1970, 1, 1)

_ID = r"(\d{1,18})"
_EXPECTED = "{} separated by tabs, ids and times as whole numbers"


def _lines(header: str, pattern: str, encoding: str = "utf-8") -> Lines:
    return Lines(pattern, _EXPECTED.format(", ".join(header.split())), encoding, header)


# Lines are not parsed as CSV, since double quotes in names are ordinary characters.
_ARTISTS = _lines("id\tname\turl\tpictureURL", rf"{_ID}\t([^\t]*)\t[^\t]*\t[^\t]*")
_TAGS = _lines("tagID\ttagValue", rf"{_ID}\t([^\t]*)", "cp1252")
_TAGGED = _lines("userID\tartistID\ttagID\tday\tmonth\tyear", rf"{_ID}\t{_ID}\t{_ID}\t(\d\d?)\t(\d\d?)\t(\d{{4}})")
_TIMED = _lines("userID\tartistID\ttagID\ttimestamp", rf"{_ID}\t{_ID}\t{_ID}\t(-?\d{{1,18}})")

_TAG_ID = "tag"
Tagging = tuple[int, int, int, int]  # raw ids of user, artist and tag; milliseconds since 1970


def read(folder: Path, _: LastFmConfig) -> RawLog:
    """Reads the log in ``folder``: the first tag of each user for each artist, in file order, which is by user and artist id.

    Timestamps are those of ``user_taggedartists-timestamps.dat`` if the file exists, otherwise the dates at 00:00 UTC (most are
    the first of a month). The attribute of an artist consists of the most frequent tags, of users of all splits.

    Returns:
        A log with the steps ``raw`` (one interaction per tag), ``distinct`` (one per user and artist) and ``known`` (only
        artists that ``artists.dat`` lists).

    Raises:
        DataError: a file is missing or malformed, or two files do not belong together.

    Source: the first two steps of the rule that reproduces the frames released with the paper, row by row.
    """
    artists = _ARTISTS.by_id(folder / ARTISTS)
    ids, names = pd.Series(list(artists), dtype="int64"), [name.strip() for (name,) in artists.values()]
    items = pd.DataFrame({c.ITEM: ids, c.RAW_TITLE: names})
    rows = _read_tagged(folder / TAGGED)
    if (folder / TIMED).exists():
        rows = _read_timed(folder / TIMED, rows)
    tagged = pd.DataFrame(rows, columns=[c.USER, c.ITEM, _TAG_ID, c.TIMESTAMP], dtype="int64")
    items[c.ATTRIBUTES] = _top_tags(
        items[c.ITEM], tagged, {tag: name.strip() for tag, (name,) in _TAGS.by_id(folder / TAGS).items()}
    )
    tagged = tagged.drop(columns=_TAG_ID)
    distinct = tagged.drop_duplicates([c.USER, c.ITEM], ignore_index=True)
    known = distinct[distinct[c.ITEM].isin(items[c.ITEM])].reset_index(drop=True)
    if known.empty:
        raise DataError(f"{folder / TAGGED}: {ARTISTS} lists none of its artists; take both files from the same archive")
    steps = {"raw": count(tagged), "distinct": count(distinct), "known": count(known)}
    return RawLog.number(known, items, steps, ticks_per_second=1000)


def _top_tags(artists: pd.Series[int], tagged: pd.DataFrame, names: dict[int, str]) -> list[list[str]]:
    """Returns the tags of each artist as its only attribute, most frequent first, ties by tag id."""
    counts = tagged.groupby([c.ITEM, _TAG_ID]).size().reset_index(name="n")
    counts = counts.sort_values([c.ITEM, "n", _TAG_ID], ascending=[True, False, True])
    tags = counts[counts[_TAG_ID].isin(names)].groupby(c.ITEM)[_TAG_ID].agg(list).to_dict()
    return [[attribute("tags", (names[tag] for tag in tags.get(artist, ())))] for artist in artists]


def _read_tagged(path: Path) -> list[Tagging]:
    rows = []
    for place, (user, artist, tag, day, month, year) in _TAGGED.read(path):
        try:
            days = (date(int(year), int(month), int(day)) - EPOCH).days
        except ValueError as error:
            raise DataError(f"{place}: there is no day {day}, month {month}, year {year}") from error
        rows.append((int(user), int(artist), int(tag), days * DAY_MS))
    return rows


def _read_timed(path: Path, dated: list[Tagging]) -> list[Tagging]:
    """Returns the rows with the exact times of another file, which must have the same rows in the same order."""
    remedy = f"take both files from the same archive, or remove {path.name}"
    rows: list[Tagging] = []
    for place, (user, artist, tag, milliseconds) in _TIMED.read(path):
        row = (int(user), int(artist), int(tag), int(milliseconds))
        if len(rows) == len(dated) or dated[len(rows)][:3] != row[:3]:
            raise DataError(f"{place}: differs from row {len(rows) + 1} of {TAGGED}; {remedy}")
        # Two days, since the dates are in an unknown local time zone.
        if abs(row[3] - dated[len(rows)][3]) > 2 * DAY_MS:
            raise DataError(f"{place}: over 2 days from the date in row {len(rows) + 1} of {TAGGED}; {remedy}")
        rows.append(row)
    if len(rows) < len(dated):
        raise DataError(f"{path}: has {len(rows)} rows, {TAGGED} {len(dated)}; {remedy}")
    return rows
