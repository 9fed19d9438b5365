"""Cross-entropy over a catalogue whose logits do not fit into memory."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from llara_core.ranking import SCORES_AT_A_TIME


def fits_in_memory(n_states: int, n_items: int) -> bool:
    """Whether the logits of all items for all states may be in memory together."""
    return n_states * n_items <= SCORES_AT_A_TIME


def chunked_cross_entropy(states: Tensor, items: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """``F.cross_entropy(F.linear(states, items, bias), targets, reduction="sum")``, with the logits of some items at a time.

    It differs from that by rounding alone: every item counts. The backward pass computes the logits again, so that they take
    half again as long.

    Args:
        states: ``(N, D)``.
        items: ``(n_items, D)``.
        bias: ``(n_items,)``.
        targets: ``(N,)`` int64.
    """
    size = max(1, SCORES_AT_A_TIME // max(len(states), 1))
    parts = zip(torch.split(items, size), torch.split(bias, size), strict=True)
    sums = [checkpoint(_log_sum, states, *part, use_reentrant=False, preserve_rng_state=False) for part in parts]
    of_targets = (states * items[targets]).sum(dim=1) + bias[targets]
    loss: Tensor = (torch.stack(sums).logsumexp(dim=0) - of_targets).sum()
    return loss


def _log_sum(states: Tensor, items: Tensor, bias: Tensor) -> Tensor:
    return F.linear(states, items, bias).logsumexp(dim=1)
