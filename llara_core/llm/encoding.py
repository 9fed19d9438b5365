"""Turns rendered prompts into token ids, and checks that each item keeps its slot."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

import torch
from transformers import AddedToken, PreTrainedTokenizerBase

from llara_core.errors import ModelError
from llara_core.llm.prompts.rendering import SLOT_TOKENS, Prompt, neutralise

_CHAT_MARK = "@@prompt@@"

# The date that chat templates get instead of today's, since scores must not change with the day. It is the default of Llama 3's
# templates.
CHAT_DATE = date(2024, 7, 26)
_TODAY = re.compile(r"""strftime_now\(\s*(['"])(.*?)\1\s*\)""")


class SlotIds(NamedTuple):
    """Token ids of the two slot tokens: behaviour token and trained placeholder."""

    behavior: int
    placeholder: int

    def mask(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Returns a bool mask of the slots, in the shape of ``input_ids``."""
        return (input_ids == self.behavior) | (input_ids == self.placeholder)


@dataclass(frozen=True)
class Batch:
    """Left-padded prompts.

    Attributes:
        input_ids: ``(B, L)`` int64.
        attention_mask: ``(B, L)`` int64, 0 at padding.
        slot_items: ``(S,)`` int64, item of every slot, row by row; ``S`` is the number of slots in the batch.
        slot_scores: ``(S, 2)`` float32, score features of every slot's item.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    slot_items: torch.Tensor
    slot_scores: torch.Tensor


class PromptEncoder:
    """Tokenizes prompts and answers for one language model.

    Args:
        tokenizer: tokenizer of the language model, to which the two slot tokens are added.
        chat_template: whether to wrap prompts in the tokenizer's chat template.

    Attributes:
        chat_date: date in the prompts, if the chat template asks for one; else None.

    Raises:
        ModelError: the tokenizer has no chat template although one is requested, or no end-of-sequence token.
    """

    chat_date: date | None = None

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, chat_template: bool) -> None:
        if tokenizer.eos_token_id is None:
            raise ModelError("the tokenizer has no end-of-sequence token, so no answer could ever end; use another model")
        # The slot token includes the space before it, which would otherwise cost a token of its own.
        tokens = [AddedToken(token, lstrip=True, normalized=False, special=True) for token in SLOT_TOKENS]
        tokenizer.add_special_tokens({"additional_special_tokens": tokens})
        self.tokenizer = tokenizer
        self.slots = SlotIds(*tokenizer.convert_tokens_to_ids(list(SLOT_TOKENS)))
        self.eos_id: int = tokenizer.eos_token_id
        self._before, self._after = self._chat_frame() if chat_template else ("", "")
        self._opening = [] if chat_template else self._opening_ids()
        # In a chat the answer begins a message; otherwise it continues the sentence "The answer is".
        self._answer_prefix = "" if chat_template else " "
        self._anchor = (self._after or "is").rsplit("\n", 1)[-1] or "\n"
        self.answer_ids = functools.cache(self._answer_ids)

    def safe_labels(self, labels: Sequence[str]) -> list[str]:
        """Returns the labels with special tokens broken up, so that no title is read as one."""
        # `all_special_tokens` lacks tokens without a named role, e.g. the message delimiters of chat models.
        special = [str(token) for token in self.tokenizer.added_tokens_decoder.values() if token.special]
        return [neutralise(label, special) for label in labels]

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        """Returns the token ids of a prompt.

        Raises:
            ModelError: the tokenizer split a slot token.
        """
        text = self._before + prompt.text + self._after
        ids: list[int] = [*self._opening, *self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]]
        n_slots = sum(token in self.slots for token in ids)
        if n_slots != len(prompt.slot_items):
            raise ModelError(
                f"the prompt has {len(prompt.slot_items)} items but {n_slots} slots after tokenization: {prompt.text!r}"
            )
        return ids

    def title_ids(self, label: str) -> list[int]:
        """Returns the token ids of a title by itself."""
        ids: list[int] = self.tokenizer(label, add_special_tokens=False)["input_ids"]
        return ids

    def decode(self, token_ids: Sequence[int]) -> str:
        """Decodes generated tokens, without special ones."""
        text: str = self.tokenizer.decode(token_ids, skip_special_tokens=True)
        return text.strip()

    def pad(self, rows: Sequence[Sequence[int]], prompts: Sequence[Prompt]) -> Batch:
        """Left-pads rows, so that every prompt ends at the position from which its answer continues.

        Args:
            rows: token ids of the prompts, with or without their answers.
            prompts: prompts of the rows, whose items fill the slots.
        """
        length = max(map(len, rows))
        # Padding is masked, so any id will do; a tokenizer's padding token may be outside the model's vocabulary.
        input_ids = torch.full((len(rows), length), self.eos_id, dtype=torch.long)
        mask = torch.zeros((len(rows), length), dtype=torch.long)
        for index, row in enumerate(rows):
            input_ids[index, length - len(row) :] = torch.tensor(row)
            mask[index, length - len(row) :] = 1
        return Batch(
            input_ids,
            mask,
            torch.tensor([item for prompt in prompts for item in prompt.slot_items], dtype=torch.long),
            torch.tensor([score for prompt in prompts for score in prompt.slot_scores], dtype=torch.float32).view(-1, 2),
        )

    def _answer_ids(self, text: str) -> tuple[int, ...]:
        # An anchor precedes the answer, since SentencePiece tokenizers put a word boundary before an isolated text.
        anchor = self.tokenizer(self._anchor, add_special_tokens=False)["input_ids"]
        both = self.tokenizer(self._anchor + self._answer_prefix + text, add_special_tokens=False)["input_ids"]
        if both[: len(anchor)] != anchor:
            raise ModelError(f"the tokenizer merges the answer {text!r} with the prompt's end {self._anchor!r}")
        return (*both[len(anchor) :], self.eos_id)

    def _opening_ids(self) -> list[int]:
        """Returns the tokens that the tokenizer puts before a text; those that it puts after one would end the prompt."""
        plain, framed = (self.tokenizer("is", add_special_tokens=special)["input_ids"] for special in (False, True))
        for start in range(len(framed) - len(plain) + 1):
            if framed[start : start + len(plain)] == plain:
                opening: list[int] = framed[:start]
                return opening
        raise ModelError("the tokenizer splits a text differently when it adds special tokens; use another model")

    def _chat_frame(self) -> tuple[str, str]:
        if self.tokenizer.chat_template is None:
            raise ModelError("prompt.chat_template is true, but the tokenizer has no chat template; set it to false")
        template = self.tokenizer.get_chat_template()
        dated, n_dates = _TODAY.subn(lambda call: repr(CHAT_DATE.strftime(call[2])), template)
        if "strftime_now(" in dated:
            raise ModelError("the tokenizer's chat template computes with today's date; set prompt.chat_template to false")
        if n_dates:
            self.chat_date = CHAT_DATE
        text = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": _CHAT_MARK}], chat_template=dated, tokenize=False, add_generation_prompt=True
        )
        before, mark, after = text.partition(_CHAT_MARK)
        if not mark:
            raise ModelError("the tokenizer's chat template drops the user's message; set prompt.chat_template to false")
        return before, after
