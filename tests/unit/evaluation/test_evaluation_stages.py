import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from llara_core import columns as c
from llara_core import paths
from llara_core.errors import DataError
from pipeline import evaluate, fuse
from pipeline import report as report_stage
from tests.helpers.params import raw_params, write_params

REPOSITORY = Path(__file__).parents[3]


def put_params(world, representation: str = "title", **axes: list[str]) -> None:
    params = raw_params()
    params["run"] = world.params.run.model_dump() | axes
    params["systems"]["zero_shot"]["prompt"]["representation"] = representation
    write_params(params, Path())


@pytest.fixture
def filled(world):
    put_params(world)
    world.put("popularity", world.target_is(4))
    world.put("sasrec-0", world.target_is(1))
    world.put("llara-0", world.target_is(2), objective="generative")
    return world


def test_from_predictions_to_the_report(filled, capsys: pytest.CaptureFixture[str]) -> None:
    world = filled
    world.put("llara-0", world.target_is(3), mode="constrained", draws=1, objective="generative")
    world.put("sasrec-0", world.target_is(2), shuffled=True)
    fuse.main("movielens")
    (paths.metrics("movielens", "gru4rec-0")).mkdir(parents=True)  # of an earlier run with other axes
    evaluate.main("movielens")
    shutil.rmtree("data/fused")  # the report reads no predictions
    shutil.rmtree("data/systems")
    shutil.rmtree("data/recommenders")
    report_stage.main()
    assert {folder.name for folder in paths.metrics("movielens", "").iterdir()} == {
        folder.name for folder in paths.results("movielens").iterdir()
    }
    files = sorted(
        file.relative_to("metrics/movielens/systems").as_posix() for file in Path("metrics").rglob("systems/**/*.json")
    )
    assert files == [
        "fused-llara-0/fused.json",
        "llara-0/constrained.json",
        "llara-0/score.json",
        "popularity/score.json",
        "sasrec-0/score-shuffled.json",
        "sasrec-0/score.json",
    ]
    main = {file.stem: json.loads(file.read_text()) for file in paths.main_metrics("movielens", "").parent.iterdir()}
    assert sorted(main) == ["llara", "popularity", "sasrec"]  # the fusion equals sasrec
    assert main["sasrec"] == {"val": {"HR@1": 1.0, "valid": 1.0}, "test": {"HR@1": 1.0, "valid": 1.0}}  # in order, not shuffled
    assert main["llara"]["test"]["HR@1"] == 0.0  # by its scores, the first of its modes; no catalogue is ranked here
    fused = json.loads((paths.metrics("movielens", "fused-llara-0") / "fused.json").read_text())
    assert fused["test"]["hit_ratio@1"] == 1.0
    assert fused["llm_weight"] == 0.0  # the recommender is always right
    shown = " ".join(capsys.readouterr().out.split())
    assert "llara + sasrec gave the LLM weight 0, so it equals the recommender and is not shown." in shown
    assert Path("metrics/report.html").stat().st_size > 10_000
    assert "sasrec is best on validation" in Path("metrics/summary.txt").read_text()


@pytest.mark.parametrize(("representation", "valid"), [("index", 1.0), ("title", 0.0)])
def test_an_answer_is_matched_with_the_items_names_in_the_prompts(filled, representation: str, valid: float) -> None:
    items = filled.candidates[c.CANDIDATES]
    texts = [f"item {max(row, key=lambda item: (len(str(item)), item))}" for row in items]
    filled.put("zero_shot-0", filled.target_is(1), mode="generate", texts=texts)
    # A number of one digit may occur in one of two; count the sets in which none does.
    single = [sum(str(item) in text for item in row) == 1 for row, text in zip(items, texts, strict=True)]
    put_params(filled, representation, systems=["zero_shot"], recommenders=[])
    evaluate.main("movielens")
    record = json.loads((paths.metrics("movielens", "zero_shot-0") / "generate.json").read_text())
    test = (filled.candidates[c.EXAMPLE] >= 5).to_numpy()
    assert record["test"]["valid_ratio_contained"] == pytest.approx(valid * np.mean(np.array(single)[test]), abs=1e-4)


def test_without_scores_to_fuse_there_is_an_empty_folder(filled) -> None:
    folder = paths.system_predictions("movielens", "llara-0")
    (folder / "score.parquet").rename(folder / "generate.parquet")
    fuse.main("movielens")
    assert list(paths.fused_predictions("movielens", "").iterdir()) == []


def test_fusing_a_system_without_predictions_names_its_folder(filled) -> None:
    (paths.system_predictions("movielens", "llara-0") / "score.parquet").unlink()
    with pytest.raises(DataError, match=r"predictions/llara-0: holds no tables"):
        fuse.main("movielens")
    assert not paths.fused_predictions("movielens", "").exists()


def test_dvc_plots_draw_all_tables_that_the_report_writes_but_the_pairs(filled) -> None:
    fuse.main("movielens")
    evaluate.main("movielens")
    report_stage.main()
    drawn = {
        f"metrics/{file}"
        for entry in YAML(typ="safe").load(REPOSITORY / "metrics" / "dvc.yaml")["plots"]
        for plot in entry.values()
        for file in plot["y"]
    }
    assert drawn | {"metrics/plots/pairs.tsv"} == {file.as_posix() for file in paths.PLOTS.iterdir()}
