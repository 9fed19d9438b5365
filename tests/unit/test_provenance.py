"""Which code and which machine made a result."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from llara_core import provenance


def git(*arguments: str) -> str:
    command = ["git", "-c", "user.name=Test", "-c", "user.email=test@example.com", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit of code."""
    monkeypatch.chdir(tmp_path)
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "params.yaml").write_text("run: {}\n")
    (tmp_path / "README.md").write_text("one\n")
    git("init", "--quiet")
    git("add", "--all")
    git("commit", "--quiet", "--message", "Code")
    return tmp_path


def test_the_commit_is_that_of_the_code_and_not_of_later_results(repository: Path) -> None:
    code = git("rev-parse", "HEAD")[:12]
    (repository / "README.md").write_text("two\n")
    assert provenance.code_commit() == code
    git("commit", "--quiet", "--all", "--message", "Results")
    assert provenance.code_commit() == code


def test_changes_that_are_not_committed_are_said(repository: Path) -> None:
    (repository / "params.yaml").write_text("run: {seeds: [1]}\n")
    assert provenance.code_commit() == git("rev-parse", "HEAD")[:12] + ", with uncommitted changes"


def test_outside_a_repository_the_commit_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.code_commit() == "unknown"
    monkeypatch.setenv("PATH", "")
    assert provenance.code_commit() == "unknown"


def test_the_hardware_names_threads_and_instructions() -> None:
    import torch

    found = re.fullmatch(r".+, ([1-9]\d*) threads?, (.+)", provenance.hardware())
    assert found
    assert int(found[1]) == torch.get_num_threads()
    assert found[2].startswith(torch.backends.cpu.get_cpu_capability())
