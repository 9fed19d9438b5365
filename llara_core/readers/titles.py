"""Titles as a reader knows them, and labels that identify an item."""

from __future__ import annotations

import html
import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

# The articles that catalogues move behind the title; only an exact one after the last comma counts ("Paris, Texas" stays).
ARTICLES = frozenset(
    {"the", "a", "an"}
    | {"le", "la", "les", "l'", "un", "une"}
    | {"il", "lo", "gli", "el", "los", "las", "o"}
    | {"der", "die", "das", "det", "den"}
)
_ENTITY = re.compile(r"&(?:\w+|#\d+|#[xX][0-9a-fA-F]+);")  # with its semicolon; "&notes" holds none
_YEAR = re.compile(r"\s*\((\d{4})\)$")
_MEDIUM = re.compile(r"\s*\((?:V|TV)\)$")  # IMDb's marks for direct-to-video and television
_PARENTHESIS = re.compile(r"\(([^()]*)\)")

# Characters that nobody sees: Unicode's format characters but for those that are drawn (numbers of Arabic and Kaithi,
# hieroglyphs), and fillers. A flag of a region is a black flag with tags, which show its name.
_JOINERS = "\u180e\u200c\u200d"
_OTHERS = (
    "\u00ad\u034f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f"
)
_FLAG_OR_UNSEEN = re.compile(f"(\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f)|[{_OTHERS}]")
_JOINER = re.compile(f"(?s)(.?)([{_JOINERS}]+)")
_VARIANTS = "\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef"  # a choice between two forms of the character before
_IGNORED = re.compile(f"[{_JOINERS}{_OTHERS}{_VARIANTS}]")
# First words of the names of characters whose scripts need no joiner.
_NOT_JOINED = frozenset(
    {"LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "GEORGIAN", "HEBREW", "COMBINING", "MODIFIER"}
    | {"CJK", "HIRAGANA", "KATAKANA", "HANGUL", "FULLWIDTH", "HALFWIDTH"}
)


def plain_title(raw: str) -> str:
    """Returns the title with HTML entities decoded (as often as they were escaped), white space collapsed, and without control
    and invisible characters; joiners stay in the scripts, and the emoji, that need them.

    >>> plain_title(" Ratchet &amp;  Clank, Q&notes ")
    'Ratchet & Clank, Q&notes'
    >>> plain_title("Ratchet &amp;amp; Clank")
    'Ratchet & Clank'
    >>> plain_title("Co\u00adpper \u200b"), plain_title("\u200b")
    ('Copper', '')
    """
    decoded, escaped = raw, None
    while decoded != escaped:
        escaped, decoded = decoded, _ENTITY.sub(lambda entity: html.unescape(entity[0]), decoded)
    seen = decoded
    if not seen.isascii():
        seen = _FLAG_OR_UNSEEN.sub(lambda found: found[1] or "", seen)
        seen = _JOINER.sub(lambda found: found[0] if _is_joined(found[1]) else found[1], seen)
    return "".join(char for char in " ".join(seen.split()) if unicodedata.category(char) not in {"Cc", "Cs"})


def _is_joined(char: str) -> bool:
    """Returns whether a joiner after the character may change how it looks."""
    category = unicodedata.category(char) if char else ""
    if category[:1] not in ("L", "M") and category not in ("So", "Sk"):  # symbols: emoji
        return False
    return unicodedata.name(char, "").partition(" ")[0] not in _NOT_JOINED


def movie_title(raw: str) -> tuple[str, int | None]:
    """Returns the title of a MovieLens movie for prompts, and the year of release where the raw title ends in one.

    Beyond :func:`plain_title`, the year and the marks ``(V)`` and ``(TV)`` are cut from the end, and
    articles behind a title, or behind a second title in parentheses, return to its front. Nothing else changes. A title of
    which nothing would remain is kept as it is.

    Source: replaces the released code's clean-up, which makes ``A Affair to Remembern`` of ``Affair to Remember, An``.

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
    """Returns a text in a form in which case, Unicode composition and invisible characters do not count."""
    return unicodedata.normalize("NFC", as_seen(text).casefold())


def as_seen(text: str) -> str:
    """Returns the text composed (NFC) and without invisible characters: equal for texts that look alike on the screen.

    >>> as_seen("\u200eCafe\u0301\ufeff") == "Caf\u00e9"
    True
    """
    return (text if text.isascii() else unicodedata.normalize("NFC", _IGNORED.sub("", text))).strip()


def unique_labels(
    titles: Sequence[str], years: Sequence[int | None], raw_ids: Sequence[str], taken: Iterable[str] = ()
) -> list[str]:
    """Returns one label per item: the title, with the year where titles collide, with the raw id where they still do, and with
    a number where even these differ in case, Unicode composition or invisible characters alone.

    Labels differ in more than these, so that an answer in other case or composition still names one item.

    Args:
        titles, years, raw_ids: aligned; the raw ids are unique.
        taken: labels and titles of other items, which stay as they are.

    >>> unique_labels(["Sabrina", "Sabrina", "Heat"], [1954, 1995, 1995], ["7", "8", "9"])
    ['Sabrina (1954)', 'Sabrina (1995)', 'Heat']
    """
    labels, others = list(titles), set(map(folded, taken))
    repeated = others | _repeated(labels)
    for row, year in enumerate(years):
        if folded(labels[row]) in repeated and year is not None:
            labels[row] = f"{labels[row]} ({year})"
    repeated = others | _repeated(labels)
    for row, raw_id in enumerate(raw_ids):
        if folded(labels[row]) in repeated:
            labels[row] = f"{labels[row]} [{plain_title(raw_id)}]"
    for row, label in enumerate(labels):
        numbers = itertools.count(2)
        while folded(labels[row]) in others:
            labels[row] = f"{label} #{next(numbers)}"
        others.add(folded(labels[row]))
    return labels


def _repeated(labels: Iterable[str]) -> set[str]:
    return {label for label, count in Counter(map(folded, labels)).items() if count > 1}
