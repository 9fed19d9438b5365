import json
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.errors import DataError
from pipeline import evaluate, fuse
from pipeline import report as report_stage

REPOSITORY = Path(__file__).parents[3]
PROMPT = {"slot": "after", "recommender_scores": False, "text_dim": 0, "templates": "first", "chat_template": False}


@pytest.fixture
def filled(world):
    yaml = YAML()
    params = yaml.load(REPOSITORY / "params.yaml")
    params["run"] = world.params.run.model_dump()
    yaml.dump(params, Path("params.yaml"))
    world.put("popularity", "popularity", world.target_is(4))
    world.put("sasrec-0", "sasrec", world.target_is(1))
    world.put("llara-sasrec-0", "llara-sasrec", world.target_is(2), objective="generative")
    return world


def test_from_predictions_to_the_report(filled, capsys: pytest.CaptureFixture[str]) -> None:
    world = filled
    world.put("llara-sasrec-0", "llara-sasrec", world.target_is(3), mode="constrained", draws=1, objective="generative")
    world.put("sasrec-0", "sasrec", world.target_is(2), shuffled=True)
    fuse.main("movielens", "llara", "sasrec", 0)
    for cell in ("popularity", "sasrec-0", "llara-sasrec-0", "fused-llara-sasrec-0"):
        evaluate.main("movielens", cell)
    report_stage.main()
    files = sorted(file.relative_to("metrics/movielens/systems").as_posix() for file in Path("metrics").rglob("*.json"))
    assert files == [
        "fused-llara-sasrec-0/fused.json",
        "llara-sasrec-0/constrained.json",
        "llara-sasrec-0/score.json",
        "popularity/score.json",
        "sasrec-0/score-shuffled.json",
        "sasrec-0/score.json",
    ]
    fused = json.loads((paths.metrics("movielens", "fused-llara-sasrec-0") / "fused.json").read_text())
    assert fused["test"]["hit_ratio@1"] == 1.0
    assert fused["note"] == "LLM weight 0.00"  # the recommender is always right
    shown = " ".join(capsys.readouterr().out.split())
    assert "The fusion of llara with sasrec chose weight 0 for the LLM: it is the recommender, and not shown." in shown
    assert "fused-llara-sasrec" not in shown
    assert Path("metrics/report.html").stat().st_size > 10_000
    assert Path("metrics/summary.md").read_text().startswith("**movielens.** sasrec is best on validation")


@pytest.mark.parametrize(("representation", "valid"), [("index", 1.0), ("title", 0.0)])
def test_an_answer_is_looked_for_by_what_the_prompts_call_an_item(filled, representation: str, valid: float) -> None:
    items = filled.candidates[c.CANDIDATES]
    texts = [f"item {max(row, key=lambda item: (len(str(item)), item))}" for row in items]
    filled.put("zero_shot", "zero_shot", filled.target_is(1), mode="generate", texts=texts)
    # A number of one digit may occur in one of two; count the sets in which none does.
    single = [sum(str(item) in text for item in row) == 1 for row, text in zip(items, texts, strict=True)]
    tables.write_json(paths.system("zero_shot"), {"prompt": {**PROMPT, "representation": representation}})
    evaluate.main("movielens", "zero_shot", "zero_shot")
    record = json.loads((paths.metrics("movielens", "zero_shot") / "generate.json").read_text())
    test = (filled.candidates[c.EXAMPLE] >= 5).to_numpy()
    assert record["test"]["valid_ratio_contained"] == pytest.approx(valid * np.mean(np.array(single)[test]), abs=1e-4)


def test_fusing_a_system_that_scores_nothing_names_the_file(filled) -> None:
    (paths.predictions("movielens", "llara-sasrec-0") / "score.parquet").unlink()
    with pytest.raises(DataError, match=r"llara-sasrec-0/score\.parquet: not found"):
        fuse.main("movielens", "llara", "sasrec", 0)


def test_dvc_plots_draw_all_tables_that_the_report_writes_but_the_pairs(filled) -> None:
    filled.put("fused-llara-sasrec-0", "fused-llara-sasrec", filled.target_is(1), mode="fused", note="LLM weight 0.30")
    report_stage.main()
    drawn = {
        file
        for entry in YAML(typ="safe").load(REPOSITORY / "dvc.yaml")["plots"]
        for plot in entry.values()
        for file in plot["y"]
    }
    assert drawn | {"metrics/plots/pairs.tsv"} == {file.as_posix() for file in paths.PLOTS.iterdir()}
