"""One system on several processes: the same rows, the same adapter, the same answers, and one readable error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from llara_core import tables
from llara_core.config import LlmConfig, ParallelConfig
from llara_core.errors import ConfigError, ModelError
from llara_core.llm import adapters, loading
from llara_core.runtime import processes
from llara_core.tuning.trainer import micro_batches_per_step
from tests.helpers import several
from tests.helpers.llm import LLM, folder_hashes, system_config

REPOSITORY = Path(__file__).parents[3]

# Every step has two micro-batches of two rows, one for each of two processes. The sum of two gradients does not depend on their
# order.
ONE_EACH = {
    "generative": {"lora": {"dropout": 0.3}},
    "mixed": {"lora": {"dropout": 0.3}, "tune": {"mixture": 0.5, "warm_start_rows": 4}},
    "preference": {"start": "start", "tune": {"objective": "preference"}},  # continues from "start", which is tuned first
    "sharded": {"tune": {"objective": "next_item", "gradient_checkpointing": True}},
}
# With four micro-batches per step, floats are added in another order.
TWO_EACH = {"tune": {"batch_size": 8, "max_examples": 48}}


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "NO_COLOR": "1", "COLUMNS": "200"}


def _start(n: int, llm: Path, root: Path, jobs: list[dict[str, Any]]) -> subprocess.CompletedProcess[str]:
    """Runs jobs on ``n`` processes."""
    for job in jobs:
        Path(job["folder"]).mkdir(parents=True, exist_ok=True)
    (root / "jobs.json").write_text(json.dumps(jobs))
    command = [sys.executable, "-m", "tests.helpers.several", str(n), llm, root / "jobs.json"]
    return subprocess.run(command, cwd=REPOSITORY, env=_environment(), capture_output=True, text=True, check=False)


class KilledError(Exception):
    """Stands for a kill signal."""


def _killed(*_: int) -> None:
    raise KilledError


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the runs: ``alone/<name>`` on one process, ``two/<name>`` on two."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def alone(tiny_llama: Path, root: Path) -> Path:
    for name, config in {**ONE_EACH, "two_each": TWO_EACH}.items():
        (root / "alone" / name).mkdir(parents=True)
        several.do({"folder": str(root / "alone" / name), "config": config}, tiny_llama)
    return root / "alone"


@pytest.fixture(scope="module")
def two(tiny_llama: Path, root: Path) -> Path:
    """The same runs, and two that change the number of processes after they are killed, in either direction."""
    resumed, killed = ({"folder": str(root / "two" / name), "config": ONE_EACH["generative"]} for name in ("resumed", "killed"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "kill", _killed)
        with pytest.raises(KilledError):
            several.do({**resumed, "kill_at": 18}, tiny_llama)
    jobs = [
        {"folder": str(root / "two" / name), "config": config, "weights": "sharded" if name == "sharded" else "replicated"}
        for name, config in {**ONE_EACH, "two_each": TWO_EACH}.items()
    ]
    answer = _start(2, tiny_llama, root, [*jobs, resumed, {**killed, "kill_at": 22}])
    assert answer.returncode != 0, answer.stderr[-5000:]  # one process was killed, and the other then lost its connection
    assert not (root / "two" / "killed" / "adapter").exists()
    several.do(killed, tiny_llama)
    return root / "two"


def _rows(folder: Path) -> list[list[int]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("rows-*.json"))]


def test_a_step_trains_the_same_rows_whoever_trains_them(alone: Path, two: Path) -> None:
    """Processes take micro-batches in turn: of eight rows, the first of two processes has 0, 1, 4 and 5."""
    assert _rows(alone / "two_each") == [list(range(48))]
    assert _rows(two / "two_each") == [[row for row in range(48) if row // 2 % 2 == process] for process in range(2)]


@pytest.mark.parametrize("name", list(ONE_EACH))
def test_two_processes_give_the_bytes_of_one(alone: Path, two: Path, name: str) -> None:
    """Adapter, curves and answers are equal with dropout, rows of two objectives, and sharded weights."""
    for part in ("curves", "answers"):
        assert folder_hashes(two / name / part) == folder_hashes(alone / name / part)
    files = folder_hashes(alone / name / "adapter")
    others = {file for file, digest in folder_hashes(two / name / "adapter").items() if files[file] != digest}
    assert others == {adapters.METADATA_FILE}
    metadata = [tables.read_json(run / name / "adapter" / adapters.METADATA_FILE) for run in (alone, two)]
    assert metadata[1] == {**metadata[0], "hardware": f"{metadata[0]['hardware']}, 2 processes"}


def test_more_than_two_micro_batches_differ_only_by_rounding(alone: Path, two: Path) -> None:
    for file in (adapters.LORA_FILE, adapters.MODULES_FILE):
        expected, shared = (load_file(runs / "two_each" / "adapter" / file) for runs in (alone, two))
        for name, tensor in expected.items():
            # Adam turns rounding noise of gradients near zero into steps: a share of one step of 1e-2.
            torch.testing.assert_close(shared[name], tensor, rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", ["resumed", "killed"])
def test_a_killed_run_resumes_with_another_number_of_processes(alone: Path, two: Path, name: str) -> None:
    """From one process to two, and from two to one after one of the two was killed."""
    whole, files = (folder_hashes(run / "adapter") for run in (alone / "generative", two / name))
    for file in (adapters.LORA_FILE, adapters.MODULES_FILE):
        assert files[file] == whole[file]
    assert folder_hashes(two / name / "curves") == folder_hashes(alone / "generative" / "curves")
    # From step 4, or from step 2 if the first process was stopped before it had written the checkpoint of step 4.
    assert min(row for rows in _rows(two / name) for row in rows) in (8, 16)


def test_indivisible_batches_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    tune = system_config(tune={"batch_size": 12, "micro_batch_size": 2}).tune
    for n, micro_batches in {1: 6, 2: 3, 3: 2, 6: 1}.items():
        monkeypatch.setattr(processes, "count", lambda n=n: n)
        assert micro_batches_per_step(tune) == micro_batches
    monkeypatch.setattr(processes, "count", lambda: 4)
    with pytest.raises(
        ConfigError,
        match=r"size 12 .* tune.micro_batch_size 2 times 4 processes; .* parallel.processes to a divisor of 6",
    ):
        micro_batches_per_step(tune)


def test_quantised_weights_are_not_sharded(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "count", lambda: 2)
    quantised = LlmConfig.model_validate({**LLM.model_dump(), "quantization": "4bit"})
    with pytest.raises(ModelError, match=r"llm.quantization: 4bit weights cannot be sharded; set parallel.weights"):
        loading.load_base_model(tiny_llama, quantised, weights="sharded")


@pytest.mark.parametrize(
    ("wanted", "gpus", "started"),
    [("auto", 0, None), (1, 0, None), (3, 0, 3), ("auto", 1, None), ("auto", 4, 4), (2, 4, 2), (1, 4, None)],
)
def test_number_of_processes(monkeypatch: pytest.MonkeyPatch, wanted: int | str, gpus: int, started: int | None) -> None:
    launched: list[int] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(processes, "_launch", launched.append)
    done = processes.start(ParallelConfig.model_validate({"processes": wanted, "weights": "replicated"}))
    assert (launched, done) == (([], False) if started is None else ([started], True))


@pytest.mark.parametrize("value", [0, 1025, 1.5, True, None, "two"])
def test_other_numbers_of_processes_are_errors(value: object) -> None:
    with pytest.raises(ValidationError, match="should be auto or a number from 1 to 1024"):
        ParallelConfig.model_validate({"processes": value, "weights": "replicated"})


def test_every_process_needs_its_own_card_and_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match=r"parallel.processes is 4, but 2 GPUs are visible"):
        processes.start(ParallelConfig(processes=4, weights="replicated"))
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    with pytest.raises(ConfigError, match=r"each would start 2 processes .* docs/scale.md"):
        processes.start(ParallelConfig(processes="auto", weights="replicated"))


STAGE = """
import os, signal
from llara_core.config import ParallelConfig
from llara_core.errors import DataError
from llara_core.runtime import processes
from pipeline.stage import run


def main(what: str, n: int = 0) -> None:
    if processes.start(ParallelConfig(processes=2, weights="replicated")):
        return
    if processes.rank() == 1 and what == "error":
        raise DataError("u.data: line 3 has 2 fields")
    if processes.rank() == 1 and what == "bug":
        raise ZeroDivisionError("a bug")
    if processes.rank() == 1 and what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    processes.broadcast(None)  # the other process waits here


if __name__ == "__main__":
    run(main)
"""


@pytest.mark.parametrize(
    ("what", "end"),
    [
        ("error", ["trial: error: u.data: line 3 has 2 fields"]),
        (
            "kill",
            ["trial: error: process 1 of 0 to 1 was ended by SIGKILL, perhaps for lack of memory; start the same command"],
        ),
        ("bug", ["ZeroDivisionError: a bug", "trial: error: process 1 of 0 to 1 failed with the traceback above"]),
    ],
)
def test_a_stage_fails_as_its_process_does(tmp_path: Path, what: str, end: list[str]) -> None:
    """Prints the message of the failing process once, and none of the launcher."""
    (tmp_path / "trial.py").write_text(STAGE)
    command = [sys.executable, "-m", "trial", what, "--n=1"]  # an option that torchrun also has
    answer = subprocess.run(command, cwd=tmp_path, env=_environment(), capture_output=True, text=True, check=False)
    assert answer.returncode == 1, answer.stderr
    # The C++ runtime prints this for a process that is stopped while threads of torch are running.
    lines = [line for line in answer.stderr.splitlines() if line != "terminate called without an active exception"]
    if what == "bug":
        assert lines[2] == "Traceback (most recent call last):"
        assert sum(line.startswith("Traceback") for line in lines) == 1
        lines = [*lines[:2], *lines[-2:]]
    expected = [f"trial: start {what} --n=1", "trial: on 2 processes", *end]
    assert len(lines) == len(expected), answer.stderr
    assert all(line.startswith(beginning) for line, beginning in zip(lines, expected, strict=True)), answer.stderr
