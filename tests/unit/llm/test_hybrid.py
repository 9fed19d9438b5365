"""The model around the language model: projector, losses, padding."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from llara_core.errors import ModelError
from llara_core.llm.encoding import PromptEncoder
from llara_core.llm.hybrid import HybridLM, NextItemHead, positions
from llara_core.llm.projector import Projector
from llara_core.llm.prompts.rendering import NO_SCORES, Prompt
from llara_core.objectives.base import EncodedRow
from llara_core.tuning.rows import collate
from tests.helpers.llm import D_REC, N_ITEMS, item_vectors, loss_of, make_encoder, make_model

PER_TOKEN = ("generative", "next_item")  # objectives whose loss is a mean over predicted tokens or items


@pytest.fixture(scope="module")
def encoder(tiny_llama: Path) -> PromptEncoder:
    return make_encoder(tiny_llama)


@pytest.fixture(scope="module")
def model(tiny_llama: Path) -> HybridLM:
    return make_model(tiny_llama, with_head=True)


def _rows(encoder: PromptEncoder, objective: str) -> list[EncodedRow]:
    slot, placeholder = encoder.slots
    if objective == "next_item":
        return [
            EncodedRow(objective, [9, slot, 8, 7, slot], _prompt(3, 4), [-100, 4, -100, -100, 5]),
            EncodedRow(objective, [6, placeholder], _prompt(0), [-100, 11]),
        ]
    return [
        EncodedRow(objective, [9, slot, 8, 7, 1], _prompt(3), [-100, -100, 7, 1, -100]),
        EncodedRow(objective, [6, placeholder, 5], _prompt(2), [-100, 5, -100]),
    ]


def _prompt(*items: int) -> Prompt:
    return Prompt("", items, (NO_SCORES,) * len(items), ())


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
def test_behavior_tokens_start_with_the_size_of_word_tokens(scale: float) -> None:
    vectors = item_vectors() * scale
    projector = Projector(vectors, 32, token_rms=0.07)
    assert projector(vectors).pow(2).mean().sqrt().item() == pytest.approx(0.07, rel=1e-5)


def test_the_scale_of_a_large_catalogue_is_that_of_some_items(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most four of ten: each third."""
    monkeypatch.setattr("llara_core.llm.projector.SCALE_ITEMS", 4)
    vectors = torch.randn(10, D_REC, generator=torch.Generator().manual_seed(0))
    projector = Projector(vectors, 32, token_rms=0.07)
    assert projector(vectors[[0, 3, 6, 9]]).pow(2).mean().sqrt().item() == pytest.approx(0.07, rel=1e-5)
    assert projector(vectors).pow(2).mean().sqrt().item() == pytest.approx(0.07, rel=0.3)


def test_placeholder_starts_with_the_size_of_word_tokens(model: HybridLM) -> None:
    tokens = model.llm.get_input_embeddings().weight
    ratio = model.placeholder.pow(2).mean().sqrt() / tokens.pow(2).mean().sqrt()
    assert 0.6 < ratio < 1.4  # 32 draws of unit variance


def test_positions_start_at_each_prompt() -> None:
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])
    assert positions(mask).tolist() == [[0, 0, 0, 1], [0, 1, 2, 3]]


@pytest.mark.parametrize("objective", PER_TOKEN)
def test_loss_is_the_mean_over_predicting_positions(model: HybridLM, encoder: PromptEncoder, objective: str) -> None:
    rows = _rows(encoder, objective)
    summed, count = 0.0, 0
    for row in rows:  # one by one, without padding, from full logits
        hidden = model.hidden_states(
            torch.tensor([row.input_ids]), torch.ones(1, len(row.input_ids)), torch.tensor(row.prompt.slot_items)
        )
        logits = model.head(hidden[0]) if objective == "next_item" else model.causal_lm.lm_head(hidden[0])
        for position, target in enumerate(row.labels):
            if target != -100:
                summed -= F.log_softmax(logits[position], dim=-1)[target].item()
                count += 1
    assert count == 3
    loss = loss_of(model, collate(rows, encoder)).item()
    assert loss == pytest.approx(summed / count, rel=1e-5)


@pytest.mark.parametrize("objective", PER_TOKEN)
def test_loss_does_not_depend_on_padding(model: HybridLM, encoder: PromptEncoder, objective: str) -> None:
    inputs = collate(_rows(encoder, objective), encoder)
    padded = inputs | {
        "input_ids": F.pad(inputs["input_ids"], (5, 0), value=3),
        "attention_mask": F.pad(inputs["attention_mask"], (5, 0)),
        "labels": F.pad(inputs["labels"], (5, 0), value=-100),
    }
    torch.testing.assert_close(loss_of(model, padded), loss_of(model, inputs), rtol=1e-5, atol=1e-6)


def test_gradients_reach_all_that_is_trained_and_nothing_else(model: HybridLM, encoder: PromptEncoder) -> None:
    model.zero_grad()
    for objective in PER_TOKEN:
        loss_of(model, collate(_rows(encoder, objective), encoder)).backward()
    without = {name for name, tensor in model.named_parameters() if tensor.grad is None or not tensor.grad.any()}
    assert without == {name for name, tensor in model.named_parameters() if not tensor.requires_grad}
    assert all(name.startswith("llm.") for name in without)


def test_gradients_of_text_only_batches_leave_the_projector_alone(model: HybridLM, encoder: PromptEncoder) -> None:
    model.zero_grad()
    loss_of(model, collate(_rows(encoder, "generative")[1:], encoder)).backward()
    assert model.placeholder.grad is not None
    assert model.placeholder.grad.any()
    assert not any(tensor.grad is not None and tensor.grad.any() for tensor in model.projector.parameters())


@pytest.mark.parametrize("scale", [0.05, 1.0])
def test_head_starts_from_the_recommenders_table_at_unit_scale(scale: float) -> None:
    vectors = item_vectors()
    head = NextItemHead(vectors * scale, 32)
    hidden = torch.randn(2, 5, 32)
    query = head.linear(head.norm(hidden))
    assert head(hidden).shape == (2, 5, N_ITEMS)
    assert head.items.pow(2).mean().item() == pytest.approx(1)
    torch.testing.assert_close(head(hidden), query @ (vectors / vectors.pow(2).mean().sqrt()).T / D_REC**0.5)
    assert head(hidden.bfloat16()).dtype == torch.float32


def test_prior_of_the_head_is_the_smoothed_log_frequency() -> None:
    head = NextItemHead(item_vectors(), 32)
    head.set_prior(torch.tensor([3, 0, *[1] * (N_ITEMS - 2)]))
    total = 3 + 0 + (N_ITEMS - 2) + N_ITEMS
    assert head.bias.exp()[:3].tolist() == pytest.approx([4 / total, 1 / total, 2 / total])


def test_a_prompt_with_more_tokens_than_positions_is_refused(model: HybridLM) -> None:
    n_positions = model.causal_lm.config.max_position_embeddings
    none = torch.empty(0, dtype=torch.long)
    assert model.embed(torch.full((1, n_positions), 5), none).shape[1] == n_positions
    with pytest.raises(
        ModelError, match=rf"a prompt has {n_positions + 1:,} tokens, but the language model reads {n_positions:,} at most"
    ):
        model.embed(torch.full((2, n_positions + 1), 5), none)


def test_a_tree_may_have_more_tokens_than_positions(model: HybridLM) -> None:
    """Branches are parallel, so the prompt and the longest branch determine the length."""
    n_positions = model.causal_lm.config.max_position_embeddings
    none, shared = torch.empty(0, dtype=torch.long), n_positions - 2
    branches = torch.tensor([[0] * shared + [1, 1, 2, 2]])
    ids = torch.full_like(branches, 5)
    with torch.no_grad():
        hidden = model.hidden_states(ids, torch.ones_like(ids), none, branches=branches)
    torch.testing.assert_close(hidden[:, -2:], hidden[:, -4:-2])  # equal branches of equal tokens
    with pytest.raises(ModelError, match=rf"a prompt has {n_positions + 1:,} tokens"):
        model.hidden_states(ids, torch.ones_like(ids), none, branches=torch.tensor([[0] * shared + [1, 1, 1, 2]]))
