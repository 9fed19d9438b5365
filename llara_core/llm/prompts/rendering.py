"""Renders item lists as prompt text with slot tokens (paper, section 4.2 and Figure 3): pure strings, no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from llara_core.config import DatasetConfig, Representation, Slot
from llara_core.llm.prompts.templates import HISTORY_TEMPLATES, INSTRUCTION, RANKING_TEMPLATES

# Slots of a projected item embedding (<emb_s> in the paper) and of the trained [PH] embedding of text-only prompts.
BEHAVIOR_TOKEN = "<|behavior|>"
PLACEHOLDER_TOKEN = "<|placeholder|>"
SLOT_TOKENS = (BEHAVIOR_TOKEN, PLACEHOLDER_TOKEN)

# A recommender's standardised score of a candidate and its softmax share (`llara_core.llm.score_features.normalise_scores`).
ScoreFeatures = tuple[float, float]
NO_SCORES: ScoreFeatures = (0.0, 0.0)

SEPARATOR = ", "
_WITHOUT_SLOT: tuple[Representation, ...] = ("title", "index")


@dataclass(frozen=True)
class ItemWording:
    """The data set's words for an item and for a user's interaction with it, e.g. ``ItemWording("movie", "watched")``."""

    noun: str
    verb: str

    @classmethod
    def of(cls, dataset: DatasetConfig) -> ItemWording:
        return cls(dataset.noun, dataset.verb)


@dataclass(frozen=True)
class Prompt:
    """A rendered prompt.

    Attributes:
        text: the prompt, with one slot token per item slot.
        slot_items: item id of every slot, in order of appearance; empty in ``title`` and ``index`` prompts with candidates.
        slot_scores: score features of every slot's item, zeros if none are shown.
        candidate_slots: index of each candidate's slot among all slots, in candidate order; empty without candidates or slots.
    """

    text: str
    slot_items: tuple[int, ...]
    slot_scores: tuple[ScoreFeatures, ...]
    candidate_slots: tuple[int, ...]


def answer_text(item: int, labels: Sequence[str], representation: Representation) -> str:
    """Returns the expected answer for ``item``: its label, or its number in ``index`` prompts."""
    return str(item) if representation == "index" else labels[item]


def answer_texts(labels: Sequence[str], representation: Representation) -> list[str]:
    """Returns the expected answer for each item, indexed by item id.

    A label that contains a special token of the LLM appears in prompts with a space in it, and no answer matches it.
    """
    return [answer_text(item, labels, representation) for item in range(len(labels))]


def render_item(item: int, labels: Sequence[str], representation: Representation, slot: Slot = "after") -> str:
    """Renders one item (paper, equation 6 for ``hybrid``).

    A behaviour token before the title is visible from every token of the title, which a causal model reads and later copies;
    the paper puts it after.

    >>> render_item(1, ["Alien", "Titanic"], "hybrid")
    'Titanic<|behavior|>'
    >>> render_item(1, ["Alien", "Titanic"], "text")
    'Titanic<|placeholder|>'
    >>> render_item(1, ["Alien", "Titanic"], "hybrid", "before")
    '<|behavior|> Titanic'
    >>> [render_item(1, ["Alien", "Titanic"], representation) for representation in ("title", "behavior", "index")]
    ['Titanic', '<|behavior|>', '1']
    """
    match representation:
        case "hybrid" | "text":
            token = BEHAVIOR_TOKEN if representation == "hybrid" else PLACEHOLDER_TOKEN
            # With the space, the title has the same tokens as in the answer.
            return f"{token} {labels[item]}" if slot == "before" else labels[item] + token
        case "title":
            return labels[item]
        case "behavior" | "compact":
            return BEHAVIOR_TOKEN
        case "index":
            return str(item)


def render_ranking(
    history: Sequence[int],
    candidates: Sequence[int],
    labels: Sequence[str],
    wording: ItemWording,
    representation: Representation,
    template: int,
    *,
    slot: Slot = "after",
    scores: Sequence[ScoreFeatures] | None = None,
    candidate_texts: Sequence[str] | None = None,
) -> Prompt:
    """Renders the paper's prompt: history and candidates, to be answered with one candidate's name.

    Args:
        scores: score features of the candidates, for their behaviour tokens; None shows none.
        candidate_texts: texts shown in place of the candidates' labels, indexed by item id; None shows the labels.
    """
    items = {"history": history, "candidates": candidates}
    names = {"history": labels, "candidates": labels if candidate_texts is None else candidate_texts}
    return _render(RANKING_TEMPLATES[template], items, names, wording, representation, slot, scores=scores)


def with_instruction(prompt: Prompt) -> Prompt:
    """Returns the prompt preceded by the instruction that untuned models need.

    A system message would not do: some chat templates and endpoints refuse it, and base models have none.
    """
    return replace(prompt, text=f"{INSTRUCTION}\n\n{prompt.text}")


def render_history(
    history: Sequence[int],
    labels: Sequence[str],
    wording: ItemWording,
    representation: Representation,
    template: int,
    *,
    slot: Slot = "after",
) -> Prompt:
    """Renders the prompt without candidates: the history alone, with a prediction at every item's slot.

    Plain titles and item numbers have no slot of their own, so a placeholder, which carries no information, follows each.
    """
    added = PLACEHOLDER_TOKEN if representation in _WITHOUT_SLOT else ""
    items, names = {"history": history}, {"history": labels}
    return _render(HISTORY_TEMPLATES[template], items, names, wording, representation, slot, added_slot=added)


def neutralise(label: str, special_tokens: Sequence[str]) -> str:
    """Breaks up every special token in ``label`` with a space, so that no title can forge a slot or the end of a message.

    >>> neutralise("Say <|behavior|>!", ["<|behavior|>"])
    'Say < |behavior|>!'
    """
    for token in special_tokens:
        label = label.replace(token, f"{token[0]} {token[1:]}")
    return label


def _render(
    template: str,
    items: Mapping[str, Sequence[int]],
    names: Mapping[str, Sequence[str]],
    wording: ItemWording,
    representation: Representation,
    slot: Slot,
    *,
    scores: Sequence[ScoreFeatures] | None = None,
    added_slot: str = "",
) -> Prompt:
    separator = "" if representation == "compact" else SEPARATOR
    text = template.format(
        noun=wording.noun,
        verb=wording.verb,
        **{
            field: separator.join(render_item(item, names[field], representation, slot) + added_slot for item in listed)
            for field, listed in items.items()
        },
    )
    if representation in _WITHOUT_SLOT and not added_slot:
        return Prompt(text, (), (), ())
    slot_items: list[int] = []
    slot_scores: list[ScoreFeatures] = []
    candidate_slots: tuple[int, ...] = ()
    for field in sorted(items, key=lambda field: template.index(f"{{{field}}}")):
        if field == "candidates":
            candidate_slots = tuple(range(len(slot_items), len(slot_items) + len(items[field])))
        slot_items += [int(item) for item in items[field]]
        # Text-only prompts show placeholders instead of the recommender, so they show no scores either.
        shown = scores if field == "candidates" and representation != "text" else None
        slot_scores += [NO_SCORES] * len(items[field]) if shown is None else [(float(z), float(share)) for z, share in shown]
    return Prompt(text, tuple(slot_items), tuple(slot_scores), candidate_slots)
