"""Output of ``make repro``: a line per stage, the remaining time, and the full output of failed stages."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer

from llara_core import paths, tables
from llara_core.config import load_params
from llara_core.errors import LlaraError
from pipeline import costs, repro
from pipeline.jobs import Reproduction
from tests.helpers.params import copy_params

REPOSITORY = Path(__file__).parents[2]
COMMANDS = {
    "resolve": "python -m pipeline.resolve",
    "tune@d-llara-0": "python -m pipeline.tune d llara 0",
    "report": "python -m pipeline.report",
}


BEFORE: dict[str, set[str]] = {"resolve": set(), "tune@d-llara-0": {"resolve"}, "report": {"tune@d-llara-0"}}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with parameters and a record of 90 seconds for the report."""
    copy_params(tmp_path)
    monkeypatch.chdir(tmp_path)
    tables.write_json(repro.SECONDS, {"report": 90.0})


def says(**code: str) -> Callable[[str], Reproduction]:
    """Starts processes that run a line of code instead of DVC and a stage; ``<stage>.ended`` marks their end."""

    def start(stage: str) -> Reproduction:
        lines = f"import sys, time\nsay = lambda text: print(text, flush=True)\nruns = \"Running stage '{stage}':\"\n"
        command = [sys.executable, "-Ic", lines + code[stage.partition("@")[0]]]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert process.stdout is not None
        output = os.dup(process.stdout.fileno())
        process.stdout.close()

        def wait() -> int:
            code = process.wait()
            Path(f"{stage.partition('@')[0]}.ended").touch()
            return code

        return Reproduction(output, wait)

    return start


def follow(start: Callable[[str], Reproduction], jobs: int = 1, before: dict[str, set[str]] | None = None) -> repro.Follower:
    """Follows three stages to the end; by default, each depends on the previous one."""
    with Path("log").open("w", encoding="utf-8") as log:
        follower = repro.Follower(repro.Todo(COMMANDS, before or BEFORE, len(COMMANDS)), jobs, log, start)
        follower.follow()
    return follower


def finished(shown: str) -> list[str]:
    """Returns the stages that have a line, in order."""
    return [line.split()[1] for line in shown.splitlines() if line.endswith(" s") or " s  " in line]


@pytest.mark.usefixtures("here")
def test_a_stage_is_a_line_with_number_time_and_remaining_time(capsys: pytest.CaptureFixture[str]) -> None:
    follower = follow(
        says(
            resolve="say(\"Stage 'resolve' didn't change, skipping\")",
            tune="say(runs); sys.stderr.write('\\rtune:  40%|####      | 2/5')",
            report="say(runs); say('report: done in 0.1 s')",
        )
    )
    assert not follower.failed
    tune, report = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r" +\[2/3\] tune d llara 0 +\d+ s  about 2 min left", tune)
    assert re.fullmatch(r" +\[3/3\] report +\d+ s", report)
    assert (follower.n_run, follower.n_unchanged) == (2, 1)
    assert "report | report: done in 0.1 s\n" in Path("log").read_text()
    assert set(json.loads(repro.SECONDS.read_text())) == {"tune@d-llara-0", "report"}


@pytest.mark.usefixtures("here")
def test_a_failed_stage_has_no_line_and_all_its_output_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    follower = follow(says(resolve="say(runs)", tune="say(runs); say('tune: error: out of memory'); sys.exit(255)"))
    assert finished(capsys.readouterr().out) == ["resolve"]
    assert follower.failed == {"tune@d-llara-0": "Running stage 'tune@d-llara-0':\ntune: error: out of memory\n"}
    assert "tune@d-llara-0" not in json.loads(repro.SECONDS.read_text())


INDEPENDENT: dict[str, set[str]] = {"resolve": set(), "tune@d-llara-0": set(), "report": {"resolve"}}
WAITS_FOR_TUNE = "import pathlib\nsay(runs)\nwhile not pathlib.Path('tune.ended').exists(): time.sleep(0.01)\n"


@pytest.mark.usefixtures("here")
def test_if_a_stage_fails_the_running_one_is_finished_and_none_starts(capsys: pytest.CaptureFixture[str]) -> None:
    follower = follow(says(resolve=WAITS_FOR_TUNE, tune="say(runs); sys.exit(1)"), 2, INDEPENDENT)  # no code for `report`
    assert set(follower.failed) == {"tune@d-llara-0"}
    assert finished(capsys.readouterr().out) == ["resolve"]


@pytest.mark.usefixtures("here")
def test_an_interrupt_waits_for_running_stages_and_starts_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal also interrupts the stages, which end."""
    started: list[str] = []

    def interrupted(*_: object) -> None:
        Path("tune.ended").touch()
        raise KeyboardInterrupt

    def start(stage: str) -> Reproduction:
        started.append(stage)
        return says(resolve=f"{WAITS_FOR_TUNE}sys.exit(1)", tune=f"{WAITS_FOR_TUNE}say('the last words')")(stage)

    monkeypatch.setattr(repro.select, "select", interrupted)
    with pytest.raises(typer.Exit) as ended:
        follow(start, 2, INDEPENDENT)
    assert ended.value.exit_code == 130
    assert started == ["resolve", "tune@d-llara-0"]
    assert "the last words" in Path("log").read_text()
    assert "Stopped. Finished stages are kept" in capsys.readouterr().err


def stage_of(seconds: float, *, is_known: bool = False, ran_s: float = 999.0) -> repro.Running:
    """Returns a stage that has been running for ``ran_s`` and is expected to take ``seconds``."""
    command = "python -m pipeline.train_recommender movielens gru4rec 0"
    running = repro.Running("[45/145]", command, Reproduction(-1, int), seconds, is_known=is_known)
    running.started = time.monotonic() - ran_s
    running.note("Epochs: 100%|####|")
    return running


def test_a_line_fits_the_screen() -> None:
    assert stage_of(0.0).line(12 * 60.0).endswith("100%  999 s  about 12 min left")
    assert len(stage_of(0.0).line(12 * 60.0)) <= 80
    assert stage_of(900.0, is_known=True).line(12 * 60.0).endswith("100%  999 s  about 12 min left")  # within the margin
    late = stage_of(600.0, is_known=True)
    assert late.line(12 * 60.0).endswith("100%  999 s  longer than expected")
    assert len(late.line(12 * 60.0)) <= 80
    unknown = stage_of(600.0)  # without an estimate, the progress decides: 999 s for 75 %
    unknown.note("tuning:  75% of the stage|")
    assert unknown.rest_s() == pytest.approx(333, abs=0.1)
    assert " 75%  999 s  about 6 min left " in unknown.line(unknown.rest_s())


def test_a_stage_has_one_percentage_and_names_its_phase() -> None:
    """Bars of libraries are printed between those of the stage."""
    printed = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys\n"
            "from tqdm import tqdm\n"
            "from llara_core.runtime import progress\n"
            "with progress.stage():\n"
            "    with progress.phase('loading', 0, 0.2):\n"
            "        list(tqdm(range(2), desc='Loading weights'))\n"
            "    with progress.phase('', 0.2, 1), progress.phase('answering', 0, 0.5):\n"
            "        with progress.bar(4, desc='a', unit='b') as bar:\n"
            "            bar.update(2)\n"
            "        progress._open[0].shown.refresh()\n",
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
        env={name: value for name, value in os.environ.items() if name != "TQDM_DISABLE"},  # a test of a service sets it
    ).stderr
    shown, running = [], repro.Running("", "", Reproduction(-1, int), 0.0, is_known=False)
    for line in re.split(r"(?<=[\r\n])", printed):
        running.note(line)
        shown.append((running._phase, running._percent))
    percentages = [int(percent.rstrip("%")) for _, percent in shown if percent]
    assert percentages == sorted(percentages)  # the bar of the weights, which reaches 100 %, is ignored
    assert ("loading", "0%") in shown
    assert ("answering", "40%") in shown  # 0.2 + 0.8 x 0.5 x 2/4
    assert running.line(0.0).endswith("  answering")


def test_several_bars_give_a_stage_no_percentage() -> None:
    running = stage_of(0.0)
    for line in ("Convert:   0%|", "Convert:  41%|", "Convert: 100%|"):
        running.note(line)
        assert "%" not in running.line(0.0)


def test_a_second_run_is_refused_while_the_first_is_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    repro.refuse_a_second_run()
    repro.RUNNING.parent.mkdir(parents=True)
    ended = subprocess.Popen([sys.executable, "-c", "", "dvc"])
    ended.wait()
    said = r"another run is active .*\(process \d+: python -m pipeline.repro report\)"
    with subprocess.Popen([sys.executable, "-c", "input()", "pipeline.repro"], stdin=subprocess.PIPE) as active:
        for pid, message in ((ended.pid, None), (os.getpid(), None), (active.pid, said)):  # the second is not a DVC process
            owner = {"pid": pid, "cmd": "/here/pipeline/repro.py report"}
            repro.RUNNING.write_text(json.dumps({"write": {"/data": owner}, "read": {"/code": [owner]}}))
            with pytest.raises(LlaraError, match=message) if message else contextlib.nullcontext():
                repro.refuse_a_second_run()
        active.communicate(b"\n")


def test_unrecorded_stages_are_estimated_from_the_size_of_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy_params(tmp_path)
    monkeypatch.chdir(tmp_path)
    commands = {
        "train": "python -m pipeline.train_recommender movielens sasrec 0",
        "tune": "python -m pipeline.tune movielens llara_guided 0",
        "fuse": "python -m pipeline.fuse movielens",
    }
    params = load_params()
    seconds, gigabytes = repro.expected(commands, {"tune": 7.0}, params)
    assert seconds == {"train": repro.SMALL_S, "tune": 7.0, "fuse": repro.SMALL_S}
    assert set(gigabytes.values()) == {repro.SMALL_GB}
    statistics = {"items": 1574, "interactions": 82520, "examples_per_split": {"train": 67635, "validation": 94, "test": 95}}
    tables.write_json(paths.statistics("movielens"), statistics)
    paths.LLM.mkdir(parents=True)
    (paths.LLM / "model.safetensors").write_bytes(bytes(10**6))
    expected, gigabytes = repro.expected(commands, {}, params)
    assert gigabytes["tune"] == pytest.approx(1.501)  # with the model, of 1 MB
    assert gigabytes["train"] == pytest.approx(0.71)  # the formula of costs.py
    assert expected["train"] == pytest.approx(
        4 + 20 * 67635 * (costs.TRAIN_S_PER_POSITION + costs.TRAIN_S_PER_LOGIT * 1574), abs=0.1
    )
    assert expected["tune"] == pytest.approx(20 + costs.PROMPT_S * 512, abs=0.1)  # a budget over all epochs
    assert expected["fuse"] == repro.SMALL_S


def test_a_local_model_whose_files_changed_is_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy_params(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(b"first")
    calls: list[list[str]] = []
    failures: list[LlaraError] = []
    report = repro.Todo({"report": ""}, {"report": set()}, 0)

    def run_stages(todo: repro.Todo, *_: object) -> SimpleNamespace:
        calls.append([*todo.commands])
        if failures:
            raise failures.pop()
        return SimpleNamespace(n_run=0, n_unchanged=1)

    def run(*settings: str) -> list[list[str]]:
        calls.clear()
        repro.main(["report"], list(settings))
        return list(calls)

    monkeypatch.setattr(repro, "run_stages", run_stages)
    monkeypatch.setattr(repro, "find_todo", lambda targets: report)
    monkeypatch.setattr(repro, "save_experiment", lambda targets, log: calls.append(["exp run", *targets]))
    as_ever, fetch, experiment = [["report"]], ["fetch_llm"], ["exp run", "report"]
    assert run() == as_ever  # embedded models have no files
    named = f"llm.model={tmp_path / 'model'}"
    assert run(named) == [*as_ever, experiment]
    assert str(tmp_path / "model") in Path("params.yaml").read_text()
    weights.write_bytes(b"second")
    failures.append(LlaraError("no space left"))
    with pytest.raises(LlaraError):
        run()
    assert calls == [fetch]  # tried again after a failure
    assert run() == [fetch, *as_ever]
    assert f"The files in {tmp_path / 'model'} have changed" in capsys.readouterr().out
    assert run() == as_ever


@pytest.mark.parametrize("error", [LlaraError("`python -m pipeline.resolve` failed"), KeyboardInterrupt()])
def test_a_dry_run_that_fails_leaves_no_copy(error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def plan(settings: object, targets: object) -> repro.Todo:
        (repro.COPY / "data").mkdir(parents=True)
        (repro.COPY / "data" / "link").touch()
        raise error

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(repro, "plan", plan)
    with pytest.raises(type(error)):
        list(repro.what_would_run([], [], 1))
    assert not repro.COPY.exists()
