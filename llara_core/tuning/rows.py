"""Batches of the plan's rows, their loss, and the reference log-likelihoods of preference tuning."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.data import Dataset

from llara_core.config import PromptConfig, Representation, TuneConfig
from llara_core.llm.encoding import PromptEncoder
from llara_core.llm.hybrid import HybridLM
from llara_core.objectives import registry
from llara_core.objectives.base import IGNORE, EncodedRow, TrainingData
from llara_core.objectives.preference import Preference
from llara_core.runtime import processes, progress


class PlanDataset(Dataset[EncodedRow]):
    """Rows of the plan, encoded on demand."""

    def __init__(self, plan: pd.DataFrame, data: TrainingData, encoder: PromptEncoder, config: PromptConfig) -> None:
        self._plan = plan
        self._data, self._encoder, self._config = data, encoder, config

    def __len__(self) -> int:
        return len(self._plan)

    def __getitem__(self, index: int) -> EncodedRow:
        row: Any = next(self._plan.iloc[index : index + 1].itertuples(index=False))  # tuples of all rows would take 0.5 KB each
        # Other representations than hybrid have no easier form.
        representation: Representation = self._config.representation
        if representation == "hybrid" and not row.hybrid:
            representation = "text"
        return registry.OBJECTIVES[row.objective].encode(row, representation, self._data, self._encoder, self._config)


def collate(rows: Sequence[EncodedRow], encoder: PromptEncoder) -> dict[str, torch.Tensor | str]:
    """Collates rows of one objective into left-padded tensors, the arguments of :class:`TrainingStep`."""
    objectives = {row.objective for row in rows}
    if len(objectives) != 1:
        raise ValueError("a batch must have one objective; the plan guarantees it")
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
        **registry.OBJECTIVES[objective].batch_tensors(rows),
    }


class TrainingStep(nn.Module):
    """A model together with the loss of each batch's objective, in one module as transformers' ``Trainer`` expects.

    Args:
        model: model to tune.
        tune: tuning settings, which hold the weights of the losses.
    """

    accepts_loss_kwargs = True  # makes the Trainer count the labels of a step and pass `num_items_in_batch`

    def __init__(self, model: HybridLM, tune: TuneConfig) -> None:
        super().__init__()
        self.model = model
        self._tune = tune

    def forward(
        self, *, objective: str, num_items_in_batch: torch.Tensor | int | None = None, **batch: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Returns the training loss of one micro-batch.

        Args:
            objective: name of the objective.
            num_items_in_batch: number of predicting positions of the whole optimiser step, over all micro-batches and devices;
                None counts those of this micro-batch.
            batch: the other entries of :func:`collate`.

        Returns:
            ``{"loss": scalar}``, the objective's summed loss divided by ``num_items_in_batch``. Because answers differ in
            length, a mean per micro-batch would make the weight of a position depend on the other rows.
        """
        if self.model.new_items is not None:
            self.model.new_items.pretend(self._tune.new_share)
        hidden = self.model.hidden_states(
            batch["input_ids"], batch["attention_mask"], batch["slot_items"], batch["slot_scores"], batch.get("branches")
        )
        loss = registry.OBJECTIVES[objective].loss(self.model, hidden, batch, self._tune)
        n_predicting = (batch["labels"] != IGNORE).sum() if num_items_in_batch is None else num_items_in_batch
        return {"loss": loss / n_predicting}


@torch.no_grad()
def reference_log_likelihoods(
    model: HybridLM, rows: PlanDataset, encoder: PromptEncoder, micro_batch_size: int
) -> list[tuple[float, ...]]:
    """Returns the log-likelihoods of the compared answers of each row under the model before tuning.

    Each pass reads the rows of one training micro-batch, so that both round alike. Several processes share the passes, and each
    returns all values.

    Args:
        model: model before tuning.
        rows: rows of the plan, all with objective ``preference``.
        encoder: encoder that pads the rows.
        micro_batch_size: number of rows per pass.
    """
    objective = Preference()
    model.eval()
    passes = [list(range(start, min(start + micro_batch_size, len(rows)))) for start in range(0, len(rows), micro_batch_size)]
    mine = passes if model.is_sharded else processes.own_share(passes)
    log_likelihoods = np.full(len(rows), None, dtype=object)
    with progress.bar(len(mine), desc="reference", unit="pass") as bar:
        for part in mine:
            batch = _on_device(collate([rows[row] for row in part], encoder), model.device)
            with _training_precision(model):
                hidden = model.hidden_states(
                    batch["input_ids"], batch["attention_mask"], batch["slot_items"], batch["slot_scores"], batch["branches"]
                )
                for row, values in zip(part, objective.log_likelihoods(model, hidden, batch).tolist(), strict=True):
                    log_likelihoods[row] = tuple(values)
            bar.update()
    processes.fill_in([np.asarray(part) for part in mine], log_likelihoods)
    return log_likelihoods.tolist()


def _on_device(batch: dict[str, Any], device: torch.device) -> dict[str, Any]:
    return {name: value.to(device) if torch.is_tensor(value) else value for name, value in batch.items()}


def _training_precision(model: HybridLM) -> contextlib.AbstractContextManager[Any]:
    """Returns a context in which the model computes in the trainer's precision."""
    dtype = model.causal_lm.dtype
    return torch.autocast(model.device.type, dtype, enabled=dtype != torch.float32)
