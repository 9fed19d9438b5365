"""The vectorised splice of behaviour tokens against a loop over rows and positions."""

from __future__ import annotations

from pathlib import Path

import torch

from llara_core.llm.encoding import PromptEncoder
from llara_core.llm.hybrid import HybridLM
from llara_core.llm.prompts.rendering import render_history, render_ranking
from tests.helpers.llm import LABELS, WORDING, item_vectors, make_encoder, make_model


def _mixed_batch(encoder: PromptEncoder) -> tuple[torch.Tensor, torch.Tensor]:
    """Hybrid, text-only, index and behaviour rows of different lengths, side by side."""
    prompts = [
        render_ranking([0, 1], [2, 3, 4], LABELS, WORDING, "hybrid", 0),
        render_ranking([5], [6, 7], LABELS, WORDING, "text", 1),
        render_history([8, 9], LABELS, WORDING, "index", 0),
        render_history([10, 11, 0], LABELS, WORDING, "behavior", 1),
    ]
    batch = encoder.pad([encoder.prompt_ids(prompt) for prompt in prompts], prompts)
    return batch.input_ids, batch.slot_items


def _splice_by_loop(model: HybridLM, ids: torch.Tensor, slot_items: torch.Tensor) -> torch.Tensor:
    table, items, rows = model.llm.get_input_embeddings().weight, iter(slot_items.tolist()), []
    for row in ids.tolist():
        vectors = []
        for token in row:
            if token == model.slots.behavior:
                vectors.append(model.projector(item_vectors()[next(items)]))
            elif token == model.slots.placeholder:
                next(items)
                vectors.append(model.placeholder)
            else:
                vectors.append(table[token])
        rows.append(torch.stack(vectors))
    assert next(items, None) is None
    return torch.stack(rows)


def test_splice_equals_a_loop_over_rows(tiny_llama: Path) -> None:
    model, (ids, slot_items) = make_model(tiny_llama), _mixed_batch(make_encoder(tiny_llama))
    spliced, looped = model.embed(ids, slot_items), _splice_by_loop(model, ids, slot_items)
    torch.testing.assert_close(spliced, looped, rtol=1e-6, atol=1e-7)

    weights = torch.randn(spliced.shape, generator=torch.Generator().manual_seed(0))
    trained = [model.placeholder, *model.projector.parameters()]
    gradients = torch.autograd.grad((spliced * weights).sum(), trained)
    torch.testing.assert_close(gradients, torch.autograd.grad((looped * weights).sum(), trained), rtol=1e-5, atol=1e-6)
    assert all(gradient.abs().sum() > 0 for gradient in gradients)
