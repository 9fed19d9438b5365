"""``make demo`` and ``make repro`` in folders of any name, and in repositories that Git refuses."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PYTHON = '#!/bin/sh\necho "$* by $(command -v python)"\n'


def unpacked(folder: Path) -> Path:
    """Returns an unpacked archive whose environment is up to date; its Python prints its arguments."""
    (folder / ".venv/bin").mkdir(parents=True)
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copyfile(REPOSITORY / name, folder / name)
    python = folder / ".venv/bin/python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    (folder / ".venv/.installed").touch()
    return folder


def make(target: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", target]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAKE") and name != "MFLAGS"}
    env = {**inherited, "GIT_CEILING_DIRECTORIES": str(folder.parent), **environment}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["plain", "a shop (2)", "d'or $HOME & co"])
def test_a_folder_of_any_name_works(name: str, tmp_path: Path) -> None:
    folder = unpacked(tmp_path / name)
    for target in ("demo", "repro"):
        answer = make(target, folder)
        assert answer.returncode == 0, answer.stderr
        assert answer.stdout.splitlines()[-1] == f"-m pipeline.{target} by {folder}/.venv/bin/python"
    assert (folder / ".git").is_dir()


def test_a_repository_that_git_refuses_is_not_changed(tmp_path: Path) -> None:
    folder = unpacked(tmp_path / "shop")
    git = tmp_path / "bin/git"
    git.parent.mkdir()
    git.write_text('#!/bin/sh\necho "$1" >> called; echo "fatal: detected dubious ownership in repository" >&2; exit 128\n')
    git.chmod(0o755)
    answer = make("demo", folder, PATH=f"{git.parent}:{os.environ['PATH']}")
    assert answer.returncode == 2
    assert answer.stdout == "fatal: detected dubious ownership in repository\n"
    assert (folder / "called").read_text() == "rev-parse\n"
