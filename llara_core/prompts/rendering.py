"""From item lists to prompt text with placeholders (paper, section 4.2 and Figure 3): pure strings, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from llara_core.config import Representation
from llara_core.prompts.templates import HISTORY_TEMPLATES, INSTRUCTION, RANKING_TEMPLATES

# Where a projected item embedding (<emb_s> in the paper) or the trained [PH] embedding of text-only prompts goes.
BEHAVIOR_TOKEN = "<|behavior|>"
PLACEHOLDER_TOKEN = "<|placeholder|>"
SLOT_TOKENS = (BEHAVIOR_TOKEN, PLACEHOLDER_TOKEN)

N_TEMPLATES: dict[str, int] = {"generative": len(RANKING_TEMPLATES), "next_item": len(HISTORY_TEMPLATES)}
SEPARATOR = ", "
_WITHOUT_SLOT: tuple[Representation, ...] = ("title", "index")


@dataclass(frozen=True)
class Words:
    """The dataset's words for an item and for what a user does with it, e.g. ``Words("movie", "watched")``."""

    noun: str
    verb: str


@dataclass(frozen=True)
class Prompt:
    """A rendered prompt.

    Attributes:
        text: the prompt, with one slot token per item slot.
        slot_items: item id of every slot, in order of appearance; empty in ``title`` and ``index`` prompts with candidates.
    """

    text: str
    slot_items: tuple[int, ...]


def answer_text(item: int, labels: Sequence[str], representation: Representation) -> str:
    """What the model must write for ``item``: its label, or its number in ``index`` prompts."""
    return str(item) if representation == "index" else labels[item]


def render_item(item: int, labels: Sequence[str], representation: Representation) -> str:
    """One item as the model reads it (paper, equation 6 for ``hybrid``).

    >>> render_item(1, ["Alien", "Titanic"], "hybrid")
    'Titanic<|behavior|>'
    >>> render_item(1, ["Alien", "Titanic"], "text")
    'Titanic<|placeholder|>'
    >>> [render_item(1, ["Alien", "Titanic"], representation) for representation in ("title", "behavior", "index")]
    ['Titanic', '<|behavior|>', '1']
    """
    match representation:
        case "hybrid":
            return labels[item] + BEHAVIOR_TOKEN
        case "text":
            return labels[item] + PLACEHOLDER_TOKEN
        case "title":
            return labels[item]
        case "behavior":
            return BEHAVIOR_TOKEN
        case "index":
            return str(item)


def render_ranking(
    history: Sequence[int],
    candidates: Sequence[int],
    labels: Sequence[str],
    words: Words,
    representation: Representation,
    template: int,
) -> Prompt:
    """The paper's prompt: history and candidates, to be answered with one candidate's name."""
    return _render(RANKING_TEMPLATES[template], {"history": history, "candidates": candidates}, labels, words, representation)


def with_instruction(prompt: Prompt) -> Prompt:
    """The prompt behind what a model has to be told that was not tuned on such prompts.

    In the text and not in a system message, which some chat templates and endpoints refuse and base models do not have.
    """
    return Prompt(f"{INSTRUCTION}\n\n{prompt.text}", prompt.slot_items)


def render_history(
    history: Sequence[int], labels: Sequence[str], words: Words, representation: Representation, template: int
) -> Prompt:
    """The prompt of the ``next_item`` objective: the history alone, a prediction being read at every item's slot.

    Bare titles and item numbers have no slot of their own; here a placeholder, which says nothing about the item, follows each.
    """
    slot = PLACEHOLDER_TOKEN if representation in _WITHOUT_SLOT else ""
    return _render(HISTORY_TEMPLATES[template], {"history": history}, labels, words, representation, added_slot=slot)


def neutralise(label: str, special_tokens: Sequence[str]) -> str:
    """``label`` with every special token broken up by a space, so that no title can forge a slot or an end of turn.

    >>> neutralise("Say <|behavior|>!", ["<|behavior|>"])
    'Say < |behavior|>!'
    """
    for token in special_tokens:
        label = label.replace(token, f"{token[0]} {token[1:]}")
    return label


def _render(
    template: str,
    items: dict[Literal["history", "candidates"], Sequence[int]],
    labels: Sequence[str],
    words: Words,
    representation: Representation,
    added_slot: str = "",
) -> Prompt:
    order = sorted(items, key=lambda field: template.index(f"{{{field}}}"))
    text = template.format(
        noun=words.noun,
        verb=words.verb,
        **{
            field: SEPARATOR.join(render_item(item, labels, representation) + added_slot for item in listed)
            for field, listed in items.items()
        },
    )
    has_slots = representation not in _WITHOUT_SLOT or added_slot
    return Prompt(text, tuple(int(item) for field in order for item in items[field]) if has_slots else ())
