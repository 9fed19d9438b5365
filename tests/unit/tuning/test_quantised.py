"""Tuning on quantised weights, as for a 7B model on a small card; bitsandbytes also supports CPUs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from llara_core.fetching.llm import fetch_llm
from llara_core.inference.catalogue import HeadScorer
from llara_core.inference.llm_systems import load_tuned_model
from llara_core.llm.loading import load_base_model
from llara_core.tuning.tune import tune
from tests.helpers.llm import LABELS, LLM, N_ITEMS, WORDING, system_config, tuning_setting
from tests.pipeline.tiny_world import write_tiny_llama


@pytest.fixture(scope="module")
def wider_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with layers wider than 64, since blocks of 64 weights share a scale."""
    root = tmp_path_factory.mktemp("wider_llama")
    write_tiny_llama(root / "source", hidden_size=128)
    fetch_llm(str(root / "source"), None, root / "llm")
    return root / "llm"


@pytest.mark.parametrize(("quantization", "layer"), [("4bit", "Linear4bit"), ("8bit", "Linear8bitLt")])
@pytest.mark.parametrize("objective", ["generative", "next_item"])
def test_a_quantised_model_is_tuned_saved_and_loaded(
    wider_llama: Path, tmp_path: Path, quantization: str, layer: str, objective: str
) -> None:
    llm = LLM.model_copy(update={"quantization": quantization})
    assert type(load_base_model(wider_llama, llm).model.layers[0].mlp.up_proj).__name__ == layer
    config = system_config(
        prompt={"representation": "text"},
        tune={"objective": objective, "gradient_checkpointing": True, "max_examples": 48, "epochs": 8},
    )
    setting = tuning_setting(wider_llama, tmp_path, recommender=None, llm_config=llm, item_vectors=None, embeddings_hash=None)
    curves = tune("tallrec", config, setting, adapter_folder=tmp_path / "llara", curves_folder=tmp_path / "curves")
    loss = list(curves[f"train/loss_{objective}"].values())
    assert len(loss) == 12
    assert sum(loss[-4:]) < sum(loss[:4])
    model, encoder, metadata = load_tuned_model(tmp_path / "llara", wider_llama, llm, None, N_ITEMS)
    if objective == "next_item":
        scores = HeadScorer(model, encoder, LABELS, WORDING, metadata.prompt, batch_size=2).score_catalogue([[0, 1], [2]])
        assert np.isfinite(scores).all()
