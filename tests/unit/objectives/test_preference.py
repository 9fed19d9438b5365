"""Preference tuning: its trees, its loss and where that pushes, and the log-likelihoods that it compares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from llara_core.answers.prompts import Query
from llara_core.inference.candidate_answers import answer_queries
from llara_core.llm.encoding import PromptEncoder
from llara_core.llm.hybrid import HybridLM
from llara_core.llm.prompts.rendering import answer_text
from llara_core.objectives.preference import Preference
from llara_core.tuning.plan import make_plan
from llara_core.tuning.rows import PlanDataset, collate, reference_log_likelihoods
from tests.helpers.llm import LABELS, loss_of, make_encoder, make_model, system_config, training_data

N_NEGATIVES = 3  # all that a set of the tiny catalogue has


def _tune(**changes: Any) -> dict[str, Any]:
    return {"objective": "preference", "epochs": 1, "max_examples": 16, **changes}


def _rows(encoder: PromptEncoder, **changes: Any) -> tuple[pd.DataFrame, PlanDataset]:
    config = system_config(start="llara", tune=_tune(**changes))
    data = training_data()
    plan = make_plan(data.sizes, config.tune, config.curriculum, sample_templates=True, seed=0)
    return plan, PlanDataset(plan, data, encoder, config.prompt)


@pytest.fixture(scope="module")
def encoder(tiny_llama: Path) -> PromptEncoder:
    return make_encoder(tiny_llama)


@pytest.fixture(scope="module")
def model(tiny_llama: Path) -> HybridLM:
    return make_model(tiny_llama)


def _log_likelihoods(model: HybridLM, batch: dict[str, Any]) -> torch.Tensor:
    hidden = model.hidden_states(
        batch["input_ids"], batch["attention_mask"], batch["slot_items"], batch["slot_scores"], batch["branches"]
    )
    return Preference().log_likelihoods(model, hidden, batch)


def _queries(plan: pd.DataFrame, rows: PlanDataset) -> list[Query]:
    """The same prompts, as held-out questions: the target first, then the negatives in their order."""
    data, queries = training_data(), []
    for number, row in enumerate(plan.itertuples(index=False)):
        target = data.targets[row.source]
        items = [target, *(item for item in data.candidates[row.source, row.draw] if item != target)]
        queries.append(Query(rows[number].prompt, tuple(answer_text(item, LABELS, "hybrid") for item in items)))
    return queries


def test_log_likelihoods_equal_the_scores_of_answering(model: HybridLM, encoder: PromptEncoder) -> None:
    plan, rows = _rows(encoder)
    with torch.no_grad():
        values = torch.cat([_log_likelihoods(model, collate([rows[row] for row in part], encoder)) for part in _parts(plan, 4)])
    scores = answer_queries(model, encoder, _queries(plan, rows), batch_size=3, max_new_tokens=1).scores
    torch.testing.assert_close(values, torch.from_numpy(scores), rtol=1e-5, atol=1e-4)
    assert values.shape == (16, 1 + N_NEGATIVES)


def test_log_likelihoods_equal_one_forward_pass_per_answer(model: HybridLM, encoder: PromptEncoder) -> None:
    plan, rows = _rows(encoder)
    with torch.no_grad():
        values = _log_likelihoods(model, collate([rows[row] for row in range(len(plan))], encoder))
        for row, query in enumerate(_queries(plan, rows)):
            prompt = encoder.prompt_ids(query.prompt)
            for column, answer in enumerate(query.answers):
                tokens = encoder.answer_ids(answer)
                ids = torch.tensor([[*prompt, *tokens]])
                inputs = model.embed(ids, torch.tensor(query.prompt.slot_items, dtype=torch.long))
                logits = model.causal_lm(inputs_embeds=inputs).logits[0, len(prompt) - 1 : -1]
                expected = torch.log_softmax(logits, dim=-1).gather(1, torch.tensor(tokens)[:, None]).sum()
                assert values[row, column].item() == pytest.approx(expected.item(), rel=1e-5, abs=1e-4)


def _parts(plan: pd.DataFrame, size: int) -> list[range]:
    return [range(start, start + size) for start in range(0, len(plan), size)]


def _expected(values: Sequence[float], reference: Sequence[float], beta: float) -> float:
    """The formula of the paper, with the target first."""
    target, *others = (value - known for value, known in zip(values, reference, strict=True))
    inner = math.log(sum(math.exp(beta * (other - target)) for other in others))
    return -math.log(1 / (1 + math.exp(inner)))


@pytest.mark.parametrize("beta", [0.1, 1.0])
@pytest.mark.parametrize("negatives", [1, N_NEGATIVES])
@pytest.mark.parametrize("loss", ["sdpo", "softmax"])
def test_the_loss_is_that_of_the_paper(model: HybridLM, encoder: PromptEncoder, loss: str, negatives: int, beta: float) -> None:
    tune = _tune(preference_loss=loss, preference_negatives=negatives, preference_beta=beta)
    plan, _ = _rows(encoder, **tune)
    generator = torch.Generator().manual_seed(0)
    reference = (torch.randn(len(plan), 1 + negatives, generator=generator) * 3 - 30).tolist()
    data, config = training_data(), system_config(start="llara", tune=tune)
    rows = PlanDataset(plan.assign(reference=pd.Series(reference)), data, encoder, config.prompt)
    batch = collate([rows[row] for row in range(4)], encoder)
    with torch.no_grad():
        values = _log_likelihoods(model, batch).tolist()
        got = loss_of(model, batch, start="llara", **tune).item()
    known = reference[:4] if loss == "sdpo" else [[0.0] * (1 + negatives)] * 4
    expected = [_expected(value, start, beta) for value, start in zip(values, known, strict=True)]
    assert got == pytest.approx(sum(expected) / 4, rel=1e-4)


def test_the_start_itself_is_at_the_loss_of_a_guess(model: HybridLM, encoder: PromptEncoder) -> None:
    """Before the first step, nothing has moved away from the reference: -log(1 / (1 + 3))."""
    plan, rows = _rows(encoder)
    known = reference_log_likelihoods(model, rows, encoder, micro_batch_size=2)
    config = system_config(start="llara", tune=_tune())
    compared = PlanDataset(plan.assign(reference=pd.Series(known)), training_data(), encoder, config.prompt)
    batch = collate([compared[row] for row in range(2)], encoder)
    assert loss_of(model, batch, start="llara", **_tune()).item() == pytest.approx(math.log(4), rel=1e-6)


@pytest.mark.parametrize("loss", ["sdpo", "softmax"])
def test_a_step_raises_the_target_and_lowers_the_others(tiny_llama: Path, encoder: PromptEncoder, loss: str) -> None:
    model = make_model(tiny_llama)
    plan, rows = _rows(encoder)
    known = reference_log_likelihoods(model, rows, encoder, micro_batch_size=4)
    compared = PlanDataset(plan.assign(reference=pd.Series(known)), training_data(), encoder, system_config().prompt)
    batch = collate([compared[row] for row in range(4)], encoder)
    before = _log_likelihoods(model, batch).detach()
    loss_of(model, batch, start="llara", **_tune(preference_loss=loss)).backward()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter -= 1e-4 * parameter.grad
        margins = [values[:, :1] - values[:, 1:] for values in (before, _log_likelihoods(model, batch))]
    weights = torch.softmax(before[:, 1:], dim=1) if loss == "softmax" else torch.full_like(margins[0], 1 / N_NEGATIVES)
    assert ((margins[1] - margins[0]) * weights).sum() > 0


def test_a_step_weighs_prompts_alike(model: HybridLM, encoder: PromptEncoder) -> None:
    """The mean of a batch is that of its prompts, however long their titles are, and whatever pads them."""
    _, rows = _rows(encoder)
    tune = _tune(preference_loss="softmax")
    with torch.no_grad():
        alone = [loss_of(model, collate([rows[row]], encoder), start="llara", **tune).item() for row in range(6)]
        together = loss_of(model, collate([rows[row] for row in range(6)], encoder), start="llara", **tune).item()
    assert together == pytest.approx(sum(alone) / 6, rel=1e-5)
    assert len({len(rows[row].input_ids) for row in range(6)}) > 1


def test_gradients_reach_all_that_the_start_trained(model: HybridLM, encoder: PromptEncoder) -> None:
    model.zero_grad()
    plan, rows = _rows(encoder)
    loss_of(
        model, collate([rows[row] for row in range(16)], encoder), start="llara", **_tune(preference_loss="softmax")
    ).backward()
    assert plan["hybrid"].nunique() == 2  # so that some prompts have the placeholder
    without = {name for name, tensor in model.named_parameters() if tensor.grad is None or not tensor.grad.any()}
    assert without == {name for name, tensor in model.named_parameters() if not tensor.requires_grad}


def test_a_row_compares_with_as_many_negatives_as_it_is_told(encoder: PromptEncoder) -> None:
    data = training_data()
    for negatives, expected in ((1, 1), (2, 2), (19, N_NEGATIVES)):
        plan, rows = _rows(encoder, preference_negatives=negatives)
        tree = rows[0].tree
        assert tree is not None
        assert max(tree.branches) == 1 + expected
        source, draw = plan.loc[0, ["source", "draw"]]
        target = data.targets[source]
        others = [item for item in data.candidates[source, draw] if item != target][:expected]
        wanted = [encoder.answer_ids(answer_text(item, LABELS, "hybrid")) for item in (target, *others)]
        read = [
            tuple(token for token, branch in zip(tree.following, tree.branches, strict=True) if branch == number)
            for number in range(1, 2 + expected)
        ]
        assert read == wanted
