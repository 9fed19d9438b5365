"""The base class of all recommenders, which scores the catalogue and predicts at every position of a sequence in one pass.

Shapes: ``B`` sequences, ``T`` items per sequence (oldest first), ``D`` embedding dimensions. The padding id is ``n_items``.
Padding is on the *right*, where a model that reads from left to right never sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llara_core.config.recommenders import RecommenderSection, takes_no_new_items
from llara_core.errors import ConfigError, DataError, ModelError
from llara_core.runtime.memory import chunked_cross_entropy, fits_in_memory, histories_at_a_time

if TYPE_CHECKING:
    from llara_core.answers.ranking import History

SCORING_BATCH = 1024  # histories per pass; a large catalogue takes fewer

FetchEncoder = Callable[[str, str | None], Path]  # returns the folder of a model, by its name and revision


class ItemEmbedding(Protocol):
    """The interface of a model's item embeddings, which ``nn.Embedding`` satisfies."""

    @property
    def weight(self) -> Tensor:
        """Returns the table ``(n_items + 1, D)``, whose last row is for padding."""

    def __call__(self, items: Tensor, /) -> Tensor:
        """Returns the embeddings ``(..., D)`` of items ``(...)``."""


class SequenceRecommender(nn.Module):
    """A model that reads a sequence once and predicts the next item at every position.

    A subclass defines :meth:`encode`. The output weights are the item embeddings ("tied"), plus a bias per item for popularity.

    Args:
        n_items: size of the catalogue; items are 0 to ``n_items - 1``.
        embedding_dim: ``D``.
        max_history_len: number of most recent items that a prediction may use.

    Source: the tied output and the absent user embedding follow SASRec (Kang and McAuley, 2018, equation 6); held-out users
    are new to the model, so a user embedding would be untrained.
    """

    item_embedding: ItemEmbedding

    def __init__(self, n_items: int, embedding_dim: int, max_history_len: int) -> None:
        super().__init__()
        self.n_items = n_items
        self.max_history_len = max_history_len
        self.padding_idx = n_items
        self.item_embedding = nn.Embedding(n_items + 1, embedding_dim, padding_idx=self.padding_idx)
        self.output_bias = nn.Parameter(torch.zeros(n_items))
        with torch.no_grad():
            self.item_embedding.weight.normal_(std=embedding_dim**-0.5)
            self.item_embedding.weight[self.padding_idx] = 0

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
        """Returns a function that builds a fresh model, and the arguments that a checkpoint of it keeps.

        A subclass that does not start from random weights overrides this, and may use the recommender's name and section, the
        name of the training loss, the rows of :data:`tables.ITEMS`, and the folder of a text encoder.
        """
        return partial(cls, **arguments), arguments

    def encode(self, items: Tensor) -> Tensor:
        """Returns the states ``(B, T, D)`` that predict the next item; row ``t`` depends on items ``0`` to ``t`` alone.

        Args:
            items: ``(B, T)`` int64, padded on the right with :attr:`padding_idx`.
        """
        raise TypeError(f"{type(self).__name__} does not define encode")

    def logits(self, states: Tensor) -> Tensor:
        """Returns the scores ``(..., n_items)`` of all items for states ``(..., D)``."""
        scores: Tensor = F.linear(states, *self.output_layer())
        return scores

    def output_layer(self) -> tuple[Tensor, Tensor]:
        """Returns the weights ``(n_items, D)`` and biases ``(n_items,)`` that map a state to scores."""
        return self.item_embedding.weight[: self.n_items], self.biases()

    def biases(self) -> Tensor:
        """Returns the part of each item's score that is independent of the history, ``(n_items,)``."""
        return self.output_bias

    def softmax_loss(self, states: Tensor, targets: Tensor) -> Tensor:
        """Returns the mean cross-entropy of targets ``(N,)`` over the whole catalogue for states ``(N, D)``."""
        if fits_in_memory(len(states), self.n_items):
            return F.cross_entropy(self.logits(states), targets)
        return chunked_cross_entropy(states, *self.output_layer(), targets) / len(states)

    def pair_logits(self, states: Tensor, items: Tensor) -> Tensor:
        """Returns the scores ``(N,)`` of one item each, ``(N,)``, for states ``(N, D)``."""
        scores: Tensor = (states * self.item_embedding(items)).sum(dim=-1) + self.biases()[items]
        return scores

    def parameter_groups(self, l2: float) -> list[dict[str, Any]]:
        """Returns the optimiser's groups, with L2 coefficients and the ``params.yaml`` keys of their learning rates."""
        return [{"params": list(self.parameters()), "weight_decay": l2, "rate_key": "recommenders.learning_rate"}]

    def mark_new(self, is_new: Tensor) -> None:
        """Receives a mask ``(n_items,)`` bool of the items without training interactions, before training."""

    def add_items(self, vectors: Tensor) -> None:
        """Appends items to the catalogue of a trained model, which scores them by their texts from now on.

        Args:
            vectors: ``(N, text_dim)``, text vectors from the model's encoder.

        Raises:
            ConfigError: the model reads no texts.
        """
        raise ConfigError(takes_no_new_items(type(self).__name__))

    def start_batch(self, inputs: Tensor, targets: Tensor) -> None:
        """Receives each training batch before it is encoded: inputs and targets ``(B, T)``, with the same padding."""

    def end_epoch(self) -> None:
        """Runs after the last batch of each training epoch."""

    @torch.no_grad()
    def score_catalogue(self, histories: Sequence[History]) -> npt.NDArray[np.float32]:
        """Scores every item as the next one, ``(B, n_items)``, from the last ``max_history_len`` items of each history.

        Raises:
            DataError: a history is empty.
        """
        empty = sum(len(history) == 0 for history in histories)
        if empty:
            raise DataError(f"{empty} of {len(histories)} histories are empty, but a prediction needs at least one item")
        was_training = self.training
        self.eval()
        scores = np.empty((len(histories), self.n_items), dtype=np.float32)
        size = histories_at_a_time(self.n_items, SCORING_BATCH)
        for start in range(0, len(histories), size):
            scores[start : start + size] = self._score(histories[start : start + size]).float().cpu().numpy()
        self.train(was_training)
        return scores

    def item_embeddings(self) -> npt.NDArray[np.float32]:
        """Returns the item table ``(n_items, D)`` without the padding row.

        Raises:
            ModelError: a value is not finite.
        """
        table: npt.NDArray[np.float32] = self.item_embedding.weight[: self.n_items].detach().float().cpu().numpy().copy()
        if n_bad := int((~np.isfinite(table).all(axis=1)).sum()):
            raise ModelError(
                f"{type(self).__name__}: the embeddings of {n_bad} of {self.n_items} items are not finite; "
                "train it again with a lower recommenders.learning_rate"
            )
        return table

    def text_embeddings(self) -> npt.NDArray[np.float32] | None:
        """Returns the item table for items without interactions, ``(n_items, D)``; None if the model reads no texts."""
        return None

    def _score(self, histories: Sequence[History]) -> Tensor:
        items, lengths = pad_right([history[-self.max_history_len :] for history in histories], self.padding_idx)
        states = self.encode(items.to(self.output_bias.device))
        return self.logits(states[torch.arange(len(items)), lengths - 1])


def pad_right(sequences: Sequence[History], padding_idx: int) -> tuple[Tensor, Tensor]:
    """Returns the sequences as one ``(B, T)`` int64 tensor, padded on the right, and their lengths ``(B,)``."""
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    items = torch.full((len(sequences), int(lengths.max())), padding_idx)
    items[torch.arange(items.shape[1]) < lengths[:, None]] = torch.from_numpy(
        np.concatenate([np.asarray(sequence, dtype=np.int64) for sequence in sequences])
    )
    return items, lengths
