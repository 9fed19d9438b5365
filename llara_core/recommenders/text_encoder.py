"""A pre-trained encoder of the texts of a catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm
from transformers import AutoModel, AutoTokenizer

from llara_core.errors import ModelError
from llara_core.runtime import compute, progress

MAX_TOKENS = 128  # longer texts are cut
ENCODING_BATCH = 64


class TextEncoder:
    """A BERT-family model and the tokenised texts; it runs on the GPU if there is one, and returns vectors on the CPU.

    Args:
        folder: model folder with safetensors weights and a tokenizer (:func:`fetching.llm.fetch_encoder`).
        texts: one text per item.
        section: section of ``params.yaml`` that names the encoder, for messages.

    Raises:
        ModelError: the folder holds no complete model, or one of another family.

    Source: a text's vector is the mean of its tokens' last hidden states (Reimers and Gurevych, 2019, section 3).
    """

    def __init__(self, folder: Path, texts: Sequence[str], section: str = "recommenders.morec") -> None:
        self.section = section
        self.model = _load_model(folder, section)
        self.tokens = _tokenise(folder, texts, self.model.config, section)
        self.dim = int(self.model.config.hidden_size)

    def encode(self, items: Tensor) -> Tensor:
        """Returns the vectors ``(N, dim)`` of items ``(N,)``; gradients flow through them."""
        rows = [self.tokens[item] for item in items.tolist()]
        tokens = pad_sequence(rows, batch_first=True, padding_value=self.model.config.pad_token_id or 0)  # (N, longest)
        lengths = torch.tensor([len(row) for row in rows])
        mask = torch.arange(tokens.shape[1]) < lengths[:, None]
        device = self.model.device
        hidden = self.model(input_ids=tokens.to(device), attention_mask=mask.long().to(device)).last_hidden_state.cpu()
        mean: Tensor = (hidden * mask[..., None]).sum(dim=1) / lengths[:, None]
        return mean

    @cached_property
    def pretrained_vectors(self) -> Tensor:
        """Returns the vectors ``(n_items, dim)`` before any training."""
        return self.encode_all()

    @torch.no_grad()
    def encode_all(self) -> Tensor:
        """Returns the vectors ``(n_items, dim)`` of all items, without dropout."""
        self.model.eval()
        vectors = torch.empty(len(self.tokens), self.dim)
        by_length = torch.tensor([len(row) for row in self.tokens]).argsort(stable=True)  # little padding in a batch
        for items in tqdm(torch.split(by_length, ENCODING_BATCH), desc="encoding texts", unit="batch", leave=False, delay=1.0):
            vectors[items] = self.encode(items)
        return vectors


def _load_model(folder: Path, section: str) -> Any:
    try:
        with progress.without_loading_bar():
            model, report = AutoModel.from_pretrained(
                folder, dtype=torch.float32, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{section}.encoder: {folder} cannot be loaded as a text encoder: {error}") from error
    # The mean does not use the pooler, which many encoders are published without.
    missing = sorted(name for name in report["missing_keys"] if "pooler" not in name)
    if missing:
        raise ModelError(f"{section}.encoder: {folder} is incomplete, e.g. {missing[:3]} are missing")
    return model.to(compute.device())


def _tokenise(folder: Path, texts: Sequence[str], config: Any, section: str) -> list[Tensor]:
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{section}.encoder: the tokenizer of {folder} cannot be loaded: {error}") from error
    if tokenizer.cls_token is None or config.is_encoder_decoder:
        raise ModelError(
            f"{section}.encoder: {folder} holds a {config.model_type} model, which is not of the BERT family; "
            "name an encoder such as google-bert/bert-base-uncased"
        )
    positions = getattr(config, "max_position_embeddings", MAX_TOKENS) - 2  # RoBERTa counts them from 2
    longest = min(MAX_TOKENS, tokenizer.model_max_length, positions)
    tokens: list[list[int]] = tokenizer(list(texts), truncation=True, max_length=longest)["input_ids"]
    known = set().union(*tokens) - set(tokenizer.all_special_ids)
    # transformers creates an empty tokenizer if the vocabulary's file is missing.
    if not known or max(known) >= config.vocab_size:
        raise ModelError(
            f"{section}.encoder: the tokenizer of {folder} knows no token of the texts, or not those of the model; "
            "is its tokenizer.json or vocab.txt missing or another model's?"
        )
    return [torch.tensor(ids) for ids in tokens]
