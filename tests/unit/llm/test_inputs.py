"""The inputs of an LLM training run: its resolved configuration and the outputs of its recommender."""

from __future__ import annotations

from pathlib import Path

import pytest

from llara_core import paths, tables
from llara_core.config import Params, load_params, resolution
from llara_core.errors import DataError
from llara_core.llm import inputs

REPOSITORY = Path(__file__).parents[3]
DATASET = "movielens"


@pytest.fixture
def params() -> Params:
    return load_params(REPOSITORY / "params.yaml")


@pytest.fixture
def recommender_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes a recommender's outputs, as files whose content names them, in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    run = paths.run_name("sasrec", 1)
    predictions = paths.recommender_predictions(DATASET, run)
    predictions.mkdir(parents=True)
    (predictions / "score.parquet").write_text("held-out scores")
    paths.item_embeddings(DATASET, run).write_text("vectors")
    paths.training_scores(DATASET, run).write_text("training scores")


def write(params: Params, system: str, *, seed: int = 1, first_seed: int = 1) -> inputs.SystemInputs:
    run = paths.run_name(system, seed)
    paths.all_inputs(DATASET).mkdir(parents=True, exist_ok=True)
    tables.write_json(paths.resolved_system(system), resolution.resolved(params.system(system)))
    inputs.write_inputs(
        paths.inputs(DATASET, run), resolution.read_resolved(paths.resolved_system(system)), DATASET, seed, first_seed
    )
    return inputs.read_inputs(DATASET, run)


@pytest.mark.usefixtures("recommender_files")
def test_inputs_have_only_the_recommender_files_that_a_system_reads(params: Params) -> None:
    guided, plain, text = (write(params, name) for name in ("llara_guided", "llara", "tallrec"))
    assert guided.item_embeddings is not None
    assert guided.item_embeddings.read_text() == "vectors"
    assert guided.training_scores is not None
    assert guided.training_scores.read_text() == "training scores"
    assert guided.recommender_predictions is not None
    assert (guided.recommender_predictions / "score.parquet").read_text() == "held-out scores"
    assert plain.item_embeddings is not None
    assert (plain.training_scores, plain.recommender_predictions) == (None, None)
    assert (text.item_embeddings, text.training_scores, text.recommender_predictions) == (None, None, None)


@pytest.mark.usefixtures("recommender_files")
def test_inputs_of_tuning_are_separate_from_held_out_scores(params: Params) -> None:
    """Questions at further positions, which add held-out scores, therefore cause no new tuning."""
    for system in ("llara_guided", "llara_guided_sdpo"):  # the second continues from the first
        folder = write(params, system).folder
        files = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
        assert {name for name in files if not name.startswith(f"{inputs.TUNING}/")} == {"recommender_predictions/score.parquet"}


@pytest.mark.usefixtures("recommender_files")
def test_a_configuration_is_read_as_written(params: Params) -> None:
    for name in ("llara", "llara_guided", "llara_compact", "tallrec"):
        assert write(params, name).system == params.system(name)


@pytest.mark.usefixtures("recommender_files")
def test_only_a_system_that_continues_from_another_gets_its_adapter(params: Params) -> None:
    systems = ("zero_shot", "llara_guided", "llara_guided_sdpo")
    for system in systems:
        write(params, system)
    adapter = paths.adapter(DATASET, "llara_guided-1")
    adapter.mkdir(parents=True)
    (adapter / "adapter.json").write_text("of llara_guided")
    for system in systems:
        start = params.system(system).start
        inputs.write_start(paths.start(DATASET, paths.run_name(system, 1)), DATASET, system, start, 1)
    assert inputs.read_start(DATASET, "zero_shot-1") is inputs.read_start(DATASET, "llara_guided-1") is None

    found = inputs.read_start(DATASET, "llara_guided_sdpo-1")
    assert found is not None
    read, config, began = found
    assert (config, began.system) == (params.system("llara_guided_sdpo"), params.system("llara_guided"))
    assert (began.name, (began.adapter / "adapter.json").read_text()) == ("llara_guided", "of llara_guided")
    assert read.training_scores is not None
    assert read.training_scores.read_text() == "training scores"
    assert inputs.adapter_of(DATASET, "llara_guided-1", began.system) == adapter
    assert inputs.adapter_of(DATASET, "llara_guided_sdpo-1", config) == paths.further_adapter(DATASET, "llara_guided_sdpo-1")

    tables.write_json(began.adapter.parent / "system.json", resolution.resolved(params.system("zero_shot")))
    with pytest.raises(DataError, match=r"llara_guided_sdpo-1: an untuned system has no adapter and continues from none"):
        inputs.read_start(DATASET, "llara_guided_sdpo-1")
    with pytest.raises(DataError, match=r"starts/tallrec-1: holds no tuning/system\.json; list the system in run\.systems"):
        inputs.read_start(DATASET, "tallrec-1")


@pytest.mark.usefixtures("recommender_files")
def test_inputs_of_an_untuned_system_have_only_its_prompt(params: Params) -> None:
    """Its folder does not change with tuning parameters, so that no answers are computed again."""
    file = write(params, "zero_shot").folder / inputs.SYSTEM
    before = file.read_bytes()
    other = params.system("zero_shot").model_copy(update={"lora": params.lora.model_copy(update={"rank": 64})})
    assert params.lora.rank != 64
    tables.write_json(file, resolution.resolved(other))
    assert file.read_bytes() == before


@pytest.mark.usefixtures("recommender_files")
def test_an_untuned_system_answers_only_under_the_first_seed(params: Params) -> None:
    assert write(params, "zero_shot", seed=1, first_seed=1).same_as is None
    assert write(params, "zero_shot", seed=2, first_seed=1).same_as == 1
    assert write(params, "tallrec", seed=2, first_seed=1).same_as is None


@pytest.mark.usefixtures("recommender_files")
def test_a_file_of_another_version_is_refused(params: Params) -> None:
    folder = write(params, "llara").folder
    content = tables.read_json(folder / inputs.SYSTEM)
    del content["lora"]
    tables.write_json(folder / inputs.SYSTEM, content)
    with pytest.raises(DataError, match=r"system\.json: another version wrote this system; run `dvc repro`"):
        inputs.read_inputs(DATASET, "llara-1")


def test_missing_inputs_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"llara-7: holds no tuning/system\.json; list the system in run\.systems"):
        inputs.read_inputs(DATASET, "llara-7")
