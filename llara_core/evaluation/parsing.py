"""From the text that a language model wrote to the candidate that it names, or to no valid answer: by two rules."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from llara_core.readers.titles import as_seen

_QUOTES = ('""', "''", "``", "“”", "‘’", "«»", "„“")  # noqa: RUF001

# Of a model that thinks before it answers; its prompt may hold the opening mark already.
_THOUGHTS = re.compile(r"\s*(<think>)?.*?</think>", re.DOTALL)


def parse_answer(text: str, labels: Sequence[str]) -> int | None:
    """The candidate whose whole label the first line of ``text`` is, or None for an invalid answer.

    One leading block ``<think>...</think>`` is skipped; an answer that ends inside it is invalid.

    Equality is tried twice: as written (but for spacing, Unicode composition and invisible characters), then forgivingly,
    without case, one pair of surrounding quotes and one full stop at the end. A try counts where exactly one label agrees, so
    an answer that fits several labels equally well is invalid, and a label inside another one ("Alien", "Aliens") is never
    confused with it.

    Args:
        text: the answer without its prompt; lines after its first non-empty one are ignored.
        labels: what the candidates are called, in candidate order: titles, or numbers for the ``index`` representation.

    Returns:
        The index in ``labels``, or None.

    Source:
        Stands in for the substring search of the paper's released code (:func:`contained_candidate`), which calls a right
        answer invalid when its title contains another candidate's, and takes a sentence about one film for an answer.

    >>> parse_answer('"aliens".', ["Alien", "Aliens"])
    1
    >>> parse_answer("I would say Aliens", ["Alien", "Aliens"]) is None
    True
    """
    thoughts = _THOUGHTS.match(text)
    lines = text[thoughts.end() if thoughts else 0 :].strip().splitlines()
    if not lines:
        return None
    for normalise in (_as_written, _forgiving):
        answer = normalise(lines[0])
        agreeing = [index for index, label in enumerate(labels) if normalise(label) == answer]
        if answer and len(agreeing) == 1:
            return agreeing[0]
    return None


def contained_candidate(text: str, labels: Sequence[str]) -> int | None:
    """The only candidate whose label occurs anywhere in the first line of ``text``, or None where none or several do.

    Args:
        text: the answer without its prompt.
        labels: as in :func:`parse_answer`.

    Returns:
        The index in ``labels``, or None.

    Source:
        The rule behind the valid ratios that the paper reports, as in its released code: without regard to case, lines after
        the first are cut off.

    >>> contained_candidate("I would say Aliens", ["Alien", "Heat"])
    0
    >>> contained_candidate("Aliens", ["Alien", "Aliens"]) is None
    True
    """
    answer = text.strip().partition("\n")[0].lower()
    contained = [index for index, label in enumerate(labels) if label.strip().lower() in answer]
    return contained[0] if len(contained) == 1 else None


def _as_written(text: str) -> str:
    return " ".join(as_seen(text).split())


def _forgiving(text: str) -> str:
    outside = _as_written(text).removesuffix(".").rstrip()
    inside = _without_quotes(outside)
    if inside != outside and outside == _as_written(text):  # the one full stop may stand inside the quotes instead
        inside = inside.removesuffix(".").rstrip()
    return unicodedata.normalize("NFC", inside.casefold())


def _without_quotes(text: str) -> str:
    if len(text) > 2 and text[0] + text[-1] in _QUOTES:
        return text[1:-1].strip()
    return text
