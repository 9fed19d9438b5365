"""Titles as people write them, and labels that identify items."""

from __future__ import annotations

import html
import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

# Articles that catalogues move behind a title. Only one of these after the last comma is moved ("Paris, Texas" stays).
ARTICLES = frozenset(
    {"the", "a", "an"}
    | {"le", "la", "les", "l'", "un", "une"}
    | {"il", "lo", "gli", "el", "los", "las", "o"}
    | {"der", "die", "das", "det", "den"}
)
_ENTITY = re.compile(r"&(?:\w+|#\d+|#[xX][0-9a-fA-F]+);")  # the semicolon is required, so "&notes" is text
_YEAR = re.compile(r"\s*\((\d{4})\)$")
_MEDIUM = re.compile(r"\s*\((?:V|TV)\)$")  # direct-to-video and television in IMDb
_PARENTHESIS = re.compile(r"\(([^()]*)\)")

# Invisible characters: fillers, and Unicode's format characters except the visible ones (Arabic and Kaithi number signs,
# hieroglyph controls). A regional flag is a black flag followed by tag characters, which must stay.
_JOINERS = "\u180e\u200c\u200d"
_INVISIBLE = (
    "\u00ad\u034f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f"
)
_FLAG_OR_INVISIBLE = re.compile(f"(\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f)|[{_INVISIBLE}]")
_JOINER = re.compile(f"(?s)(.?)([{_JOINERS}]+)")
_VARIANTS = "\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef"  # variation selectors
_IGNORED = re.compile(f"[{_JOINERS}{_INVISIBLE}{_VARIANTS}]")
# First words of the Unicode names of characters in scripts that do not use joiners.
_NOT_JOINED = frozenset(
    {"LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "GEORGIAN", "HEBREW", "COMBINING", "MODIFIER"}
    | {"CJK", "HIRAGANA", "KATAKANA", "HANGUL", "FULLWIDTH", "HALFWIDTH"}
)


def plain_title(raw: str) -> str:
    """Decodes HTML entities (even if escaped repeatedly), collapses white space, and removes control and invisible characters,
    except joiners in scripts and emoji that need them.

    >>> plain_title(" Ratchet &amp;  Clank, Q&notes ")
    'Ratchet & Clank, Q&notes'
    >>> plain_title("Ratchet &amp;amp; Clank")
    'Ratchet & Clank'
    >>> plain_title("Co\u00adpper \u200b"), plain_title("\u200b")
    ('Copper', '')
    """
    title, escaped = raw, None
    while title != escaped:
        escaped, title = title, _ENTITY.sub(lambda entity: html.unescape(entity[0]), title)
    if not title.isascii():
        title = _FLAG_OR_INVISIBLE.sub(lambda match: match[1] or "", title)
        title = _JOINER.sub(lambda match: match[0] if _takes_joiner(match[1]) else match[1], title)
    return "".join(char for char in " ".join(title.split()) if unicodedata.category(char) not in {"Cc", "Cs"})


def _takes_joiner(char: str) -> bool:
    """Returns whether a joiner may change the shape of the character before it."""
    category = unicodedata.category(char) if char else ""
    if category[:1] not in ("L", "M") and category not in ("So", "Sk"):  # symbols: emoji
        return False
    return unicodedata.name(char, "").partition(" ")[0] not in _NOT_JOINED


def movie_title(raw: str) -> tuple[str, int | None]:
    """Returns the title of a MovieLens movie for prompts and its year of release, or None if the raw title has none.

    In addition to :func:`plain_title`, removes the year and the marks ``(V)`` and ``(TV)`` from the end, and moves an article
    behind a title, or behind a second title in parentheses, to its front. A title of which nothing would remain is unchanged.

    Source: replaces the clean-up in the released code, which turns ``Affair to Remember, An`` into ``A Affair to Remembern``.

    >>> movie_title("City of Lost Children, The (1995)")
    ('The City of Lost Children', 1995)
    >>> movie_title("Eye of Vichy, The (Oeil de Vichy, L') (1993)")
    ("The Eye of Vichy (L'Oeil de Vichy)", 1993)
    >>> movie_title("Fast, Cheap &amp; Out of Control (1997)")
    ('Fast, Cheap & Out of Control', 1997)
    >>> movie_title("unknown")
    ('unknown', None)
    """
    whole = plain_title(raw)
    title = _MEDIUM.sub("", whole)
    match = _YEAR.search(title)
    title = _YEAR.sub("", title)
    if not title:
        return whole, None
    title = _PARENTHESIS.sub(lambda second: f"({_article_first(second[1])})", title)
    if title == (moved := _article_first(title)):
        stem, opening, rest = title.partition(" (")
        moved = _article_first(stem) + opening + rest
    return moved, int(match[1]) if match else None


def _article_first(title: str) -> str:
    stem, comma, article = title.rpartition(", ")
    if not comma or article.casefold() not in ARTICLES:
        return title
    return article + ("" if article.endswith("'") else " ") + stem


def folded(text: str) -> str:
    """Returns a form that is equal for texts that differ only in case, Unicode composition or invisible characters."""
    return unicodedata.normalize("NFC", as_seen(text).casefold())


def as_seen(text: str) -> str:
    """Returns the text composed (NFC) and without invisible characters, so that texts that look alike are equal.

    >>> as_seen("\u200eCafe\u0301\ufeff") == "Caf\u00e9"
    True
    """
    return (text if text.isascii() else unicodedata.normalize("NFC", _IGNORED.sub("", text))).strip()


def unique_labels(
    titles: Sequence[str], years: Sequence[int | None], raw_ids: Sequence[str], taken: Iterable[str] = ()
) -> list[str]:
    """Returns a unique label for each item: its title; if titles are equal, with the year; if still equal, with the raw id; and
    if even these are equal, with a number.

    Texts are equal here if :func:`folded` makes them so, so that an answer in another case or composition names one item.

    Args:
        titles: title of each item.
        years: year of release of each item, or None.
        raw_ids: raw id of each item, all different.
        taken: labels and titles of other items, which the new labels must not repeat.

    >>> unique_labels(["Sabrina", "Sabrina", "Heat"], [1954, 1995, 1995], ["7", "8", "9"])
    ['Sabrina (1954)', 'Sabrina (1995)', 'Heat']
    """
    labels, used = list(titles), set(map(folded, taken))
    for suffixes in (
        ["" if year is None else f" ({year})" for year in years],
        [f" [{plain_title(raw_id)}]" for raw_id in raw_ids],
    ):
        ambiguous = used | _repeated(labels)
        labels = [
            label + suffix if folded(label) in ambiguous else label for label, suffix in zip(labels, suffixes, strict=True)
        ]
    for row, label in enumerate(labels):
        numbers = itertools.count(2)
        while folded(labels[row]) in used:
            labels[row] = f"{label} #{next(numbers)}"
        used.add(folded(labels[row]))
    return labels


def _repeated(labels: Iterable[str]) -> set[str]:
    return {label for label, count in Counter(map(folded, labels)).items() if count > 1}
