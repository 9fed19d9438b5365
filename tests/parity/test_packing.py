"""Rows end to end, each of which attends on its own, against a padded batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from llara_core.llm.adapters import trained_tensors
from llara_core.llm.hybrid import HybridLM
from llara_core.llm.packing import BY_ROW
from llara_core.tuning.rows import PlanDataset, collate
from tests.helpers.llm import loss_of, make_encoder, make_model, plan_of, system_config, training_data


def _loss_and_gradients(model: HybridLM, batch: dict[str, Any]) -> tuple[torch.Tensor, tuple[torch.Tensor | None, ...]]:
    loss = loss_of(model, batch, preference_loss="softmax")
    return loss.detach(), torch.autograd.grad(loss, list(trained_tensors(model).values()), allow_unused=True)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("objective", ["generative", "next_item", "preference"])
def test_loss_and_gradients_are_those_of_padded_rows(tiny_llama: Path, objective: str, checkpointing: bool) -> None:
    encoder, model = make_encoder(tiny_llama), make_model(tiny_llama, with_head=objective == "next_item").train()
    if checkpointing:
        model.causal_lm.activation_checkpointing_enable({"use_reentrant": False})
    places = ((0, 3), (1, 4), (3, 6))
    plan = plan_of(*({"source": source, "hybrid": True, "stop": stop, "objective": objective} for source, stop in places))
    rows = PlanDataset(plan, training_data(), encoder, system_config().prompt)
    batch: dict[str, Any] = collate([rows[number] for number in range(len(plan))], encoder)
    is_token = batch["attention_mask"].bool()
    assert not is_token.all()
    read: list[int] = []
    model.causal_lm.model.layers[0].mlp.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].shape[:2].numel()))

    assert model.causal_lm.config._attn_implementation == BY_ROW
    loss, gradients = _loss_and_gradients(model, batch)
    model.causal_lm.set_attn_implementation("eager")
    padded_loss, padded_gradients = _loss_and_gradients(model, batch)

    assert set(read) == {int(is_token.sum()), is_token.numel()}
    torch.testing.assert_close(loss, padded_loss, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradients, padded_gradients, rtol=1e-4, atol=1e-5)
    assert any(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients)
