"""Which item vectors a system may see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from llara_core import columns as c
from llara_core import tables
from llara_core.config import AblationConfig, Representation
from llara_core.errors import DataError, ModelError
from llara_core.llm.item_vectors import item_vectors_for, load_text_vectors
from llara_core.llm.loading import load_base_model
from llara_core.llm.projector import Projector
from tests.helpers.llm import D_REC, LABELS, LLM, N_ITEMS, item_vectors

FULL = AblationConfig(llm_weights="pretrained", item_vectors="recommender", recommender_scores="out_of_fold")
RANDOM = AblationConfig(llm_weights="pretrained", item_vectors="random", recommender_scores="out_of_fold")

CONSTANT = AblationConfig(llm_weights="pretrained", item_vectors="constant", recommender_scores="out_of_fold")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "sasrec-0.parquet"
    frame = pd.DataFrame({c.ITEM: range(N_ITEMS), c.LABEL: LABELS, c.VECTOR: list(item_vectors().numpy()), c.TEXT_VECTOR: None})
    tables.write_table(path, frame, tables.ITEM_EMBEDDINGS)
    return path


def test_text_vectors_are_checked_like_item_vectors(table: Path, tmp_path: Path) -> None:
    assert load_text_vectors(table, N_ITEMS) is None  # the recommender reads no texts
    path, of_texts = tmp_path / "sasrec_text-0.parquet", item_vectors().numpy() + 1
    frame = tables.read_table(table, tables.ITEM_EMBEDDINGS).assign(**{c.TEXT_VECTOR: list(of_texts)})
    tables.write_table(path, frame, tables.ITEM_EMBEDDINGS)
    vectors = load_text_vectors(path, N_ITEMS)
    assert vectors is not None
    assert torch.equal(vectors, item_vectors() + 1)
    with pytest.raises(DataError, match=rf"sasrec_text-0.*: has {N_ITEMS} items, but the prepared data has {N_ITEMS + 1}"):
        load_text_vectors(path, N_ITEMS + 1)
    of_texts[0, 0] = np.nan
    tables.write_table(path, frame.assign(**{c.TEXT_VECTOR: list(of_texts)}), tables.ITEM_EMBEDDINGS)
    with pytest.raises(DataError, match=r"sasrec_text-0.*: holds values that are not finite"):
        load_text_vectors(path, N_ITEMS)


@pytest.mark.parametrize("representation", ["text", "title", "index"])
def test_nothing_of_the_recommender_reaches_prompts_without_behavior_tokens(
    table: Path, representation: Representation
) -> None:
    """Even where the system is listed beside a recommender, so that its table lies at hand."""
    assert item_vectors_for(representation, FULL, table, N_ITEMS, seed=0) == (None, None)


@pytest.mark.parametrize("representation", ["hybrid", "behavior"])
def test_prompts_with_behavior_tokens_get_the_table_and_its_hash(table: Path, representation: Representation) -> None:
    vectors, source = item_vectors_for(representation, FULL, table, N_ITEMS, seed=0)
    assert vectors is not None
    assert torch.equal(vectors, item_vectors())
    assert source == tables.tables_hash(table)
    with pytest.raises(ModelError, match="name a recommender"):
        item_vectors_for(representation, FULL, None, N_ITEMS, seed=0)


def test_random_vectors_share_the_shape_and_nothing_else(table: Path) -> None:
    first, source = item_vectors_for("hybrid", RANDOM, table, N_ITEMS, seed=0)
    again, _ = item_vectors_for("hybrid", RANDOM, table, N_ITEMS, seed=0)
    other, _ = item_vectors_for("hybrid", RANDOM, table, N_ITEMS, seed=1)
    assert first is not None
    assert again is not None
    assert other is not None
    assert source is None
    assert first.shape == (N_ITEMS, D_REC)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    correlation = np.corrcoef(first.flatten(), item_vectors().flatten())[0, 1]
    assert abs(correlation) < 4 / np.sqrt(N_ITEMS * D_REC)  # four standard errors of unrelated numbers


def test_constant_vectors_tell_no_item_from_another(table: Path) -> None:
    vectors, source = item_vectors_for("hybrid", CONSTANT, table, N_ITEMS, seed=0)
    assert vectors is not None
    assert source is None
    assert vectors.shape == (N_ITEMS, D_REC)
    assert (vectors == vectors[0]).all()
    assert torch.isfinite(Projector(vectors, 16, 0.1)(vectors)).all()


def test_a_random_language_model_has_the_shape_of_the_pretrained_one_and_is_made_from_its_seed(tiny_llama: Path) -> None:
    pretrained = load_base_model(tiny_llama, LLM)
    before = torch.random.get_rng_state()
    first, again, other = (load_base_model(tiny_llama, LLM, random_seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    shapes = {name: tensor.shape for name, tensor in pretrained.named_parameters()}
    assert {name: tensor.shape for name, tensor in first.named_parameters()} == shapes
    assert not any(tensor.requires_grad for tensor in first.parameters())
    weight = "model.layers.0.self_attn.q_proj.weight"
    tensors = [dict(model.named_parameters())[weight] for model in (first, again, other, pretrained)]
    assert torch.equal(tensors[0], tensors[1])
    assert not torch.equal(tensors[0], tensors[2])
    assert not torch.equal(tensors[0], tensors[3])


def test_random_weights_cannot_be_quantised(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llara_core.llm.loading._quantization", lambda kind, dtype: object())
    with pytest.raises(ModelError, match=r"ablation\.llm_weights: random weights cannot be quantised"):
        load_base_model(tiny_llama, LLM.model_copy(update={"quantization": "4bit"}), random_seed=0)
