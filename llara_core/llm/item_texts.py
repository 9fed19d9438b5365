"""The language model's own encoding of every item's text, features of compact items (ours; in the line of HLLM and E4SRec)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA
from torch import Tensor

from llara_core.llm.encoding import PromptEncoder
from llara_core.llm.projector import rms, unit_scale
from llara_core.runtime import progress

N_LAYERS = 3  # that a text's encoding is taken from

# Texts whose encodings are in memory at a time (0.7 GB for SmolLM2-135M). Of a larger catalogue at most as many texts, at
# equal distances, give the components, and then all texts are encoded again.
COMPONENT_TEXTS = 1 << 15

_BATCH = 64  # texts per pass


@dataclass(frozen=True)
class EncodedTexts:
    """Encoded texts, and the affine map that gives them, for texts that are added later (:func:`encode_added`).

    Attributes:
        vectors: ``(n_items, d_text)`` float32 on the CPU, of unit root mean square.
        weight: ``(d_text, 3 D_llm)`` float32.
        bias: ``(d_text,)`` float32.
    """

    vectors: Tensor
    weight: Tensor
    bias: Tensor


@torch.no_grad()
def encode_texts(base: Any, encoder: PromptEncoder, texts: Sequence[str], dim: int) -> EncodedTexts:
    """Texts as the leading principal components of what the frozen model makes of them.

    A text's encoding is the mean over its tokens of the hidden states after a third, two thirds and all of the layers, each
    layer normalised. An end token stands before the text, outside the mean: a causal model spends its first position on
    attention that has nowhere to go, with states a hundred times larger than all others.

    Args:
        base: the ``*ForCausalLM`` without LoRA.
        encoder: of its tokenizer.
        texts: of all items, by item id.
        dim: components wanted; fewer come back, ``min(dim, n_items - 1, 3 D_llm)``, where there are not as many items or
            dimensions.
    """
    rows = _rows(encoder, texts)
    n_components = min(dim, len(rows) - 1, N_LAYERS * base.config.hidden_size)
    pca = PCA(n_components, svd_solver="covariance_eigh")
    if len(rows) <= COMPONENT_TEXTS:
        return _scaled(torch.from_numpy(pca.fit_transform(_encode(base, encoder, rows))).float(), pca)
    blocks = [rows[start : start + COMPONENT_TEXTS] for start in range(0, len(rows), COMPONENT_TEXTS)]
    n_parts = len(blocks) + 1
    with progress.phase("", 0, 1 / n_parts):
        pca.fit(_encode(base, encoder, rows[:: -(-len(rows) // COMPONENT_TEXTS)]))
    found = []
    for part, block in enumerate(blocks, start=1):
        with progress.phase("", part / n_parts, (part + 1) / n_parts):
            found.append(torch.from_numpy(pca.transform(_encode(base, encoder, block))).float())
    return _scaled(torch.cat(found), pca)


@torch.no_grad()
def encode_added(base: Any, encoder: PromptEncoder, texts: Sequence[str], weight: Tensor, bias: Tensor) -> Tensor:
    """Further texts as :func:`encode_texts` encoded those before, ``(N, d_text)`` float32 on the CPU.

    Args:
        base: as it was there, without LoRA.
        encoder: of its tokenizer.
        texts: ``N`` of them.
        weight, bias: of :class:`EncodedTexts`.
    """
    states = torch.from_numpy(_encode(base, encoder, _rows(encoder, texts)))
    return F.linear(states, weight.cpu().double(), bias.cpu().double()).float()


def _rows(encoder: PromptEncoder, texts: Sequence[str]) -> list[list[int]]:
    return [[encoder.eos_id, *encoder.title_ids(text)] for text in texts]


def _scaled(vectors: Tensor, pca: PCA) -> EncodedTexts:
    components = torch.from_numpy(pca.components_) / rms(vectors).double()
    return EncodedTexts(unit_scale(vectors), components.float(), -(components @ torch.from_numpy(pca.mean_)).float())


def _encode(base: Any, encoder: PromptEncoder, rows: Sequence[Sequence[int]]) -> npt.NDArray[np.float64]:
    """The encodings ``(N, 3 D_llm)`` of texts as token ids with an end token before them."""
    n_layers = base.config.num_hidden_layers
    layers = [round(n_layers * share / N_LAYERS) for share in range(1, N_LAYERS + 1)]
    encoded = torch.empty(len(rows), len(layers) * base.config.hidden_size)
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]))  # little padding in a batch
    with progress.bar(len(order), desc="encode texts", unit="text") as bar:
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            length = len(rows[batch[-1]])
            ids = torch.tensor(
                [[*rows[row]] + [encoder.eos_id] * (length - len(rows[row])) for row in batch], device=base.device
            )
            # Padding stands on the right, where no token of the text sees it.
            states = base.model(input_ids=ids, use_cache=False, output_hidden_states=True).hidden_states
            lengths = torch.tensor([len(rows[row]) - 1 for row in batch], device=base.device)
            in_text = torch.arange(1, length, device=base.device) <= lengths[:, None]  # (B, L - 1)
            for number, layer in enumerate(layers):
                hidden = states[layer][:, 1:].float() * in_text[..., None]
                mean = F.layer_norm(hidden.sum(dim=1) / lengths[:, None], hidden.shape[-1:])
                encoded[batch, number * mean.shape[1] : (number + 1) * mean.shape[1]] = mean.cpu()
            bar.update(len(batch))
    return encoded.double().numpy()
