"""Items without interactions, whose vector and popularity are predicted from their text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import RidgeCV
from torch import nn

from llara_core.llm.item_texts import N_LAYERS

Floats = npt.NDArray[np.float64]

# Adam changes a weight by about the learning rate per step, which is too little for a bias to converge in some hundred steps.
BIAS_GAIN = 20.0

ALPHAS = tuple(np.logspace(-1, 5, 13).tolist())  # penalties of the ridge regression; leave-one-out error selects one


@dataclass(frozen=True)
class TextRegression:
    """A linear map from text features to the vector and the log-popularity of an item.

    Attributes:
        coefficients: ``(k, d_text)``.
        intercepts: ``(k,)``.
        predictions: ``(n_items, k)``; an item with interactions is predicted without itself, as if it were new.
    """

    coefficients: Floats
    intercepts: Floats
    predictions: Floats


def fit_text_regression(
    texts: npt.NDArray[np.floating], targets: npt.NDArray[np.floating], n_interactions: npt.NDArray[np.integer]
) -> TextRegression:
    """Fits a ridge regression of ``targets`` on ``texts`` over the items with interactions, weighted by the root of their
    number.

    The weight is the root because part of the error of an item's vector does not shrink with its interactions.

    Args:
        texts: ``(n_items, d_text)``.
        targets: ``(n_items, k)``; those of items without interactions are ignored.
        n_interactions: ``(n_items,)`` training interactions.
    """
    known = n_interactions > 0
    x, y, weights = texts[known].astype(np.float64), targets[known].astype(np.float64), np.sqrt(n_interactions[known])
    model = RidgeCV(ALPHAS).fit(x, y, sample_weight=weights)
    predictions = np.asarray(model.predict(texts.astype(np.float64)))
    # The leave-one-out predictions have a closed form, from the leverage of each item.
    centred = x - np.average(x, axis=0, weights=weights)
    gram = (centred * weights[:, None]).T @ centred + model.alpha_ * np.eye(x.shape[1])
    leverage = weights * (np.einsum("ij,ij->i", centred, np.linalg.solve(gram, centred.T).T) + 1 / weights.sum())
    predictions[known] = y - (y - predictions[known]) / (1 - leverage)[:, None]
    return TextRegression(np.asarray(model.coef_), np.asarray(model.intercept_), predictions)


class NewItems(nn.Module):
    """Text-based vectors and biases of items without interactions, for compact models, with learned corrections.

    In training a random share of the items is treated as new (:meth:`pretend`).

    Attributes:
        is_new: ``(n_items,)`` bool, items without training interactions.
        vectors: ``(n_items, d_rec)`` float32, predicted from the texts.
        biases: ``(n_items,)`` float32, predicted from the texts.
        bias_coefficients, bias_intercept: ``(d_text,)`` and ``(1,)``, regression of the biases, for items that are added later.
        text_weight, text_bias: map that encodes the texts of added items (:class:`item_texts.EncodedTexts`).
        token: ``(d_llm,)`` trained, added to the token of a new item.
        head_vector: ``(d_rec,)`` trained, added to the vector of a new item in the catalogue head.
        head_bias: ``(1,)`` trained, multiplied by :data:`BIAS_GAIN` and added to the bias of a new item in that head.
    """

    is_new: torch.Tensor
    vectors: torch.Tensor
    biases: torch.Tensor
    bias_coefficients: torch.Tensor
    bias_intercept: torch.Tensor
    text_weight: torch.Tensor
    text_bias: torch.Tensor

    def __init__(self, n_items: int, d_rec: int, d_llm: int, d_text: int) -> None:
        super().__init__()
        self.register_buffer("is_new", torch.zeros(n_items, dtype=torch.bool))
        self.register_buffer("vectors", torch.zeros(n_items, d_rec))
        self.register_buffer("biases", torch.zeros(n_items))
        self.register_buffer("bias_coefficients", torch.zeros(d_text))
        self.register_buffer("bias_intercept", torch.zeros(1))
        self.register_buffer("text_weight", torch.zeros(d_text, N_LAYERS * d_llm))
        self.register_buffer("text_bias", torch.zeros(d_text))
        self.token = nn.Parameter(torch.zeros(d_llm))
        self.head_vector = nn.Parameter(torch.zeros(d_rec))
        self.head_bias = nn.Parameter(torch.zeros(1))
        self._pretending: torch.Tensor | None = None

    def start_from(self, regression: TextRegression, n_interactions: npt.NDArray[np.integer]) -> None:
        """Copies a regression whose targets were the item vectors and, in the last column, the biases."""
        self.is_new.copy_(torch.from_numpy(n_interactions == 0))
        self.vectors.copy_(torch.from_numpy(regression.predictions[:, :-1]))
        self.biases.copy_(torch.from_numpy(regression.predictions[:, -1]))
        self.bias_coefficients.copy_(torch.from_numpy(regression.coefficients[-1]))
        self.bias_intercept.fill_(regression.intercepts[-1])

    def append(self, vectors: torch.Tensor, texts: torch.Tensor) -> None:
        """Adds items with vectors ``(N, d_rec)``, on the scale of the others, and encoded texts ``(N, d_text)``."""
        biases = texts.to(self.bias_coefficients) @ self.bias_coefficients + self.bias_intercept
        self.vectors = torch.cat([self.vectors, vectors.to(self.vectors)])
        self.biases = torch.cat([self.biases, biases])
        self.is_new = torch.cat([self.is_new, self.is_new.new_ones(len(texts))])

    def pretend(self, share: float) -> None:
        """Treats a share of the items, drawn from torch's global generator, as new until the next call."""
        self._pretending = torch.rand(len(self.is_new), device=self.is_new.device) < share

    @property
    def read_as_new(self) -> torch.Tensor:
        """``(n_items,)`` bool: the new items and, in training, those treated as new."""
        return self.is_new | self._pretending if self.training and self._pretending is not None else self.is_new
