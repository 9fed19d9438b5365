"""Parses the text of a language model into the candidate that it names, if any."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from llara_core.readers.titles import as_seen

_QUOTES = ('""', "''", "``", "“”", "‘’", "«»", "„“")  # noqa: RUF001

# Reasoning before the answer, whose opening tag may be part of the prompt.
_THOUGHTS = re.compile(r"\s*(<think>)?.*?</think>", re.DOTALL)


def parse_answer(text: str, labels: Sequence[str]) -> int | None:
    """Returns the index of the candidate whose label equals the first line of ``text``; None for an invalid answer.

    One leading block ``<think>...</think>`` is skipped; an answer that ends inside it is invalid.

    Labels are compared twice: as written, ignoring spacing, Unicode composition and invisible characters; then also ignoring
    case, one pair of surrounding quotes and one final full stop. Exactly one label must match, so an answer that fits several
    labels equally well is invalid, and a label inside another one ("Alien", "Aliens") is never confused with it.

    Args:
        text: answer without its prompt; lines after its first non-empty one are ignored.
        labels: names of the candidates, in candidate order: titles, or numbers for the ``index`` representation.

    Source:
        Replaces the substring search of the paper's released code (:func:`evaluation.metrics.contained_candidate`), which
        rejects a right answer whose title contains another candidate's, and accepts a sentence about one film as an answer.

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


def _as_written(text: str) -> str:
    return " ".join(as_seen(text).split())


def _forgiving(text: str) -> str:
    outside = _as_written(text).removesuffix(".").rstrip()
    inside = _without_quotes(outside)
    if inside != outside and outside == _as_written(text):  # the full stop may be inside the quotes instead
        inside = inside.removesuffix(".").rstrip()
    return unicodedata.normalize("NFC", inside.casefold())


def _without_quotes(text: str) -> str:
    if len(text) > 2 and text[0] + text[-1] in _QUOTES:
        return text[1:-1].strip()
    return text
