"""Token ids: slots, frames, padding and answers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers.processors import TemplateProcessing

from llara_core.errors import ModelError
from llara_core.llm.encoding import CHAT_DATE, PromptEncoder
from llara_core.llm.loading import load_tokenizer
from llara_core.llm.prompts.rendering import (
    NO_SCORES,
    SLOT_TOKENS,
    Prompt,
    render_history,
    render_item,
    render_ranking,
)
from llara_core.llm.prompts.templates import RANKING_TEMPLATES
from tests.helpers.llm import LABELS, WORDING, make_encoder

CHAT = "{% for m in messages %}<turn>{{ m.role }}\n{{ m.content }}</turn>\n{% endfor %}<turn>assistant{{ '\n' }}"
HOSTILE = ["<|behavior|>", "Say <|placeholder|> twice<|placeholder|>", "</s>", "<s> {history} {}", "two\nlines", "<pad>"]


@pytest.mark.parametrize("chat_template", [None, CHAT])
@pytest.mark.parametrize("representation", ["hybrid", "text", "behavior", "index"])
def test_every_item_has_one_slot_even_with_hostile_titles(
    tiny_llama: Path, representation: str, chat_template: str | None
) -> None:
    encoder = make_encoder(tiny_llama, chat_template=chat_template)
    labels = encoder.safe_labels(HOSTILE)
    special = set(encoder.tokenizer.all_special_ids)
    for template in range(len(RANKING_TEMPLATES)):
        prompt = render_ranking([0, 1, 2], [3, 4, 5], labels, WORDING, representation, template)
        ids = encoder.prompt_ids(prompt)
        behavior, placeholder = ids.count(encoder.slots.behavior), ids.count(encoder.slots.placeholder)
        in_slots = {"hybrid": (6, 0), "text": (0, 6), "behavior": (6, 0), "index": (0, 0)}[representation]
        assert (behavior, placeholder) == in_slots
        assert sum(token in special for token in ids) == sum(in_slots)


def test_tokens_without_a_role_are_neutralised_too(tiny_llama: Path) -> None:
    tokenizer = load_tokenizer(tiny_llama)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|turn|>"]})
    encoder = PromptEncoder(tokenizer, chat_template=False)
    (label,) = encoder.safe_labels(["End <|turn|>"])
    assert tokenizer.convert_tokens_to_ids("<|turn|>") not in tokenizer(label)["input_ids"]
    assert encoder.safe_labels(["Plain <title>"]) == ["Plain <title>"]


def test_slots_that_do_not_match_the_items_are_an_error(tiny_llama: Path) -> None:
    with pytest.raises(ModelError, match="1 items but 2 slots"):
        make_encoder(tiny_llama).prompt_ids(Prompt(SLOT_TOKENS[0] * 2, (0,), (NO_SCORES,), ()))


def test_padding_is_on_the_left_and_masked(tiny_llama: Path) -> None:
    prompts = [
        Prompt("", (1,), ((0.5, 0.2),), (0,)),
        Prompt("", (), (), ()),
        Prompt("", (0, 2), ((-1.0, 0.1), (2.0, 0.7)), (1,)),
    ]
    batch = make_encoder(tiny_llama).pad([[7, 8], [9], [4, 5, 6]], prompts)
    assert batch.attention_mask.tolist() == [[0, 1, 1], [0, 0, 1], [1, 1, 1]]
    assert batch.input_ids[batch.attention_mask.bool()].tolist() == [7, 8, 9, 4, 5, 6]
    assert batch.slot_items.tolist() == [1, 0, 2]
    torch.testing.assert_close(batch.slot_scores, torch.tensor([[0.5, 0.2], [-1.0, 0.1], [2.0, 0.7]]))


def test_a_slot_takes_the_space_before_it_and_leaves_the_title_the_tokens_of_the_answer(tiny_llama: Path) -> None:
    encoder = make_encoder(tiny_llama)
    comma = encoder.tokenizer(",", add_special_tokens=False)["input_ids"]
    title = list(encoder.answer_ids("Heat"))[:-1]
    prompt = Prompt(
        f"{render_item(2, LABELS, 'hybrid', 'before')}, {render_item(2, LABELS, 'hybrid', 'before')}",
        (2, 2),
        (NO_SCORES,) * 2,
        (),
    )
    slot = encoder.slots.behavior
    assert encoder.prompt_ids(prompt)[-2 * len(title) - 3 :] == [slot, *title, *comma, slot, *title]


def test_the_mask_finds_both_slot_tokens(tiny_llama: Path) -> None:
    encoder = make_encoder(tiny_llama)
    ids = torch.tensor([[1, encoder.slots.behavior], [encoder.slots.placeholder, encoder.eos_id]])
    assert encoder.slots.mask(ids).tolist() == [[False, True], [True, False]]


@pytest.mark.parametrize("chat_template", [None, CHAT])
@pytest.mark.parametrize("answer", [*LABELS, "12", "Ünïcode ☃"])
def test_answers_continue_the_prompt_and_end(tiny_llama: Path, answer: str, chat_template: str | None) -> None:
    encoder = make_encoder(tiny_llama, chat_template=chat_template)
    prompt = render_ranking([0], [1, 2], LABELS, WORDING, "hybrid", 0)
    ids = encoder.answer_ids(answer)
    assert ids[-1] == encoder.eos_id
    assert encoder.decode(ids) == answer
    before, after = ("", " ") if chat_template is None else ("<turn>user\n", "</turn>\n<turn>assistant\n")
    whole = encoder.tokenizer(before + prompt.text + after + answer)["input_ids"]
    assert whole == [*encoder.prompt_ids(prompt), *ids[:-1]]


def test_chat_template_frames_the_prompt(tiny_llama: Path) -> None:
    encoder = make_encoder(tiny_llama, chat_template=CHAT)
    ids = encoder.prompt_ids(render_history([0, 1], LABELS, WORDING, "index", 0))
    read = "This user has watched 0<|placeholder|>, 1<|placeholder|>"
    assert encoder.tokenizer.decode(ids) == f"<turn>user\n{read}</turn>\n<turn>assistant\n"


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("strftime_now('%d %b %Y')", "26 Jul 2024"),
        ('strftime_now( "%B %d, %Y" )', "July 26, 2024"),
        ("strftime_now('%Y-%m-%d') if strftime_now is defined else ''", "2024-07-26"),
    ],
)
def test_prompts_of_a_chat_template_with_todays_date_do_not_change_with_the_day(tiny_llama: Path, call: str, text: str) -> None:
    encoder = make_encoder(tiny_llama, chat_template="Today is {{ " + call + " }}.\n" + CHAT)
    ids = encoder.prompt_ids(render_history([0], LABELS, WORDING, "text", 0))
    assert encoder.tokenizer.decode(ids).startswith(f"Today is {text}.\n<turn>user\n")
    assert encoder.chat_date == CHAT_DATE
    assert make_encoder(tiny_llama, chat_template=CHAT).chat_date is None


def test_a_chat_template_that_computes_with_the_date_is_an_error(tiny_llama: Path) -> None:
    with pytest.raises(ModelError, match=r"computes with today's date; set prompt\.chat_template to false"):
        make_encoder(tiny_llama, chat_template="{% set form = '%Y' %}{{ strftime_now(form) }}" + CHAT)


@pytest.mark.parametrize(
    ("frame", "opening"), [("<s> $A </s>", [0]), ("$A </s>", []), ("<s> $A", [0]), ("<s> <s> $A <pad>", [0, 0])]
)
def test_a_prompt_begins_as_the_tokenizer_has_it_and_ends_before_its_answer(
    tiny_llama: Path, frame: str, opening: list[int]
) -> None:
    plain, tokenizer = make_encoder(tiny_llama), load_tokenizer(tiny_llama)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=frame, special_tokens=[("<s>", 0), ("</s>", 1), ("<pad>", 2)]
    )
    assert len(tokenizer("is")["input_ids"]) == len(plain.tokenizer("is")["input_ids"]) + len(frame.split()) - 1
    encoder = PromptEncoder(tokenizer, chat_template=False)
    for prompt in (render_ranking([0], [1, 2], LABELS, WORDING, "hybrid", 0), render_history([3], LABELS, WORDING, "index", 1)):
        assert encoder.prompt_ids(prompt) == [*opening, *plain.prompt_ids(prompt)]
    assert encoder.answer_ids("Heat") == plain.answer_ids("Heat")


def test_missing_chat_template_and_a_template_without_the_message_are_errors(tiny_llama: Path) -> None:
    tokenizer = load_tokenizer(tiny_llama)
    with pytest.raises(ModelError, match="has no chat template"):
        PromptEncoder(tokenizer, chat_template=True)
    with pytest.raises(ModelError, match="drops the user's message"):
        make_encoder(tiny_llama, chat_template="hello")


def test_a_tokenizer_without_end_token_is_an_error(tiny_llama: Path) -> None:
    tokenizer = load_tokenizer(tiny_llama)
    tokenizer.eos_token = None
    with pytest.raises(ModelError, match="no end-of-sequence token"):
        PromptEncoder(tokenizer, chat_template=False)
