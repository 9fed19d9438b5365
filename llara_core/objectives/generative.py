"""The paper's objective: name the next item among candidates by its title (section 4.3, equations 7 and 8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from llara_core.config import PromptConfig, Representation, TuneConfig
from llara_core.llm.encoding import PromptEncoder
from llara_core.llm.hybrid import HybridLM
from llara_core.llm.prompts.rendering import Prompt, answer_text, render_ranking
from llara_core.llm.prompts.templates import RANKING_TEMPLATES
from llara_core.objectives.base import IGNORE, DataSizes, EncodedRow, Rows, TrainingData
from llara_core.runtime import seeding


class Generative:
    """Next-token loss on the answer title, plus a softmax over the candidates if ``tune.ranking_weight`` is positive."""

    n_templates = len(RANKING_TEMPLATES)

    def epoch_rows(self, sizes: DataSizes, tune: TuneConfig, seed: int, epoch: int) -> Rows:
        """Returns each training example with a long enough history once, with the epoch's candidate set."""
        long_enough = np.asarray(sizes.history_lens) >= tune.min_history_len
        order = seeding.numpy_stream(seed, "plan", "examples", epoch).permutation(len(long_enough))
        order = order[long_enough[order]]
        rows = np.zeros((len(order), 4), dtype=np.int64)
        rows[:, 0], rows[:, 3] = order, epoch % sizes.n_draws
        return rows

    def encode(
        self, row: Any, representation: Representation, data: TrainingData, encoder: PromptEncoder, prompt: PromptConfig
    ) -> EncodedRow:
        """Encodes history, candidates and the target's title; only the title is predicted."""
        candidates, target = data.candidates[row.source, row.draw], data.targets[row.source]
        rendered = self.render(row, representation, data, prompt)
        prompt_ids = encoder.prompt_ids(rendered)
        answer = encoder.answer_ids(answer_text(target, data.labels, representation))
        labels = [IGNORE] * (len(prompt_ids) - 1) + list(answer) + [IGNORE]
        return EncodedRow(row.objective, [*prompt_ids, *answer], rendered, labels, list(candidates).index(target))

    def render(self, row: Any, representation: Representation, data: TrainingData, prompt: PromptConfig) -> Prompt:
        """Renders the prompt of a row, which shows its history and its candidates."""
        return render_ranking(
            data.histories[row.source],
            data.candidates[row.source, row.draw],
            data.labels,
            data.wording,
            representation,
            row.template,
            slot=prompt.slot,
            scores=None if data.scores is None else data.scores[row.source, row.draw],
            candidate_texts=data.texts if prompt.item_text == "full" else None,
        )

    def batch_tensors(self, rows: Sequence[EncodedRow]) -> dict[str, torch.Tensor]:
        """Returns the candidates' slots and the targets' places; nothing if candidates have no slots.

        ``candidate_slots`` ``(B, C)`` int64 counts over the batch's ``S`` slots, ``target_places`` ``(B,)`` int64 over the
        candidates.
        """
        if not rows[0].prompt.candidate_slots:
            return {}
        n_slots = torch.tensor([0, *(len(row.prompt.slot_items) for row in rows[:-1])])
        return {
            "candidate_slots": torch.tensor([row.prompt.candidate_slots for row in rows]) + n_slots.cumsum(0)[:, None],
            "target_places": torch.tensor([row.target_place for row in rows]),
        }

    def loss(self, model: HybridLM, hidden: torch.Tensor, batch: Mapping[str, torch.Tensor], tune: TuneConfig) -> torch.Tensor:
        """Returns the cross-entropy of the answer's tokens, plus ``tune.ranking_weight`` times that of the read-out, if any."""
        predicting = batch["labels"] != IGNORE
        # Logits are computed at the predicting positions only: everywhere, they would cost about as much as the LLM itself.
        loss = F.cross_entropy(model.token_logits(hidden[predicting]), batch["labels"][predicting], reduction="sum")
        if model.readout is not None and "candidate_slots" in batch:
            at_slots = hidden[model.slots.mask(batch["input_ids"])]  # (S, D_llm)
            ranked = model.readout(at_slots[batch["candidate_slots"]])  # (B, C)
            loss = loss + tune.ranking_weight * F.cross_entropy(ranked, batch["target_places"], reduction="sum")
        return loss
