"""Training: windows, validation positions, learning on a planted chain, and equal bytes for equal seeds."""

import re
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from llara_core import columns as c
from llara_core.errors import DataError, ModelError
from llara_core.recommenders import models, training
from llara_core.recommenders.base import SequenceRecommender
from llara_core.runtime import memory

N_ITEMS, MAX_HISTORY = 30, 6
OWN: dict[str, dict[str, Any]] = {
    "gru4rec": {"hidden_dim": 16, "n_layers": 1},
    "caser": {"window": 6, "n_horizontal_filters": 4, "n_vertical_filters": 2},
    "sasrec": {"n_layers": 1, "n_heads": 1},
}
OPTIONS = training.TrainingOptions(learning_rate=0.01, batch_size=64, loss="cross_entropy", max_epochs=8, patience=8)


def build(name: str) -> SequenceRecommender:
    arguments = {"n_items": N_ITEMS, "embedding_dim": 16, "max_history_len": MAX_HISTORY, "dropout": 0.1}
    return models.build(name, arguments | OWN[name])


def planted_chain(n_users: int, length: int) -> pd.DataFrame:
    """Users follow a ring of items: four times in five the next item is the one three further on."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(n_users):
        item = int(rng.integers(N_ITEMS))
        split = c.TRAIN if user < 0.9 * n_users else c.VALIDATION
        for position in range(length):
            rows.append((user, item, position, position, split))
            item = (item + 3) % N_ITEMS if rng.random() < 0.8 else int(rng.integers(N_ITEMS))
    return pd.DataFrame(rows, columns=[c.USER, c.ITEM, c.TIMESTAMP, c.POSITION, c.SPLIT])


def search(name: str, l2_grid: list[float], seed: int = 0, options: training.TrainingOptions = OPTIONS) -> Any:
    interactions = planted_chain(n_users=120, length=20)
    validation = training.validation_set(interactions, MAX_HISTORY, 5, 1000)
    sequences = training.training_sequences(interactions)
    return training.search_l2(lambda: build(name), sequences, validation, l2_grid, options, seed, "chain", name)


@pytest.mark.parametrize("name", sorted(OWN))
@pytest.mark.parametrize("loss", ["cross_entropy", "bce"])
def test_a_planted_chain_is_learnt(name: str, loss: str) -> None:
    (result,) = search(name, [0.0], options=training.TrainingOptions(0.01, 64, loss, 8, 8))
    # The chain decides 80 % of the steps, chance is 1 of 5; popularity knows nothing here.
    assert result.validation_score > 0.6
    assert result.curves["train/loss"][8] < result.curves["train/loss"][1]


@pytest.mark.parametrize("name", sorted(OWN))
def test_equal_seeds_give_equal_bytes_and_others_do_not(name: str) -> None:
    options = training.TrainingOptions(0.01, 64, "cross_entropy", 2, 2)
    (first,), (again,), (other,) = (search(name, [1e-6], seed, options) for seed in (0, 0, 1))
    tables = [result.model.item_embeddings().tobytes() for result in (first, again, other)]
    assert tables[0] == tables[1] != tables[2]
    assert first.curves == again.curves


def test_each_coefficient_starts_from_the_same_streams_and_the_best_epoch_is_kept() -> None:
    weak, again, strong = search("gru4rec", [0.0, 0.0, 10.0])
    assert weak.curves == again.curves
    assert strong.validation_score < weak.validation_score
    interactions = planted_chain(n_users=120, length=20)
    validation = training.validation_set(interactions, MAX_HISTORY, 5, 1000)
    assert training.validation_score(weak.model, validation) == weak.validation_score
    scores = weak.curves["validation/hit_ratio@1"]
    assert weak.validation_score == max(scores.values()) == scores[weak.best_epoch]


def test_training_stops_after_patience() -> None:
    options = training.TrainingOptions(1e-12, 64, "cross_entropy", max_epochs=9, patience=2)
    (result,) = search("sasrec", [0.0], options=options)
    assert max(result.curves["train/loss"]) == result.best_epoch + 2 < 9


@pytest.mark.parametrize("name", sorted(OWN))
def test_a_loss_that_is_not_finite_ends_the_search(name: str) -> None:
    """Its model would score NaN throughout and rank every target first: validation 1.0."""
    options = training.TrainingOptions(1e30, 64, "cross_entropy", max_epochs=3, patience=3)
    with pytest.raises(ModelError) as caught:
        search(name, [1e-4], options=options)
    message = str(caught.value)
    assert re.match(
        r"(Gru4Rec|Caser|SasRec) with l2 0\.0001, epoch [123]: the (training loss is|validation scores are) ", message
    )
    assert message.endswith("; lower recommenders.learning_rate (now 1e+30)")


def test_validation_scores_that_are_not_finite_end_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last step of an epoch can break a model whose losses were all finite."""
    model = build("gru4rec")
    monkeypatch.setattr(model, "end_epoch", lambda: model.output_bias.data.fill_(torch.nan))
    interactions = planted_chain(n_users=120, length=20)
    validation = training.validation_set(interactions, MAX_HISTORY, 5, 1000)
    with pytest.raises(ModelError, match=r"^Gru4Rec with l2 0, epoch 1: the validation scores are not finite; lower"):
        training.fit(model, training.training_sequences(interactions), validation, 0.0, OPTIONS, np.random.default_rng(0))


def test_embeddings_that_are_not_finite_are_not_exported() -> None:
    model = build("sasrec")
    model.item_embedding.weight.data[[3, 5], 0] = torch.inf  # type: ignore[index]
    with pytest.raises(ModelError, match=rf"SasRec: the embeddings of 2 of {N_ITEMS} items are not finite; train it again"):
        model.item_embeddings()


def test_windows_hold_every_transition_once() -> None:
    sequences = [np.arange(10, 33), np.arange(50, 52), np.arange(60, 67)]
    for seed in range(20):
        inputs, targets = training.cut_windows(sequences, 5, 99, np.random.default_rng(seed))
        assert inputs.shape == targets.shape
        assert inputs.shape[1] <= 5
        real = targets != 99
        assert torch.equal(inputs != 99, real)
        pairs = sorted(zip(inputs[real].tolist(), targets[real].tolist(), strict=True))
        assert pairs == sorted(pair for items in sequences for pair in pairwise(items.tolist()))


def test_window_offsets_vary() -> None:
    firsts = {training.cut_windows([np.arange(30)], 5, 99, np.random.default_rng(seed))[0][1, 0].item() for seed in range(50)}
    assert firsts == {1, 2, 3, 4, 5}


def test_validation_positions_reach_into_earlier_periods_but_never_ask_for_them() -> None:
    splits = [c.TRAIN, c.TRAIN, c.VALIDATION, c.VALIDATION, c.TEST]
    rows = [(0, item, 0, item, split) for item, split in enumerate(splits)] + [(1, 7, 0, 0, c.VALIDATION)]
    interactions = pd.DataFrame(rows, columns=[c.USER, c.ITEM, c.TIMESTAMP, c.POSITION, c.SPLIT])
    validation = training.validation_set(interactions, 2, 3, 1000)
    assert [history.tolist() for history in validation.histories] == [[0, 1], [1, 2]]
    assert validation.targets.tolist() == [2, 3]
    assert validation.seen[0].tolist() == [0, 1, 2, 3]
    assert [items.tolist() for items in training.training_sequences(interactions)] == [[0, 1]]


def test_many_validation_positions_are_thinned_evenly_and_scored_in_blocks() -> None:
    rows = [(user, (user + place) % 7, 0, place, c.VALIDATION) for user in range(4) for place in range(6)]
    interactions = pd.DataFrame(rows, columns=[c.USER, c.ITEM, c.TIMESTAMP, c.POSITION, c.SPLIT])
    every, thinned = (training.validation_set(interactions, 3, 3, n) for n in (20, 7))
    assert (len(every.targets), len(thinned.targets)) == (20, 7)
    assert thinned.targets.tolist() == every.targets[[0, 3, 6, 9, 12, 15, 19]].tolist()
    model = build("gru4rec")
    whole = training.validation_score(model, every)
    for module, name, number in ((training, "SCORING_BATCH", 3), (memory, "SCORES_AT_A_TIME", 2 * model.n_items)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, name, number)
            assert training.validation_score(model, every) == pytest.approx(whole)


def test_no_training_sequence_is_an_error() -> None:
    interactions = pd.DataFrame({c.USER: [0, 1], c.ITEM: [1, 2], c.POSITION: [0, 0], c.SPLIT: [c.TRAIN, c.TRAIN]})
    with pytest.raises(DataError, match=r"split\.train"):
        training.training_sequences(interactions)


def test_no_validation_position_is_an_error() -> None:
    interactions = pd.DataFrame({c.USER: [0, 0], c.ITEM: [1, 2], c.POSITION: [0, 1], c.SPLIT: [c.TRAIN, c.TRAIN]})
    with pytest.raises(DataError, match=r"split\.validation"):
        training.validation_set(interactions, 10, 20, 1000)
