"""Item texts encoded by the language model itself, as features of compact items (ours; similar to HLLM and E4SRec)."""

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

N_LAYERS = 3  # layers whose hidden states make up an encoding

# Number of texts whose encodings are in memory at a time (0.7 GB for SmolLM2-135M). For a larger catalogue, the components are
# fitted on at most this many texts, at equal distances, and then all texts are encoded again.
COMPONENT_TEXTS = 1 << 15

_BATCH = 64  # texts per pass


@dataclass(frozen=True)
class EncodedTexts:
    """Encoded texts, and the affine map by which :func:`encode_added` encodes further ones.

    Attributes:
        vectors: ``(n_items, d_text)`` float32 on the CPU, with a root mean square of 1.
        weight: ``(d_text, 3 D_llm)`` float32.
        bias: ``(d_text,)`` float32.
    """

    vectors: Tensor
    weight: Tensor
    bias: Tensor


@torch.no_grad()
def encode_texts(base: Any, encoder: PromptEncoder, texts: Sequence[str], dim: int) -> EncodedTexts:
    """Encodes texts as the leading principal components of the frozen model's hidden states.

    A text's encoding is the mean over its tokens of the hidden states after a third, two thirds and all of the layers, each
    layer normalised. An end token precedes the text and is left out of the mean: a causal model uses its first position as an
    attention sink, with states a hundred times larger than all others.

    Args:
        base: the ``*ForCausalLM`` without LoRA.
        texts: text of each item, indexed by item id.
        dim: requested number of components; the result has ``min(dim, n_items - 1, 3 D_llm)``.
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
    vectors = []
    for part, block in enumerate(blocks, start=1):
        with progress.phase("", part / n_parts, (part + 1) / n_parts):
            vectors.append(torch.from_numpy(pca.transform(_encode(base, encoder, block))).float())
    return _scaled(torch.cat(vectors), pca)


@torch.no_grad()
def encode_added(base: Any, encoder: PromptEncoder, texts: Sequence[str], weight: Tensor, bias: Tensor) -> Tensor:
    """Encodes ``N`` further texts with the affine map of :func:`encode_texts`: ``(N, d_text)`` float32 on the CPU."""
    states = torch.from_numpy(_encode(base, encoder, _rows(encoder, texts)))
    return F.linear(states, weight.cpu().double(), bias.cpu().double()).float()


def _rows(encoder: PromptEncoder, texts: Sequence[str]) -> list[list[int]]:
    return [[encoder.eos_id, *encoder.title_ids(text)] for text in texts]


def _scaled(vectors: Tensor, pca: PCA) -> EncodedTexts:
    components = torch.from_numpy(pca.components_) / rms(vectors).double()
    return EncodedTexts(unit_scale(vectors), components.float(), -(components @ torch.from_numpy(pca.mean_)).float())


def _encode(base: Any, encoder: PromptEncoder, rows: Sequence[Sequence[int]]) -> npt.NDArray[np.float64]:
    """Encodes texts, given as token ids after an end token, as ``(N, 3 D_llm)``."""
    n_layers = base.config.num_hidden_layers
    layers = [round(n_layers * share / N_LAYERS) for share in range(1, N_LAYERS + 1)]
    encoded = torch.empty(len(rows), len(layers) * base.config.hidden_size)
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]))  # similar lengths need little padding
    with progress.bar(len(order), desc="encode texts", unit="text") as bar:
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            length = len(rows[batch[-1]])
            ids = torch.tensor(
                [[*rows[row]] + [encoder.eos_id] * (length - len(rows[row])) for row in batch], device=base.device
            )
            # Padding is on the right, where no token of the text sees it.
            states = base.model(input_ids=ids, use_cache=False, output_hidden_states=True).hidden_states
            lengths = torch.tensor([len(rows[row]) - 1 for row in batch], device=base.device)
            in_text = torch.arange(1, length, device=base.device) <= lengths[:, None]  # (B, L - 1)
            for number, layer in enumerate(layers):
                hidden = states[layer][:, 1:].float() * in_text[..., None]
                mean = F.layer_norm(hidden.sum(dim=1) / lengths[:, None], hidden.shape[-1:])
                encoded[batch, number * mean.shape[1] : (number + 1) * mean.shape[1]] = mean.cpu()
            bar.update(len(batch))
    return encoded.double().numpy()
