"""MoRec: SASRec over encoded texts instead of item ids (Yuan et al., SIGIR 2023)."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llara_core import columns as c
from llara_core.config.recommenders import MoRecConfig, RecommenderSection
from llara_core.errors import ConfigError, ModelError
from llara_core.recommenders.base import FetchEncoder
from llara_core.recommenders.sasrec import SasRec
from llara_core.runtime.memory import MASKED_LOGIT, fits_in_memory

if TYPE_CHECKING:  # imports transformers, which only training needs
    from llara_core.recommenders.text_encoder import TextEncoder

logger = logging.getLogger(__name__)


class MoRec(SasRec):
    """SASRec whose item embeddings, at the input and at the output, are projected vectors of the items' texts.

    A checkpoint holds the text vectors and not the encoder, so a loaded model needs no encoder.

    While the encoder is trained (:meth:`from_texts`), a batch encodes the texts of its own inputs and targets, and the softmax
    is over these items instead of the catalogue: encoding all texts at each step would cost too much, and vectors kept from
    earlier steps would give the targets away, since only theirs would be up to date. Popular items occur in more batches, and
    their logits are corrected for it. After each epoch all texts are encoded, for validation and the checkpoint.

    Args:
        text_dim: dimensions of a text vector. The other arguments are those of :class:`SasRec`.

    Source: Yuan et al. (2023, "Where to Go Next for Recommender Systems?"): item encoder, dense layer, SASRec, trained end to
    end; with sampled negatives, and in later code with a softmax over the batch, corrected for popularity. The correction is
    that of Yi et al. (2019, "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations"), equation 3.
    """

    item_embedding: ProjectedTexts
    is_new: Tensor  # (n_items,) bool, items without training interactions

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
        self.item_embedding = ProjectedTexts(n_items, text_dim, embedding_dim)
        self.tuning: EncoderTuning | None = None
        self.register_buffer("is_new", torch.zeros(n_items, dtype=torch.bool))

    @classmethod
    def builder(
        cls,
        name: str,
        arguments: dict[str, Any],
        section: RecommenderSection,
        loss: str,
        items: pd.DataFrame,
        fetch_encoder: FetchEncoder,
    ) -> tuple[Callable[[], Self], dict[str, Any]]:
        from llara_core.recommenders.text_encoder import TextEncoder

        if not isinstance(section, MoRecConfig):
            raise TypeError(f"{cls.__name__} needs a section with a text encoder, not {type(section).__name__}")
        texts = items[c.TEXT if section.item_text == "full" else c.LABEL].tolist()
        encoder = TextEncoder(fetch_encoder(section.encoder, section.revision), texts, f"recommenders.{name}")
        logger.info("%s: %d texts, %d dimensions", section.encoder, len(items), encoder.dim)
        arguments = {**arguments, "text_dim": encoder.dim}
        return partial(cls.from_texts, arguments, encoder, section, loss), arguments

    @classmethod
    def from_texts(cls, arguments: dict[str, Any], encoder: TextEncoder, section: MoRecConfig, loss: str) -> Self:
        """Returns an untrained model with the pre-trained text vectors; if it trains the encoder, it has a copy of it.

        Raises:
            ConfigError: the encoder is to be trained with the loss ``bce``, whose negatives are not in the batch.
            ModelError: the encoder's text vectors are not finite.
        """
        model = cls(**arguments)
        if not encoder.pretrained_vectors.isfinite().all():
            raise ModelError(
                f"{section.encoder} returns text vectors that are not finite; its weights are damaged: fetch it again or name "
                "another encoder"
            )
        model.item_embedding.replace(torch.arange(model.n_items), encoder.pretrained_vectors)
        if section.train_encoder:
            if loss != "cross_entropy":
                raise ConfigError(
                    f"recommenders.loss: {loss} cannot tune an encoder; set it to cross_entropy, or train_encoder to false"
                )
            model.tuning = EncoderTuning(copy.deepcopy(encoder), section.encoder_learning_rate)
        return model

    def text_embeddings(self) -> npt.NDArray[np.float32]:
        return self.item_embedding.from_texts()[: self.n_items].detach().float().cpu().numpy().copy()

    def parameter_groups(self, l2: float) -> list[dict[str, Any]]:
        groups = super().parameter_groups(l2)
        if self.tuning is not None:
            parameters = list(self.tuning.encoder.model.parameters())
            # An L2 penalty would pull the encoder's weights towards zero, away from their pre-trained values.
            rate_key = f"{self.tuning.encoder.section}.encoder_learning_rate"
            groups.append({"params": parameters, "lr": self.tuning.learning_rate, "weight_decay": 0.0, "rate_key": rate_key})
        return groups

    def mark_new(self, is_new: Tensor) -> None:
        self.is_new = is_new

    @torch.no_grad()
    def add_items(self, vectors: Tensor) -> None:
        n_new = len(vectors)
        self.item_embedding.append(vectors)
        bias = torch.cat([self.output_bias, self.output_bias.new_zeros(n_new)])
        self.output_bias = nn.Parameter(bias, requires_grad=self.output_bias.requires_grad)
        self.is_new = torch.cat([self.is_new, self.is_new.new_ones(n_new)])
        self.n_items += n_new
        self.padding_idx = self.n_items

    def biases(self) -> Tensor:
        """Returns the biases ``(n_items,)``; a new item has the mean of the others, so that its text alone decides."""
        mean = (self.output_bias * ~self.is_new).sum() / (~self.is_new).sum().clamp(min=1)
        return torch.where(self.is_new, mean, self.output_bias)

    def output_layer(self) -> tuple[Tensor, Tensor]:
        weights, biases = super().output_layer()
        # An item that is never a target but a negative at every step would be pushed below all others.
        return weights, biases.masked_fill(self.is_new, MASKED_LOGIT) if self.training else biases

    def start_batch(self, inputs: Tensor, targets: Tensor) -> None:
        if self.tuning is not None:
            items = torch.unique(torch.cat([inputs, targets]))
            items = items[items != self.padding_idx]
            self.item_embedding.replace(items, self.tuning.encode_batch(items))

    def end_epoch(self) -> None:
        if self.tuning is not None:
            self.item_embedding.replace(torch.arange(self.n_items), self.tuning.encoder.encode_all())

    def logits(self, states: Tensor) -> Tensor:
        scores = super().logits(states)
        return scores - self.tuning.log_share.to(scores.device) if self.training and self.tuning is not None else scores

    def softmax_loss(self, states: Tensor, targets: Tensor) -> Tensor:
        if self.tuning is None or fits_in_memory(len(states), self.n_items):
            return super().softmax_loss(states, targets)
        # The softmax is over the items of the batch, so only these are scored.
        log_share = self.tuning.log_share.to(states.device)
        items = log_share.isfinite().nonzero().squeeze(1)
        scores = F.linear(states, self.item_embedding(items), self.biases()[items]) - log_share[items]
        return F.cross_entropy(scores, torch.searchsorted(items, targets))


class EncoderTuning:
    """The text encoder in training, with the items' batch frequencies.

    Attributes:
        log_share: ``(n_items,)`` log of the share of batches so far that held the item; infinite outside the current batch.
    """

    def __init__(self, encoder: TextEncoder, learning_rate: float) -> None:
        self.encoder, self.learning_rate = encoder, learning_rate
        self.n_batches = 0
        self.n_batches_with = torch.zeros(len(encoder.tokens))
        self.log_share = torch.empty(0)

    def encode_batch(self, items: Tensor) -> Tensor:
        """Encodes the distinct items ``(N,)`` of a batch in training mode: ``(N, text_dim)``."""
        self.n_batches += 1
        self.n_batches_with[items] += 1
        self.log_share = torch.full_like(self.n_batches_with, torch.inf)
        self.log_share[items] = (self.n_batches_with[items] / self.n_batches).log()
        self.encoder.model.train()
        return self.encoder.encode(items)


class ProjectedTexts(nn.Module):
    """Item embeddings ``(n_items + 1, D)`` from text vectors ``(n_items + 1, text_dim)``; the last row is for padding.

    Source: Yuan et al. (2023) use one dense layer for a trained encoder and further layers of width ``D`` for a frozen one.
    Here both have a hidden layer of ``4 D``, as in a transformer's feed-forward part, and the text vectors are normalised
    first, since encoders differ in scale.
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
        return self.from_texts()

    def from_texts(self) -> Tensor:
        """Returns the embeddings of all items from their texts alone, ``(n_items + 1, D)``."""
        return self.projection(self.text_vectors)  # type: ignore[no-any-return]

    def normalised(self) -> Tensor:
        """Returns the text vectors as the projection reads them, ``(n_items + 1, text_dim)``."""
        return self.projection[0](self.text_vectors)  # type: ignore[no-any-return]

    def forward(self, items: Tensor) -> Tensor:
        return self.projection(F.embedding(items, self.text_vectors))  # type: ignore[no-any-return]

    def replace(self, items: Tensor, vectors: Tensor) -> None:
        """Replaces the text vectors of items ``(N,)`` by ``vectors`` ``(N, text_dim)``; gradients flow through these alone."""
        device = self.text_vectors.device
        self.text_vectors = self.text_vectors.detach().index_copy(0, items.to(device), vectors.to(device))

    def append(self, vectors: Tensor) -> None:
        """Adds the text vectors ``(N, text_dim)`` of further items, before the padding row."""
        self.text_vectors = before_padding(self.text_vectors, vectors.to(self.text_vectors))


def before_padding(table: Tensor, rows: Tensor) -> Tensor:
    """Inserts rows for further items before the last row of a table, which is for padding."""
    return torch.cat([table[:-1], rows, table[-1:]])
