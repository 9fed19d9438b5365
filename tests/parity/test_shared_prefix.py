"""Shared-prefix scores, constrained and free answers against plain forward passes and transformers' own ``generate``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import GenerationConfig

from llara_core.answers.prompts import Query
from llara_core.inference.candidate_answers import CandidateAnswers, answer_queries
from llara_core.llm.encoding import PromptEncoder
from llara_core.llm.hybrid import HybridLM
from llara_core.llm.prompts.rendering import answer_text, render_ranking
from tests.helpers.llm import LABELS, N_ITEMS, WORDING, make_encoder, make_model

N_QUERIES, N_NEW = 8, 6


@pytest.fixture(scope="module")
def encoder(tiny_llama: Path) -> PromptEncoder:
    return make_encoder(tiny_llama)


@pytest.fixture(scope="module")
def model(tiny_llama: Path) -> HybridLM:
    return make_model(tiny_llama)


@pytest.fixture(scope="module")
def queries() -> list[Query]:
    """Prompts of 1 to 7 history items, hybrid and text-only, with candidates of one to four tokens and shared beginnings."""
    rng = np.random.default_rng(0)
    result = []
    for number in range(N_QUERIES):
        items = rng.permutation(N_ITEMS).tolist()
        candidates, history = items[:5], items[5:][: number + 1]
        representation = ("hybrid", "text", "index")[number % 3]
        prompt = render_ranking(history, candidates, LABELS, WORDING, representation, number % 4)
        result.append(Query(prompt, tuple(answer_text(item, LABELS, representation) for item in candidates)))
    return result


@pytest.fixture(scope="module")
def answers(model: HybridLM, encoder: PromptEncoder, queries: list[Query]) -> CandidateAnswers:
    return answer_queries(model, encoder, queries, batch_size=N_QUERIES, max_new_tokens=N_NEW)


@torch.inference_mode()
def _logprobs(model: HybridLM, encoder: PromptEncoder, query: Query, continuation: Sequence[int]) -> torch.Tensor:
    """Log-probabilities of the next token after the prompt and each token of ``continuation``, by one plain forward pass."""
    prompt = encoder.prompt_ids(query.prompt)
    ids = torch.tensor([[*prompt, *continuation]])
    inputs = model.embed(ids, torch.tensor(query.prompt.slot_items, dtype=torch.long))
    logits = model.causal_lm(inputs_embeds=inputs).logits[0]
    return torch.log_softmax(logits[len(prompt) - 1 :], dim=-1)


def test_scores_equal_one_forward_pass_per_candidate(
    model: HybridLM, encoder: PromptEncoder, queries: list[Query], answers: CandidateAnswers
) -> None:
    for row, query in enumerate(queries):
        for column, answer in enumerate(query.answers):
            tokens = encoder.answer_ids(answer)
            expected = _logprobs(model, encoder, query, tokens)[: len(tokens)].gather(1, torch.tensor(tokens)[:, None]).sum()
            assert answers.scores[row, column] == pytest.approx(expected.item(), rel=1e-5, abs=1e-4)


def test_constrained_answers_equal_a_decode_in_the_trie(
    model: HybridLM, encoder: PromptEncoder, queries: list[Query], answers: CandidateAnswers
) -> None:
    for row, query in enumerate(queries):
        branches, taken = [encoder.answer_ids(answer) for answer in query.answers], ()
        while taken not in branches:
            allowed = {branch[len(taken)] for branch in branches if branch[: len(taken)] == taken}
            last = _logprobs(model, encoder, query, taken)[-1]
            taken = (*taken, max(allowed, key=lambda token: last[token].item()))
        assert answers.constrained[row] == branches.index(taken)
    assert len(set(answers.constrained.tolist())) > 1
    # Greedy decoding is no ranking by likelihood; the two must be able to differ for the test to mean something.
    assert (answers.constrained != answers.scores.argmax(axis=1)).any()


def test_free_answers_equal_transformers_generate(
    model: HybridLM, encoder: PromptEncoder, queries: list[Query], answers: CandidateAnswers
) -> None:
    greedy = GenerationConfig(
        max_new_tokens=N_NEW, do_sample=False, eos_token_id=encoder.eos_id, pad_token_id=encoder.eos_id, bos_token_id=0
    )
    for query, text in zip(queries, answers.texts, strict=True):
        ids = torch.tensor([encoder.prompt_ids(query.prompt)])
        with torch.inference_mode():
            inputs = model.embed(ids, torch.tensor(query.prompt.slot_items, dtype=torch.long))
            tokens = model.causal_lm.generate(
                inputs_embeds=inputs, attention_mask=torch.ones_like(ids), generation_config=greedy
            )
        assert text == encoder.decode(tokens[0].tolist())
    assert len(set(answers.texts)) > 1


def test_generation_stops_at_the_end_token_of_each_row(
    model: HybridLM, encoder: PromptEncoder, queries: list[Query], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second token that some answer holds is declared the end token: answers end there, each on its own."""
    full = [_greedy_by_hand(model, encoder, query) for query in queries]
    end = full[0][1]
    monkeypatch.setattr(encoder, "eos_id", end)
    stopped = answer_queries(model, encoder, queries, batch_size=7, max_new_tokens=N_NEW).texts
    expected = [tokens[: tokens.index(end)] if end in tokens else tokens for tokens in full]
    assert stopped == [encoder.decode(tokens) for tokens in expected]
    assert len(expected[0]) <= 1


def _greedy_by_hand(model: HybridLM, encoder: PromptEncoder, query: Query) -> list[int]:
    tokens: list[int] = []
    for _ in range(N_NEW):
        tokens.append(int(_logprobs(model, encoder, query, tokens)[-1].argmax()))
    return tokens


@pytest.mark.parametrize("batch_size", [1, 7])
def test_answers_do_not_depend_on_the_batch_size(
    model: HybridLM, encoder: PromptEncoder, queries: list[Query], answers: CandidateAnswers, batch_size: int
) -> None:
    other = answer_queries(model, encoder, queries, batch_size=batch_size, max_new_tokens=N_NEW)
    np.testing.assert_allclose(other.scores, answers.scores, rtol=1e-5, atol=1e-5)
    assert other.constrained.tolist() == answers.constrained.tolist()
    assert other.texts == answers.texts


def test_one_token_answers_need_no_tree(model: HybridLM, encoder: PromptEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """CandidateAnswers that are the end token alone: nothing is read after the prompt."""
    query = Query(render_ranking([0], [1, 2], LABELS, WORDING, "hybrid", 0), ("a", "b"))
    monkeypatch.setattr(encoder, "answer_ids", lambda text: (ord(text),))
    scores = answer_queries(model, encoder, [query], batch_size=1, max_new_tokens=1).scores
    expected = _logprobs(model, encoder, query, ())[-1, [ord("a"), ord("b")]]
    np.testing.assert_allclose(scores[0], expected.numpy(), rtol=1e-5, atol=1e-5)
