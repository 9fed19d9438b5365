"""Which stages a run would execute; no stage, but for ``pipeline.repro --dry``.

``dvc repro --dry`` compares every stage with what lies there now, so it does not see what a changed parameter means for the
stages after `resolve`. Here `resolve` runs in a copy of the repository, made of links, and the graph says what follows.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from llara_core import paths, tables
from llara_core.config import Params, load_params
from llara_core.errors import LlaraError
from llara_core.llm.inputs import SYSTEM
from pipeline.jobs import stages_in_order
from pipeline.settings import with_settings

FOLDER = paths.scratch() / "dry"
# What these write is known without a run of the pipeline: whom it reaches is compared, not followed.
KNOWN = ("resolve", "gather_inputs", "gather_starts")
OF_RECOMMENDERS = ("train_recommender", "export_embeddings", "score_training", "predict_recommender")


@dataclass(frozen=True)
class Plan:
    """What would run.

    Attributes:
        commands: of the stages that would run, by name, in their order.
        before: of the stages that DVC would look at, those on which each depends directly.
        folder: the copy, in which ``params.yaml`` and ``systems.yaml`` have the settings.
    """

    commands: dict[str, str]
    before: dict[str, set[str]]
    folder: Path


def plan(settings: Sequence[str], targets: Sequence[str]) -> Plan:
    """The stages that would run with ``settings``, at most: DVC leaves out those for which a stage before them changes nothing.

    Raises:
        LlaraError: the settings are not valid, or this is no repository.
    """
    from dvc.repo import Repo

    with Repo() as here:
        cache = here.cache.local_cache_dir
    _link(FOLDER, cache)
    with_settings(FOLDER, settings)
    with contextlib.chdir(FOLDER), Repo() as repo, repo.lock:
        params = load_params()
        answer = subprocess.run([sys.executable, "-m", "pipeline.resolve"], capture_output=True, text=True, check=False)
        if answer.returncode:
            raise LlaraError(f"`python -m pipeline.resolve` failed:\n{answer.stderr.strip()}")
        stages = [(stage, before) for stage, before in stages_in_order(repo, targets) if stage.cmd]
        would_run: dict[str, str] = {}
        for stage, before in stages:
            follows = {name for name in before & would_run.keys() if _family(name) not in KNOWN}
            if follows or _reads_other_inputs(stage.cmd, params, would_run) or stage.changed():
                would_run[stage.addressing] = stage.cmd
        return Plan(would_run, {stage.addressing: before for stage, before in stages}, FOLDER)


def _reads_other_inputs(command: str, params: Params, would_run: Collection[str]) -> bool:
    """Whether `gather_inputs` or `gather_starts` would give an LLM cell something else than it has."""
    script, *coordinates = command.removeprefix("python -m pipeline.").split()
    if script not in ("tune", "tune_further", "predict_llm"):
        return False
    dataset, system, seed = coordinates
    config = params.system(system)
    if script == "tune_further":
        if config.start is None:
            return False
        if f"tune@{dataset}-{config.start}-{seed}" in would_run:
            return True
    gathered, resolved = paths.inputs(dataset, paths.run_name(system, int(seed))) / SYSTEM, paths.resolved_system(system)
    if not gathered.is_file() or tables.read_json(gathered) != tables.read_json(resolved):
        return True
    cell = f"{dataset}-{config.recommender}-{seed}"
    return config.shows_behavior and any(f"{family}@{cell}" in would_run for family in OF_RECOMMENDERS)


def _family(name: str) -> str:
    return name.partition("@")[0]


def _link(folder: Path, cache: str) -> None:
    """The repository's files and data as links in ``folder``, with a DVC of its own that uses the same cache.

    Links are safe: stages write a new file and rename it into place.
    """
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    if listed.returncode:
        raise LlaraError("this is no Git repository, or Git is missing, without which DVC does not work")
    if folder.exists():
        shutil.rmtree(folder)
    files = {Path(name) for name in listed.stdout.split("\0") if name}
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
