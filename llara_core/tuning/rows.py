"""From a row of the plan to padded tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch.utils.data import Dataset

from llara_core.config import PromptConfig, Representation
from llara_core.llm.encoding import PromptEncoder
from llara_core.prompts.rendering import Opinion, Prompt, Words, answer_text, render_history, render_ranking

IGNORE = -100


@dataclass(frozen=True)
class EncodedRow:
    """One row as the model trains on it.

    Attributes:
        input_ids: of the prompt, and of its answer in the generative objective.
        prompt: which fills the slots.
        labels: what each position predicts (``IGNORE``: nothing).
        next_item: which objective the row serves.
        target_place: of the target among the candidates; None in ``next_item``.
    """

    input_ids: list[int]
    prompt: Prompt
    labels: list[int]
    next_item: bool
    target_place: int | None


@dataclass(frozen=True)
class TrainingData:
    """What prompts are made of.

    Attributes:
        histories, targets: of the training examples, by example number.
        candidates: by (example number, draw).
        scores: the recommender's opinions ``(C, 2)`` of these candidates, by the same keys; None for systems that show none.
        sequences: whole training sequences, by sequence number.
        labels: of all items, by item id.
        words: the dataset's words.
    """

    histories: Sequence[Sequence[int]]
    targets: Sequence[int]
    candidates: dict[tuple[int, int], Sequence[int]]
    scores: Mapping[tuple[int, int], Sequence[Opinion]] | None
    sequences: Sequence[Sequence[int]]
    labels: Sequence[str]
    words: Words


class PlanDataset(Dataset[EncodedRow]):
    """The plan's rows, encoded on demand; row k of the data set is row k of the plan."""

    def __init__(self, plan: pd.DataFrame, data: TrainingData, encoder: PromptEncoder, config: PromptConfig) -> None:
        self._rows = list(plan.itertuples(index=False))
        self._data, self._encoder, self._config = data, encoder, config

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> EncodedRow:
        row = self._rows[index]
        # Only the hybrid representation has an easy and a hard task; the others are ablations without a curriculum.
        representation: Representation = self._config.representation
        if representation == "hybrid" and not row.hybrid:
            representation = "text"
        encode = self._encode_chunk if row.next_item else self._encode_ranking
        return encode(row, representation)

    def _encode_ranking(self, row: Any, representation: Representation) -> EncodedRow:
        data, example = self._data, row.source
        candidates, target = data.candidates[example, row.draw], data.targets[example]
        prompt = render_ranking(
            data.histories[example],
            candidates,
            data.labels,
            data.words,
            representation,
            row.template,
            slot=self._config.slot,
            scores=None if data.scores is None else data.scores[example, row.draw],
        )
        prompt_ids = self._encoder.prompt_ids(prompt)
        answer = self._encoder.answer_ids(answer_text(target, data.labels, representation))
        labels = [IGNORE] * (len(prompt_ids) - 1) + list(answer) + [IGNORE]
        return EncodedRow([*prompt_ids, *answer], prompt, labels, next_item=False, target_place=list(candidates).index(target))

    def _encode_chunk(self, row: Any, representation: Representation) -> EncodedRow:
        items = self._data.sequences[row.source][row.start : row.stop]
        prompt = render_history(
            items[:-1], self._data.labels, self._data.words, representation, row.template, slot=self._config.slot
        )
        prompt_ids = self._encoder.prompt_ids(prompt)
        following = iter(items[1:])
        slots = (self._encoder.behavior_id, self._encoder.placeholder_id)
        labels = [next(following) if token in slots else IGNORE for token in prompt_ids]
        return EncodedRow(prompt_ids, prompt, labels, next_item=True, target_place=None)


def collate(rows: Sequence[EncodedRow], encoder: PromptEncoder) -> dict[str, torch.Tensor | bool]:
    """Left-padded tensors of rows that serve one objective: the arguments of :meth:`HybridLM.forward`."""
    objectives = {row.next_item for row in rows}
    if len(objectives) != 1:
        raise ValueError("a batch must serve one objective; the plan guarantees it")
    batch = encoder.pad([row.input_ids for row in rows], [row.prompt for row in rows])
    labels = torch.full_like(batch.input_ids, IGNORE)
    for index, row in enumerate(rows):
        labels[index, labels.shape[1] - len(row.labels) :] = torch.tensor(row.labels)
    inputs: dict[str, torch.Tensor | bool] = {
        "input_ids": batch.input_ids,
        "attention_mask": batch.attention_mask,
        "slot_items": batch.slot_items,
        "slot_scores": batch.slot_scores,
        "labels": labels,
        "next_item": objectives.pop(),
    }
    if not inputs["next_item"] and rows[0].prompt.candidate_slots:
        n_slots = torch.tensor([0, *(len(row.prompt.slot_items) for row in rows[:-1])])
        inputs["candidate_slots"] = torch.tensor([row.prompt.candidate_slots for row in rows]) + n_slots.cumsum(0)[:, None]
        inputs["target_places"] = torch.tensor([row.target_place for row in rows])
    return inputs
