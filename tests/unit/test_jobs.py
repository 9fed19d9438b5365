"""The schedule of concurrent stages, and the output of running ones."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline.jobs import Reproduction, Schedule, sort_lock

# Two recommenders, one of them with scores, and two language models that depend on all of these.
BEFORE: dict[str, set[str]] = {
    "train_a": set(),
    "train_b": set(),
    "score_b": {"train_b"},
    "gather": {"train_a", "score_b"},
    "tune_a": {"gather"},
    "tune_b": {"gather"},
    "report": {"tune_a", "tune_b"},
}
SECONDS = {"train_a": 5.0, "train_b": 4.0, "score_b": 6.0, "gather": 1.0, "tune_a": 2.0, "tune_b": 9.0, "report": 1.0}


def schedule(
    jobs: int = 2, before: Mapping[str, set[str]] = BEFORE, memory_gb: float = 8.0, gigabytes: Mapping[str, float] | None = None
) -> Schedule:
    made = Schedule(before, jobs, memory_gb)
    made.expect(SECONDS, gigabytes or dict.fromkeys(SECONDS, 1.0))
    return made


def test_the_longest_chain_comes_first() -> None:
    stages = schedule()
    assert (stages.start(), stages.start(), stages.start()) == ("train_b", "train_a", None)
    stages.finish("train_b")
    assert stages.start() == "score_b"
    stages.finish("train_a")
    assert stages.start() is None  # a job is free, but `gather` needs the scores, too
    stages.finish("score_b")
    assert (stages.start(), stages.start()) == ("gather", None)
    stages.finish("gather")
    assert (stages.start(), stages.start()) == ("tune_b", "tune_a")
    stages.finish("tune_a")
    stages.finish("tune_b")
    assert stages.start() == "report"
    assert stages.running == {"report"}


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_every_stage_runs_once_and_after_its_dependencies(jobs: int) -> None:
    stages, done = schedule(jobs), list[str]()
    while True:
        while stages.start() is not None:
            pass
        assert len(stages.running) <= jobs
        if not stages.running:
            break
        name = min(stages.running)
        assert BEFORE[name] <= set(done)
        stages.finish(name)
        done.append(name)
    assert sorted(done) == sorted(BEFORE)


def test_stages_that_do_not_run_block_none() -> None:
    stages = schedule(before={"tune_a": {"gather"}, "report": {"tune_a", "tune_b"}})
    assert (stages.start(), stages.start()) == ("tune_a", None)


def test_without_enough_memory_one_stage_runs_at_a_time() -> None:
    before: dict[str, set[str]] = {"tune_a": set(), "tune_b": set(), "train_a": set()}
    of_each = {**dict.fromkeys(SECONDS, 1.0), "tune_a": 1.5, "tune_b": 20.0}
    stages = schedule(before=before, memory_gb=2.0, gigabytes=of_each)
    assert (stages.start(), stages.start()) == (
        "tune_b",
        None,
    )  # a single stage may always run, since the estimate may be wrong
    stages.finish("tune_b")
    assert (stages.start(), stages.start()) == ("train_a", None)
    # `train_a` fits into memory with `tune_b`, and `tune_a` does not.
    assert schedule(before=before, memory_gb=21.0, gigabytes=of_each).rest_s({}) == 9 + 2


def test_the_remaining_time_is_that_of_the_last_stage() -> None:
    assert schedule(1).rest_s({}) == sum(SECONDS.values())
    stages = schedule()
    assert stages.rest_s({}) == 4 + 6 + 1 + 9 + 1
    assert {stages.start(), stages.start()} == {"train_b", "train_a"}
    assert stages.rest_s({"train_b": 1.0, "train_a": 8.0}) == 8 + 1 + 9 + 1  # `score_b` ends after 7 s
    assert stages.start() is None  # the simulation has started nothing
    assert stages.running == {"train_a", "train_b"}


def test_lines_and_states_of_a_bar_are_read_at_once() -> None:
    output, to_write = os.pipe()
    stage = Reproduction(output, lambda: 3)
    os.write(to_write, b"start\n 10%|\r 20%|\rcaf\xc3")  # ends within a character
    assert stage.read() == (["start\n", " 10%|\r", " 20%|\r"], None)
    os.write(to_write, b"\xa9")
    assert stage.read() == ([], None)
    os.close(to_write)
    assert stage.read() == (["café\n"], 3)


def test_the_lock_has_the_order_of_the_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    Path(".dvc").mkdir()
    Path(".dvc/config").write_text("[core]\n    no_scm = true\n")
    Path("dvc.yaml").write_text("stages:\n  b:\n    cmd: b\n  a:\n    cmd: a\n")
    Path("dvc.lock").write_text("schema: '2.0'\nstages:\n  a:\n    cmd: a\n  gone:\n    cmd: gone\n  b:\n    cmd: b\n")
    sort_lock()
    lock = Path("dvc.lock").read_text()
    assert re.findall(r"^  (\w+):\n    cmd: \1$", lock, flags=re.MULTILINE) == ["b", "a", "gone"]
    assert lock.startswith("schema: '2.0'\n")
