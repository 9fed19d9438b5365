"""From a row of the plan to padded tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch.utils.data import Dataset

from llara_core.config import Representation
from llara_core.llm.encoding import PromptEncoder
from llara_core.prompts.rendering import Words, answer_text, render_history, render_ranking

IGNORE = -100


@dataclass(frozen=True)
class EncodedRow:
    """One prompt: token ids, the item of every slot, and what each position predicts (``IGNORE``: nothing)."""

    input_ids: list[int]
    slot_items: tuple[int, ...]
    labels: list[int]
    next_item: bool


@dataclass(frozen=True)
class TrainingData:
    """What prompts are made of.

    Attributes:
        histories, targets: of the training examples, by example number.
        candidates: by (example number, draw).
        sequences: whole training sequences, by sequence number.
        labels: of all items, by item id.
        words: the dataset's words.
    """

    histories: Sequence[Sequence[int]]
    targets: Sequence[int]
    candidates: dict[tuple[int, int], Sequence[int]]
    sequences: Sequence[Sequence[int]]
    labels: Sequence[str]
    words: Words


class PlanDataset(Dataset[EncodedRow]):
    """The plan's rows, encoded on demand; row k of the data set is row k of the plan."""

    def __init__(self, plan: pd.DataFrame, data: TrainingData, encoder: PromptEncoder, representation: Representation) -> None:
        self._rows = list(plan.itertuples(index=False))
        self._data, self._encoder, self._representation = data, encoder, representation

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> EncodedRow:
        row = self._rows[index]
        # Only the hybrid representation has an easy and a hard task; the others are ablations without a curriculum.
        representation: Representation = self._representation
        if representation == "hybrid" and not row.hybrid:
            representation = "text"
        encode = self._encode_chunk if row.next_item else self._encode_ranking
        return encode(row, representation)

    def _encode_ranking(self, row: Any, representation: Representation) -> EncodedRow:
        data, example = self._data, row.source
        prompt = render_ranking(
            data.histories[example],
            data.candidates[example, row.draw],
            data.labels,
            data.words,
            representation,
            row.template,
        )
        prompt_ids = self._encoder.prompt_ids(prompt)
        answer = self._encoder.answer_ids(answer_text(data.targets[example], data.labels, representation))
        labels = [IGNORE] * (len(prompt_ids) - 1) + list(answer) + [IGNORE]
        return EncodedRow([*prompt_ids, *answer], prompt.slot_items, labels, next_item=False)

    def _encode_chunk(self, row: Any, representation: Representation) -> EncodedRow:
        items = self._data.sequences[row.source][row.start : row.stop]
        prompt = render_history(items[:-1], self._data.labels, self._data.words, representation, row.template)
        prompt_ids = self._encoder.prompt_ids(prompt)
        following = iter(items[1:])
        slots = (self._encoder.behavior_id, self._encoder.placeholder_id)
        labels = [next(following) if token in slots else IGNORE for token in prompt_ids]
        return EncodedRow(prompt_ids, prompt.slot_items, labels, next_item=True)


def collate(rows: Sequence[EncodedRow], encoder: PromptEncoder) -> dict[str, torch.Tensor | bool]:
    """Left-padded tensors of rows that serve one objective: the arguments of :meth:`HybridLM.forward`."""
    objectives = {row.next_item for row in rows}
    if len(objectives) != 1:
        raise ValueError("a batch must serve one objective; the plan guarantees it")
    batch = encoder.pad([row.input_ids for row in rows], [row.slot_items for row in rows])
    labels = torch.full_like(batch.input_ids, IGNORE)
    for index, row in enumerate(rows):
        labels[index, labels.shape[1] - len(row.labels) :] = torch.tensor(row.labels)
    return {
        "input_ids": batch.input_ids,
        "attention_mask": batch.attention_mask,
        "slot_items": batch.slot_items,
        "labels": labels,
        "next_item": objectives.pop(),
    }
