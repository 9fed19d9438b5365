"""What ``make repro`` shows of a run: a line per stage, the expected rest, and all of what went wrong."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llara_core import paths, tables
from llara_core.errors import LlaraError
from pipeline import repro

REPOSITORY = Path(__file__).parents[2]
COMMANDS = {
    "resolve": "python -m pipeline.resolve",
    "tune@d-llara-0": "python -m pipeline.tune d llara 0",
    "report": "python -m pipeline.report",
}


@pytest.fixture
def follower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> repro.Follower:
    """Of three stages, of which the last took 90 seconds before."""
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(repro, "commands_in_order", lambda targets: dict(COMMANDS))
    tables.write_json(repro.SECONDS, {"report": 90.0})
    return repro.Follower([])


def dvc(code: str) -> list[str]:
    """A process that prints what DVC would."""
    return [sys.executable, "-c", f"import sys, time\nsay = lambda text: print(text, flush=True)\n{code}"]


def test_a_stage_is_a_line_with_its_number_time_and_the_expected_rest(
    follower: repro.Follower, capsys: pytest.CaptureFixture[str]
) -> None:
    log = io.StringIO()
    code = follower.follow(
        dvc(
            'say("WARNING: No file hash info found")\n'
            "say(\"Stage 'resolve' didn't change, skipping\")\n"
            "say(\"Running stage 'tune@d-llara-0':\")\n"
            "say('> python -m pipeline.tune d llara 0')\n"
            "sys.stderr.write('\\rtune:  40%|####      | 2/5')\n"
            "say(\"\\nRunning stage 'report':\")\n"
            "say('report: done in 0.1 s')\n"
        ),
        log,
    )
    assert code == 0
    tune, report = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r" +\[2/3\] tune d llara 0 +\d+ s  about 2 min left", tune)
    assert re.fullmatch(r" +\[3/3\] report +\d+ s", report)
    assert (follower.n_run, follower.n_unchanged) == (2, 1)
    assert "report: done in 0.1 s" in log.getvalue()
    assert set(json.loads(repro.SECONDS.read_text())) == {"tune@d-llara-0", "report"}


def test_a_failed_stage_has_no_line_and_all_its_output_is_kept(
    follower: repro.Follower, capsys: pytest.CaptureFixture[str]
) -> None:
    code = follower.follow(
        dvc(
            "say(\"Running stage 'resolve':\")\n"
            "say('resolve: done in 0.1 s')\n"
            "say(\"Running stage 'tune@d-llara-0':\")\n"
            "say('tune: error: out of memory')\n"
            "say(\"ERROR: failed to reproduce 'tune@d-llara-0'\")\n"
            "sys.exit(255)\n"
        ),
        io.StringIO(),
    )
    assert code == 255
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["resolve"]
    assert follower.output == [
        "Running stage 'tune@d-llara-0':\n",
        "tune: error: out of memory\n",
        "ERROR: failed to reproduce 'tune@d-llara-0'\n",
    ]
    assert "tune@d-llara-0" not in json.loads(repro.SECONDS.read_text())


def test_a_line_fits_the_screen(follower: repro.Follower) -> None:
    follower._commands = {str(number): "" for number in range(100)}
    follower._n_stages, follower._command, follower._percent = 145, "train_recommender movielens gru4rec 0", "100%"
    follower._began, follower._rest_s = time.monotonic() - 999.0, 12 * 60.0
    assert follower._line().endswith("100%  999 s  about 12 min left")
    assert len(follower._line()) <= 80
    follower._own_s, follower._is_known = 900.0, True
    assert follower._line().endswith("100%  999 s  about 12 min left")  # within what a machine varies
    follower._own_s = 600.0
    assert follower._line().endswith("100%  999 s  longer than expected")
    assert len(follower._line()) <= 80
    follower._is_known = False  # nobody knew how long it takes, but it tells how far it is: 999 s for 75 %
    follower._phase, follower._percent, follower._rest_s = "tuning", "75%", 0.0
    assert " 75%  999 s  about 6 min left " in follower._line()


def test_a_stage_has_one_percentage_and_names_its_phase(follower: repro.Follower) -> None:
    """As the progress of a stage is printed, with the bars of libraries between."""
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
    shown = []
    for line in re.split(r"(?<=[\r\n])", printed):
        follower._note_progress(line)
        shown.append((follower._phase, follower._percent))
    percentages = [int(percent.rstrip("%")) for _, percent in shown if percent]
    assert percentages == sorted(percentages)  # the bar of the weights, which goes to 100 %, counts for nothing
    assert ("loading", "0%") in shown
    assert ("answering", "40%") in shown  # 0.2 + 0.8 x 0.5 x 2/4
    follower._command = "predict_llm movielens llara 0"
    assert follower._line().endswith("  answering")


def test_a_second_run_is_refused_while_the_first_is_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    repro.refuse_a_second_run()
    repro.RUNNING.parent.mkdir(parents=True)
    ended = subprocess.Popen([sys.executable, "-c", "", "dvc"])
    ended.wait()
    said = r"another run is active .*\(process \d+: dvc repro\)"
    with subprocess.Popen([sys.executable, "-c", "input()", "dvc"], stdin=subprocess.PIPE) as active:
        for pid, message in ((ended.pid, None), (os.getpid(), None), (active.pid, said)):  # the second is no process of DVC
            owner = {"pid": pid, "cmd": "/site-packages/dvc/__main__.py repro"}
            repro.RUNNING.write_text(json.dumps({"write": {"/data": owner}, "read": {"/code": [owner]}}))
            with pytest.raises(LlaraError, match=message) if message else contextlib.nullcontext():
                repro.refuse_a_second_run()
        active.communicate(b"\n")


def test_what_was_not_measured_is_estimated_from_the_size_of_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    commands = {
        "train": "python -m pipeline.train_recommender movielens sasrec 0",
        "tune": "python -m pipeline.tune movielens llara_guided 0",
        "fuse": "python -m pipeline.fuse movielens",
    }
    assert repro.expected_seconds(commands, {"tune": 7.0}) == {"train": repro.SMALL_S, "tune": 7.0, "fuse": repro.SMALL_S}
    statistics = {"items": 1574, "interactions": 82520, "examples_per_split": {"train": 67635, "validation": 94, "test": 95}}
    tables.write_json(paths.statistics("movielens"), statistics)
    expected = repro.expected_seconds(commands, {})
    assert expected["train"] == pytest.approx(4 + 20 * 67635 * (19e-6 + 13e-9 * 1574), abs=0.1)  # as costs.py has it
    assert expected["tune"] == pytest.approx(20 + 0.09 * 1792, abs=0.1)  # a budget over all epochs
    assert expected["fuse"] == repro.SMALL_S


def test_a_local_model_whose_files_changed_is_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(b"first")
    calls: list[list[str]] = []
    codes: list[int] = []

    def follow(_: repro.Follower, command: list[str], log: object) -> int:
        calls.append(command[3:])
        return codes.pop() if codes else 0

    def run(*settings: str) -> list[list[str]]:
        calls.clear()
        repro.main(["report"], list(settings))
        return list(calls)

    monkeypatch.setattr(repro.Follower, "follow", follow)
    as_ever, fetch = [["repro", "report"]], ["repro", "--force", "--single-item", "fetch_llm"]
    assert run() == as_ever  # embedded: nothing to look at
    named = f"llm.model={tmp_path / 'model'}"
    once = [["exp", "run", "-S", named, "report"]]
    assert run(named) == run(named) == once
    weights.write_bytes(b"second")
    assert run(named) == once  # params.yaml still names the embedded one
    text = Path("params.yaml").read_text().replace("embedded:smollm2-135m-instruct", str(tmp_path / "model"))
    Path("params.yaml").write_text(text)
    codes.append(1)
    with pytest.raises(LlaraError):
        run()
    assert calls == [fetch]  # it failed, and so is tried again
    assert run() == [fetch, *as_ever]
    assert f"The files in {tmp_path / 'model'} have changed" in capsys.readouterr().out
    assert run() == as_ever
