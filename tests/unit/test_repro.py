"""What ``make repro`` shows of a run: a line per stage, the expected rest, and all of what went wrong."""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
import time
from pathlib import Path

import pytest

from llara_core import paths, tables
from llara_core.errors import ConfigError, LlaraError
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


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("run.datasets=movielens", r"run\.datasets: is 'movielens', which is no list; write \[movielens\]"),
        (
            "run.datasets=[movielen]",
            r"run\.datasets names \['movielen'\], but `datasets` defines only \['amazon_games', 'lastfm', 'movielens', ",
        ),
        ("tune.epoch=3", r"-S tune\.epoch=3: Could not override 'tune\.epoch'; write it as .*, with a key of params\.yaml$"),
        ("run.datasets=[movielens", r"-S run\.datasets=\[movielens: .*; write it as key=value or 'key=\[value,value\]'"),
        ("tune.epochs=0", r"tune\.epochs: Input should be greater than or equal to 1, got 0"),
    ],
)
def test_a_wrong_setting_is_refused_before_dvc_sees_it(
    setting: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    before = Path("params.yaml").read_bytes()
    with pytest.raises(ConfigError, match=f"(?s){message}") as caught:
        repro.check_params([setting])
    assert str(caught.value).startswith(("params.yaml: ", "-S "))
    assert Path("params.yaml").read_bytes() == before


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


def test_right_settings_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    repro.check_params(["run.datasets=[lastfm,movielens]", "tune.epochs=1"])
