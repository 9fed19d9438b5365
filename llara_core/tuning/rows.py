"""From the plan to batches and their loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
from torch import nn
from torch.utils.data import Dataset

from llara_core.config import PromptConfig, Representation, TuneConfig
from llara_core.llm.encoding import PromptEncoder
from llara_core.llm.hybrid import HybridLM
from llara_core.objectives.base import IGNORE, EncodedRow, TrainingData
from llara_core.objectives.registry import load_objective


class PlanDataset(Dataset[EncodedRow]):
    """The plan's rows, encoded on demand; row k of the data set is row k of the plan."""

    def __init__(self, plan: pd.DataFrame, data: TrainingData, encoder: PromptEncoder, config: PromptConfig) -> None:
        self._plan = plan
        self._data, self._encoder, self._config = data, encoder, config

    def __len__(self) -> int:
        return len(self._plan)

    def __getitem__(self, index: int) -> EncodedRow:
        row: Any = next(self._plan.iloc[index : index + 1].itertuples(index=False))  # one at a time: tuples take 0.5 KB each
        # Only the hybrid representation has an easy and a hard task; the others are ablations without a curriculum.
        representation: Representation = self._config.representation
        if representation == "hybrid" and not row.hybrid:
            representation = "text"
        return load_objective(row.objective).encode(row, representation, self._data, self._encoder, self._config)


def collate(rows: Sequence[EncodedRow], encoder: PromptEncoder) -> dict[str, torch.Tensor | str]:
    """Left-padded tensors of rows that serve one objective: the arguments of :class:`TrainingStep`."""
    objectives = {row.objective for row in rows}
    if len(objectives) != 1:
        raise ValueError("a batch must serve one objective; the plan guarantees it")
    batch = encoder.pad([row.input_ids for row in rows], [row.prompt for row in rows])
    labels = torch.full_like(batch.input_ids, IGNORE)
    for index, row in enumerate(rows):
        labels[index, labels.shape[1] - len(row.labels) :] = torch.tensor(row.labels)
    (objective,) = objectives
    return {
        "objective": objective,
        "input_ids": batch.input_ids,
        "attention_mask": batch.attention_mask,
        "slot_items": batch.slot_items,
        "slot_scores": batch.slot_scores,
        "labels": labels,
        **load_objective(objective).batch_tensors(rows),
    }


class TrainingStep(nn.Module):
    """A model and the loss of whatever objective a batch serves, as transformers' ``Trainer`` wants them: in one module.

    Args:
        model: that is tuned.
        tune: weights of the losses.
    """

    accepts_loss_kwargs = True  # tells the Trainer to count the labels of a step and to pass `num_items_in_batch`

    def __init__(self, model: HybridLM, tune: TuneConfig) -> None:
        super().__init__()
        self.model = model
        self._tune = tune

    def forward(
        self, *, objective: str, num_items_in_batch: torch.Tensor | int | None = None, **batch: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Training loss of one micro-batch.

        Args:
            objective: its name.
            num_items_in_batch: predicting positions of the whole optimiser step, over all of its micro-batches and devices,
                which the Trainer counts in the labels; None: those of this micro-batch.
            batch: the other tensors of :func:`collate`.

        Returns:
            ``{"loss": scalar}``, the objective's summed loss divided by ``num_items_in_batch``. Answers differ in length; a
            mean per micro-batch would weigh a position by the company that it happens to keep.
        """
        if self.model.new_items is not None:
            self.model.new_items.pretend(self._tune.new_share)
        hidden = self.model.hidden_states(
            batch["input_ids"], batch["attention_mask"], batch["slot_items"], batch["slot_scores"], batch.get("branches")
        )
        loss = load_objective(objective).loss(self.model, hidden, batch, self._tune)
        n_predicting = (batch["labels"] != IGNORE).sum() if num_items_in_batch is None else num_items_in_batch
        return {"loss": loss / n_predicting}
