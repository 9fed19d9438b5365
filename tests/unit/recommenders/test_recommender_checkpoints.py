"""A checkpoint loads as what it is, for the data it was trained on, or not at all."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from llara_core.config import load_params
from llara_core.errors import ConfigError, ModelError
from llara_core.recommenders import checkpoints, models
from llara_core.recommenders.training import TrainedModel

ARGUMENTS = {"n_items": 7, "embedding_dim": 4, "max_history_len": 5, "dropout": 0.1, "n_layers": 1, "n_heads": 1}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    results = [TrainedModel(models.build("sasrec", ARGUMENTS), l2, 3, score) for l2, score in ((0.1, 0.2), (0.0, 0.4))]
    best = checkpoints.save(tmp_path / "sasrec-0", results, "sasrec", ARGUMENTS, "d" * 64)
    assert best is results[1]
    return tmp_path / "sasrec-0"


def test_round_trip(folder: Path) -> None:
    torch.manual_seed(0)
    models.build("sasrec", ARGUMENTS)
    saved = models.build("sasrec", ARGUMENTS).eval()
    loaded = checkpoints.load(folder, "sasrec", "d" * 64)
    np.testing.assert_array_equal(loaded.score_catalogue([[1, 2], [6]]), saved.score_catalogue([[1, 2], [6]]))
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_the_search_is_kept_beside_the_model(folder: Path) -> None:
    search = json.loads((folder / "search.json").read_text())
    assert [(run["l2"], run["validation_score"]) for run in search] == [(0.1, 0.2), (0.0, 0.4)]
    assert json.loads((folder / "config.json").read_text())["l2"] == 0.0
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors", "search.json"]


def test_another_type_is_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match="holds a sasrec, but caser is expected"):
        checkpoints.load(folder, "caser", "d" * 64)


def test_other_data_are_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match="trained on other data"):
        checkpoints.load(folder, "sasrec", "e" * 64)


def test_weights_that_are_not_finite_are_refused(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["output_bias"][2] = torch.nan
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ModelError, match=r"not finite, e\.g\. in output_bias; train it again with a lower"):
        checkpoints.load(folder, "sasrec", "d" * 64)


def test_a_missing_tensor_is_refused(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["output_bias"]
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ModelError, match="output_bias"):
        checkpoints.load(folder, "sasrec", "d" * 64)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_damaged_or_missing_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"{")
    with pytest.raises(ModelError, match="run `dvc repro"):
        checkpoints.load(folder, "sasrec", "d" * 64)
    (folder / name).unlink()
    with pytest.raises(ModelError, match="run `dvc repro"):
        checkpoints.load(folder, "sasrec", "d" * 64)


def test_a_config_without_its_facts_is_refused(folder: Path) -> None:
    (folder / "config.json").write_text('{"type": "sasrec"}')
    with pytest.raises(ModelError, match="describes no recommender"):
        checkpoints.load(folder, "sasrec", "d" * 64)


def test_arguments_of_another_version_are_refused() -> None:
    with pytest.raises(ModelError, match="do not fit this version"):
        models.build("sasrec", ARGUMENTS | {"n_experts": 3})


def test_an_unknown_recommender_is_named() -> None:
    with pytest.raises(ConfigError, match=r"unknown recommender 'bert4rec'.*caser.*gru4rec.*sasrec"):
        models.model_arguments("bert4rec", load_params().recommenders, 7, 5)
