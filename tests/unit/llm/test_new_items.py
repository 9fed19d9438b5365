"""Items without interactions in compact systems: predicted from their text, practised, and answered beside all others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from llara_core.llm import adapters
from llara_core.llm.hybrid import HybridLM, log_popularity
from llara_core.llm.new_items import BIAS_GAIN, NewItems, fit_text_regression
from tests.helpers.llm import D_REC, N_ITEMS, adapter_metadata, item_vectors, make_base, make_encoder, make_model

D_TEXT, NEW = 4, [2, 5]
COUNTS = np.where(np.isin(np.arange(N_ITEMS), NEW), 0, 1 + np.arange(N_ITEMS))


def texts() -> torch.Tensor:
    return torch.randn(N_ITEMS, D_TEXT, generator=torch.Generator().manual_seed(5))


def new_items(d_llm: int) -> NewItems:
    targets = torch.cat([item_vectors(), log_popularity(torch.from_numpy(COUNTS))[:, None]], dim=1)
    new_items = NewItems(N_ITEMS, D_REC, d_llm, D_TEXT)
    new_items.start_from(fit_text_regression(texts().numpy(), targets.numpy(), COUNTS), COUNTS)
    return new_items


@pytest.fixture
def model(tiny_llama: Path) -> HybridLM:
    d_llm = make_base(tiny_llama).config.hidden_size
    changes = {"objective": "next_item", "new_share": 0.5}
    return make_model(tiny_llama, "compact", with_head=True, texts=texts(), new_items=new_items(d_llm), tune=changes)


def test_an_items_own_vector_takes_no_part_in_its_prediction() -> None:
    """The closed form equals a regression that is fitted again without the item."""
    rng = np.random.default_rng(0)
    x, y, counts = rng.normal(size=(30, 3)), rng.normal(size=(30, 2)), rng.integers(1, 50, size=30)
    y += x @ rng.normal(size=(3, 2))
    counts[:4] = 0
    regression = fit_text_regression(x, y, counts)
    known, weights = counts > 0, np.sqrt(counts)
    whole = [Ridge(alpha).fit(x[known], y[known], sample_weight=weights[known]) for alpha in np.logspace(-1, 5, 13)]
    (fitted,) = (each for each in whole if np.allclose(each.coef_, regression.coefficients))
    np.testing.assert_allclose(regression.predictions[:4], fitted.predict(x[:4]))
    for item in (4, 17, 29):
        others = known & (np.arange(30) != item)
        again = Ridge(fitted.alpha).fit(x[others], y[others], sample_weight=weights[others])
        np.testing.assert_allclose(regression.predictions[item], again.predict(x[[item]])[0])


def test_a_new_item_is_read_by_its_text(model: HybridLM) -> None:
    ids = torch.tensor([[9, model.slots.behavior, model.slots.behavior]])
    with torch.no_grad():
        model.new_items.token.normal_()
        before = model.embed(ids, torch.tensor([NEW[0], 3]))[0, 1:]
        model.item_vectors[NEW[0], 0] += 1.0  # of a vector that nothing has trained
        assert torch.equal(model.embed(ids, torch.tensor([NEW[0], 3]))[0, 1:], before)
        model.new_items.vectors[NEW[0], 0] += 1.0
        after = model.embed(ids, torch.tensor([NEW[0], 3]))[0, 1:]
    assert not torch.allclose(after[0], before[0])
    assert torch.equal(after[1], before[1])


def test_a_new_item_is_answered_by_its_text(model: HybridLM) -> None:
    hidden = torch.randn(3, model.placeholder.shape[0])
    with torch.no_grad():
        model.new_items.head_bias.fill_(0.1)
        query = model.head.linear(model.head.norm(hidden)) / D_REC**0.5
        expected = query @ model.new_items.vectors[NEW].T + model.new_items.biases[NEW] + BIAS_GAIN * 0.1
        torch.testing.assert_close(model.item_logits(hidden)[:, NEW], expected)
        model.head.items.data[NEW] += 1.0
        model.head.bias.data[NEW] += 1.0
        torch.testing.assert_close(model.item_logits(hidden)[:, NEW], expected)


def test_an_item_that_is_added_is_one_that_was_new_from_the_start(tiny_llama: Path, model: HybridLM) -> None:
    """The new items, taken out of a model and added again behind the others."""
    order = [item for item in range(N_ITEMS) if item not in NEW] + NEW
    history = torch.tensor([0, NEW[0], 3])
    ids, seen = torch.tensor([[9] + 3 * [model.slots.behavior]]), torch.ones(1, 4)
    with torch.no_grad():
        for name in ("token", "head_vector", "head_bias"):
            getattr(model.new_items, name).normal_()
        before = model.hidden_states(ids, seen, history)
        logits = model.item_logits(before)[..., order]
        vectors = model.new_items.vectors[NEW]
        kept = torch.tensor(order[: -len(NEW)])
        for name in ("is_new", "vectors", "biases"):
            setattr(model.new_items, name, getattr(model.new_items, name)[kept])
        model.item_vectors, model.item_texts = model.item_vectors[kept], model.item_texts[kept]
        model.head.items.data, model.head.bias.data = model.head.items[kept], model.head.bias[kept]
        model.add_items(vectors, texts()[NEW])
        after = model.hidden_states(ids, seen, torch.tensor([order.index(item) for item in history.tolist()]))
        torch.testing.assert_close(after, before)
        torch.testing.assert_close(model.item_logits(after), logits)


def test_in_training_new_items_are_no_negatives_and_others_pretend_to_be_new(model: HybridLM) -> None:
    model.train()
    torch.manual_seed(0)
    model.new_items.pretend(0.5)
    as_new = model.new_items.read_as_new
    assert as_new[NEW].all()
    assert 0 < as_new.sum() - len(NEW) < N_ITEMS - len(NEW)
    assert (model.item_logits(torch.randn(3, model.placeholder.shape[0])).softmax(dim=-1)[:, NEW] == 0).all()
    pretending = int(next(item for item in range(N_ITEMS) if as_new[item] and item not in NEW))
    model.item_loss(torch.randn(1, model.placeholder.shape[0]), torch.tensor([pretending])).backward()
    assert model.head.items.grad[pretending].abs().sum() == 0
    assert model.new_items.head_vector.grad.abs().sum() > 0
    model.eval()
    assert model.new_items.read_as_new.nonzero().flatten().tolist() == NEW


def test_an_adapter_brings_what_it_knows_of_new_items(tiny_llama: Path, model: HybridLM, tmp_path: Path) -> None:
    encoder = make_encoder(tiny_llama)
    with torch.no_grad():
        for name in ("token", "head_vector", "head_bias"):
            getattr(model.new_items, name).normal_()
    adapters.save_adapter(tmp_path / "run", model, adapter_metadata(model, "compact"))
    adapters.assert_round_trip(tmp_path / "run", model)
    loaded = adapters.load_adapter(
        tmp_path / "run", make_base(tiny_llama), encoder, item_vectors(), llm="llm-hash", item_embeddings="vectors-hash"
    )
    ids, items = torch.tensor([[9, model.slots.behavior]]), torch.tensor([NEW[1]])
    states = [each.hidden_states(ids, torch.ones(1, 2), items) for each in (model, loaded)]
    assert torch.equal(*states)
    assert torch.equal(model.item_logits(states[0]), loaded.item_logits(states[1]))
