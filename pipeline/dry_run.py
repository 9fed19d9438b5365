"""Determines the stages that a run would execute, for ``pipeline.repro --dry``.

``dvc repro --dry`` compares every stage with its current inputs, and so misses the effect of a changed parameter on the stages
after `resolve`. Here `resolve` runs in a copy of the repository that consists of links, and the stages after it follow from the
graph.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from llara_core import paths, tables
from llara_core.config import Params, load_params
from llara_core.errors import LlaraError
from llara_core.llm.inputs import SYSTEM
from pipeline.jobs import Todo, stages_in_order
from pipeline.settings import with_settings

COPY = paths.scratch() / "dry"  # copy of the repository, in which the parameter files have the settings
# Stages whose outputs can be computed without a run, so that they are compared instead of assumed to change.
COMPARED = ("resolve", "gather_inputs", "gather_starts")
OF_RECOMMENDERS = ("train_recommender", "export_embeddings", "score_training", "predict_recommender")


def plan(settings: Sequence[str], targets: Sequence[str]) -> Todo:
    """Returns the stages that would run with ``settings``. DVC skips those whose inputs turn out not to change.

    They are determined in the folder :data:`COPY`, which the caller deletes.

    Raises:
        LlaraError: the settings are not valid, or this is not a repository.
    """
    from dvc.repo import Repo

    with Repo() as here:
        cache = here.cache.local_cache_dir
    _link(COPY, cache)
    with_settings(COPY, settings)
    with contextlib.chdir(COPY), Repo() as repo, repo.lock:
        params = load_params()
        answer = subprocess.run([sys.executable, "-m", "pipeline.resolve"], capture_output=True, text=True, check=False)
        if answer.returncode:
            raise LlaraError(f"`python -m pipeline.resolve` failed:\n{answer.stderr.strip()}")
        stages = [(stage, before) for stage, before in stages_in_order(repo, targets) if stage.cmd]
        would_run: dict[str, str] = {}
        for stage, before in stages:
            follows = {name for name in before & would_run.keys() if _family(name) not in COMPARED}
            if follows or _reads_other_inputs(stage.cmd, params, would_run) or stage.changed():
                would_run[stage.addressing] = stage.cmd
        return Todo(would_run, {stage.addressing: before for stage, before in stages}, len(stages))


def _reads_other_inputs(command: str, params: Params, would_run: Collection[str]) -> bool:
    """Returns whether `gather_inputs` or `gather_starts` would write other inputs for the training run of a stage."""
    script, *arguments = command.removeprefix("python -m pipeline.").split()
    if script not in ("tune", "tune_further", "predict_llm"):
        return False
    dataset, system, seed = arguments
    config = params.system(system)
    if script == "tune_further":
        if config.start is None:
            return False
        if f"tune@{dataset}-{config.start}-{seed}" in would_run:
            return True
    gathered, resolved = paths.inputs(dataset, paths.run_name(system, int(seed))) / SYSTEM, paths.resolved_system(system)
    if not gathered.is_file() or tables.read_json(gathered) != tables.read_json(resolved):
        return True
    trained = f"{dataset}-{config.recommender}-{seed}"
    return config.shows_behavior and any(f"{family}@{trained}" in would_run for family in OF_RECOMMENDERS)


def _family(name: str) -> str:
    return name.partition("@")[0]


def repository_files() -> list[Path]:
    """Lists the files of the repository, without those that Git ignores.

    Raises:
        LlaraError: this is not a repository, or Git is not installed.
    """
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True)
    except OSError as error:
        raise LlaraError("git was not found: install it") from error
    except subprocess.CalledProcessError as error:
        raise LlaraError(f"{error.stderr.strip()}\n`make demo` creates a Git repository if there is none") from error
    return [Path(name) for name in listed.stdout.split("\0") if name]


def _link(folder: Path, cache: str) -> None:
    """Links the files and data of the repository in ``folder``, which gets its own DVC configuration with the same cache.

    Links are safe because stages write a new file and rename it.
    """
    if folder.exists():
        shutil.rmtree(folder)
    files = set(repository_files())
    files |= {file for file in Path("data").rglob("*") if file.is_file()}
    for file in sorted(files):
        if file.is_file() and file not in (paths.PARAMS, paths.SYSTEMS):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            _link_or_copy(file, folder / file)
    (folder / ".dvc" / "config.local").write_text(f"[core]\n    no_scm = true\n[cache]\n    dir = {cache}\n", encoding="utf-8")


def _link_or_copy(file: Path, target: Path) -> None:
    try:
        os.link(file, target)
    except OSError:  # another file system
        shutil.copy2(file, target)
