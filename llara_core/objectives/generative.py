"""The paper's objective: name the next item among candidates, by its title (section 4.3, equations 7 and 8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from llara_core import columns as c
from llara_core.config import PromptConfig, Representation, TuneConfig
from llara_core.errors import DataError
from llara_core.evaluation.parsing import parse_answer
from llara_core.held_out import HeldOut
from llara_core.inference.candidate_answers import answer_queries
from llara_core.inference.prompts import ranking_queries
from llara_core.llm.encoding import PromptEncoder
from llara_core.llm.hybrid import HybridLM
from llara_core.objectives.base import (
    IGNORE,
    EncodedRow,
    LlmSystem,
    Objective,
    Rows,
    TrainingData,
    Units,
    summed_cross_entropy,
)
from llara_core.predictions import from_choices, from_scores
from llara_core.prompts.rendering import Prompt, answer_text, render_ranking
from llara_core.prompts.templates import RANKING_TEMPLATES
from llara_core.runtime import seeding


class Generative:
    """Next-token loss on the answer title and, where ``tune.ranking_weight`` asks for it, a softmax over the candidates."""

    n_templates = len(RANKING_TEMPLATES)
    scores_catalogue = False

    def epoch_rows(self, units: Units, tune: TuneConfig, seed: int, epoch: int) -> Rows:
        """Every training example whose history is long enough, once, with the candidate set of the epoch's turn."""
        long_enough = np.asarray(units.history_lens) >= tune.min_history_len
        order = seeding.numpy_stream(seed, "plan", "examples", epoch).permutation(len(long_enough))
        order = order[long_enough[order]]
        rows = np.zeros((len(order), 4), dtype=np.int64)
        rows[:, 0], rows[:, 3] = order, epoch % units.n_draws
        return rows

    def encode(
        self, row: Any, representation: Representation, data: TrainingData, encoder: PromptEncoder, prompt: PromptConfig
    ) -> EncodedRow:
        """History, candidates and the target's title, which alone is predicted."""
        candidates, target = data.candidates[row.source, row.draw], data.targets[row.source]
        rendered = self.render(row, representation, data, prompt)
        prompt_ids = encoder.prompt_ids(rendered)
        answer = encoder.answer_ids(answer_text(target, data.labels, representation))
        labels = [IGNORE] * (len(prompt_ids) - 1) + list(answer) + [IGNORE]
        return EncodedRow(row.objective, [*prompt_ids, *answer], rendered, labels, list(candidates).index(target))

    def render(self, row: Any, representation: Representation, data: TrainingData, prompt: PromptConfig) -> Prompt:
        """The prompt of a row, which shows its history and its candidates."""
        return render_ranking(
            data.histories[row.source],
            data.candidates[row.source, row.draw],
            data.labels,
            data.wording,
            representation,
            row.template,
            slot=prompt.slot,
            scores=None if data.scores is None else data.scores[row.source, row.draw],
        )

    def batch_tensors(self, rows: Sequence[EncodedRow]) -> dict[str, torch.Tensor]:
        """``candidate_slots`` ``(B, C)`` int64, which of the batch's ``S`` slots are the candidates, and ``target_places``
        ``(B,)`` int64, the target's place among them; nothing where candidates have no slots."""
        if not rows[0].prompt.candidate_slots:
            return {}
        n_slots = torch.tensor([0, *(len(row.prompt.slot_items) for row in rows[:-1])])
        return {
            "candidate_slots": torch.tensor([row.prompt.candidate_slots for row in rows]) + n_slots.cumsum(0)[:, None],
            "target_places": torch.tensor([row.target_place for row in rows]),
        }

    def loss(self, model: HybridLM, hidden: torch.Tensor, batch: Mapping[str, torch.Tensor], tune: TuneConfig) -> torch.Tensor:
        """Cross-entropy of the answer's tokens and, with a read-out, ``tune.ranking_weight`` times that of the candidates."""
        loss = summed_cross_entropy(model.token_logits, hidden, batch["labels"])
        if model.readout is not None and "candidate_slots" in batch:
            at_slots = hidden[model.slots.mask(batch["input_ids"])]  # [S, D_llm]
            ranked = model.readout(at_slots[batch["candidate_slots"]])  # [B, C]
            loss = loss + tune.ranking_weight * F.cross_entropy(ranked, batch["target_places"], reduction="sum")
        return loss

    def answer(self, system: LlmSystem, held_out: HeldOut) -> dict[str, pd.DataFrame]:
        """``generate``, ``constrained`` and ``score``, for the first ``inference.max_draws`` draws.

        Raises:
            DataError: a candidate set that is asked has no opinions to be shown.
        """
        rows = held_out.questions(system.inference.max_draws)
        if system.prompt.recommender_scores:
            rows = _with_opinions(rows, system, held_out)
        queries = ranking_queries(rows, held_out.labels, system.wording, system.prompt, tuned=system.is_tuned)
        answers = answer_queries(
            system.model,
            system.encoder,
            queries,
            batch_size=system.inference.batch_size,
            max_new_tokens=system.inference.max_new_tokens,
            num_beams=system.inference.num_beams,
        )
        parsed = [parse_answer(text, query.answers) for text, query in zip(answers.texts, queries, strict=True)]
        return {
            "generate": from_choices(rows, parsed, answers.texts),
            "constrained": from_choices(rows, answers.constrained.tolist()),
            "score": from_scores(rows, answers.scores),
        }


def _with_opinions(rows: pd.DataFrame, system: LlmSystem, held_out: HeldOut) -> pd.DataFrame:
    if system.opinions_of is None:
        raise DataError("the prompts show the recommender's scores, but none are given; name the recommender")
    rows = rows.merge(system.opinions_of(held_out), on=[c.EXAMPLE, c.DRAW], how="left", validate="one_to_one")
    if (missing := rows[c.SCORES].isna()).any():
        raise DataError(
            f"the recommender scored no candidate set of example {rows.loc[missing, c.EXAMPLE].iloc[0]}; run `dvc repro`"
        )
    return rows


OBJECTIVE: Objective = Generative()
