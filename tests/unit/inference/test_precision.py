"""What is promised of answers per dtype: the same bytes for the same batches, and for other batches equality up to rounding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from llara_core.answers.prompts import Query
from llara_core.inference.candidate_answers import CandidateAnswers, answer_queries
from llara_core.llm.prompts.rendering import render_ranking
from tests.helpers.llm import LABELS, N_ITEMS, WORDING, make_encoder, make_model

N_QUERIES = 16
# In nats, of sums over an answer's tokens; the docs name the same.
BOUND = {torch.float32: 1e-4, torch.bfloat16: 1.0}


def _answers(tiny_llama: Path, dtype: torch.dtype, batch_size: int) -> CandidateAnswers:
    model = make_model(tiny_llama)
    model.llm.to(dtype)
    rng = np.random.default_rng(0)
    queries = []
    for length in rng.integers(1, 6, size=N_QUERIES):  # of different lengths, so that batches are padded
        items = rng.permutation(N_ITEMS)[: length + 4].tolist()
        prompt = render_ranking(items[:-4], items[-4:], LABELS, WORDING, "hybrid", 0)
        queries.append(Query(prompt, tuple(LABELS[item] for item in items[-4:])))
    return answer_queries(model, make_encoder(tiny_llama), queries, batch_size=batch_size, max_new_tokens=6)


@pytest.mark.parametrize("dtype", list(BOUND))
def test_the_same_batches_give_the_same_bytes(tiny_llama: Path, dtype: torch.dtype) -> None:
    first, second = (_answers(tiny_llama, dtype, batch_size=8) for _ in range(2))
    assert first.scores.tobytes() == second.scores.tobytes()
    assert (first.texts, first.constrained.tolist()) == (second.texts, second.constrained.tolist())


@pytest.mark.parametrize("dtype", list(BOUND))
def test_other_batches_change_scores_by_rounding_alone(tiny_llama: Path, dtype: torch.dtype) -> None:
    alone, together = (_answers(tiny_llama, dtype, batch_size=size) for size in (1, 8))
    assert np.abs(alone.scores - together.scores).max() < BOUND[dtype]
    # The choice can change only between candidates that rounding can make equal.
    best, chosen = alone.scores.max(axis=1), together.scores.argmax(axis=1)
    lead = best - alone.scores[np.arange(N_QUERIES), chosen]
    assert (lead < 2 * BOUND[dtype]).all()


def test_in_float32_the_answers_are_the_same(tiny_llama: Path) -> None:
    alone, together = (_answers(tiny_llama, torch.float32, batch_size=size) for size in (1, 8))
    assert alone.texts == together.texts
    assert alone.constrained.tolist() == together.constrained.tolist()
