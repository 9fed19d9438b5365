"""Concurrent stages for ``pipeline.repro``: their schedule, and a DVC process for each.

DVC locks the repository only while it checks files, not while a command runs, and refuses a stage that reads the outputs of a
running one. ``dvc repro --single-item`` can therefore run for several independent stages at once.
"""

from __future__ import annotations

import codecs
import copy
import heapq
import logging
import multiprocessing
import os
import re
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import Stage

PARTS = re.compile(r"(?<=[\r\n])")


class Schedule:
    """Selects the stage to start next.

    A stage can start if its dependencies have finished, a job is free, and the memory suffices for all running stages; a single
    stage can always run. Among these, the stage with the longest chain of dependent stages starts first.

    Args:
        before: dependencies of each stage, in topological order; a dependency that is not a key counts as finished.
        jobs: maximum number of running stages.
        memory_gb: memory for all running stages.

    Attributes:
        running: running stages.
        seconds: expected seconds of each stage.
    """

    def __init__(self, before: Mapping[str, Collection[str]], jobs: int, memory_gb: float) -> None:
        self.running: set[str] = set()
        self._jobs, self._memory_gb = jobs, memory_gb
        self._missing = {name: set(before[name]) & before.keys() for name in before}
        self._after = {name: [other for other in before if name in before[other]] for name in before}
        self.expect(dict.fromkeys(before, 0.0), dict.fromkeys(before, 0.0))

    def expect(self, seconds: Mapping[str, float], gigabytes: Mapping[str, float]) -> None:
        """Sets the expected cost of each stage."""
        self.seconds, self._gigabytes = seconds, gigabytes
        self._chain: dict[str, float] = {}
        for name in reversed(self._after):
            self._chain[name] = seconds[name] + max((self._chain[other] for other in self._after[name]), default=0.0)

    def start(self) -> str | None:
        """Starts a stage and returns its name; None if all have started or a running one must finish first."""
        if len(self.running) == self._jobs:
            return None
        free_gb = self._memory_gb - sum(self._gigabytes[name] for name in self.running)
        ready = [
            name
            for name, missing in self._missing.items()
            if not missing and (not self.running or self._gigabytes[name] <= free_gb)
        ]
        if not ready:
            return None
        name = max(ready, key=self._chain.__getitem__)  # the first of equals
        del self._missing[name]
        self.running.add(name)
        return name

    def finish(self, name: str) -> None:
        """Marks a stage as finished, so that its dependents can start."""
        self.running.remove(name)
        for missing in self._missing.values():
            missing.discard(name)

    def rest_s(self, running: Mapping[str, float]) -> float:
        """Returns the expected seconds until all stages have finished.

        Args:
            running: expected remaining seconds of each running stage.
        """
        ahead, now = copy.copy(self), 0.0
        ahead.running, ahead._missing = set(self.running), {name: set(missing) for name, missing in self._missing.items()}
        ends = sorted((rest, name) for name, rest in running.items())
        while True:
            while (name := ahead.start()) is not None:
                heapq.heappush(ends, (now + self.seconds[name], name))
            if not ends:
                return now
            now, name = heapq.heappop(ends)
            ahead.finish(name)


@dataclass(frozen=True)
class Todo:
    """The stages that have changed, or depend on one that has.

    Attributes:
        commands: commands by name, in topological order; empty for files that ``dvc add`` tracks.
        before: direct dependencies of each stage.
        n_stages: number of stages, including those that are up to date.
    """

    commands: dict[str, str]
    before: dict[str, set[str]]
    n_stages: int

    def schedule(self, jobs: int) -> Schedule:
        """Returns a schedule of these stages within the available memory."""
        import psutil  # type: ignore[import-untyped]  # a dependency of DVC

        memory_gb = float(psutil.virtual_memory().available / 1e9)
        return Schedule({name: self.before[name] for name in self.commands}, jobs, memory_gb)


class Reproduction:
    """A process that runs a stage, and its output.

    Args:
        output: file descriptor of the readable end of a pipe, which is closed at the end.
        wait: function that waits for the process and returns its exit status.
    """

    def __init__(self, output: int, wait: Callable[[], int]) -> None:
        self._output, self._wait = output, wait
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        self._pending = ""

    def fileno(self) -> int:
        """Returns the file descriptor of the output, for :func:`select.select`."""
        return self._output

    def read(self) -> tuple[list[str], int | None]:
        """Waits for output and returns it by line or state of a progress bar; at the end, also the exit status."""
        read = os.read(self._output, 1 << 16)
        *ended, self._pending = PARTS.split(self._pending + self._decode(read, final=not read))
        if read:
            return ended, None
        os.close(self._output)
        return [*ended, f"{self._pending}\n"] if self._pending else ended, self._wait()


def reproduce(stage: str, options: Sequence[str] = ()) -> Reproduction:
    """Starts ``dvc repro --single-item`` of a stage.

    The process is forked from this one, because loading DVC takes more than a second.
    """
    output, to_write = os.pipe()
    process = multiprocessing.get_context("fork").Process(target=_reproduce, args=(stage, options, to_write))
    process.start()
    os.close(to_write)

    def wait() -> int:
        process.join()
        return process.exitcode or 0

    return Reproduction(output, wait)


def _reproduce(stage: str, options: Sequence[str], output: int) -> None:
    from dvc import logger
    from dvc.cli import main

    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for stream in (1, 2):
        os.dup2(output, stream)
    for name in (None, "dvc", "dvc_objects", "dvc_data"):
        logging.getLogger(name).handlers.clear()
    logger.setup()  # again, because DVC has configured colours for a terminal
    # The DVC process of another stage holds the lock while it checks files.
    sys.exit(main(["--wait-for-lock", "repro", "--single-item", *options, stage]))


def stages_in_order(repo: Repo, targets: Sequence[str]) -> list[tuple[Stage, set[str]]]:
    """Returns the stages that ``dvc repro`` would check, in its order, with the names of their direct dependencies."""
    from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro

    graph = get_active_graph(repo.index.graph)
    stages = plan_repro(graph, collect_stages(repo, targets or ["dvc.yaml"]))
    # DVC's edges lead to what a stage depends on.
    return [(stage, {other.addressing for other in graph.successors(stage)}) for stage in stages]


def sort_lock() -> None:
    """Sorts the stages in ``dvc.lock`` in the order of ``dvc.yaml``, as ``dvc repro`` would."""
    from dvc.repo import Repo
    from dvc.utils.serialize import modify_yaml

    with Repo() as repo, repo.lock, modify_yaml("dvc.lock") as lock:
        position = {stage.name: number for number, stage in enumerate(repo.index.stages) if stage.cmd}
        lock["stages"] = dict(sorted(lock["stages"].items(), key=lambda item: position.get(item[0], float("inf"))))
