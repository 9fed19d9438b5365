"""MoRec: SASRec over encoded titles in place of item ids (Yuan et al., SIGIR 2023)."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llara_core.config import MoRecConfig
from llara_core.recommenders.sasrec import SasRec

if TYPE_CHECKING:  # it imports transformers, which only training needs
    from llara_core.recommenders.text_encoder import TextEncoder


class MoRec(SasRec):
    """SASRec whose item embeddings, at the input and at the output, are projected vectors of the items' titles.

    A checkpoint holds the text vectors and not the encoder, so that a loaded model needs none. While the encoder is tuned
    (:func:`from_titles`), a batch encodes the titles of its own inputs and targets anew, with gradients; those of the other
    items, which the softmax over the catalogue needs too, are as the last batch that held them left them. After each epoch all
    are encoded without dropout.

    Args:
        text_dim: dimensions of a text vector. The others are those of :class:`SasRec`.

    Source: Yuan et al. (2023, "Where to Go Next for Recommender Systems?"): item encoder, dense layer, SASRec, trained end to
    end. They use one sampled negative per position (here ``loss: bce``), and in later code a softmax over the items of the
    batch, corrected for popularity; ours is over the catalogue, as for the other recommenders. To keep the vectors that are
    not encoded anew is the memory bank of Wu et al. (2018, "Unsupervised Feature Learning via Non-Parametric Instance
    Discrimination", section 3.1).
    """

    item_embedding: ProjectedTexts

    def __init__(
        self,
        n_items: int,
        embedding_dim: int,
        max_history_len: int,
        dropout: float,
        n_layers: int,
        n_heads: int,
        text_dim: int,
    ) -> None:
        super().__init__(n_items, embedding_dim, max_history_len, dropout, n_layers, n_heads)
        self.item_embedding = ProjectedTexts(n_items, text_dim, embedding_dim)  # in place of the table by item id
        self.encoder: TextEncoder | None = None  # where it is tuned
        self.encoder_learning_rate = 0.0

    def parameter_groups(self, l2: float) -> list[dict[str, Any]]:
        groups = super().parameter_groups(l2)
        if self.encoder is not None:
            parameters = list(self.encoder.model.parameters())
            # An L2 penalty would pull them towards zero, away from what they were pre-trained to be.
            groups.append({"params": parameters, "lr": self.encoder_learning_rate, "weight_decay": 0.0})
        return groups

    def start_batch(self, inputs: Tensor, targets: Tensor) -> None:
        if self.encoder is not None:
            items = torch.unique(torch.cat([inputs, targets]))
            items = items[items != self.padding_idx]
            self.encoder.model.train()
            self.item_embedding.replace(items, self.encoder.encode(items))

    def end_epoch(self) -> None:
        if self.encoder is not None:
            self.item_embedding.replace(torch.arange(self.n_items), self.encoder.encode_all())


class ProjectedTexts(nn.Module):
    """Item embeddings ``(n_items + 1, D)`` from text vectors ``(n_items + 1, text_dim)``; the last row is for padding.

    Source: Yuan et al. (2023) project by one dense layer where the encoder is tuned, and add layers of width ``D`` where it is
    frozen. Ours is the same for both, with a hidden layer of ``4 D`` as in a transformer's feed-forward part; the text vectors
    are normalised first, since encoders differ in scale.
    """

    text_vectors: Tensor

    def __init__(self, n_items: int, text_dim: int, embedding_dim: int) -> None:
        super().__init__()
        self.register_buffer("text_vectors", torch.zeros(n_items + 1, text_dim))
        self.projection = nn.Sequential(
            nn.LayerNorm(text_dim, elementwise_affine=False),
            nn.Linear(text_dim, 4 * embedding_dim),
            nn.GELU(),
            nn.Linear(4 * embedding_dim, embedding_dim),
        )

    @property
    def weight(self) -> Tensor:
        return self.projection(self.text_vectors)  # type: ignore[no-any-return]

    def forward(self, items: Tensor) -> Tensor:
        return self.projection(F.embedding(items, self.text_vectors))  # type: ignore[no-any-return]

    def replace(self, items: Tensor, vectors: Tensor) -> None:
        """Make ``vectors`` ``(N, text_dim)`` those of ``items`` ``(N,)``; gradients flow through these and no others."""
        self.text_vectors = self.text_vectors.detach().index_copy(0, items, vectors)


def from_titles(arguments: dict[str, Any], encoder: TextEncoder, config: MoRecConfig) -> MoRec:
    """A model to be trained, its text vectors those of the pre-trained encoder.

    Args:
        arguments: of :class:`MoRec`.
        encoder: left as it is; where it is to be tuned, the model has a copy.
        config: whether it is, and at which learning rate.
    """
    model = MoRec(**arguments)
    model.item_embedding.replace(torch.arange(model.n_items), encoder.pretrained_vectors)
    if config.train_encoder:
        model.encoder, model.encoder_learning_rate = copy.deepcopy(encoder), config.encoder_learning_rate
    return model
