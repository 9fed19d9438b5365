"""Text of an item for text encoders: its title and attributes, in one format for all data sets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from llara_core.readers.item_titles import cut
from llara_core.readers.titles import plain_title

MAX_TEXT_CHARS = 300  # about 75 tokens; longer texts are cut at the end of a word
MAX_VALUES = 8  # values per attribute; catalogues list the important ones first

_NUMBER = re.compile(r"[$€£]?\s?\d+(?:[.,]\d+)*")


def attribute(name: str, values: Iterable[str]) -> str:
    """Returns the first distinct values of an attribute as text; a single number is preceded by the attribute's name.

    >>> attribute("genres", ["Comedy", "Drama", "Comedy", " "])
    'Comedy, Drama'
    >>> attribute("price", ["12.50"])
    'price 12.50'
    """
    distinct = dict.fromkeys(text for value in values if (text := plain_title(value)))
    text = ", ".join([*distinct][:MAX_VALUES])
    return f"{name} {text}" if _NUMBER.fullmatch(text) else text


def item_text(title: str, year: int | None, attributes: Sequence[str]) -> str:
    """Returns the text of an item: ``title (year): attribute; attribute``, at most :data:`MAX_TEXT_CHARS` characters.

    Args:
        title: cleaned title.
        year: year of release, or None.
        attributes: texts that :func:`attribute` returned; empty ones are left out.

    >>> item_text("Toy Story", 1995, ["Animation, Comedy", "", "Pixar"])
    'Toy Story (1995): Animation, Comedy; Pixar'
    >>> item_text("Heat", None, [])
    'Heat'
    """
    name = title if year is None else f"{title} ({year})"
    known = "; ".join(filter(None, attributes))
    return cut(f"{name}: {known}" if known else name, MAX_TEXT_CHARS)
