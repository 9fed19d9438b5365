"""SR2LLM: maps a recommender's item embedding to a behaviour token (paper, section 4.1, equation 5)."""

from __future__ import annotations

import torch
from torch import nn

# Largest number of items, at equal distances, on which the initial scale is measured: the tokens of a million items would take
# gigabytes.
SCALE_ITEMS = 1 << 14


def rms(tensor: torch.Tensor) -> torch.Tensor:
    """Returns the root mean square of all values, a scalar."""
    return tensor.pow(2).mean().sqrt()


def unit_scale(tensor: torch.Tensor) -> torch.Tensor:
    """Scales the tensor to a root mean square of 1."""
    return tensor / rms(tensor)


class Projector(nn.Module):
    """A two-layer perceptron ``(..., d_rec) -> (..., d_llm)``.

    The paper does not specify the initialisation; its code leaves it to torch. Here the output layer is scaled so that initial
    behaviour tokens have the root mean square of the LLM's token embeddings: much larger ones would drown out the titles.

    Args:
        item_vectors: ``(n_items, d_rec)`` float32, the vectors of the catalogue.
        d_llm: width of the LLM's token embeddings.
        token_rms: root mean square of the LLM's token embeddings; None scales neither vectors nor tokens.
        dropout: rate on the input.
    """

    input_scale: torch.Tensor

    def __init__(self, item_vectors: torch.Tensor, d_llm: int, token_rms: float | None, *, dropout: float = 0.0) -> None:
        super().__init__()
        d_rec = item_vectors.shape[1]
        hidden, output = nn.Linear(d_rec, d_llm), nn.Linear(d_llm, d_llm)
        self.layers = nn.Sequential(hidden, nn.GELU(), output)
        self.dropout = nn.Dropout(dropout)
        # The projector's input has unit scale, since recommenders' embeddings differ in scale by an order of magnitude.
        scale = item_vectors.pow(2).mean().rsqrt()
        self.register_buffer("input_scale", torch.ones_like(scale) if token_rms is None else scale, persistent=True)
        if token_rms is None:
            return
        with torch.no_grad():
            step = -(-len(item_vectors) // SCALE_ITEMS)
            ratio = token_rms / rms(self.layers(item_vectors[::step] * self.input_scale))
            output.weight.mul_(ratio)
            output.bias.mul_(ratio)

    def forward(self, item_vectors: torch.Tensor) -> torch.Tensor:
        projected: torch.Tensor = self.layers(self.dropout(item_vectors * self.input_scale))
        return projected
