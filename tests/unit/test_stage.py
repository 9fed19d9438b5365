"""The wrapper around every stage script: one message and exit code 1 for a foreseeable error, a traceback for a bug."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SCRIPT = '''
"""Does one thing.

python -m trial DATASET SEED
"""

from __future__ import annotations

import logging

import typer

from llara_core.errors import DataError
from pipeline.stage import run


def main(dataset: str, seed: int) -> None:
    """Does one thing to DATASET."""
    if dataset == "damaged":
        raise DataError("data/raw/damaged/u.data: line 3 has 2 fields, expected 4; delete it and run `dvc repro` again")
    if dataset == "bug":
        raise ZeroDivisionError("a bug")
    if dataset == "titles":
        typer.echo(f"Am\u00e9lie, \u0106ma, {input()}")
    logging.getLogger(__name__).info("%s has %d rows", dataset, seed + 1)


if __name__ == "__main__":
    run(main)
'''


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "trial.py"
    path.write_text(SCRIPT)
    return path


def call(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "NO_COLOR": "1", "COLUMNS": "200"}
    command = [sys.executable, "-m", script.stem, *arguments]
    return subprocess.run(command, cwd=script.parent, env=environment, capture_output=True, text=True, check=False)


def test_success_logs_start_and_end_under_the_stage_s_name(script: Path) -> None:
    answer = call(script, "tiny", "4")
    assert answer.returncode == 0
    lines = answer.stderr.splitlines()
    assert lines[0] == "trial: start tiny 4"
    assert lines[1] == "trial: tiny has 5 rows"
    assert lines[2].startswith("trial: done in ")


def test_a_foreseeable_error_is_one_message_and_exit_code_1(script: Path) -> None:
    answer = call(script, "damaged", "0")
    assert answer.returncode == 1
    assert "trial: error: data/raw/damaged/u.data: line 3 has 2 fields, expected 4; delete it" in answer.stderr
    assert "Traceback" not in answer.stderr + answer.stdout
    assert "done in" not in answer.stderr


def test_debug_shows_its_traceback(script: Path) -> None:
    answer = call(script, "damaged", "0", "--debug")
    assert answer.returncode == 1
    assert "Traceback" in answer.stderr
    assert "DataError" in answer.stderr


def test_a_bug_keeps_its_traceback(script: Path) -> None:
    answer = call(script, "bug", "0")
    assert answer.returncode == 1
    assert "Traceback" in answer.stderr
    assert "ZeroDivisionError" in answer.stderr


def test_characters_that_the_encoding_lacks_are_escaped(script: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", script.stem, "titles", "0"]
    for encoding, shown in (
        ("latin-1", b"Am\xe9lie, \\u0106ma, \xff"),
        ("utf-8", "Am\u00e9lie, \u0106ma, \\xff".encode()),
    ):
        env = {**environment, "PYTHONIOENCODING": encoding}
        answer = subprocess.run(command, cwd=script.parent, env=env, input=b"\xff\n", capture_output=True, check=False)
        assert (answer.returncode, answer.stdout) == (0, shown + b"\n"), answer.stderr


@pytest.mark.parametrize("name", sorted(path.stem for path in (REPOSITORY / "pipeline").glob("[!_]*.py")))
def test_without_the_environment_every_command_says_how_to_get_it(name: str) -> None:
    command = [sys.executable, "-S", "-m", f"pipeline.{name}"]  # -S: without installed packages
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    answer = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert answer.stderr == (
        f"error: typer is not installed for {sys.executable}: activate the environment (source .venv/bin/activate), "
        "or run make demo, which creates it\n"
    )


def test_an_invalid_argument_is_a_usage_error(script: Path) -> None:
    answer = call(script, "tiny", "four")
    assert answer.returncode == 2
    assert "Invalid value for 'seed': Input should be a valid integer" in answer.stderr


def test_help_shows_what_the_command_does(script: Path) -> None:
    answer = call(script, "--help")
    assert answer.returncode == 0
    assert "Does one thing to DATASET." in answer.stdout
    assert "--debug" in answer.stdout


@pytest.mark.parametrize("name", ["prepare", "recommend"])
def test_a_script_run_as_a_file_says_how_to_run_it(name: str) -> None:
    command = [sys.executable, f"pipeline/{name}.py", "movielens"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    answer = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert answer.stderr == f"error: run it from the repository root as a module: python -m pipeline.{name}\n"
