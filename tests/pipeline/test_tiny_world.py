"""The real ``dvc.yaml``, run by the real ``dvc``, on a synthetic data set and a tiny random Llama."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import tiny_world
from tiny_world import World, cells_run, stages_run

from tests.helpers.chat import endpoint, says
from tests.helpers.llm import folder_hashes

pytestmark = pytest.mark.timeout(600)  # the first test waits for the whole pipeline
UP_TO_DATE = "Data and pipelines are up to date."


@pytest.fixture(scope="session")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llm") / "tiny-llama"
    tiny_world.write_tiny_llama(folder)
    return folder


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, llm: Path) -> World:
    """A world after its first ``dvc repro``, with the results committed; tests change clones of it only."""
    world = tiny_world.create(tmp_path_factory.mktemp("first") / "world", llm)
    world.dvc("repro")
    world.commit("Results")
    return world


def test_the_report_names_every_system(world: World) -> None:
    report = (world.root / "metrics" / "report.md").read_text(encoding="utf-8").lower().replace("_", " ")
    for name in ("popularity", "item_knn", "sasrec", *tiny_world.SYSTEMS):
        assert name.replace("_", " ") in report
    assert (world.root / "metrics" / "report.html").stat().st_size > 0


def test_all_systems_answer_the_same_candidate_sets(world: World) -> None:
    records = [json.loads(path.read_text()) for path in (world.root / "metrics" / "tiny" / "systems").rglob("*.json")]
    cells = {path.parent.name for path in (world.root / "metrics" / "tiny" / "systems").rglob("*.json")}
    assert {"popularity", "sasrec-0", *(f"{system}-0" for system in tiny_world.SYSTEMS)} <= cells
    assert len({record["candidates"] for record in records}) == 1


def test_a_second_run_does_nothing(world: World) -> None:
    output = world.dvc("repro")
    assert stages_run(output) == set()
    assert UP_TO_DATE in output
    assert UP_TO_DATE in world.dvc("status")


def test_on_two_processes_the_stages_write_the_same_files(world: World, tmp_path: Path) -> None:
    """All but the machine that an adapter names; and another number of processes is no reason to run anything again."""
    copy = tiny_world.clone(world, tmp_path / "two", with_cache=True)
    copy.change_params({"parallel": {"processes": 2}})
    assert UP_TO_DATE in copy.dvc("status")
    cells = copy.root / "data" / "systems" / "tiny"
    copy.dvc("unprotect", *(str(path) for path in cells.iterdir()))
    before = folder_hashes(cells)
    for stage in ("tune", "predict_llm"):
        output = copy.succeed(sys.executable, "-m", f"pipeline.{stage}", "tiny", "llara", "0")
        assert f"{stage}: on 2 processes" in output
    after = folder_hashes(cells)
    assert {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} == {
        "adapters/llara-0/adapter.json"
    }


def test_results_are_text_in_git_and_data_are_not(world: World) -> None:
    tracked = world.succeed("git", "ls-files").splitlines()
    assert "metrics/report.md" in tracked
    assert "dvc.lock" in tracked
    assert [path for path in tracked if path.startswith("data/")] == ["data/own/README.md"]


ONE_SYSTEM = {"run": {"baselines": [], "systems": ["llara"]}}


def test_a_clone_without_the_cache_gives_the_same_bytes(world: World, tmp_path: Path) -> None:
    """A committed dvc.lock whose outputs are nowhere is no obstacle, and the same seed writes the same bytes.

    With one LLM system, so that it does not take all day: the report is another one then, the metrics and curves are the same.
    """
    copy = tiny_world.clone(world, tmp_path / "clone", with_cache=False)
    copy.change_params(ONE_SYSTEM)
    copy.succeed("git", "rm", "-r", "--quiet", "metrics/tiny", "metrics/curves/tiny")
    copy.dvc("repro")
    copy.succeed("git", "add", "--all", "metrics/tiny", "metrics/curves/tiny")
    changes = copy.succeed("git", "diff", "--cached", "--name-status").splitlines()
    written = {path.name for path in (copy.root / "metrics" / "tiny" / "systems").iterdir()}
    assert written == {"sasrec-0", "llara-0", "fused-llara-0"}
    missing = [change for change in changes if any(f"/{cell}/" in change for cell in written)]
    assert missing == [], "\n".join(changes)
    assert [change for change in changes if not change.startswith("D")] == []


def test_another_schedule_re_runs_tuning_and_what_follows(world: World, tmp_path: Path) -> None:
    copy = tiny_world.clone(world, tmp_path / "clone", with_cache=True)
    copy.change_params({"run": {"baselines": [], "systems": ["zero_shot", "llara"]}})
    copy.commit("Two systems")
    copy.dvc("repro")
    output = copy.dvc("exp", "run", "--set-param", "curriculum.schedule=direct")
    # The untuned system has no curriculum, so its file stays as it is and nothing is answered again.
    assert cells_run(output, "tune") == cells_run(output, "predict_llm") == {"tiny-llara-0"}
    assert stages_run(output) == {"resolve", "gather_inputs", "tune", "predict_llm", "fuse", "evaluate", "report"}
    assert "schedule: direct" in (copy.root / "params.yaml").read_text()


def test_an_experiment_can_be_queued(world: World, tmp_path: Path) -> None:
    """It runs in a copy of the repository; a number that YAML 1.1 takes for text has to survive the way there."""
    copy = tiny_world.clone(world, tmp_path / "clone", with_cache=True)
    copy.change_params({"run": {"systems": [], "baselines": ["popularity"]}})
    copy.commit("Fewer systems")
    before = (copy.root / "params.yaml").read_text()
    copy.dvc("exp", "run", "--queue", "--name", "wider", "--set-param", "evaluation.confidence=9e-1")
    copy.dvc("exp", "run", "--run-all")
    shown = json.loads(copy.dvc("exp", "show", "--json"))
    experiments = [experiment for commit in shown for experiment in commit["experiments"] or []]
    assert [experiment["name"] for experiment in experiments] == ["wider"]
    assert experiments[0]["revs"][0]["error"] is None
    assert (copy.root / "params.yaml").read_text() == before


def test_metrics_plots_and_the_graph_can_be_shown(world: World, tmp_path: Path) -> None:
    shown = json.loads(world.dvc("metrics", "show", "--json"))
    names = next(iter(shown.values()))["data"]
    assert any(name.startswith("metrics/tiny/systems/llara-0") for name in names)
    assert "tune@" in world.dvc("dag", "--dot")
    world.dvc("plots", "show", "--out", str(tmp_path / "plots"))
    assert (tmp_path / "plots" / "index.html").stat().st_size > 0


def test_an_empty_axis_yields_no_stage(world: World, tmp_path: Path) -> None:
    copy = tiny_world.clone(world, tmp_path / "clone", with_cache=False)
    copy.change_params({"run": {"baselines": [], "recommenders": ["sasrec"], "systems": []}})
    stages = {line.split("@")[0] for line in copy.dvc("stage", "list", "--name-only").splitlines()}
    assert not stages & {"tune", "predict_llm", "predict_chat"}
    assert {"download", "train_recommender", "evaluate", "report"} <= stages
    copy.dvc("repro")
    assert {path.name for path in (copy.root / "metrics" / "tiny" / "systems").iterdir()} == {"sasrec-0"}


def test_a_chat_model_is_asked_and_measured_like_any_system(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tiny_world.clone(world, tmp_path / "clone", with_cache=True)
    monkeypatch.setenv("LLARA_CHAT_API_KEY", "sk-0123456789")
    with endpoint(lambda number, prompt: says("Nothing of the kind")) as server:
        copy.change_params({"run": {"chat_models": ["local"]}, "chat_models": {"local": {"base_url": server.url}}})
        output = copy.dvc("repro", "evaluate")
        assert stages_run(output) == {"resolve", "predict_chat", "fuse", "evaluate"}
        n_asked = len(server.sent)
        record = json.loads((copy.root / "metrics" / "tiny" / "systems" / "local" / "generate.json").read_text())
        assert record["test"]["valid_ratio"] == record["test"]["hit_ratio@1"] == 0
        assert n_asked == sum(record[split]["n_examples"] for split in ("validation", "test"))
        copy.dvc("repro", "--force", "--single-item", "predict_chat@tiny-local")
        assert len(server.sent) == n_asked  # answers are kept
    assert "sk-0123456789" not in "".join(
        path.read_text(errors="replace") for path in copy.root.rglob("*") if path.is_file() and ".git" not in path.parts
    )


def test_the_benchmark_of_the_language_model_runs(world: World) -> None:
    output = world.succeed(sys.executable, "-m", "benchmarks.llm_throughput", "tiny", "sasrec", "0", "--batches", "1")
    assert "rows/s" in output
    assert "queries/s" in output


def test_code_of_the_world_runs_not_that_of_this_repository(world: World) -> None:
    """An installed (editable) package must not win over a queued experiment's copy."""
    where = world.succeed(
        sys.executable, "-c", "import llara_core, pipeline; print(llara_core.__path__[0], pipeline.__path__[0])"
    )
    assert where.split() == [str(world.root / "llara_core"), str(world.root / "pipeline")]


def test_a_misspelt_key_stops_the_pipeline_with_one_message(llm: Path, tmp_path: Path) -> None:
    world = tiny_world.create(tmp_path / "world", llm)
    world.change_params({"recommenders": {"learning_rat": 1.0e-3}})
    answer = world.run(sys.executable, "-m", "dvc", "repro")
    assert answer.returncode != 0
    assert answer.stdout.count("recommenders.learning_rat: unknown key; did you mean 'learning_rate'?") == 1
    assert "Traceback" not in answer.stdout
    assert not (world.root / "data" / "raw" / "tiny").exists()
