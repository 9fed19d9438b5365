"""The real ``dvc.yaml``, run by the real ``dvc``, on a synthetic data set and a tiny random Llama."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tiny_world
from ruamel.yaml import YAML
from tiny_world import World, runs_of, stages_run

from llara_core.llm.adapters import adapter_sha256
from tests.helpers.chat import endpoint, says
from tests.helpers.llm import folder_hashes

pytestmark = pytest.mark.timeout(600)  # the first test waits for the whole pipeline
CONTINUES = "llara_guided_sdpo"  # from llara_guided
UP_TO_DATE = "Data and pipelines are up to date."


@pytest.fixture(scope="session")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llm") / "tiny-llama"
    tiny_world.write_tiny_llama(folder)
    return folder


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, llm: Path) -> World:
    """A world after its first ``dvc repro``, with committed results; tests change only clones of it."""
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
    files = list((world.root / "metrics" / "tiny" / "systems").glob("*/*.json"))
    run_names = {path.parent.name for path in files}
    assert {"popularity", "sasrec-0", *(f"{system}-0" for system in tiny_world.SYSTEMS)} <= run_names
    assert len({json.loads(path.read_text())["candidates"] for path in files}) == 1


def at_positions(world: World) -> dict[str, dict[str, Any]]:
    """Returns the metrics at further positions, by training run and mode."""
    files = (world.root / "metrics" / "tiny" / "systems").glob("*/positions/*.json")
    return {f"{path.parent.parent.name}/{path.stem}": json.loads(path.read_text()) for path in files}


def test_cheap_systems_also_answer_every_position(world: World) -> None:
    found = at_positions(world)
    assert {"popularity/score", "item_knn/score", "sasrec-0/score", "llara_compact-0/score"} <= set(found)
    # Systems whose prompts have candidates are not asked, and so not fused.
    with_candidates = ("zero_shot", "tallrec", "llara-", "llara_guided", "fused-llara_guided")
    assert [run_name for run_name in found if run_name.startswith(with_candidates)] == []
    (shared,) = {record["candidates"] for record in found.values()}
    last = json.loads((world.root / "metrics" / "tiny" / "systems" / "sasrec-0" / "score.json").read_text())
    assert shared != last["candidates"]
    statistics = json.loads((world.root / "metrics" / "tiny" / "statistics.json").read_text())
    for split in ("validation", "test"):
        every = statistics["interactions_per_split"][split] - statistics["users_per_split"][split]  # all except the first items
        assert found["sasrec-0/score"][split]["n_questions"] == every
        assert found["sasrec-0/score"][split]["n_users"] == last[split]["n_users"]
        assert last[split]["n_users"] < found["llara_compact-0/score"][split]["n_questions"] <= 10 * last[split]["n_users"]
    assert "At every position" in (world.root / "metrics" / "report.md").read_text(encoding="utf-8")


def test_language_models_answer_positions_without_effect_on_the_papers_protocol(world: World, tmp_path: Path) -> None:
    copy = tiny_world.clone(world, tmp_path / "clone", with_cache=True)
    copy.change_params(
        {
            "run": {"baselines": ["popularity"], "systems": ["llara_guided"]},
            "evaluation": {"positions": 2},
            "inference": {"max_positions": {"prompts": 1}},
        }
    )
    output = copy.dvc("repro")
    assert not stages_run(output) & {"train_recommender", "score_training", "tune"}
    found, before = at_positions(copy), at_positions(world)
    n_users = before["sasrec-0/score"]["test"]["n_users"]
    assert found["sasrec-0/score"]["test"]["n_questions"] == 2 * n_users
    for mode in ("generate", "score", "constrained"):
        assert found[f"llara_guided-0/{mode}"]["test"]["n_questions"] == n_users
    for run_name in ("popularity", "sasrec-0", "llara_guided-0"):
        for file in (world.root / "metrics" / "tiny" / "systems" / run_name).glob("*.json"):
            assert (copy.root / file.relative_to(world.root)).read_bytes() == file.read_bytes()
    assert "At 2 positions per user" in (copy.root / "metrics" / "report.md").read_text(encoding="utf-8")


def test_a_second_run_does_nothing(world: World) -> None:
    output = world.dvc("repro")
    assert stages_run(output) == set()
    assert UP_TO_DATE in output
    assert UP_TO_DATE in world.dvc("status")


def test_on_two_processes_a_stage_writes_the_same_files(world: World, tmp_path: Path) -> None:
    """Except for the machine that an adapter names; another number of processes re-runs nothing."""
    copy = tiny_world.clone(world, tmp_path / "two", with_cache=True)
    copy.change_params({"parallel": {"processes": 2}})
    assert UP_TO_DATE in copy.dvc("status")
    systems = copy.root / "data" / "systems" / "tiny"
    copy.dvc("unprotect", *(str(path) for path in systems.iterdir()))
    before = folder_hashes(systems)
    assert "tune: on 2 processes" in copy.succeed(sys.executable, "-m", "pipeline.tune", "tiny", "llara", "0")
    after = folder_hashes(systems)
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
    """A committed dvc.lock whose outputs are nowhere is no obstacle, and the same seed writes the same bytes, here with two
    stages at a time.

    With one LLM system, so that it does not take all day: the report is another one then, the metrics and curves are the same.
    """
    copy = tiny_world.clone(world, tmp_path / "clone", with_cache=False, hash_seed=1)
    copy.change_params(ONE_SYSTEM)
    copy.succeed("git", "rm", "-r", "--quiet", "metrics/tiny", "metrics/curves/tiny")
    locks = [YAML(typ="safe").load(copy.root / "dvc.lock")]
    copy.succeed(sys.executable, "-m", "pipeline.repro", "-j", "2")
    locks.append(YAML(typ="safe").load(copy.root / "dvc.lock"))
    # Without a system that shows scores, none are computed.
    before, after = (
        {name: stage["outs"] for name, stage in lock["stages"].items() if "-0" in name and "score_training" not in name}
        for lock in locks
    )
    assert "predict_llm@tiny-llara-0" in after
    assert after.items() <= before.items()
    copy.succeed("git", "add", "--all", "metrics/tiny", "metrics/curves/tiny")
    changes = copy.succeed("git", "diff", "--cached", "--name-status").splitlines()
    written = {path.name for path in (copy.root / "metrics" / "tiny" / "systems").iterdir()}
    assert written == {"sasrec-0", "llara-0", "fused-llara-0"}
    missing = [change for change in changes if any(f"/{run_name}/" in change for run_name in written)]
    assert missing == [], "\n".join(changes)
    assert [change for change in changes if not change.startswith("D")] == []


def test_another_schedule_re_runs_tuning_and_what_follows(world: World, tmp_path: Path) -> None:
    copy = tiny_world.clone(world, tmp_path / "clone", with_cache=True)
    before = (copy.root / "params.yaml").read_bytes()
    settings = ("-S", "curriculum.schedule=direct")
    dry = copy.succeed(sys.executable, "-m", "pipeline.repro", "--dry", *settings)
    assert (
        "curriculum.schedule: linear -> direct; reaches llara; llara_guided and llara_guided_sdpo set their own; "
        "zero_shot, tallrec and llara_compact make no use of it"
    ) in " ".join(dry.split())
    assert (copy.root / "params.yaml").read_bytes() == before
    output = copy.dvc("exp", "run", *settings)
    # The others have no curriculum or their own, so their files do not change, and nothing is tuned or answered again.
    assert runs_of(output, "tune") == runs_of(output, "predict_llm") == {"tiny-llara-0"}
    assert stages_run(output) == {
        "resolve",
        "gather_inputs",
        "tune",
        "gather_starts",
        "predict_llm",
        "fuse",
        "evaluate",
        "report",
    }
    assert "schedule: direct" in (copy.root / "params.yaml").read_text()
    listed = re.findall(r"^  (\w+)( tiny)?( llara 0)? +\d+ ", dry, flags=re.MULTILINE)
    assert {stage for stage, *_ in listed} == stages_run(output)
    assert {stage for stage, _, run_name in listed if run_name} == {"tune", "predict_llm"}
    assert "Nothing would run: " in copy.succeed(sys.executable, "-m", "pipeline.repro", "--dry")

    compared = copy.succeed(sys.executable, "-m", "pipeline.compare", "HEAD").splitlines()
    assert "curriculum.schedule: linear -> direct" in compared
    assert max(map(len, compared)) <= 100
    assert any(line.startswith("Unchanged: ") and "zero_shot" in line for line in compared)
    wide = [copy.dvc("metrics", *words) for words in (["show"], ["diff"])]
    assert max(len(line) for shown in wide for line in shown.splitlines()) <= 125


def test_recommendations_for_all_users_are_a_stage_and_every_stage_is_a_line(world: World, tmp_path: Path) -> None:
    copy = tiny_world.clone(world, tmp_path / "clone", with_cache=True)
    output = copy.succeed(sys.executable, "-m", "pipeline.repro", "-S", "run.recommend=[sasrec,popularity]")
    lines = re.findall(r"^ *\[(\d+)/(\d+)\] (.*?)  +\d+ s", output, flags=re.MULTILINE)
    n_stages = len(copy.dvc("stage", "list", "--name-only").splitlines())
    assert {int(total) for _, total, _ in lines} == {n_stages}
    assert {"recommend tiny sasrec 0", "recommend tiny popularity 0"} <= {command for _, _, command in lines}
    assert "HR@1" in output

    users = pd.read_parquet(copy.root / "data/prepared/tiny/users.parquet")
    for name in ("sasrec", "popularity"):
        table = pd.read_parquet(copy.root / "data/recommendations/tiny" / f"{name}-0.parquet")
        assert set(table["user"]) == set(users["raw_id"])
        assert set(table["rank"]) == set(range(1, 11))

    again = copy.succeed(sys.executable, "-m", "pipeline.repro")
    assert f"0 of {n_stages} stages ran in " in again
    assert (copy.root / "metrics/summary.txt").read_text(encoding="utf-8") in again


def test_the_output_of_a_failed_stage_is_printed(world: World, tmp_path: Path) -> None:
    copy = tiny_world.clone(world, tmp_path / "clone", with_cache=True)
    copy.change_params({"llm": {"model": str(tmp_path / "nowhere")}})
    answer = copy.run(sys.executable, "-m", "pipeline.repro", "fetch_llm")
    assert answer.returncode == 1
    assert "fetch_llm: error: " in answer.stdout
    assert "repro: error: fetch_llm failed; the output is above" in answer.stdout
    assert "Traceback" not in answer.stdout


def test_an_experiment_can_be_queued(world: World, tmp_path: Path) -> None:
    """It runs in a copy of the repository, where a number that YAML 1.1 reads as text must stay a number."""
    copy = tiny_world.clone(world, tmp_path / "clone", with_cache=True)
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
    assert "metrics/tiny/main/llara.json" in names
    assert "tune@" in world.dvc("dag", "--dot")
    world.dvc("plots", "show", "--out", str(tmp_path / "plots"))
    assert (tmp_path / "plots" / "index.html").stat().st_size > 0


def test_an_empty_list_yields_no_stage(world: World, tmp_path: Path) -> None:
    copy = tiny_world.clone(world, tmp_path / "clone", with_cache=True)
    copy.change_params({"run": {"baselines": [], "recommenders": ["sasrec"], "systems": []}})
    stages = {line.split("@")[0] for line in copy.dvc("stage", "list", "--name-only").splitlines()}
    assert not stages & {"tune", "predict_llm", "predict_chat"}
    assert {"download", "train_recommender", "evaluate", "report"} <= stages
    copy.dvc("repro", "evaluate")
    assert {path.name for path in (copy.root / "metrics" / "tiny" / "systems").iterdir()} == {"sasrec-0"}


def test_a_system_that_continues_from_another(world: World, tmp_path: Path) -> None:
    run_name = f"{CONTINUES}-0"
    further = world.root / "data/systems/tiny/further" / run_name
    metadata = json.loads((further / "adapter/adapter.json").read_text())
    assert metadata["objective"] == "preference"
    assert metadata["start"]["system"] == "llara_guided"
    assert metadata["start"]["sha256"] == adapter_sha256(world.root / "data/systems/tiny/adapters/llara_guided-0")
    for mode in ("generate", "constrained", "score"):
        found = json.loads((world.root / f"metrics/tiny/systems/{run_name}/{mode}.json").read_text())
        assert found["objective"] == "preference"
        assert found["test"]["n_examples"] > 0
    curve = further / "curves/plots/metrics/train/loss_preference.tsv"
    assert len(curve.read_text().splitlines()) == 1 + 16 // 8
    assert "16 prompts after those of llara_guided" in (world.root / "metrics/report.md").read_text()
    assert f"tiny {run_name} preference" in (world.root / "metrics/plots/llm_loss.tsv").read_text()

    copy = tiny_world.clone(world, tmp_path / "clone", with_cache=True)
    recommend = ("pipeline.recommend", "tiny", CONTINUES, "0", "--all-users", "--top", "2", "--out", "ranked.csv")
    copy.succeed(sys.executable, "-m", *recommend)
    assert len((copy.root / "ranked.csv").read_text().splitlines()) > 2

    def would_tune(setting: str) -> set[str]:
        listed = copy.succeed(sys.executable, "-m", "pipeline.repro", "--dry", "-S", setting)
        return set(
            re.findall(r"^  ((?:tune|predict)\w* tiny llara_guided\w* 0|tune\w* tiny \w+ 0) ", listed, flags=re.MULTILINE)
        )

    # A change of the system tunes it alone again; a change of the one it continues from tunes both and no other.
    own = would_tune(f"systems.yaml:systems.{CONTINUES}.tune.learning_rate=1e-5")
    assert own == {f"{stage} tiny {CONTINUES} 0" for stage in ("tune", "tune_further", "predict_llm")}
    both = would_tune("systems.yaml:systems.llara_guided.tune.max_examples=24")
    assert both == {
        *(f"{stage} tiny llara_guided 0" for stage in ("tune", "predict_llm")),
        *(f"{stage} tiny {CONTINUES} 0" for stage in ("tune_further", "predict_llm")),
    }
    copy.change_params({"systems": {"llara_guided": {"tune": {"max_examples": 24}}}})
    output = copy.dvc("repro", "tune_further")
    assert stages_run(output) == {"resolve", "gather_inputs", "tune", "gather_starts", "tune_further"}
    assert runs_of(output, "tune") == {"tiny-llara_guided-0"}
    assert runs_of(output, "tune_further") == {f"tiny-{run_name}"}

    copy.change_params({"systems": {CONTINUES: {"prompt": {"slot": "after"}}}})
    answer = copy.run(sys.executable, "-m", "pipeline.resolve")
    assert answer.returncode == 1
    assert (
        "systems.llara_guided_sdpo.prompt.slot is after, but before in llara_guided, from which it continues: " in answer.stdout
    )
    assert "Traceback" not in answer.stdout


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
        assert len(server.sent) == n_asked  # answers are cached
    assert "sk-0123456789" not in "".join(
        path.read_text(errors="replace") for path in copy.root.rglob("*") if path.is_file() and ".git" not in path.parts
    )


MODULE = '''
"""The last item of a chunk alone, from those before it."""

from dataclasses import replace

from llara_core.objectives.base import IGNORE
from llara_core.objectives.next_item import NextItem


class LastItem(NextItem):
    def encode(self, row, *context):
        encoded = super().encode(row, *context)
        last = max(place for place, label in enumerate(encoded.labels) if label != IGNORE)
        labels = [label if place == last else IGNORE for place, label in enumerate(encoded.labels)]
        return replace(encoded, labels=labels)
'''
TABLE = "OBJECTIVES: dict[str, ObjectiveTraits] = {\n"
REGISTRY = "OBJECTIVES: dict[str, Objective] = {\n"
LINE = '    "last_item": ObjectiveTraits(partner="generative", unit="chunks", reads_slot_after_title=True, needs_head=True),\n'


def test_an_objective_is_one_module_and_a_line_in_both_tables(world: World, tmp_path: Path) -> None:
    """CONTRIBUTING's recipe for an objective, followed to the letter, up to evaluated metrics."""
    copy = tiny_world.clone(world, tmp_path / "clone", with_cache=True)
    (copy.root / "llara_core" / "objectives" / "last_item.py").write_text(MODULE)
    table = copy.root / "llara_core" / "config" / "objectives.py"
    code = table.read_text()
    assert code.count(TABLE) == 1
    table.write_text(code.replace(TABLE, TABLE + LINE))
    registry = copy.root / "llara_core" / "objectives" / "registry.py"
    code = registry.read_text()
    assert code.count(REGISTRY) == 1
    code = code.replace(REGISTRY, REGISTRY + '    "last_item": LastItem(),\n')
    imported = "from llara_core.objectives.next_item import NextItem\n"
    registry.write_text(code.replace(imported, f"from llara_core.objectives.last_item import LastItem\n{imported}"))
    # A mixture, so that the batches of two objectives meet.
    toy = {"recommender": "sasrec", "tune": {"objective": "last_item", "mixture": 0.4, "max_examples": 40}}
    copy.change_params({"run": {"baselines": [], "systems": ["toy"]}, "systems": {"toy": toy}})

    copy.dvc("repro")
    metrics = json.loads((copy.root / "metrics/tiny/systems/toy-0/score.json").read_text())
    assert metrics["objective"] == "last_item"
    assert metrics["test"]["n_examples"] > 0
    assert 0 <= metrics["test"]["hit_ratio@1"] <= 1
    curves = copy.root / "metrics/curves/tiny/toy-0/plots/metrics/train"
    steps = {name: len((curves / f"loss_{name}.tsv").read_text().splitlines()) - 1 for name in ("last_item", "generative")}
    assert sum(steps.values()) == 40 // 8
    assert min(steps.values()) > 0

    copy.change_params({"systems": {"toy": {"tune": {"objective": "first_item"}}}})
    answer = copy.run(sys.executable, "-m", "pipeline.resolve")
    assert answer.returncode == 1
    assert "unknown objective 'first_item'; choose from ['generative', 'last_item', 'next_item'" in answer.stdout


def test_the_benchmark_of_the_language_model_runs(world: World) -> None:
    output = world.succeed(sys.executable, "-m", "benchmarks.llm_throughput", "tiny", "sasrec", "0", "--batches", "1")
    assert "rows/s" in output
    assert "queries/s" in output


def test_the_measurements_for_a_borrowed_card_run(world: World, tmp_path: Path) -> None:
    def measured(what: str) -> list[dict[str, Any]]:
        command = ("benchmarks.gpu_campaign", what, str(tmp_path), "--dataset", "tiny", "--minutes", "0.01")
        world.succeed(sys.executable, "-m", *command)
        return [json.loads(line) for line in (tmp_path / f"{what}.jsonl").read_text().splitlines()]

    # From and to the 32 hidden and 64 intermediate dimensions of the tiny Llama.
    products = measured("ceiling")
    assert {(each["in"], each["out"]) for each in products} <= {(32, 32), (32, 64), (64, 32)}
    assert all(each["tflops"] > 0 for each in products)
    first, *_ = measured("tuning")
    assert (first["rows"], first["gradient_checkpointing"]) == (1, False)
    assert first["tokens_per_s"] > first["rows_per_s"] > 0  # a prompt has many tokens


def test_measurements_with_other_parameters_are_not_reused(world: World, tmp_path: Path) -> None:
    (tmp_path / "stages.json").write_text(json.dumps({"params": "others", "seconds": {}}))
    answer = world.run(sys.executable, "-m", "benchmarks.gpu_campaign", "protocol", str(tmp_path))
    assert answer.returncode == 1
    assert "these stages ran with other parameters" in answer.stdout


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
