"""Caser: convolutions over the recent items as an image (Tang and Wang, WSDM 2018)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llara_core.recommenders.base import SequenceRecommender


class Caser(SequenceRecommender):
    """Horizontal and vertical convolutions over the last ``window`` items, at all positions of a sequence in one pass.

    A horizontal filter of height ``h`` covers ``h`` consecutive items; its output is the maximum over the window. Neighbouring
    windows share all but one of these responses, so the filters run once over the sequence. The filters of all heights run as
    one convolution, whose weights beyond a filter's height are masked. A vertical filter is a weighted sum of the items in
    the window.

    Args:
        dropout: rate on the embeddings and on the concatenated output of the convolutions.
        window: items that one prediction sees (``L`` of the paper); positions before the first item are zero.
        n_horizontal_filters: number of filters per height 1 to ``window``.
        n_vertical_filters: number of filters over the whole window.

    Source: Tang and Wang (2018), section 3, equations 4 to 9, without the user embedding (held-out users are new), with tied
    output weights, and without the activation of equation 8 after the fully connected layer: with tied weights, states that
    cannot be negative lower the validation score (``docs/notebook/2026-11.md``, 2026-11-25).
    """

    within_height: Tensor
    fits_window: Tensor

    def __init__(
        self,
        n_items: int,
        embedding_dim: int,
        max_history_len: int,
        dropout: float,
        window: int,
        n_horizontal_filters: int,
        n_vertical_filters: int,
    ) -> None:
        super().__init__(n_items, embedding_dim, max_history_len)
        self.window = window
        self.dropout = nn.Dropout(dropout)
        heights = torch.arange(1, window + 1).repeat_interleave(n_horizontal_filters)
        self.horizontal = nn.Conv1d(embedding_dim, len(heights), window)
        # Both masks are (filters, window): weights within the filter's height, and offsets at which it ends in the window.
        self.register_buffer("within_height", torch.arange(window) < heights[:, None], persistent=False)
        self.register_buffer("fits_window", torch.arange(window) <= window - heights[:, None], persistent=False)
        self.vertical = nn.Linear(window, n_vertical_filters)
        features = window * n_horizontal_filters + n_vertical_filters * embedding_dim
        self.output = nn.Linear(features, embedding_dim)

    def encode(self, items: Tensor) -> Tensor:
        embedded = self.dropout(self.item_embedding(items))  # (B, T, D)
        embedded = F.pad(embedded, (0, 0, self.window - 1, 0))  # every position gets a full window
        strongest = self._slide(embedded.transpose(1, 2))  # (B, T, window * n_horizontal_filters)
        windows = embedded.unfold(1, self.window, 1)  # (B, T, D, window)
        weighted = self.vertical(windows).flatten(2)  # (B, T, D * n_vertical_filters)
        features = torch.cat([strongest, weighted], dim=2)
        return self.output(self.dropout(features))  # type: ignore[no-any-return]

    def _slide(self, channels_first: Tensor) -> Tensor:
        padded = F.pad(channels_first, (0, self.window - 1))  # short filters may start at the last item
        weight = self.horizontal.weight * self.within_height[:, None]  # (filters, D, window)
        responses = F.conv1d(padded, weight, self.horizontal.bias)  # (B, filters, T + window - 1), by first item
        in_window = responses.unfold(2, self.window, 1).transpose(1, 2)  # (B, T, filters, window)
        return F.relu(in_window.masked_fill(~self.fits_window, -torch.inf).amax(dim=3))
