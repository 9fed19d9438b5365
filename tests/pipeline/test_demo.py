"""``make demo`` runs in a copy and does not change the repository."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import tiny_world
from tiny_world import REPOSITORY

from llara_core.config import load_params
from llara_core.errors import LlaraError
from pipeline import demo

COPY = "from pipeline import demo; demo.copy_repository(demo.FOLDER)"


def test_outside_a_repository_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(LlaraError, match=r"not a git repository .*\n`make demo` creates a Git repository"):
        demo.copy_repository(tmp_path / "copy")


@pytest.mark.timeout(600)
def test_the_demo_runs_in_a_copy(tmp_path: Path) -> None:
    world = tiny_world.create(tmp_path / "world", tmp_path / "no-llm")
    shutil.copytree(REPOSITORY / "presets", world.root / "presets")
    world.commit("Presets")
    (world.root / "pipeline/mine.py").write_text("# not in Git yet\n")
    copy = world.root / ".scratch/demo"

    world.succeed(sys.executable, "-c", COPY)
    (copy / "metrics/report.md").write_text("made by the demo")
    (copy / "dvc.lock").write_text("schema: '2.0'\n")
    (world.root / "pipeline/mine.py").write_text("# changed\n")
    world.succeed(sys.executable, "-c", COPY)

    assert world.succeed("git", "status", "--short") == "?? pipeline/mine.py\n"
    params = load_params(copy / "params.yaml")
    assert (params.run.datasets, params.run.systems, params.run.recommenders) == (
        ["movielens"],
        ["llara_compact"],
        ["sasrec_text"],
    )
    assert (params.recommenders.max_epochs, params.system("llara_compact").tune.max_examples) == (2, 192)
    assert (copy / "pipeline/mine.py").read_text() == "# changed\n"
    assert (copy / "metrics/report.md").read_text() == "made by the demo"
    assert (copy / "dvc.lock").is_file()
    assert not (copy / "tests").exists()
    stages = world.succeed("bash", "-c", f"cd {copy} && dvc stage list --name-only && dvc cache dir").splitlines()
    assert "tune@movielens-llara_compact-0" in stages
    assert stages[-1] == str(world.root / ".dvc/cache")
