"""MoRec: text vectors of a real (tiny) BERT, trained on a planted chain with the encoder frozen and tuned."""

from __future__ import annotations

import json
import shutil
import string
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer

from llara_core import columns as c
from llara_core.config import load_params
from llara_core.config.recommenders import MoRecConfig
from llara_core.errors import ConfigError, ModelError
from llara_core.recommenders import checkpoints, models, training
from llara_core.recommenders.morec import MoRec
from llara_core.recommenders.text_encoder import TextEncoder
from llara_core.runtime import memory
from tests.helpers.text_encoder import write_tiny_bert

torch.set_num_threads(1)
# So that the two special tokens, which all have, do not make up most of a title.
TITLES = [" ".join(letter * 6) for letter in string.ascii_letters[:20]]
N_ITEMS, MAX_HISTORY = len(TITLES), 5
ARGUMENTS = {
    "n_items": N_ITEMS,
    "embedding_dim": 16,
    "max_history_len": MAX_HISTORY,
    "dropout": 0.0,
    "n_layers": 1,
    "n_heads": 1,
    "text_dim": 16,
}
# All users follow the same ring of items, three further at each step.
SEQUENCES = [np.arange(start, start + 36, 3) % N_ITEMS for start in range(24)]
VALIDATION = training.ValidationSet(
    [sequence[:4] for sequence in SEQUENCES], np.array([sequence[4] for sequence in SEQUENCES]), [s[:5] for s in SEQUENCES], 5
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder") / "tiny-bert"
    write_tiny_bert(folder)
    return folder


@pytest.fixture(scope="module")
def encoder(folder: Path) -> TextEncoder:
    return TextEncoder(folder, TITLES)


def section(*, train_encoder: bool) -> MoRecConfig:
    own = load_params().recommenders.morec
    return own.model_copy(update={"train_encoder": train_encoder, "encoder_learning_rate": 3e-4})


def untrained(encoder: TextEncoder, *, tuned: bool = True) -> MoRec:
    return MoRec.from_texts(ARGUMENTS, encoder, section(train_encoder=tuned), "cross_entropy")


def search(
    encoder: TextEncoder, *, tuned: bool, epochs: int, loss: str = "cross_entropy", l2: tuple[float, ...] = (0.0,)
) -> Any:
    build = partial(MoRec.from_texts, ARGUMENTS, encoder, section(train_encoder=tuned), loss)
    options = training.TrainingOptions(0.003, 10, loss, max_epochs=epochs, patience=epochs)
    return training.search_l2(build, SEQUENCES, VALIDATION, l2, options, 0, "ring", "morec")


def parameters(encoder: TextEncoder) -> list[torch.Tensor]:
    """The weights on the way to a text vector, which the pooler is not."""
    return [tensor.detach().clone() for name, tensor in encoder.model.named_parameters() if "pooler" not in name]


def test_a_vector_is_the_mean_over_the_tokens_of_a_title(folder: Path) -> None:
    titles = ["a", "Toy Story (1995)", "Heat"]
    vectors = TextEncoder(folder, titles).encode_all()
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        alone = [model(**tokenizer(title, return_tensors="pt")).last_hidden_state[0] for title in titles]
    assert [len(hidden) for hidden in alone] == [3, 16, 6]  # characters, and one token at either end
    torch.testing.assert_close(vectors, torch.stack([hidden.mean(dim=0) for hidden in alone]))


def test_vectors_do_not_depend_on_the_batch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = TextEncoder(folder, ["a", "Toy Story (1995)", "Heat", "Big", "The Rock"])
    whole = encoder.encode_all()
    monkeypatch.setattr("llara_core.recommenders.text_encoder.ENCODING_BATCH", 2)
    torch.testing.assert_close(encoder.encode_all(), whole)
    torch.testing.assert_close(encoder.encode(torch.tensor([3, 0])).detach(), whole[[3, 0]])


def test_long_titles_are_cut_to_what_the_encoder_takes(folder: Path) -> None:
    encoder = TextEncoder(folder, ["a b " * 50, "a b " * 60])
    assert [len(tokens) for tokens in encoder.tokens] == [38, 38]
    vectors = encoder.encode_all()
    torch.testing.assert_close(vectors[0], vectors[1])


@pytest.mark.parametrize(("tuned", "loss"), [(False, "cross_entropy"), (False, "bce"), (True, "cross_entropy")])
def test_a_ring_of_titles_is_learnt(encoder: TextEncoder, tuned: bool, loss: str) -> None:
    (result,) = search(encoder, tuned=tuned, epochs=4, loss=loss)
    losses = result.curves["train/loss"]
    assert losses[4] < losses[1]
    assert result.validation_score > 0.6  # chance is 1 of 5


def test_bce_cannot_tune_an_encoder(encoder: TextEncoder) -> None:
    with pytest.raises(
        ConfigError, match=r"recommenders\.loss: bce cannot tune an encoder; set it to cross_entropy, or .*false"
    ):
        search(encoder, tuned=True, epochs=1, loss="bce")


def test_an_encoder_with_damaged_weights_is_named(folder: Path) -> None:
    encoder = TextEncoder(folder, TITLES)
    encoder.model.embeddings.LayerNorm.bias.data[0] = torch.nan
    with pytest.raises(ModelError, match=r"all-minilm-l6-v2 returns text vectors that are not finite"):
        search(encoder, tuned=False, epochs=1)


def test_an_encoder_that_diverges_is_told_apart(encoder: TextEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MoRec, "end_epoch", lambda model: model.output_bias.data.fill_(torch.nan))
    with pytest.raises(
        ModelError, match=r"MoRec .*recommenders\.learning_rate \(now .*\) or .*encoder_learning_rate \(now 0\.0003\)"
    ):
        search(encoder, tuned=True, epochs=1)


def test_a_frozen_encoder_stays_as_it_was(encoder: TextEncoder) -> None:
    before = parameters(encoder)
    (result,) = search(encoder, tuned=False, epochs=1)
    assert all(map(torch.equal, parameters(encoder), before))
    vectors = result.model.item_embedding.text_vectors
    assert torch.equal(vectors[:N_ITEMS], encoder.encode_all())
    assert not vectors[N_ITEMS].any()


def test_a_tuned_encoder_changes_and_is_a_copy(encoder: TextEncoder) -> None:
    before = parameters(encoder)
    once, again = search(encoder, tuned=True, epochs=1, l2=(0.0, 0.0))
    tuned = once.model.tuning.encoder
    assert all(map(torch.equal, parameters(encoder), before))
    assert sum(map(torch.equal, parameters(tuned), before)) == 0
    # After training the text vectors are those of the tuned encoder, without dropout.
    assert torch.equal(once.model.item_embedding.text_vectors[:N_ITEMS], tuned.encode_all())
    # The second coefficient started from the pre-trained encoder too, and the same seed gives the same bytes.
    assert torch.equal(again.model.item_embedding.text_vectors, once.model.item_embedding.text_vectors)


def test_a_batch_trains_the_encoder_on_its_own_titles(encoder: TextEncoder) -> None:
    model = untrained(encoder)
    before = model.item_embedding.text_vectors.clone()
    inputs, targets = torch.tensor([[0, 3, N_ITEMS]]), torch.tensor([[3, 6, N_ITEMS]])
    model.start_batch(inputs, targets)
    after = model.item_embedding.text_vectors
    changed = (after != before).any(dim=1).nonzero().flatten()  # by the encoder's dropout
    assert changed.tolist() == [0, 3, 6]
    after[:, 0].sum().backward()
    assert model.tuning is not None
    used = model.tuning.encoder.model.embeddings.word_embeddings.weight.grad.any(dim=1).nonzero().flatten()
    assert used.tolist() == sorted({token for item in (0, 3, 6) for token in encoder.tokens[item].tolist()})


def test_while_the_encoder_is_tuned_a_batch_is_scored_among_its_own_items(encoder: TextEncoder) -> None:
    model = untrained(encoder).train()
    states = torch.randn(2, 16)
    for items in ([0, 3, 6], [0, 6, 9], [0, 6, 9], [0, 9, 12]):
        model.start_batch(torch.tensor([items[:2]]), torch.tensor([items[1:]]))
    training_logits, scores = model.logits(states), model.eval().logits(states)
    assert training_logits.isfinite().any(dim=0).nonzero().flatten().tolist() == [0, 9, 12]
    # Of the four batches item 0 is in all, 9 in three and 12 in one; the popular are scored lower.
    correction = torch.tensor([4 / 4, 3 / 4, 1 / 4]).log()
    torch.testing.assert_close(training_logits[:, [0, 9, 12]], scores[:, [0, 9, 12]] - correction)
    assert scores.isfinite().all()


def test_a_batch_among_its_own_items_has_the_same_loss_in_a_large_catalogue(
    encoder: TextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There only the items of the batch are scored."""
    model = untrained(encoder).train()
    inputs, targets = torch.tensor([[4, 9, 2]]), torch.tensor([[9, 2, 17]])
    model.start_batch(inputs, targets)
    states, results = model.encode(inputs)[0], []
    for at_a_time in (1 << 26, 6):
        monkeypatch.setattr(memory, "SCORES_AT_A_TIME", at_a_time)
        loss = model.softmax_loss(states, targets[0])
        weights = [*model.item_embedding.parameters(), *model.tuning.encoder.model.encoder.parameters()]  # type: ignore[union-attr]
        results.append([loss.detach(), *torch.autograd.grad(loss, weights, retain_graph=True)])
    torch.testing.assert_close(results[1], results[0])


def test_the_rates_of_the_encoder_are_its_own(encoder: TextEncoder) -> None:
    model = untrained(encoder)
    own, of_encoder = torch.optim.Adam(model.parameter_groups(0.1), lr=0.5).param_groups
    assert (own["lr"], own["weight_decay"]) == (0.5, 0.1)
    assert (of_encoder["lr"], of_encoder["weight_decay"]) == (3e-4, 0.0)
    assert len(of_encoder["params"]) >= len(parameters(encoder))
    assert len(own["params"]) == len(list(model.parameters()))


@pytest.mark.parametrize("tuned", [False, True])
def test_a_checkpoint_needs_no_encoder(tmp_path: Path, tuned: bool) -> None:
    write_tiny_bert(tmp_path / "encoder")
    results = search(TextEncoder(tmp_path / "encoder", TITLES), tuned=tuned, epochs=1)
    shutil.rmtree(tmp_path / "encoder")
    best = checkpoints.save(tmp_path / "morec-0", results, "morec", ARGUMENTS, "d" * 64)
    loaded = checkpoints.load(tmp_path / "morec-0", "morec", "d" * 64)
    histories = [[1, 2], [6]]
    np.testing.assert_array_equal(loaded.score_catalogue(histories), best.model.score_catalogue(histories))
    np.testing.assert_array_equal(loaded.item_embeddings(), best.model.item_embeddings())
    # As many tensors as SASRec has, but for the table of items: its text vectors and two layers that project them.
    sasrec = models.build("sasrec", {key: value for key, value in ARGUMENTS.items() if key != "text_dim"})
    assert len(load_file(tmp_path / "morec-0" / "model.safetensors")) == len(sasrec.state_dict()) - 1 + 6


def test_a_checkpoint_without_its_text_vectors_is_refused(encoder: TextEncoder, tmp_path: Path) -> None:
    results = search(encoder, tuned=False, epochs=1)
    checkpoints.save(tmp_path / "morec-0", results, "morec", ARGUMENTS, "d" * 64)
    weights = load_file(tmp_path / "morec-0" / "model.safetensors")
    del weights["item_embedding.text_vectors"]
    save_file(weights, tmp_path / "morec-0" / "model.safetensors")
    with pytest.raises(ModelError, match=r"item_embedding\.text_vectors"):
        checkpoints.load(tmp_path / "morec-0", "morec", "d" * 64)


def test_arguments_say_what_the_model_is_and_not_how_it_was_trained() -> None:
    arguments = models.model_arguments("morec", load_params().recommenders, N_ITEMS, MAX_HISTORY)
    assert set(arguments) == set(ARGUMENTS) - {"text_dim"}  # which the encoder decides
    assert json.loads(json.dumps(arguments)) == arguments


def test_incomplete_weights_are_an_error(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "bert")
    weights = load_file(tmp_path / "bert" / "model.safetensors")
    del weights["embeddings.position_embeddings.weight"]
    save_file(weights, tmp_path / "bert" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"morec\.encoder: .* is incomplete, e\.g\. .*position_embeddings"):
        TextEncoder(tmp_path / "bert", TITLES)


def test_pickled_weights_are_never_loaded(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "bert")
    torch.save(load_file(folder / "model.safetensors"), tmp_path / "bert" / "pytorch_model.bin")
    (tmp_path / "bert" / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="cannot be loaded as a text encoder"):
        TextEncoder(tmp_path / "bert", TITLES)


def test_a_tokenizer_without_its_vocabulary_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "bert")
    (tmp_path / "bert" / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"morec\.encoder: the tokenizer of .* cannot be loaded"):
        TextEncoder(tmp_path / "bert", TITLES)
    # Under this class name transformers does not mind, and takes every word for unknown.
    (tmp_path / "bert" / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    with pytest.raises(ModelError, match=r"morec\.encoder: the tokenizer of .* knows no token of the texts"):
        TextEncoder(tmp_path / "bert", TITLES)


def test_messages_name_the_section_of_the_recommender(folder: Path, tiny_llama: Path) -> None:
    items = pd.DataFrame({c.LABEL: TITLES, c.TEXT: TITLES})
    with pytest.raises(ModelError, match=r"recommenders\.sasrec_text\.encoder: .* holds a llama model"):
        models.builder("sasrec_text", load_params().recommenders, items, MAX_HISTORY, lambda *_: tiny_llama)
    model = untrained(TextEncoder(folder, TITLES, "recommenders.sasrec_text"))
    assert model.parameter_groups(0.1)[1]["rate_key"] == "recommenders.sasrec_text.encoder_learning_rate"


def test_another_family_is_refused(tiny_llama: Path) -> None:
    with pytest.raises(ModelError, match=r"morec\.encoder: .* holds a llama model, which is not of the BERT family"):
        TextEncoder(tiny_llama, TITLES)
