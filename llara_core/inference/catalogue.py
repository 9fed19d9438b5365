"""Scores the whole catalogue with the catalogue head: one short pass per history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from llara_core.answers.prompts import history_prompt
from llara_core.answers.ranking import History
from llara_core.config import PromptConfig
from llara_core.errors import ModelError
from llara_core.inference.batches import own_batches
from llara_core.llm.encoding import Batch, PromptEncoder
from llara_core.llm.hybrid import NO_HEAD, HybridLM
from llara_core.llm.prompts.rendering import ItemWording
from llara_core.runtime import processes, progress


@dataclass(frozen=True)
class HeadScorer:
    """Scores all items with the catalogue head of a tuned model.

    Attributes:
        labels: display name of each item, indexed by item id.
        batch_size: histories per pass; it changes speed, memory and rounding.

    Raises:
        ModelError: the model has no head.
    """

    model: HybridLM
    encoder: PromptEncoder
    labels: Sequence[str]
    wording: ItemWording
    config: PromptConfig
    batch_size: int

    def __post_init__(self) -> None:
        if self.model.head is None:
            raise ModelError(NO_HEAD)

    @torch.inference_mode()
    def score_catalogue(self, histories: Sequence[History]) -> npt.NDArray[np.float32]:
        """Returns the logits ``(N, n_items)`` of every item as the next one, read at the last item of each history.

        Cooperating processes share the batches, and each returns all scores.
        """
        prompts = [history_prompt(history, self.labels, self.wording, self.config) for history in histories]
        ids = [self.encoder.prompt_ids(prompt) for prompt in prompts]
        device = self.model.device
        scores = np.empty((len(histories), len(self.labels)), dtype=np.float32)
        own = own_batches([len(row) for row in ids], self.batch_size, is_sharded=self.model.is_sharded)
        with progress.bar(sum(map(len, own)), desc="score catalogue", unit="history") as bar:
            for rows in own:
                batch = self.encoder.pad([ids[row] for row in rows], [prompts[row] for row in rows])
                hidden = self.model.hidden_states(
                    batch.input_ids.to(device), batch.attention_mask.to(device), batch.slot_items.to(device)
                )
                scores[rows] = self.model.item_logits(hidden[torch.arange(len(rows)), self._last_slots(batch)]).cpu().numpy()
                bar.update(len(rows))
        processes.fill_in(own, scores)
        return scores

    def _last_slots(self, batch: Batch) -> torch.Tensor:
        """Returns the position ``(B,)`` of every prompt's last slot, which only a chat template's suffix may follow."""
        slots = self.encoder.slots.mask(batch.input_ids)
        return slots.shape[1] - 1 - slots.flip(1).int().argmax(dim=1)
