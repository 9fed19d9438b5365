"""Prompts as text: candidate counts, slots, wording, and titles that try to break out."""

from __future__ import annotations

import pytest

from llara_core.llm.prompts.rendering import (
    BEHAVIOR_TOKEN,
    PLACEHOLDER_TOKEN,
    SLOT_TOKENS,
    ItemWording,
    answer_text,
    neutralise,
    render_history,
    render_item,
    render_ranking,
)
from llara_core.llm.prompts.templates import HISTORY_TEMPLATES, RANKING_TEMPLATES

LABELS = [f"Title {chr(65 + item)}!" for item in range(26)]
HISTORY, CANDIDATES = [3, 1, 4], list(range(5, 25))
WORDING = ItemWording("gadget", "polished")
REPRESENTATIONS = ("hybrid", "text", "behavior", "index")
RANKING = range(len(RANKING_TEMPLATES))
HISTORIES = range(len(HISTORY_TEMPLATES))


def _n_slots(text: str) -> int:
    return sum(text.count(token) for token in SLOT_TOKENS)


@pytest.mark.parametrize("representation", REPRESENTATIONS)
@pytest.mark.parametrize("template", RANKING)
def test_ranking_prompt_lists_the_history_and_every_candidate_once(template: int, representation: str) -> None:
    prompt = render_ranking(HISTORY, CANDIDATES, LABELS, WORDING, representation, template)
    for items in (HISTORY, CANDIDATES):
        assert ", ".join(render_item(item, LABELS, representation) for item in items) in prompt.text
    expected = 0 if representation == "index" else 3 + 20
    assert _n_slots(prompt.text) == len(prompt.slot_items) == expected
    if representation in ("hybrid", "text"):
        assert [prompt.text.count(LABELS[item]) for item in HISTORY + CANDIDATES] == [1] * (3 + 20)


@pytest.mark.parametrize("representation", REPRESENTATIONS)
@pytest.mark.parametrize("template", HISTORIES)
def test_history_prompt_ends_with_its_last_item(template: int, representation: str) -> None:
    prompt = render_history(HISTORY, LABELS, WORDING, representation, template)
    read_out = PLACEHOLDER_TOKEN if representation == "index" else ""  # numbers have no slot of their own to predict at
    assert prompt.text.endswith(render_item(4, LABELS, representation) + read_out)
    assert prompt.slot_items == (3, 1, 4)
    assert _n_slots(prompt.text) == len(prompt.slot_items)


@pytest.mark.parametrize("template", RANKING)
def test_slot_items_come_in_the_order_of_the_text(template: int) -> None:
    prompt = render_ranking(HISTORY, CANDIDATES, LABELS, WORDING, "hybrid", template)
    named = sorted(range(26), key=lambda item: prompt.text.find(LABELS[item]))
    assert prompt.slot_items == tuple(item for item in named if LABELS[item] in prompt.text)


@pytest.mark.parametrize("template", RANKING)
def test_only_hybrid_and_behavior_prompts_hold_behavior_tokens(template: int) -> None:
    texts = {name: render_ranking(HISTORY, CANDIDATES, LABELS, WORDING, name, template).text for name in REPRESENTATIONS}
    assert {name for name, text in texts.items() if BEHAVIOR_TOKEN in text} == {"hybrid", "behavior"}
    assert {name for name, text in texts.items() if PLACEHOLDER_TOKEN in text} == {"text"}


@pytest.mark.parametrize("template", RANKING)
def test_the_words_of_the_dataset_are_used(template: int) -> None:
    text = render_ranking(HISTORY, CANDIDATES, LABELS, WORDING, "text", template).text
    assert "gadget" in text
    assert "movie" not in text
    used = [render_ranking(HISTORY, CANDIDATES, LABELS, WORDING, "text", number).text for number in RANKING]
    assert sum("polished" in text for text in used) >= 1


def test_all_wordings_differ_and_no_field_is_left_unfilled() -> None:
    ranking = [render_ranking(HISTORY, CANDIDATES, LABELS, WORDING, "text", number).text for number in RANKING]
    histories = [render_history(HISTORY, LABELS, WORDING, "text", number).text for number in HISTORIES]
    assert len({*ranking, *histories}) == len(ranking) + len(histories)
    assert not any("{" in text for text in ranking + histories)


def test_braces_in_a_title_are_text_and_not_a_field() -> None:
    labels = ["{history}", "{0}", "100% {candidates} {{x}}", "Line\nbreak"]
    prompt = render_ranking([0, 1], [2, 3], labels, WORDING, "text", 0)
    for label in labels:
        assert prompt.text.count(label) == 1
    assert prompt.slot_items == (0, 1, 2, 3)


def test_answers_are_labels_but_numbers_in_index_prompts() -> None:
    assert [answer_text(2, LABELS, name) for name in REPRESENTATIONS] == [LABELS[2]] * 3 + ["2"]


@pytest.mark.parametrize("title", ["<|behavior|>", "a<|placeholder|></s>b", "</s></s>", "<<|behavior|>/s>"])
def test_neutralised_titles_hold_no_special_token(title: str) -> None:
    special = [*SLOT_TOKENS, "</s>"]
    safe = neutralise(title, special)
    assert not any(token in safe for token in special)
    assert safe.replace(" ", "") == title
