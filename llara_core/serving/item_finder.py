"""Finds items by label, by title, as displayed or in catalogue form, and by raw id."""

from __future__ import annotations

import difflib
import logging
import operator
from collections.abc import Iterable, Sequence

import pandas as pd

from llara_core import columns as c
from llara_core import paths
from llara_core.errors import DataError
from llara_core.readers.titles import ARTICLES, as_seen, folded, movie_title, plain_title

logger = logging.getLogger(__name__)

BY_ID, BY_TITLE = "id:", "title:"
_N_SUGGESTIONS = 3
_MIN_SIMILARITY = 0.6  # difflib's ratio, from 0 to 1


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
        # Readings of a name from the strictest to the loosest; labels are unique when folded, titles need not be.
        self._readings = (
            (folded, _index(map(folded, self._labels))),
            (folded, _index(map(folded, titles))),
            (_plain, _index(map(_plain, titles))),
        )
        self._by_stem = _index(map(_stem, titles))

    def history(self, names: Sequence[str | int]) -> list[int]:
        """Finds the items of a history by :meth:`find`.

        Raises:
            DataError: ``names`` is empty or covers the whole catalogue, or a name fits no item or several.
        """
        if isinstance(names, str):
            raise DataError(f"the history is a single text, {names!r}; give a list of titles or ids")
        if not names:
            raise DataError("the history is empty; name at least one item")
        items = [self.find(name) for name in names]
        if len(set(items)) == len(self._labels):
            raise DataError(f"the history holds all {len(self._labels)} items of the catalogue, so none is left to recommend")
        return items

    def find(self, name: str | int) -> int:
        """Finds the item with this label, unique title or raw id; a number is an id.

        Case and Unicode composition are ignored. If no item matches, the name is read in catalogue form, with a trailing
        article and year: ``Godfather, The (1972)``. The prefixes ``id:`` and ``title:`` restrict the search; if nothing matches
        without the prefix, it is taken as part of the name.

        Raises:
            DataError: no item or several match; the message lists the nearest labels.
        """
        if not isinstance(name, str):
            try:
                return self.by_raw_id(str(operator.index(name)))  # whole numbers, including those of numpy
            except TypeError:
                raise DataError(f"an item is given by a text or a whole number, not by {name!r}") from None
        name = name.strip()
        for prefix, read in ((BY_ID, self.by_raw_id), (BY_TITLE, self.by_title)):
            if name.startswith(prefix):
                try:
                    return read(name.removeprefix(prefix).strip())
                except DataError:
                    if not self._is_called(name):
                        raise
        (item, _), with_id = self.titled(name), self.with_raw_id(name)
        if item is not None and with_id is not None and item != with_id:
            raise DataError(
                f"{name!r} is the title of {self._labels[item]!r} and the id of {self._labels[with_id]!r}; "
                f"write {BY_TITLE + name!r} or {BY_ID + name!r}"
            )
        return self.by_title(name) if with_id is None else with_id

    def split(self, names: str) -> list[str]:
        """Splits a text into names at ``;``, which titles and ids may also contain.

        Raises:
            DataError: it can be read both as one title or id and as several.
        """
        found, parts = [], names.split(";")
        while parts:
            n = next((n for n in range(len(parts), 1, -1) if self._is_called(";".join(parts[:n]))), 1)
            name = ";".join(parts[:n]).strip()
            if n > 1 and all(map(self._is_called, parts[:n])):
                raise DataError(f"{name!r} is one item, and its parts are {n} other items; give the ids, as in {BY_ID}5")
            found.append(name)
            del parts[:n]
        return [name for name in found if name]

    def by_raw_id(self, raw: str) -> int:
        """Finds the item with this raw id.

        Raises:
            DataError: there is none.
        """
        item = self.with_raw_id(raw)
        if item is None:
            raise DataError(f"no item has the id {raw!r}; ids look like {next(iter(self._by_raw_id))!r}")
        return item

    def by_title(self, name: str) -> int:
        """Finds an item as :meth:`find` does, but not by its raw id."""
        item, is_loose = self.titled(name)
        if item is None:
            near = self.suggestions(name)
            hint = f"did you mean {', '.join(map(repr, near))}?" if near else f"{paths.ITEMS} lists all titles and ids"
            raise DataError(f"no single item is called {name!r}; {hint}")
        if is_loose:
            logger.info("%r is read as %r", name, self._labels[item])
        return item

    def titled(self, name: str) -> tuple[int | None, bool]:
        """Finds the only item with this label or title, or None, and whether the match needed the article or year moved."""
        for number, (reading, index) in enumerate(self._readings):
            found = index.get(reading(name), [])
            if len(found) == 1:
                return found[0], number == len(self._readings) - 1
        return None, False

    def with_raw_id(self, raw: str) -> int | None:
        """Finds the item with this raw id, or None; composition and invisible characters count only if they distinguish two
        ids."""
        alike = self._by_seen_id.get(as_seen(raw), [])
        return self._by_raw_id.get(raw, alike[0] if len(alike) == 1 else None)

    def suggestions(self, name: str) -> list[str]:
        """Returns the labels of the items :meth:`nearest` to ``name``."""
        return [self._labels[item] for item in self.nearest(name, _N_SUGGESTIONS)]

    def nearest(self, name: str, n: int) -> list[int]:
        """Returns up to ``n`` items whose titles are nearest to ``name``, best first, ignoring articles, years and case.

        Titles that contain the name come in order of length; if there are none, similar spellings are returned.
        """
        wanted = _stem(name)
        containing = sorted((stem for stem in self._by_stem if wanted and f" {wanted}" in f" {stem}"), key=len)
        near = containing or difflib.get_close_matches(wanted, self._by_stem, n=n, cutoff=_MIN_SIMILARITY)
        return [item for stem in near for item in self._by_stem[stem]][:n]

    def _is_called(self, name: str) -> bool:
        name = name.strip()
        titles, ids = {name, name.removeprefix(BY_TITLE)}, {name, name.removeprefix(BY_ID)}
        return any(self.titled(title)[0] is not None for title in titles) or not ids.isdisjoint(self._by_raw_id)


def _index(keys: Iterable[str]) -> dict[str, list[int]]:
    """Groups the positions of equal keys."""
    index: dict[str, list[int]] = {}
    for item, key in enumerate(keys):
        index.setdefault(key, []).append(item)
    return index


def _plain(title: str) -> str:
    """Folds a title, with the article moved to the front and the year removed.

    >>> _plain("Godfather, The (1972)")
    'the godfather'
    """
    return folded(movie_title(title)[0] or plain_title(title))


def _stem(title: str) -> str:
    """Removes the article from :func:`_plain`.

    >>> _stem("Godfather, The"), _stem("The Godfather"), _stem("godfather"), _stem("The")
    ('godfather', 'godfather', 'godfather', 'the')
    """
    plain = _plain(title)
    first, _, rest = plain.partition(" ")
    return rest if first in ARTICLES and rest else plain
