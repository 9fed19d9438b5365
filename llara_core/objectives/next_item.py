"""An objective that the paper lacks: a softmax over the catalogue at every item of a history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from llara_core.config import PromptConfig, Representation, TuneConfig
from llara_core.llm.encoding import PromptEncoder
from llara_core.llm.hybrid import HybridLM
from llara_core.llm.prompts.rendering import render_history
from llara_core.llm.prompts.templates import HISTORY_TEMPLATES
from llara_core.objectives.base import IGNORE, DataSizes, EncodedRow, Rows, TrainingData
from llara_core.runtime import seeding


class NextItem:
    """Chunks of training sequences, in which every item predicts the one that follows."""

    n_templates = len(HISTORY_TEMPLATES)

    def epoch_rows(self, sizes: DataSizes, tune: TuneConfig, seed: int, epoch: int) -> Rows:
        """Returns chunks that overlap by one item, so that every item but a sequence's first is a target once per epoch.

        Each sequence is cut at another random phase in every epoch, so no item is always the first of its chunk.
        """
        rng = seeding.numpy_stream(seed, "plan", "chunks", epoch)
        stride = tune.chunk_len - 1
        phases = rng.integers(stride, size=len(sizes.sequence_lens))
        rows = [
            (sequence, max(start, 0), min(start + tune.chunk_len, length), 0)
            for sequence, (length, phase) in enumerate(zip(sizes.sequence_lens, phases, strict=True))
            for start in range(-int(phase), length - 1, stride)  # each chunk has at least two items, one of them a target
        ]
        return rng.permutation(np.array(rows, dtype=np.int64).reshape(-1, 4))

    def encode(
        self, row: Any, representation: Representation, data: TrainingData, encoder: PromptEncoder, prompt: PromptConfig
    ) -> EncodedRow:
        """Encodes the chunk without its last item; each item's slot predicts the item after it."""
        items = data.sequences[row.source][row.start : row.stop]
        rendered = render_history(items[:-1], data.labels, data.wording, representation, row.template, slot=prompt.slot)
        prompt_ids = encoder.prompt_ids(rendered)
        following = iter(items[1:])
        labels = [next(following) if token in encoder.slots else IGNORE for token in prompt_ids]
        return EncodedRow(row.objective, prompt_ids, rendered, labels)

    def batch_tensors(self, rows: Sequence[EncodedRow]) -> dict[str, torch.Tensor]:
        return {}

    def loss(self, model: HybridLM, hidden: torch.Tensor, batch: Mapping[str, torch.Tensor], tune: TuneConfig) -> torch.Tensor:
        """Returns the cross-entropy of the following items over the whole catalogue."""
        predicting = batch["labels"] != IGNORE
        return model.item_loss(hidden[predicting], batch["labels"][predicting])
