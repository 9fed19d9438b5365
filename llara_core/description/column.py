"""Evidence about one column of a file: its name, its type and its values."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from llara_core.description.times import TimeGuess, guess_times, known_texts, share
from llara_core.readers.log_columns import NUMBER

_USERS = (
    "user customer member reviewer visitor client account buyer reader listener player person subscriber patron viewer uid u"
)
_ITEMS = (
    "item movie film product asin sku article track song artist album book isbn game app business video show recipe course "
    "place restaurant venue poi news i"
)
WORDS: dict[str, tuple[set[str], set[str]]] = {
    "user": (set(_USERS.split()), {"session", "device", "author", "who"}),
    "item": (set(_ITEMS.split()), {"content", "page", "url", "object", "target", "sequence", "history"}),
    "time": ({"time", "timestamp", "datetime", "ts"}, {"date", "day", "at", "when", "created", "on"}),
    "rating": ({"rating", "stars", "score", "overall"}, {"rate", "value", "weight", "vote", "preference", "grade"}),
    "title": ({"title", "name"}, {"label", "headline", "description"}),
}
"""Words in a column's name that suggest a role: strongly, and weakly."""
KNOWN_WORDS = set().union(*(strong | weak for strong, weak in WORDS.values()))
ID_WORDS = {"id", "key", "code", "no", "nr", "number", "idx", "index"}
_SUFFIXES = ("id", "name", "title", "time", "date", "stamp", "key", "code", "no", "nr", "number")


class Column:
    """A sampled column with the evidence from its name and its values."""

    def __init__(self, name: str, values: pa.ChunkedArray, missing: list[str]) -> None:
        self.name, self.values, self._missing = name, values.combine_chunks(), missing
        self.words = name_words(name)

    @classmethod
    def all_of(cls, rows: pa.Table, missing: list[str]) -> list[Self]:
        return [cls(name, rows[name], missing) for name in rows.column_names]

    @cached_property
    def text(self) -> pa.StringArray:
        """Texts of the values that are not missing; empty if the values are neither text nor numbers."""
        kind, values = self.values.type, self.values.drop_null()
        if pa.types.is_floating(kind):
            numbers = values.to_numpy(zero_copy_only=False)
            numbers = numbers[np.isfinite(numbers)]
            # pandas writes whole numbers beside missing ones as floats; as text they have all their digits.
            is_whole = ((np.floor(numbers) == numbers) & (np.abs(numbers) < 2**53)).all()
            values = pa.array(numbers.astype(np.int64) if is_whole else numbers)
        elif pa.types.is_decimal(kind):
            values = pc.replace_substring_regex(values.cast(pa.string()), r"\.0+$", "")
        elif not (pa.types.is_integer(kind) or pa.types.is_string(kind)):
            return pa.array([], pa.string())
        return known_texts(values.cast(pa.string()), self._missing)

    @cached_property
    def distinct(self) -> pa.StringArray:
        return self.text.unique()

    @cached_property
    def share_numeric(self) -> float:
        return share(pc.match_substring_regex(self.text, NUMBER))

    @cached_property
    def is_id(self) -> bool:
        """Whether the values can be ids: whole numbers, or text that is not all numbers."""
        return len(self.text) > 0 and (self.share_numeric < 1 or self.all_match(r"^-?[0-9]+(\.0+)?$"))

    @cached_property
    def times(self) -> TimeGuess | None:
        return guess_times(self.values, self._missing) if len(self.values) > self.values.null_count else None

    @property
    def is_dated(self) -> bool:
        return self.times is not None and self.times.is_dated

    @property
    def share_distinct(self) -> float:
        return len(self.distinct) / max(1, len(self.text))

    @property
    def share_missing(self) -> float:
        return 1 - len(self.text) / max(1, len(self.values))

    def all_match(self, pattern: str) -> bool:
        return len(self.text) > 0 and share(pc.match_substring_regex(self.distinct, pattern)) == 1

    def score(self, role: str) -> int:
        """Returns how strongly the name suggests a role: 3 if it means nothing else, 2 for a strong word, 1 for a weak one."""
        strong, weak = WORDS[role]
        if not strong.isdisjoint(self.words):
            return 3 if set(self.words) <= strong | ID_WORDS else 2
        return int(not weak.isdisjoint(self.words))


def name_words(name: str) -> list[str]:
    """Returns the words of a column's name, in lower case.

    >>> name_words("unixReviewTime"), name_words("user_id"), name_words("movieid")
    (['unix', 'review', 'time'], ['user', 'id'], ['movie', 'id'])
    """
    words = []
    for word in map(str.lower, re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)):
        stems = {end: word.removesuffix(end) for end in _SUFFIXES if word.endswith(end) and word not in KNOWN_WORDS}
        suffix = next((end for end, stem in stems.items() if stem.rstrip("s") in KNOWN_WORDS), None)
        parts = [stems[suffix], suffix] if suffix else [word]
        words += [part.removesuffix("s") if part.removesuffix("s") in KNOWN_WORDS else part for part in parts]
    return words
