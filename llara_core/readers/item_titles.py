"""Cleaning of item titles by the ``titles`` section of a data set, and the choice of one title per item."""

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

# Tags that may occur inside a word; every other tag separates words.
_INLINE = frozenset({"a", "abbr", "b", "big", "em", "font", "i", "s", "small", "span", "strong", "sub", "sup", "u"})
_INVISIBLE = frozenset({"script", "style"})


@dataclass(frozen=True)
class CleanTitles:
    """Titles for prompts.

    Attributes:
        titles: cleaned titles, in the order of the raw ones.
        years: years of release of movies; None where a title does not end in a year.
        counts: number of titles that lost HTML tags, were cut, or contain U+FFFD in place of lost characters.
    """

    titles: list[str]
    years: list[int | None]
    counts: Counts


def clean_titles(raw: Iterable[str], config: TitlesConfig, are_movies: bool) -> CleanTitles:
    """Cleans titles for prompts.

    HTML entities are decoded first, so that escaped tags are found. Then, as configured, HTML tags are removed, the article and
    the year of a movie are moved, and the title is cut.

    Args:
        raw: titles as read.
        config: options of the cleaning.
        are_movies: whether titles end in articles and years as in MovieLens; otherwise these belong to the title.
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
    """Returns the title without HTML tags, comments, scripts and styles, or unchanged if nothing would be left.

    >>> without_tags('<span class="x">Heat</span> <b>4</b>K<br>1 < 2')
    'Heat 4K 1 < 2'
    >>> without_tags("<Untitled>")
    '<Untitled>'
    """
    end = title.rfind(">") + 1
    if "<" not in title[:end]:
        return title
    parser = _Text()
    # Entities are already decoded, so an ampersand is an ordinary character. The text after the last > is not parsed, since
    # versions of Python differ on unfinished tags.
    parser.feed(title[:end].replace("&", "&amp;"))
    parser.close()
    return plain_title("".join([*parser.parts, title[end:]])) or title


class _Text(HTMLParser):
    """Collects the text between tags."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._hidden = 0  # depth of open scripts and styles

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in _INVISIBLE
        self.handle_startendtag(tag, attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.parts.append("" if tag in _INLINE else " ")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in _INVISIBLE and self._hidden > 0
        self.handle_startendtag(tag, [])

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data)


def cut(title: str, max_chars: int) -> str:
    """Returns the first ``max_chars`` characters at most, cut at the end of a word if one ends in their second half.

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
    """Chooses one row per item: the first one with a title, or the first one if none has a title.

    Args:
        numbers: item number of each row, in file order.
        titles: title of each row; may be empty.
        attributes: attribute texts of each row (:func:`llara_core.readers.item_texts.attribute`); None if there are none.
        raw_ids: raw ids by item number.
        config: ``several`` decides whether an item may have different titles.
        place: function that returns the place of a row, for messages.

    Returns:
        ``raw_id``, ``raw_title`` and, if given, ``attributes``, by item number; and the number of rows left out
        (``items_duplicated``) and, if allowed, of items with titles that differ once cleaned (``items_with_several_titles``).

    Raises:
        DataError: an item has different titles, which ``config.several`` does not allow.
    """
    rows = pd.DataFrame({c.ITEM: numbers, c.RAW_TITLE: titles.to_pandas()})
    if attributes is not None:
        rows[c.ATTRIBUTES] = attributes
    shared = rows[rows[c.ITEM].duplicated(keep=False)]
    cleaned = shared[c.RAW_TITLE].map(lambda title: as_seen(plain_title(title)))
    titled = shared.assign(cleaned=cleaned)[cleaned != ""]
    variants = titled.drop_duplicates([c.ITEM, "cleaned"])
    conflicts = variants[variants[c.ITEM].duplicated(keep=False)]
    if len(conflicts) and config.several == "error":
        number = int(conflicts[c.ITEM].iloc[0])
        pair = conflicts[conflicts[c.ITEM] == number].iloc[:2]
        first, second = (place(int(row)) for row in pair.index)
        first_title, second_title = pair[c.RAW_TITLE]
        raise DataError(
            f"{second}: item {raw_ids[number].as_py()!r} is {short(second_title)} here and {short(first_title)} in {first}; "
            "an item has one title (set `titles.several: first`; or, if the file has a row per property of an item, set "
            "`keep_items` to the rows of the titles)"
        )
    distinct = pd.concat([titled[[*rows]], rows]).drop_duplicates(c.ITEM).sort_values(c.ITEM, ignore_index=True)
    counts = {"items_duplicated": len(rows) - len(distinct)}
    if config.several == "first":
        counts["items_with_several_titles"] = conflicts[c.ITEM].nunique()
    distinct[c.ITEM] = raw_ids.to_pandas()
    return distinct.rename(columns={c.ITEM: c.RAW_ITEM}), counts
