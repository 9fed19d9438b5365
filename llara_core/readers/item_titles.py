"""Cleans titles as a data set's section says (``titles``), for all readers at one place, and counts what was changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from html.parser import HTMLParser

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from llara_core import columns as c
from llara_core.config import TitlesConfig
from llara_core.errors import DataError
from llara_core.readers.interaction_log import Counts
from llara_core.readers.titles import as_seen, movie_title, plain_title
from llara_core.readers.values import short

# Tags that stand inside a word or sentence; every other one ends a word.
_INLINE = frozenset({"a", "abbr", "b", "big", "em", "font", "i", "s", "small", "span", "strong", "sub", "sup", "u"})
_INVISIBLE = frozenset({"script", "style"})


@dataclass(frozen=True)
class CleanTitles:
    """Titles for prompts.

    Attributes:
        titles: aligned with the raw ones.
        years: years of release, where the titles are movies' and end in one.
        counts: how many titles lost HTML tags, were cut, or hold U+FFFD in place of lost characters.
    """

    titles: list[str]
    years: list[int | None]
    counts: Counts


def clean_titles(raw: Iterable[str], config: TitlesConfig, are_movies: bool) -> CleanTitles:
    """Cleans titles as prompts show them.

    Entities are decoded first, so that escaped tags go, too. Then, as ``config`` says, tags are taken out; then a movie's year
    and article are moved; then the title is cut.

    Args:
        raw: titles as read.
        are_movies: the titles have MovieLens' articles and years at their ends; elsewhere these belong to the title.
    """
    counts = {"html_removed": 0, "cut": 0, "damaged": 0}
    titles: list[str] = []
    years: list[int | None] = []
    for text in raw:
        title, year = plain_title(text), None
        if config.strip_html and (bare := without_tags(title)) != title:
            counts["html_removed"] += 1
            title = bare
        if are_movies:
            title, year = movie_title(title)
        if config.max_chars is not None and (shorter := cut(title, config.max_chars)) != title:
            counts["cut"] += 1
            title = shorter
        counts["damaged"] += "\ufffd" in title
        titles.append(title)
        years.append(year)
    return CleanTitles(titles, years, counts)


def without_tags(title: str) -> str:
    """Returns the title without HTML tags, comments, scripts and styles; as it is, if nothing would be left.

    >>> without_tags('<span class="x">Heat</span> <b>4</b>K<br>1 < 2')
    'Heat 4K 1 < 2'
    >>> without_tags("<Untitled>")
    '<Untitled>'
    """
    end = title.rfind(">") + 1
    if "<" not in title[:end]:
        return title
    parser = _Text()
    # Entities are decoded already, so that what looks like one is meant. What follows the last > holds no whole tag, and
    # Python's versions differ on unfinished ones.
    parser.feed(title[:end].replace("&", "&amp;"))
    parser.close()
    return plain_title("".join([*parser.parts, title[end:]])) or title


class _Text(HTMLParser):
    """Collects the text between the tags."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in _INVISIBLE
        self.parts.append("" if tag in _INLINE else " ")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.parts.append("" if tag in _INLINE else " ")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in _INVISIBLE and self._hidden > 0
        self.parts.append("" if tag in _INLINE else " ")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data)


def cut(title: str, max_chars: int) -> str:
    """Returns the first ``max_chars`` characters, up to the end of a word where one ends in their second half.

    >>> cut("The Lord of the Rings", 14), cut("Supercalifragilistic", 8)
    ('The Lord of', 'Supercal')
    """
    if len(title) <= max_chars:
        return title
    end = title.rfind(" ", max_chars // 2, max_chars + 1)
    return title[: end if end > 0 else max_chars].rstrip()


def first_titles(
    numbers: npt.NDArray[np.int32],
    titles: pa.ChunkedArray,
    attributes: list[list[str]] | None,
    raw_ids: pa.StringArray,
    config: TitlesConfig,
    place: Callable[[int], str],
) -> tuple[pd.DataFrame, Counts]:
    """Returns one title per item, with the attributes of its row: that of the first row that has a title, else an empty one.

    Args:
        numbers: number of each row's item, in file order.
        titles: title of each row; may be empty.
        attributes: texts of each row, as :func:`llara_core.readers.item_texts.attribute` makes them; None: there are none.
        raw_ids: raw ids by item number.
        config: says whether an item may have different titles.
        place: returns the place of a row, for messages.

    Returns:
        ``raw_id``, ``raw_title`` and, where there are, ``attributes``, by number; and how many rows were left out
        (``items_duplicated``) and, if that is no error, how many items had titles that differ once cleaned
        (``items_with_several_titles``).

    Raises:
        DataError: an item has different titles, and ``config.several`` does not say that the first counts.
    """
    rows = pd.DataFrame({c.ITEM: numbers, c.RAW_TITLE: titles.to_pandas()})
    if attributes is not None:
        rows[c.ATTRIBUTES] = attributes
    again = rows[rows[c.ITEM].duplicated(keep=False)]
    cleaned = again[c.RAW_TITLE].map(lambda title: as_seen(plain_title(title)))
    titled = again.assign(cleaned=cleaned)[cleaned != ""]
    differing = titled.drop_duplicates([c.ITEM, "cleaned"])
    clashing = differing[differing[c.ITEM].duplicated(keep=False)]
    if len(clashing) and config.several == "error":
        number = int(clashing[c.ITEM].iloc[0])
        twins = clashing[clashing[c.ITEM] == number]
        first, second = (place(int(row)) for row in twins.index[:2])
        title, other = twins[c.RAW_TITLE].iloc[:2]
        raise DataError(
            f"{second}: item {raw_ids[number].as_py()!r} is {short(other)} here and {short(title)} in {first}; "
            "an item has one title (set `titles.several: first`, or, where each property of an item has a row, `keep_items` to "
            "the rows of the titles)"
        )
    # A row without a title gives way to a later one that has one.
    distinct = pd.concat([titled[[*rows]], rows]).drop_duplicates(c.ITEM).sort_values(c.ITEM, ignore_index=True)
    counts = {"items_duplicated": len(rows) - len(distinct)}
    if config.several == "first":
        counts["items_with_several_titles"] = clashing[c.ITEM].nunique()
    distinct[c.ITEM] = raw_ids.to_pandas()
    return distinct.rename(columns={c.ITEM: c.RAW_ITEM}), counts
