"""From what people call an item to the item: labels, titles as they are shown or as catalogues write them, and raw ids."""

from __future__ import annotations

import difflib
import logging
import operator
from collections.abc import Iterable, Sequence

import pandas as pd

from llara_core import columns as c
from llara_core.errors import DataError
from llara_core.readers.titles import ARTICLES, as_seen, folded, movie_title, plain_title

logger = logging.getLogger(__name__)

BY_ID, BY_TITLE = "id:", "title:"
_N_SUGGESTIONS = 3
_CUTOFF = 0.6  # of difflib's ratio, from 0 to 1


class ItemFinder:
    """Finds items by name.

    Args:
        items: rows of :data:`tables.ITEMS`.
    """

    def __init__(self, items: pd.DataFrame) -> None:
        self._labels: list[str] = items[c.LABEL].to_list()
        titles = items[c.TITLE].to_list()
        self._by_raw_id = {raw: item for item, raw in enumerate(items[c.RAW_ITEM])}
        self._by_seen_id = _index(map(as_seen, self._by_raw_id))
        # From the strictest reading of a name to the loosest; labels are unique when folded, titles need not be.
        self._readings = (
            (folded, _index(map(folded, self._labels))),
            (folded, _index(map(folded, titles))),
            (_plain, _index(map(_plain, titles))),
        )
        self._by_stem = _index(map(_stem, titles))

    def history(self, names: Sequence[str | int]) -> list[int]:
        """The items called ``names`` (:meth:`find`), as a history.

        Raises:
            DataError: there are none, or so many that none is left to recommend; or a name fits no item, or several.
        """
        if isinstance(names, str):
            raise DataError(f"the history is one text, {names!r}; give a list of titles or ids")
        if not names:
            raise DataError("the history is empty; name at least one item")
        found = [self.find(name) for name in names]
        if len(set(found)) == len(self._labels):
            raise DataError(f"the history holds all {len(self._labels)} items of the catalogue, which leaves none to recommend")
        return found

    def find(self, name: str | int) -> int:
        """The item called ``name``: its label, its title where no other item shares it, or its raw id; a number is an id.

        Neither case nor Unicode composition counts. Where no item fits, the name is read as catalogues write titles, with an
        article behind and a year at the end: ``Godfather, The (1972)``. ``id:`` and ``title:`` before a name say what it is; a
        name that no item has this way, but with the prefix, is read with it.

        Raises:
            DataError: no item fits, or several; the message lists the nearest labels.
        """
        if not isinstance(name, str):
            try:
                return self.by_raw_id(str(operator.index(name)))  # whole numbers, those of numpy, too
            except TypeError:
                raise DataError(f"an item is named by a text or a whole number, not by {name!r}") from None
        name = name.strip()
        for prefix, read in ((BY_ID, self.by_raw_id), (BY_TITLE, self.by_title)):
            if name.startswith(prefix):
                try:
                    return read(name.removeprefix(prefix).strip())
                except DataError:
                    if not self._is_called(name):
                        raise
        return self._find(name)

    def split(self, names: str) -> list[str]:
        """The names in a text that separates them by ``;``, which a title or an id may hold, too.

        Raises:
            DataError: it can be read both as one title or id, and as several.
        """
        found, parts = [], names.split(";")
        while parts:
            n = next((n for n in range(len(parts), 1, -1) if self._is_called(";".join(parts[:n]))), 1)
            name = ";".join(parts[:n]).strip()
            if n > 1 and all(map(self._is_called, parts[:n])):
                raise DataError(f"{name!r} is one item, and its parts are {n} others; name each by its id, as in {BY_ID}5")
            found.append(name)
            del parts[:n]
        return [name for name in found if name]

    def by_raw_id(self, raw: str) -> int:
        """The item with this raw id.

        Raises:
            DataError: there is none.
        """
        item = self.with_raw_id(raw)
        if item is None:
            raise DataError(f"no item has the id {raw!r}; ids here look like {next(iter(self._by_raw_id))!r}")
        return item

    def by_title(self, name: str) -> int:
        """As :meth:`find`, but no raw id."""
        item, loosely = self.titled(name)
        if item is None:
            raise DataError(self._not_found(name))
        if loosely:
            logger.info("%r is read as %r", name, self._labels[item])
        return item

    def titled(self, name: str) -> tuple[int | None, bool]:
        """The one item with this label or title, None where there is none, and whether its article or year had to be moved."""
        for number, (reading, index) in enumerate(self._readings):
            found = index.get(reading(name), [])
            if len(found) == 1:
                return found[0], number == len(self._readings) - 1
        return None, False

    def with_raw_id(self, raw: str) -> int | None:
        """The item with this raw id, None where there is none; neither composition nor invisible characters count, unless they
        tell two ids apart."""
        alike = self._by_seen_id.get(as_seen(raw), [])
        return self._by_raw_id.get(raw, alike[0] if len(alike) == 1 else None)

    def suggestions(self, name: str) -> list[str]:
        """The labels of those :meth:`nearest` to ``name``."""
        return [self._labels[item] for item in self.nearest(name, _N_SUGGESTIONS)]

    def nearest(self, name: str, n: int) -> list[int]:
        """The items whose titles are nearest to ``name``, ``n`` at most, best first; articles, years and case do not count.

        Those with the name in them, the shortest first; where there are none, those that are spelt alike.
        """
        wanted = _stem(name)
        containing = sorted((stem for stem in self._by_stem if wanted and f" {wanted}" in f" {stem}"), key=len)
        near = containing or difflib.get_close_matches(wanted, self._by_stem, n=n, cutoff=_CUTOFF)
        return [item for stem in near for item in self._by_stem[stem]][:n]

    def _is_called(self, name: str) -> bool:
        name = name.strip()
        titles, ids = {name, name.removeprefix(BY_TITLE)}, {name, name.removeprefix(BY_ID)}
        return any(self.titled(title)[0] is not None for title in titles) or not ids.isdisjoint(self._by_raw_id)

    def _find(self, name: str) -> int:
        (item, _), with_id = self.titled(name), self.with_raw_id(name)
        if item is not None and with_id is not None and item != with_id:
            raise DataError(
                f"{name!r} is the title of {self._labels[item]!r} and the id of {self._labels[with_id]!r}; "
                f"write {BY_TITLE + name!r} or {BY_ID + name!r}"
            )
        return self.by_title(name) if with_id is None else with_id

    def _not_found(self, name: str) -> str:
        near = self.suggestions(name)
        hint = f"did you mean {', '.join(map(repr, near))}?" if near else "items.parquet lists all titles and ids"
        return f"no single item is called {name!r}; {hint}"


def _index(keys: Iterable[str]) -> dict[str, list[int]]:
    """The items by key."""
    index: dict[str, list[int]] = {}
    for item, key in enumerate(keys):
        index.setdefault(key, []).append(item)
    return index


def _plain(title: str) -> str:
    """Folded, with articles at the front and without a year at the end.

    >>> _plain("Godfather, The (1972)")
    'the godfather'
    """
    return folded(movie_title(title)[0] or plain_title(title))


def _stem(title: str) -> str:
    """:func:`_plain` without the article.

    >>> _stem("Godfather, The"), _stem("The Godfather"), _stem("godfather"), _stem("The")
    ('godfather', 'godfather', 'godfather', 'the')
    """
    plain = _plain(title)
    first, _, rest = plain.partition(" ")
    return rest if first in ARTICLES and rest else plain
