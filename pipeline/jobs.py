"""Stages side by side: which starts next, and DVC in a process of its own for each; no stage, but behind ``pipeline.repro``.

DVC holds its lock on the repository only while it looks at files, not while a stage's command runs, and refuses a stage that
reads what another one is writing. So ``dvc repro --single-item`` may run for several stages at once, of which none depends on
another.
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
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import Stage

PARTS = re.compile(r"(?<=[\r\n])")


class Schedule:
    """Which of the stages that have to run starts next.

    A stage may start when all that it depends on have finished, a job is free, and the memory suffices for all that run; one
    stage may always run, whatever it needs. Of these, the one comes first from which the longest chain leads to the end.

    Attributes:
        running: stages that were started and not finished.
        seconds: that each is expected to take.
    """

    def __init__(self, before: Mapping[str, Collection[str]], jobs: int, memory_gb: float) -> None:
        """
        Args:
            before: the stages in an order in which they could run one by one, each with those that it depends on; of these, any
                that is not among the stages counts as finished.
            jobs: how many may run at a time.
            memory_gb: for all that run.
        """
        self.running: set[str] = set()
        self._jobs, self._memory_gb = jobs, memory_gb
        self._missing = {name: set(before[name]) & before.keys() for name in before}
        self._after = {name: [other for other in before if name in before[other]] for name in before}
        self.expect(dict.fromkeys(before, 0.0), dict.fromkeys(before, 0.0))

    def expect(self, seconds: Mapping[str, float], gigabytes: Mapping[str, float]) -> None:
        """Set what each stage will take."""
        self.seconds, self._gigabytes = seconds, gigabytes
        self._chain: dict[str, float] = {}
        for name in reversed(self._after):
            self._chain[name] = seconds[name] + max((self._chain[other] for other in self._after[name]), default=0.0)

    def start(self) -> str | None:
        """The stage that starts now; none where all have started, or one of those that run has to finish first."""
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
        """Let those start that waited for ``name``."""
        self.running.remove(name)
        for missing in self._missing.values():
            missing.discard(name)

    def rest_s(self, running: Mapping[str, float]) -> float:
        """Seconds to the end of the last stage, if each takes what is expected.

        Args:
            running: expected rest of each stage that runs.
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


class Reproduction:
    """What runs a stage, and all that it prints."""

    def __init__(self, output: int, wait: Callable[[], int]) -> None:
        """
        Args:
            output: file descriptor of the end of a pipe to read from; it is closed at the end.
            wait: gives the exit status.
        """
        self._output, self._wait = output, wait
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        self._pending = ""

    def fileno(self) -> int:
        """For :func:`select.select`."""
        return self._output

    def read(self) -> tuple[list[str], int | None]:
        """What was printed since, by line or state of a progress bar, once there is something; at the end, the exit status."""
        read = os.read(self._output, 1 << 16)
        *ended, self._pending = PARTS.split(self._pending + self._decode(read, final=not read))
        if read:
            return ended, None
        os.close(self._output)
        return [*ended, f"{self._pending}\n"] if self._pending else ended, self._wait()


def reproduce(stage: str, options: Sequence[str] = ()) -> Reproduction:
    """Start ``dvc repro --single-item`` of a stage.

    Its process is forked from this one, which has loaded DVC: to load it costs a core more than a second, for each stage.
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
    logger.setup()  # anew, since DVC's messages have colours on a terminal
    # Another stage's DVC holds the lock for as long as it takes to look at that stage's files.
    sys.exit(main(["--wait-for-lock", "repro", "--single-item", *options, stage]))


def stages_in_order(repo: Repo, targets: Sequence[str]) -> list[tuple[Stage, set[str]]]:
    """What ``dvc repro`` would look at, in its order, each with the names of those on which it depends directly."""
    from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro

    graph = get_active_graph(repo.index.graph)
    stages = plan_repro(graph, collect_stages(repo, targets or ["dvc.yaml"]))
    # DVC's edges lead to what a stage depends on.
    return [(stage, {other.addressing for other in graph.successors(stage)}) for stage in stages]


def sort_lock() -> None:
    """Bring the stages in ``dvc.lock`` into the order of ``dvc.yaml``, whichever ended first, as ``dvc repro`` notes them."""
    from dvc.repo import Repo
    from dvc.utils.serialize import modify_yaml

    with Repo() as repo, repo.lock, modify_yaml("dvc.lock") as lock:
        place = {stage.name: number for number, stage in enumerate(repo.index.stages) if stage.cmd}
        of_old_ones = len(repo.index.stages)
        lock["stages"] = dict(sorted(lock["stages"].items(), key=lambda item: place.get(item[0], of_old_ones)))
