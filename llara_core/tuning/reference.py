"""What the start of preference tuning makes of the answers that are compared, before the first step changes it."""

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
    """Log-likelihoods of each row's answers, in passes over the same rows as training's, so that both round alike.

    Processes that work together share the passes, and all of them know all values.

    Args:
        model: the start.
        rows: of the plan, all of objective ``preference``.
        encoder: pads them.
        micro_batch_size: rows per pass.
    """
    objective = Preference()
    model.eval()
    passes = [list(range(start, min(start + micro_batch_size, len(rows)))) for start in range(0, len(rows), micro_batch_size)]
    mine = passes if model.is_sharded else processes.share(passes)
    found = np.full(len(rows), None, dtype=object)
    with progress.bar(len(mine), desc="reference", unit="pass") as bar:
        for part in mine:
            batch = _on_device(collate([rows[row] for row in part], encoder), model.device)
            with _as_trained(model):
                hidden = model.hidden_states(
                    batch["input_ids"], batch["attention_mask"], batch["slot_items"], batch["slot_scores"], batch["branches"]
                )
                for row, values in zip(part, objective.log_likelihoods(model, hidden, batch).tolist(), strict=True):
                    found[row] = tuple(values)
            bar.update()
    processes.fill_in([np.asarray(part) for part in mine], found)
    return found.tolist()


def _on_device(batch: dict[str, Any], device: torch.device) -> dict[str, Any]:
    return {name: value.to(device) if torch.is_tensor(value) else value for name, value in batch.items()}


def _as_trained(model: HybridLM) -> contextlib.AbstractContextManager[Any]:
    """The precision in which the trainer computes."""
    dtype = model.causal_lm.dtype
    return torch.autocast(model.device.type, dtype, enabled=dtype != torch.float32)
