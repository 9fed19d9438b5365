"""What every sequence recommender owes its callers: causality, padding, one pass equal to one window per row."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from llara_core.config import RECOMMENDERS, load_params
from llara_core.errors import DataError
from llara_core.recommenders import models
from llara_core.recommenders.base import SequenceRecommender, pad_right
from llara_core.recommenders.morec import MoRec
from llara_core.runtime import memory

N_ITEMS, T = 12, 6
# A recommender that is not named here has the options of params.yaml.
OWN = {
    "gru4rec": {"hidden_dim": 10, "n_layers": 2},
    "caser": {"window": 4, "n_horizontal_filters": 3, "n_vertical_filters": 2},
    "sasrec": {"n_layers": 2, "n_heads": 2},
    "morec": {"n_layers": 2, "n_heads": 2, "text_dim": 5},
    "sasrec_text": {"n_layers": 2, "n_heads": 2, "text_dim": 5, "new_share": 0.2},
}
HISTORIES = [[3], [1, 2, 3], [7, 0, 11, 4, 2, 9], [5, 5, 5, 5]]


def make(name: str, dropout: float = 0.5) -> SequenceRecommender:
    torch.manual_seed(0)
    arguments = models.model_arguments(name, load_params().recommenders, N_ITEMS, T)
    model = models.build(name, arguments | {"embedding_dim": 8, "dropout": dropout} | OWN.get(name, {}))
    with torch.no_grad():
        model.output_bias.normal_()
        if isinstance(model, MoRec):
            model.item_embedding.text_vectors[:N_ITEMS].normal_()
    return model.eval()


@pytest.fixture(params=RECOMMENDERS)
def model(request: pytest.FixtureRequest) -> SequenceRecommender:
    return make(request.param)


def test_scores_have_one_column_per_item(model: SequenceRecommender) -> None:
    scores = model.score_catalogue(HISTORIES)
    assert scores.shape == (4, N_ITEMS)
    assert scores.dtype == np.float32


def test_scores_do_not_depend_on_the_batch(model: SequenceRecommender) -> None:
    alone = np.concatenate([model.score_catalogue([history]) for history in HISTORIES])
    np.testing.assert_allclose(model.score_catalogue(HISTORIES), alone, atol=1e-5)


def test_a_large_catalogue_is_scored_in_smaller_batches(model: SequenceRecommender, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores of 12 items for 2 histories at a time."""
    whole, sizes = model.score_catalogue(HISTORIES), []
    monkeypatch.setattr(memory, "SCORES_AT_A_TIME", 2 * N_ITEMS + 1)
    score = model._score
    monkeypatch.setattr(model, "_score", lambda histories: sizes.append(len(histories)) or score(histories))
    np.testing.assert_allclose(model.score_catalogue(HISTORIES), whole, atol=1e-5)
    assert sizes == [2, 2]
    assert model.score_catalogue([]).shape == (0, N_ITEMS)


def test_the_softmax_of_a_large_catalogue_is_that_of_a_small_one(
    model: SequenceRecommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In chunks of two items: the same loss, and the same gradients."""
    items, targets, results = torch.tensor([[1, 2, 3]]), torch.tensor([0, 5, N_ITEMS - 1]), []
    for at_a_time in (1 << 26, 6):
        monkeypatch.setattr(memory, "SCORES_AT_A_TIME", at_a_time)
        model.zero_grad()
        loss = model.softmax_loss(model.encode(items)[0], targets)
        loss.backward()
        results.append([loss.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)])
    assert torch.equal(results[0][0], F.cross_entropy(model.logits(model.encode(items)[0]), targets))
    torch.testing.assert_close(results[1], results[0])


def test_a_model_computes_where_its_weights_are(model: SequenceRecommender, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the device without data, where a tensor that stayed on the CPU is an error, as on a GPU."""
    model.to("meta")
    items = torch.tensor([[1, 2, 3]], device="meta")
    states = model.encode(items)[0]
    for at_a_time in (1 << 26, 6):
        monkeypatch.setattr(memory, "SCORES_AT_A_TIME", at_a_time)
        assert model.softmax_loss(states, items[0]).device.type == "meta"
    assert model.pair_logits(states, items[0]).device.type == "meta"


def test_padding_changes_no_state(model: SequenceRecommender) -> None:
    plain = model.encode(torch.tensor([[1, 2, 3]]))
    padded = model.encode(torch.tensor([[1, 2, 3, N_ITEMS, N_ITEMS]]))
    torch.testing.assert_close(padded[:, :3], plain)


def test_later_items_change_no_earlier_state(model: SequenceRecommender) -> None:
    items = torch.tensor([[7, 0, 11, 4, 2, 9]])
    changed = items.clone()
    changed[0, 4:] = torch.tensor([1, 3])
    before, after = model.encode(items), model.encode(changed)
    torch.testing.assert_close(after[:, :4], before[:, :4])
    assert not torch.allclose(after[:, 4:], before[:, 4:])


def test_one_pass_over_all_positions_equals_one_window_per_row(model: SequenceRecommender) -> None:
    sequence = [7, 0, 11, 4, 2, 9]
    one_pass = model.logits(model.encode(torch.tensor([sequence])))[0].detach().numpy()
    per_row = model.score_catalogue([sequence[: end + 1] for end in range(len(sequence))])
    np.testing.assert_allclose(one_pass, per_row, atol=1e-5)


def test_only_the_latest_items_count(model: SequenceRecommender) -> None:
    recent = [7, 0, 11, 4, 2, 9]
    np.testing.assert_allclose(model.score_catalogue([[1, 3, *recent]]), model.score_catalogue([recent]), atol=1e-6)


def test_scoring_leaves_training_mode_as_it_was(model: SequenceRecommender) -> None:
    model.train()
    first, second = model.score_catalogue(HISTORIES), model.score_catalogue(HISTORIES)
    np.testing.assert_array_equal(first, second)  # no dropout
    assert model.training


def test_no_histories_give_an_empty_table(model: SequenceRecommender) -> None:
    assert model.score_catalogue([]).shape == (0, N_ITEMS)


def test_an_empty_history_is_refused(model: SequenceRecommender) -> None:
    with pytest.raises(DataError, match="1 of 2 histories are empty"):
        model.score_catalogue([[1], []])


def test_item_embeddings_leave_out_the_padding_row(model: SequenceRecommender) -> None:
    table = model.item_embeddings()
    assert table.shape == (N_ITEMS, 8)
    assert table.dtype == np.float32
    np.testing.assert_array_equal(table, model.item_embedding.weight[:-1].detach().numpy())


def test_pair_logits_are_entries_of_the_full_table(model: SequenceRecommender) -> None:
    states = torch.randn(3, 8)
    items = torch.tensor([4, 0, 11])
    torch.testing.assert_close(model.pair_logits(states, items), model.logits(states)[torch.arange(3), items])


def test_pad_right() -> None:
    items, lengths = pad_right([[1, 2], [3], np.array([4, 5, 6])], padding_idx=9)
    assert items.tolist() == [[1, 2, 9], [3, 9, 9], [4, 5, 6]]
    assert lengths.tolist() == [2, 1, 3]
