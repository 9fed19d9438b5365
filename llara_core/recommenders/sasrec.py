"""SASRec: self-attention over the history (Kang and McAuley, ICDM 2018)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llara_core.recommenders.base import SequenceRecommender


class SasRec(SequenceRecommender):
    """Causal self-attention blocks over item plus position embeddings.

    Args:
        embedding_dim: ``D``; also the width of the feed-forward layers.
        dropout: rate on embeddings, attention weights and the two outputs of a block.
        n_heads: number of attention heads; divides ``D``.

    Source: Kang and McAuley (2018), sections III-A to III-C. Here queries, keys and values are all normalised (plain pre-norm;
    the released code normalises queries alone), and padding is on the right, so that positions count from the oldest item.
    """

    def __init__(
        self, n_items: int, embedding_dim: int, max_history_len: int, dropout: float, n_layers: int, n_heads: int
    ) -> None:
        super().__init__(n_items, embedding_dim, max_history_len)
        self.position_embedding = nn.Parameter(torch.empty(max_history_len, embedding_dim).normal_(std=embedding_dim**-0.5))
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(AttentionBlock(embedding_dim, n_heads, dropout) for _ in range(n_layers))
        self.norm = nn.LayerNorm(embedding_dim)

    def encode(self, items: Tensor) -> Tensor:
        hidden = self.item_embedding(items) + self.position_embedding[: items.shape[1]]
        hidden = self.dropout(hidden)
        for block in self.blocks:
            hidden = block(hidden)
        return self.norm(hidden)  # type: ignore[no-any-return]


class AttentionBlock(nn.Module):
    """Pre-norm causal self-attention, then a pre-norm position-wise feed-forward layer, each with a residual connection."""

    def __init__(self, dim: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.attention_dropout = dropout
        self.attention_norm = nn.LayerNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.attention_output = nn.Linear(dim, dim)
        self.feed_forward_norm = nn.LayerNorm(dim)
        self.feed_forward = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Dropout(dropout), nn.Linear(dim, dim))
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor) -> Tensor:
        hidden = hidden + self.dropout(self._attend(self.attention_norm(hidden)))
        return hidden + self.dropout(self.feed_forward(self.feed_forward_norm(hidden)))  # type: ignore[no-any-return]

    def _attend(self, hidden: Tensor) -> Tensor:
        b, t, d = hidden.shape
        projected = self.query_key_value(hidden).view(b, t, 3, self.n_heads, d // self.n_heads)
        query, key, value = projected.permute(2, 0, 3, 1, 4)  # each (B, heads, T, D / heads)
        dropout = self.attention_dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)
        return self.attention_output(mixed.transpose(1, 2).reshape(b, t, d))  # type: ignore[no-any-return]
