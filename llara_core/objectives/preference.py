"""Preference tuning of a tuned system: the target's title against the titles of other candidates.

With the target ``t``, other candidates ``d`` and ``r = log p(title | prompt)`` minus its value before tuning, the loss of
S-DPO is ``-log sigmoid(-log sum_d exp(beta (r_d - r_t)))``. Since ``sigmoid(-log z) = 1 / (1 + z)``, this is the
cross-entropy of a softmax over ``beta r`` of the target and the others. Without the reference, ``r`` is the score by which
the system ranks, and the loss is a listwise softmax over it.

Source: Chen et al., "On Softmax Direct Preference Optimization for Recommendation", NeurIPS 2024 (arXiv 2406.09215). There,
every title is read in a separate pass; here, a prompt and its titles are one tree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from llara_core.config import PromptConfig, Representation, TuneConfig
from llara_core.llm import tree
from llara_core.llm.encoding import PromptEncoder
from llara_core.llm.hybrid import HybridLM
from llara_core.llm.prompts.rendering import answer_text
from llara_core.objectives.base import IGNORE, DataSizes, EncodedRow, Rows, TrainingData
from llara_core.objectives.generative import Generative

_TARGET = 0  # place of the target among the answers of a row


class Preference(Generative):
    """A softmax over the log-likelihoods of candidates' titles, with or without S-DPO's reference."""

    def epoch_rows(self, sizes: DataSizes, tune: TuneConfig, seed: int, epoch: int) -> Rows:
        """Returns the generative rows, each with its first negatives, which are in random order."""
        rows = super().epoch_rows(sizes, tune, seed, epoch)
        rows[:, 2] = tune.preference_negatives
        return rows

    def encode(
        self, row: Any, representation: Representation, data: TrainingData, encoder: PromptEncoder, prompt: PromptConfig
    ) -> EncodedRow:
        """Encodes a tree of the prompt and the titles of target and negatives; the label is the target's place among these."""
        target = data.targets[row.source]
        negatives = [item for item in data.candidates[row.source, row.draw] if item != target][row.start : row.stop]
        rendered = self.render(row, representation, data, prompt)
        answers = [encoder.answer_ids(answer_text(item, data.labels, representation)) for item in (target, *negatives)]
        laid_out = tree.lay_out(encoder.prompt_ids(rendered), answers)
        # One label per prompt makes a step's loss the mean over prompts.
        labels = [*[IGNORE] * (len(laid_out.input_ids) - 1), _TARGET]
        reference = getattr(row, "reference", None)
        return EncodedRow(row.objective, laid_out.input_ids, rendered, labels, tree=laid_out, reference=reference)

    def batch_tensors(self, rows: Sequence[EncodedRow]) -> dict[str, torch.Tensor]:
        """Returns ``branches`` and ``following`` ``(B, L)`` int64, left-padded, and ``reference`` ``(B, A)`` float32 of ``A``
        answers.

        ``reference`` is absent if the loss needs none.
        """
        trees = [row.tree for row in rows if row.tree is not None]
        length = max(len(tree.branches) for tree in trees)
        following = [[IGNORE if token is None else token for token in tree.following] for tree in trees]
        tensors = {
            "branches": _padded([tree.branches for tree in trees], length, 0),
            "following": _padded(following, length, IGNORE),
        }
        references = [row.reference for row in rows if row.reference is not None]
        return tensors | ({"reference": torch.tensor(references)} if references else {})

    def loss(self, model: HybridLM, hidden: torch.Tensor, batch: Mapping[str, torch.Tensor], tune: TuneConfig) -> torch.Tensor:
        """Returns the cross-entropy of the target among the answers."""
        values = self.log_likelihoods(model, hidden, batch)
        if tune.compares_with_start:
            values = values - batch["reference"]
        targets = torch.full((len(values),), _TARGET, device=values.device)
        return F.cross_entropy(tune.preference_beta * values, targets, reduction="sum")

    def log_likelihoods(self, model: HybridLM, hidden: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Sums the log-probabilities of each answer's tokens, ``(B, A)`` float32; arguments are those of :meth:`loss`."""
        branches, following = batch["branches"], batch["following"]
        predicting = following != IGNORE
        tokens = -F.cross_entropy(model.token_logits(hidden[predicting]), following[predicting], reduction="none")  # (N,)
        shape = len(branches), int(branches.max())
        rows = torch.arange(shape[0], device=branches.device).unsqueeze(1).expand_as(branches)
        answer = (rows * shape[1] + branches - 1)[predicting]
        return tokens.new_zeros(shape[0] * shape[1]).index_add(0, answer, tokens).view(shape)


def _padded(rows: Sequence[Sequence[int]], length: int, padding: int) -> torch.Tensor:
    return torch.from_numpy(np.array([[padding] * (length - len(row)) + list(row) for row in rows], dtype=np.int64))
