"""GRU4Rec: a gated recurrent unit over the history (Hidasi et al., ICLR 2016)."""

from __future__ import annotations

from torch import Tensor, nn

from llara_core.recommenders.base import SequenceRecommender


class Gru4Rec(SequenceRecommender):
    """A GRU over item embeddings; its states, projected to ``D``, score the items.

    Args:
        dropout: rate on the embeddings and the states.

    Source: Hidasi et al. (2016), section 3.1, with the item embedding and tied output of the later GRU4Rec, and with whole
    sequences per batch instead of session-parallel mini-batches, which are meant for very long sessions.
    """

    def __init__(
        self, n_items: int, embedding_dim: int, max_history_len: int, dropout: float, hidden_dim: int, n_layers: int
    ) -> None:
        super().__init__(n_items, embedding_dim, max_history_len)
        self.dropout = nn.Dropout(dropout)
        self.gru = nn.GRU(embedding_dim, hidden_dim, n_layers, batch_first=True)
        self.output = nn.Linear(hidden_dim, embedding_dim)

    def encode(self, items: Tensor) -> Tensor:
        states, _ = self.gru(self.dropout(self.item_embedding(items)))
        return self.output(self.dropout(states))  # type: ignore[no-any-return]
