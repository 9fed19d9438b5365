"""SASRec on item ids and texts, trained so that it can also recommend items without interactions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llara_core.recommenders.morec import MoRec, ProjectedTexts, before_padding


class SasRecText(MoRec):
    """SASRec whose item embedding is the sum of an id embedding and the projected text of the item.

    At each training step a random share of the items is treated as new: these have no id embedding, at the input and at the
    output, and their popularity bias is predicted from their text. An item without training interactions is always treated this
    way, so scores of new and known items are on one scale.

    Args:
        new_share: share of the items that are treated as new at a step. The other arguments are those of :class:`MoRec`.

    Source: dropping ids in training follows DropoutNet (Volkovs et al., NeurIPS 2017, section 4), here with a sequence model.
    """

    item_embedding: IdsAndTexts

    def __init__(
        self,
        n_items: int,
        embedding_dim: int,
        max_history_len: int,
        dropout: float,
        n_layers: int,
        n_heads: int,
        text_dim: int,
        new_share: float,
    ) -> None:
        super().__init__(n_items, embedding_dim, max_history_len, dropout, n_layers, n_heads, text_dim)
        self.new_share = new_share
        self.item_embedding = IdsAndTexts(n_items, text_dim, embedding_dim, dropout)
        self.new_bias = nn.Linear(text_dim, 1)

    def mark_new(self, is_new: Tensor) -> None:
        super().mark_new(is_new)
        self.item_embedding.has_id[: self.n_items] = ~is_new

    def start_batch(self, inputs: Tensor, targets: Tensor) -> None:
        super().start_batch(inputs, targets)
        drawn = torch.rand(self.n_items) < self.new_share
        self.item_embedding.has_id[: self.n_items] = ~(self.is_new | drawn.to(self.is_new.device))

    def end_epoch(self) -> None:
        super().end_epoch()
        self.item_embedding.has_id[: self.n_items] = ~self.is_new

    def biases(self) -> Tensor:
        texts = self.item_embedding.normalised()[: self.n_items]
        return torch.where(self.item_embedding.has_id[: self.n_items], self.output_bias, self.new_bias(texts).squeeze(-1))


class IdsAndTexts(ProjectedTexts):
    """Item embeddings ``(n_items + 1, D)``: projected text plus, if the item has one, id embedding; the last row is padding.

    Attributes:
        has_id: ``(n_items + 1,)`` bool, the items whose id embeddings are used.
    """

    has_id: Tensor

    def __init__(self, n_items: int, text_dim: int, embedding_dim: int, dropout: float) -> None:
        super().__init__(n_items, text_dim, embedding_dim)
        # Without dropout the projection would fit the texts of training items better than those of new ones.
        self.projection.insert(1, nn.Dropout(dropout))
        self.ids = nn.Embedding(n_items + 1, embedding_dim, padding_idx=n_items)
        with torch.no_grad():
            self.ids.weight.normal_(std=embedding_dim**-0.5)
            self.ids.weight[n_items] = 0
        self.register_buffer("has_id", torch.ones(n_items + 1, dtype=torch.bool))

    @property
    def weight(self) -> Tensor:
        return self.from_texts() + self.ids.weight * self.has_id[:, None]

    def forward(self, items: Tensor) -> Tensor:
        ids = self.ids(items) * F.embedding(items, self.has_id[:, None].float())
        return super().forward(items) + ids  # type: ignore[no-any-return]

    def append(self, vectors: Tensor) -> None:
        super().append(vectors)
        table = self.ids.weight
        grown = before_padding(table, table.new_zeros(len(vectors), table.shape[1]))
        self.ids.weight = nn.Parameter(grown, requires_grad=table.requires_grad)
        self.ids.padding_idx = len(grown) - 1
        self.has_id = before_padding(self.has_id, self.has_id.new_zeros(len(vectors)))
