"""Reference log-likelihoods for preference tuning, computed before the first step."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import torch

from llara_core.llm.encoding import PromptEncoder
from llara_core.llm.hybrid import HybridLM
from llara_core.objectives.preference import Preference
from llara_core.runtime import processes, progress
from llara_core.tuning.rows import PlanDataset, collate


@torch.no_grad()
def reference_log_likelihoods(
    model: HybridLM, rows: PlanDataset, encoder: PromptEncoder, micro_batch_size: int
) -> list[tuple[float, ...]]:
    """Returns the log-likelihoods of the compared answers of each row.

    Each pass reads the rows of one training micro-batch, so that both round alike. Several processes share the passes, and each
    of them returns all values.

    Args:
        model: model before tuning.
        rows: rows of the plan, all with objective ``preference``.
        encoder: encoder that pads the rows.
        micro_batch_size: number of rows per pass.
    """
    objective = Preference()
    model.eval()
    passes = [list(range(start, min(start + micro_batch_size, len(rows)))) for start in range(0, len(rows), micro_batch_size)]
    mine = passes if model.is_sharded else processes.share(passes)
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
    """Computes in the precision of the trainer."""
    dtype = model.causal_lm.dtype
    return torch.autocast(model.device.type, dtype, enabled=dtype != torch.float32)
