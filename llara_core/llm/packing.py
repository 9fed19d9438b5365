"""Attention over rows without padding: the rows are concatenated into one sequence, and each attends only to itself.

This is a registered attention of transformers that calls the model family's own function once per row. On a CPU a padding
token costs as much as any other, and a single row's attention scores fit into the cache.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

BY_ROW = "by_row"  # value of transformers' attn_implementation


def attend_by_row(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Applies the eager attention of the module's family to each row of a packed sequence.

    Args:
        query, key, value: ``(1, heads, N, D)``, concatenated rows; or an ordinary batch, whose mask has no more rows.
        attention_mask: ``(B, 1, L, L)``, added to the scores of ``B`` rows that are padded on the left.

    Returns:
        ``(1, N, heads, D)`` and no weights; for an ordinary batch, the result of the family's function.
    """
    attend = sys.modules[type(module).__module__].eager_attention_forward
    if attention_mask is None or len(attention_mask) <= len(query):
        attended: tuple[torch.Tensor, torch.Tensor | None] = attend(module, query, key, value, attention_mask, **options)
        return attended
    # Not every family passes further arguments to its attention, so lengths come from the mask: only tokens see themselves.
    lengths = (attention_mask.diagonal(dim1=-2, dim2=-1) == 0).sum(dim=-1).flatten().tolist()
    rows = zip(*(torch.split(states, lengths, dim=2) for states in (query, key, value)), attention_mask, lengths, strict=True)
    parts = [attend(module, *row, mask[None, :, -n:, -n:], **options)[0] for *row, mask, n in rows]
    return torch.cat(parts, dim=1), None


AttentionInterface.register(BY_ROW, attend_by_row)
AttentionMaskInterface.register(BY_ROW, eager_mask)
