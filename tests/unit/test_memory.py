"""The softmax over a large catalogue, chunk by chunk, is the softmax."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from llara_core.runtime import memory
from llara_core.runtime.memory import chunked_cross_entropy, fits_in_memory

N_STATES, N_ITEMS, DIM = 5, 23, 3


def _inputs() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((N_STATES, DIM), (N_ITEMS, DIM), (N_ITEMS,))
    return [torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in shapes]


@pytest.mark.parametrize("at_a_time", [1, 5, 35, 1000], ids=["less than an item", "an item", "seven items", "all"])
def test_chunks_have_the_loss_and_the_gradients_of_the_whole(monkeypatch: pytest.MonkeyPatch, at_a_time: int) -> None:
    monkeypatch.setattr(memory, "SCORES_AT_A_TIME", at_a_time)
    targets = torch.tensor([0, 6, 7, 22, 6])
    states, items, bias = _inputs()
    whole = F.cross_entropy(F.linear(states, items, bias), targets, reduction="sum")
    expected = torch.autograd.grad(whole, [states, items, bias])
    loss = chunked_cross_entropy(states, items, bias, targets)
    torch.testing.assert_close(loss, whole)
    torch.testing.assert_close(torch.autograd.grad(loss, [states, items, bias]), expected)


def test_no_more_logits_than_allowed_are_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """35 logits for 5 states are 7 items: 23 items make chunks of 7, 7, 7 and 2, each scored forwards and again backwards."""
    monkeypatch.setattr(memory, "SCORES_AT_A_TIME", 35)
    sizes: list[int] = []
    log_sum = memory._log_sum

    def counted(states: torch.Tensor, items: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        sizes.append(len(items))
        return log_sum(states, items, bias)

    monkeypatch.setattr(memory, "_log_sum", counted)
    chunked_cross_entropy(*_inputs(), torch.zeros(N_STATES, dtype=torch.int64)).backward()
    assert sorted(sizes) == [2, 2, 7, 7, 7, 7, 7, 7]


def test_the_usual_catalogues_take_the_plain_path() -> None:
    """256 targets a step: 67 million logits are those of 262,144 items."""
    assert fits_in_memory(256, 262_144)
    assert not fits_in_memory(256, 262_145)
