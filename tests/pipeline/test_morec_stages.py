"""MoRec through the stage scripts, on a small planted world and a tiny random BERT."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tiny_world import TINY, tiny_dataset

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.answers import predictions
from pipeline import download, export_embeddings, predict_recommender, prepare, sample_candidates, train_recommender
from tests.helpers.params import raw_params, write_params
from tests.helpers.text_encoder import write_tiny_bert


@pytest.mark.parametrize("train_encoder", [False, True])
def test_from_raw_data_to_predictions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, train_encoder: bool) -> None:
    monkeypatch.chdir(tmp_path)
    write_tiny_bert(tmp_path / "encoder")
    params = raw_params()
    params["run"] |= {"datasets": ["tiny"]}
    params["datasets"] = {"tiny": tiny_dataset()}
    params["candidates"]["draws"] = TINY["candidates"]["draws"]
    params["recommenders"] |= {"embedding_dim": 16, "max_epochs": 1}
    params["recommenders"]["morec"] |= {"encoder": str(tmp_path / "encoder"), "train_encoder": train_encoder}
    write_params(params, tmp_path)

    for stage in (download, prepare, sample_candidates):
        stage.main("tiny")
    train_recommender.main("tiny", "morec", 0)
    shutil.rmtree(tmp_path / "encoder")  # only training may need it
    export_embeddings.main("tiny", "morec", 0)
    predict_recommender.main("tiny", "morec", 0)

    table = tables.read_table(paths.item_embeddings("tiny", "morec-0"), tables.ITEM_EMBEDDINGS)
    assert set(table[c.VECTOR].map(len)) == {16}
    folder = paths.recommender_predictions("tiny", "morec-0")
    ordered, facts = predictions.read_predictions(folder / "score.parquet")
    shuffled, _ = predictions.read_predictions(folder / "score-shuffled.parquet")
    assert (facts.system, facts.mode, facts.seed) == ("morec", "score", 0)
    assert 0 < len(shuffled) < len(ordered)
