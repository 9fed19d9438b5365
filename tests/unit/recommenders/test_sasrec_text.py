"""SASRec on ids and texts: what nobody has interacted with is recommended by its text, and by nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from llara_core.errors import ConfigError
from llara_core.recommenders import training
from llara_core.recommenders.sasrec import SasRec
from llara_core.recommenders.sasrec_text import SasRecText

torch.set_num_threads(1)
N_GROUPS, PER_GROUP = 5, 6
N_ITEMS = N_GROUPS * PER_GROUP
GROUP = np.arange(N_ITEMS) % N_GROUPS
NEW = np.arange(N_ITEMS - N_GROUPS, N_ITEMS)  # one item of each group
SHAPE = {"n_items": N_ITEMS, "embedding_dim": 16, "max_history_len": 5, "dropout": 0.1, "n_layers": 1, "n_heads": 1}


def sequences(n: int, seed: int) -> list[np.ndarray]:
    """Sequences that move from group to group, with a random item of each; the last item of a group never occurs."""
    rng = np.random.default_rng(seed)
    starts = rng.integers(N_GROUPS, size=n)
    groups = (starts[:, None] + np.arange(12)) % N_GROUPS
    return list(groups + N_GROUPS * rng.integers(PER_GROUP - 1, size=groups.shape))


def validation() -> training.ValidationSet:
    validation = sequences(30, seed=1)
    return training.ValidationSet(
        [items[:5] for items in validation], np.array([items[5] for items in validation]), validation, 5
    )


def text_model(new_share: float = 0.2) -> SasRecText:
    model = SasRecText(**SHAPE, text_dim=8, new_share=new_share)
    vectors = np.random.default_rng(0).normal(size=(N_GROUPS, 8))[GROUP]
    vectors += np.random.default_rng(2).normal(scale=0.1, size=vectors.shape)
    model.item_embedding.replace(torch.arange(N_ITEMS), torch.from_numpy(vectors).float())
    return model


def trained(build):  # type: ignore[no-untyped-def]
    options = training.TrainingOptions(3e-3, 50, "cross_entropy", max_epochs=12, patience=12)
    (result,) = training.search_l2(build, sequences(200, seed=0), validation(), [1e-5], options, 0, "groups")
    return result.model


def auc_of_the_right_new_item(model) -> float:  # type: ignore[no-untyped-def]
    """How often the new item of the group that follows is scored above the other new ones."""
    histories = [items[:5] for items in sequences(100, seed=3)]
    scores = model.score_catalogue(histories)[:, NEW]
    right = (GROUP[[history[-1] for history in histories]] + 1) % N_GROUPS
    others = scores < scores[np.arange(len(right)), right][:, None]
    return float(others.sum(axis=1).mean() / (N_GROUPS - 1))


def test_a_new_item_is_recommended_by_its_text() -> None:
    assert auc_of_the_right_new_item(trained(text_model)) > 0.95
    assert auc_of_the_right_new_item(trained(lambda: SasRec(**SHAPE))) < 0.8  # random vectors, of which one is the luckiest


def test_new_items_are_picked_about_as_often_as_known_ones() -> None:
    """One in six of the items that may follow is new, and so is about one in six of the best six."""
    scores = trained(text_model).score_catalogue([items[:5] for items in sequences(100, seed=3)])
    best = np.argsort(-scores, axis=1)[:, :PER_GROUP]
    assert 0.1 < np.isin(best, NEW).mean() < 0.25


def test_a_new_item_has_no_id_and_takes_no_part_in_training() -> None:
    model = text_model().eval()
    is_new = torch.from_numpy(np.isin(np.arange(N_ITEMS), NEW))
    model.mark_new(is_new)
    before = model.item_embeddings()
    with torch.no_grad():
        model.item_embedding.ids.weight[:N_ITEMS] += 1
        model.output_bias += 1
    after = model.item_embeddings()
    np.testing.assert_array_equal(after[NEW], before[NEW])
    assert (np.abs(after - before).max(axis=1) > 0.9)[: NEW[0]].all()
    torch.manual_seed(0)
    model.train()
    model.start_batch(torch.tensor([[0]]), torch.tensor([[1]]))
    states = model.encode(torch.tensor([[0, 1]]))[0]
    probabilities = model.logits(states).softmax(dim=-1)
    assert (probabilities[:, NEW] == 0).all()
    assert not model.item_embedding.has_id[: NEW[0]].all()  # some pretend
    model.end_epoch()
    assert model.item_embedding.has_id[: NEW[0]].all()


def test_an_item_that_is_added_is_scored_as_if_it_had_been_there_all_along() -> None:
    whole = text_model().eval()
    is_new = torch.from_numpy(np.isin(np.arange(N_ITEMS), NEW))
    whole.mark_new(is_new)
    known = SasRecText(**{**SHAPE, "n_items": int(NEW[0])}, text_dim=8, new_share=0.2).eval()
    state = whole.state_dict()
    for name in ("output_bias", "is_new"):
        state[name] = state[name][: NEW[0]]
    for name in ("text_vectors", "ids.weight", "has_id"):
        table = state[f"item_embedding.{name}"]
        state[f"item_embedding.{name}"] = torch.cat([table[: NEW[0]], table[-1:]])
    known.load_state_dict(state)
    known.requires_grad_(False)
    known.add_items(whole.item_embedding.text_vectors[NEW])
    assert (known.n_items, known.padding_idx) == (N_ITEMS, N_ITEMS)
    histories = [[3], [0, NEW[1], 7], [2, 4, 6, 8, NEW[0]]]  # padded to one length
    np.testing.assert_allclose(known.score_catalogue(histories), whole.score_catalogue(histories), rtol=0, atol=1e-5)
    assert not known.item_embedding.ids.weight.requires_grad


def test_a_recommender_on_ids_says_who_can_take_new_items() -> None:
    with pytest.raises(ConfigError, match=r"SasRec cannot take new items.*; morec and sasrec_text read an item's text"):
        SasRec(**SHAPE).add_items(torch.zeros(1, 8))
