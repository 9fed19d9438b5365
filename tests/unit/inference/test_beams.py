"""Beam search finds the likeliest answer where greedy decoding does not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from llara_core.answers.prompts import Query
from llara_core.inference.candidate_answers import Prefix, answer_queries, beam_search, generate, read_prompts
from llara_core.llm.encoding import PromptEncoder
from llara_core.llm.hybrid import HybridLM
from llara_core.llm.prompts.rendering import render_ranking
from tests.helpers.llm import LABELS, N_ITEMS, WORDING, make_encoder, make_model


@pytest.fixture
def model(tiny_llama: Path) -> HybridLM:
    return make_model(tiny_llama)


@pytest.fixture
def encoder(tiny_llama: Path) -> PromptEncoder:
    return make_encoder(tiny_llama)


@pytest.fixture
def queries() -> list[Query]:
    rng = np.random.default_rng(0)
    queries = []
    for length in (1, 4, 2, 5, 3, 2):  # of different lengths, so that batches are padded
        items = rng.permutation(N_ITEMS)[: length + 4].tolist()
        prompt = render_ranking(items[:-4], items[-4:], LABELS, WORDING, "hybrid", 0)
        queries.append(Query(prompt, tuple(LABELS[item] for item in items[-4:])))
    return queries


def read(model: HybridLM, encoder: PromptEncoder, queries: Sequence[Query]) -> Prefix:
    ids = [encoder.prompt_ids(query.prompt) for query in queries]
    with torch.inference_mode():
        return read_prompts(model, encoder.pad(ids, [query.prompt for query in queries]))


def following(model: HybridLM, encoder: PromptEncoder, query: Query, tokens: list[list[int]]) -> torch.Tensor:
    """Log-probabilities ``(N, V)`` of what follows each of ``N`` beginnings of equal length after the prompt."""
    ids = torch.tensor([encoder.prompt_ids(query.prompt) + beginning for beginning in tokens])
    with torch.inference_mode():
        inputs = model.embed(ids, torch.tensor(query.prompt.slot_items * len(tokens), dtype=torch.long))
        states = model.causal_lm.model(inputs_embeds=inputs, attention_mask=torch.ones_like(ids)).last_hidden_state
        return torch.log_softmax(model.token_logits(states[:, -1]).float(), dim=-1)


def test_as_many_beams_as_tokens_find_the_likeliest_pair(model: HybridLM, encoder: PromptEncoder, queries: list[Query]) -> None:
    n_tokens = model.causal_lm.config.vocab_size
    greedy = generate_with(model, encoder, queries)
    with torch.inference_mode():
        answers = beam_search(model, read(model, encoder, queries), encoder.eos_id, 2, n_tokens)
    n_other = 0
    for query, answer, taken in zip(queries, answers, greedy, strict=True):
        first = following(model, encoder, query, [[]])[0]  # [V]
        pairs = first.unsqueeze(1) + following(model, encoder, query, [[token] for token in range(n_tokens)])  # [V, V]
        pairs[encoder.eos_id] = -torch.inf
        pairs[encoder.eos_id, 0] = first[encoder.eos_id]  # ends at once
        best = int(pairs.argmax())
        expected = [best // n_tokens, best % n_tokens]
        assert answer == (expected[: expected.index(encoder.eos_id)] if encoder.eos_id in expected else expected)
        n_other += answer != taken
    assert n_other  # else greedy decoding would do


def generate_with(model: HybridLM, encoder: PromptEncoder, queries: list[Query], length: int = 2) -> list[list[int]]:
    with torch.inference_mode():
        return generate(model, read(model, encoder, queries), encoder.eos_id, length)


def test_one_beam_is_greedy(model: HybridLM, encoder: PromptEncoder, queries: list[Query]) -> None:
    with torch.inference_mode():
        answers = beam_search(model, read(model, encoder, queries), encoder.eos_id, 6, 1)
    assert answers == generate_with(model, encoder, queries, 6)


def test_a_beam_that_has_ended_keeps_its_place(model: HybridLM, encoder: PromptEncoder, queries: list[Query]) -> None:
    """The end token is the second one of a likely answer: it competes with longer ones, whose likelihood only falls."""
    with torch.inference_mode():
        full = beam_search(model, read(model, encoder, queries), encoder.eos_id, 5, 4)
        end = full[0][1]
        stopped = beam_search(model, read(model, encoder, queries), end, 5, 4)
    assert any(len(answer) < 5 for answer in stopped)
    assert all(end not in answer for answer in stopped)


def test_answers_by_beams_do_not_depend_on_the_batch(model: HybridLM, encoder: PromptEncoder, queries: list[Query]) -> None:
    texts = [
        answer_queries(model, encoder, queries, batch_size=size, max_new_tokens=5, num_beams=3).texts for size in (1, 4, 6)
    ]
    assert texts[0] == texts[1] == texts[2]
    greedy = answer_queries(model, encoder, queries, batch_size=6, max_new_tokens=5)
    assert texts[0] != greedy.texts
