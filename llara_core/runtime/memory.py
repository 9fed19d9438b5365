"""Limits how many scores of a catalogue are in memory at a time, and computes a softmax over larger catalogues."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

# Scores, histories times items, that are in memory together (268 MB): a catalogue of up to 16,384 items is scored for 4,096
# histories at a time, one of a million for 67.
SCORES_AT_A_TIME = 1 << 26

# Logit of an item that is excluded from a softmax: its exponential is 0, but gradients stay finite.
MASKED_LOGIT = -1.0e4


def histories_at_a_time(n_items: int, at_most: int) -> int:
    """Returns how many histories to score together, so that there are at most :data:`SCORES_AT_A_TIME` scores.

    >>> histories_at_a_time(1_682, 4096), histories_at_a_time(1_000_000, 4096)
    (4096, 67)
    """
    return max(1, min(at_most, SCORES_AT_A_TIME // max(n_items, 1)))


def fits_in_memory(n_states: int, n_items: int) -> bool:
    """Returns whether the logits of all items for all states may be in memory together."""
    return n_states * n_items <= SCORES_AT_A_TIME


def chunked_cross_entropy(states: Tensor, items: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """Computes ``F.cross_entropy(F.linear(states, items, bias), targets, reduction="sum")`` with some items' logits at a time.

    The result differs by rounding only. The backward pass recomputes the logits.

    Args:
        states: ``(N, D)``.
        items: ``(n_items, D)``.
        bias: ``(n_items,)``.
        targets: ``(N,)`` int64.
    """
    import torch
    from torch.utils.checkpoint import checkpoint

    size = max(1, SCORES_AT_A_TIME // max(len(states), 1))
    parts = zip(torch.split(items, size), torch.split(bias, size), strict=True)
    sums = [checkpoint(_log_sum, states, *part, use_reentrant=False, preserve_rng_state=False) for part in parts]
    of_targets = (states * items[targets]).sum(dim=1) + bias[targets]
    loss: Tensor = (torch.stack(sums).logsumexp(dim=0) - of_targets).sum()
    return loss


def _log_sum(states: Tensor, items: Tensor, bias: Tensor) -> Tensor:
    import torch.nn.functional as F

    return F.linear(states, items, bias).logsumexp(dim=1)
