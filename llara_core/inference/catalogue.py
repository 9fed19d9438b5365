"""Scores over the whole catalogue from the catalogue head: one short pass per history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from llara_core.config import PromptConfig
from llara_core.errors import ModelError
from llara_core.inference.prompts import batches, history_prompt
from llara_core.llm.encoding import Batch, PromptEncoder
from llara_core.llm.hybrid import NO_HEAD, HybridLM
from llara_core.prompts.rendering import ItemWording
from llara_core.ranking import History
from llara_core.runtime import processes, progress


@dataclass(frozen=True)
class HeadScorer:
    """A tuned model as a scorer of histories.

    Attributes:
        model: with a catalogue head, in evaluation mode.
        encoder: of its tokenizer.
        labels: of all items.
        wording: the dataset's words for items.
        config: how the model was prompted in tuning.
        batch_size: histories per pass; changes speed and memory, and the rounding of results.

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
        """Logits of every item as the next one, ``(N, n_items)``, read at the last item of each history.

        Processes that work together share the batches, and all of them know all scores.
        """
        prompts = [history_prompt(history, self.labels, self.wording, self.config) for history in histories]
        ids = [self.encoder.prompt_ids(prompt) for prompt in prompts]
        device = self.model.device
        scores = np.empty((len(histories), len(self.labels)), dtype=np.float32)
        mine = batches([len(row) for row in ids], self.batch_size)
        mine = mine if self.model.is_sharded else processes.share(mine)
        with progress.bar(sum(map(len, mine)), desc="score catalogue", unit="history") as bar:
            for rows in mine:
                batch = self.encoder.pad([ids[row] for row in rows], [prompts[row] for row in rows])
                hidden = self.model.hidden_states(
                    batch.input_ids.to(device), batch.attention_mask.to(device), batch.slot_items.to(device)
                )
                scores[rows] = self.model.item_logits(hidden[torch.arange(len(rows)), self._last_slots(batch)]).cpu().numpy()
                bar.update(len(rows))
        processes.fill_in(mine, scores)
        return scores

    def _last_slots(self, batch: Batch) -> torch.Tensor:
        """Position of every prompt's last item ``(B,)``; it is the last token but for what a chat template appends."""
        slots = self.encoder.slots.mask(batch.input_ids)
        return slots.shape[1] - 1 - slots.flip(1).int().argmax(dim=1)
