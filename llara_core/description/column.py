"""One column of a file, and what its name and its values say about its purpose."""

from __future__ import annotations

import re
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from llara_core.description.times import TimeGuess, guess_times
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
"""Words in the name of a column that speak for a purpose: strongly, and weakly."""
_SUFFIXES = ("id", "name", "title", "time", "date", "stamp", "key", "code", "no", "nr", "number")
ABOUT_IDS = {"id", "key", "code", "no", "nr", "number", "idx", "index"}


class Column:
    """A column of a sample, and what its name and its values speak for.

    Attributes:
        values: as :class:`files.FoundFile` holds them.
        words: of its name, in lower case.
    """

    def __init__(self, name: str, values: pa.Array, missing: list[str]) -> None:
        self.name, self.values, self._missing = name, values, missing
        self.words = name_words(name)

    @cached_property
    def text(self) -> pa.StringArray:
        """The values that are not missing, as text; none if they are neither text nor numbers."""
        kind, values = self.values.type, self.values.drop_null()
        if pa.types.is_floating(kind):
            numbers = values.to_numpy(zero_copy_only=False)
            numbers = numbers[np.isfinite(numbers)]
            is_whole = bool((np.floor(numbers) == numbers).all() and (np.abs(numbers) < 2**53).all())
            values = pa.array(numbers.astype(np.int64) if is_whole else numbers)
        elif pa.types.is_decimal(kind):
            values = values.cast(pa.string())
            return pc.replace_substring_regex(values, r"\.0+$", "")
        elif not (pa.types.is_integer(kind) or pa.types.is_string(kind)):
            return pa.array([], pa.string())
        text = pc.utf8_trim_whitespace(values.cast(pa.string()))
        return text.filter(pc.invert(pc.is_in(text, pa.array(["", *self._missing], pa.string()))))

    @cached_property
    def distinct(self) -> pa.StringArray:
        return self.text.unique()

    @cached_property
    def share_distinct(self) -> float:
        return len(self.distinct) / max(1, len(self.text))

    @cached_property
    def numbers(self) -> float:
        """Share of the values that are numbers."""
        return float(pc.mean(pc.match_substring_regex(self.text, NUMBER).cast(pa.int8())).as_py() or 0)

    @cached_property
    def is_whole(self) -> bool:
        """Whole numbers, or text that is no number: what can be an id."""
        return bool(len(self.text)) and (
            self.numbers < 1 or pc.all(pc.match_substring_regex(self.text, r"^-?[0-9]+(\.0+)?$")).as_py()
        )

    @cached_property
    def times(self) -> TimeGuess | None:
        return guess_times(self.values, self._missing) if len(self.values) > self.values.null_count else None

    @cached_property
    def mean_length(self) -> float:
        return float(pc.mean(pc.utf8_length(self.text)).as_py() or 0)

    @cached_property
    def share_missing(self) -> float:
        return 1 - len(self.text) / max(1, len(self.values))

    def speaks_against(self, role: str) -> int:
        """How strongly the name speaks for another purpose, if it does not speak for this one as strongly."""
        other = max(self.speaks_for(name) for name in WORDS if name != role)
        return other if other > self.speaks_for(role) else 0

    def speaks_for(self, role: str) -> int:
        """As :func:`name_says`, of its name."""
        return name_says(self.name, role)


def name_says(name: str, role: str) -> int:
    """3: the name says nothing but ``role``; 2: it has a word that says so; 1: a weak word; 0: nothing."""
    words, (strong, weak) = name_words(name), WORDS[role]
    rest = [word for word in words if word not in strong | ABOUT_IDS]
    if strong & set(words):
        return 2 if rest else 3
    return 1 if weak & set(words) else 0


def name_words(name: str) -> list[str]:
    """The words of a column's name, in lower case.

    >>> name_words("unixReviewTime"), name_words("user_id"), name_words("movieid")
    (['unix', 'review', 'time'], ['user', 'id'], ['movie', 'id'])
    """
    known = set().union(*(strong | weak for strong, weak in WORDS.values()))
    words = []
    for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name):
        lower = word.lower()
        suffix = next((end for end in _SUFFIXES if lower.endswith(end) and lower.removesuffix(end).rstrip("s") in known), None)
        parts = [lower.removesuffix(suffix), suffix] if suffix and lower not in known else [lower]
        words += [part.removesuffix("s") if part.removesuffix("s") in known else part for part in parts]
    return words
