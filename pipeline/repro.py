"""Run what changed, with one line per stage; no stage, but for users: ``python -m pipeline.repro`` (``make repro``).

The engine is ``dvc repro`` of single stages, of which several run at a time. Where parameters are set, ``dvc exp run`` then
finds all of them up to date, and makes an experiment of what there is. All that DVC and the stages print goes into
``.scratch/repro.log``; a failed stage's part of it is shown in full.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from llara_core import paths, tables
from llara_core.config import Params, load_params
from llara_core.description.costs import estimate
from llara_core.errors import LlaraError
from pipeline.dry_run import plan
from pipeline.jobs import Reproduction, Schedule, reproduce, sort_lock, stages_in_order
from pipeline.settings import changes, checked_params, with_settings
from pipeline.stage import run

LOG, SECONDS = paths.scratch() / "repro.log", paths.scratch() / "stage_seconds.json"
MODEL_FILES = paths.scratch() / "model_files.json"  # of local models, by path, when a run last ended well
RUNS = "Running stage '"  # as DVC says it
PERCENT = re.compile(r"(\d+)%\|")
OF_STAGE = re.compile(r"([^\r\n]*?): +(\d+)% of the stage\|")  # as runtime/progress.py writes it
TELLING = 0.1  # share of a stage from which the rest follows from the time that it took
LATE = 1.25, 10.0  # a stage takes longer than expected from so many times its seconds, and so many of them
LOCKED = re.compile(r"Unable to acquire lock|is busy, it is being blocked by")
RUNNING = Path(".dvc/tmp/rwlock")  # in which DVC notes what the stage that runs reads and writes, and its process
WIDTH = 100
SMALL_S, SMALL_GB = 8.0, 1.0  # of a stage without a record that the table of costs leaves out
HEARTBEAT_S = 60.0  # between the lines about a running stage where there is no terminal


def main(
    stage: Annotated[
        list[str] | None,
        typer.Argument(help="Stages of `dvc stage list`, with all before them; default: all stages."),
    ] = None,
    set_param: Annotated[
        list[str] | None,
        typer.Option("--set-param", "-S", help="A parameter of this experiment, as in `dvc exp run -S`; repeat the option."),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", help="Stages at a time; default: 2 on two cores or more, 1 with a GPU.", min=1),
    ] = None,
    dry: Annotated[
        bool, typer.Option("--dry", help="List the stages that would run, with the time they may take; run none.")
    ] = False,
) -> None:
    """Run the stages that changed, with a line for each and the expected rest, and show the table of results."""
    settings, targets = set_param or [], stage or []
    if not dry:
        refuse_a_second_run()
    for line in changes(settings):
        typer.echo("\n".join(textwrap.wrap(line, WIDTH, subsequent_indent="  ")))
    params = checked_params(settings)
    n_jobs = jobs or default_jobs(params)
    if dry:
        for line in what_would_run(settings, targets, n_jobs):
            typer.echo(line)
        return
    started, model = time.monotonic(), params.llm.model
    files, known = model_files(model), tables.read_json(MODEL_FILES) if MODEL_FILES.is_file() else {}
    paths.scratch().mkdir(exist_ok=True)
    if settings:
        with tempfile.TemporaryDirectory(dir=paths.scratch()) as folder:
            with_settings(Path(folder), settings)
            for file in (paths.PARAMS, paths.SYSTEMS):
                (Path(folder) / file).replace(file)
    with LOG.open("w", encoding="utf-8") as log:
        if known.setdefault(model, files) != files:
            typer.echo(f"The files in {model} have changed, which DVC does not see: they are fetched again.")
            run_stages(FETCH, 1, log, partial(reproduce, options=["--force"]))
            known[model] = files
        follower = run_stages(find_todo(targets), n_jobs, log)
        if follower.n_run:
            sort_lock()
        if settings:
            save_experiment(targets, log)
    tables.write_json(MODEL_FILES, known)
    spent = duration(time.monotonic() - started)
    typer.echo(f"{follower.n_run} stages ran in {spent}, {follower.n_unchanged} were up to date.")
    if not targets:
        typer.echo(f"\n{(paths.REPORT / 'summary.txt').read_text(encoding='utf-8')}")
        typer.echo(f"Report: {paths.REPORT}/report.md and {paths.REPORT}/report.html; output of the stages: {LOG}")


def default_jobs(params: Params) -> int:
    """Two stages at a time, where the language model's threads leave a core for the second, and there is no GPU to share."""
    processes = params.parallel.processes
    n_threads = params.llm.threads * (1 if processes == "auto" else processes)
    has_gpu = shutil.which("nvidia-smi") is not None or Path("/dev/kfd").exists()
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 1 if has_gpu or n_cores < 2 * n_threads else 2


def run_stages(todo: Todo, jobs: int, log: TextIO, start: Callable[[str], Reproduction] = reproduce) -> Follower:
    """Run stages, and show a line for each.

    Raises:
        LlaraError: one of them failed; what it printed is shown before.
    """
    follower = Follower(todo, jobs, log, start)
    follower.follow()
    if not follower.failed:
        return follower
    for output in follower.failed.values():
        if LOCKED.search(output):
            raise LlaraError(ANOTHER_RUN)
        typer.echo(f"\n{output.strip()}\n", err=True)
    raise LlaraError(
        f"{' and '.join(follower.failed)} failed; above is all that was printed, and {LOG} has what the stages before printed. "
        "These are kept: the same command goes on from there"
    )


def save_experiment(targets: Sequence[str], log: TextIO) -> None:
    """What was run becomes an experiment of DVC.

    Raises:
        LlaraError: DVC refuses.
    """
    command = [sys.executable, "-m", "dvc", "exp", "run", *targets]
    answer = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, check=False
    )
    log.write(answer.stdout)
    if answer.returncode:
        typer.echo(f"\n{answer.stdout.strip()}\n", err=True)
        raise LlaraError("all stages ran, but `dvc exp run` failed to make an experiment of them; above is all that it printed")


ANOTHER_RUN = (
    "another run is active in this repository: wait for its end, or stop it; beside it, `dvc exp run --temp` works in a copy"
)


def refuse_a_second_run() -> None:
    """Before values are written into ``params.yaml`` and ``systems.yaml``, which the first run reads.

    Raises:
        LlaraError: a stage is running, by this command or by DVC's own.
    """
    try:
        noted = json.loads(RUNNING.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    owners = [*noted.get("write", {}).values(), *(owner for owners in noted.get("read", {}).values() for owner in owners)]
    active = next((owner for owner in owners if runs_dvc(int(owner["pid"]))), None)
    if active is not None:
        command = re.sub(r"^\S*/dvc/__main__\.py", "dvc", active["cmd"])
        command = re.sub(r"^\S*/pipeline/repro\.py", "python -m pipeline.repro", command)
        raise LlaraError(f"{ANOTHER_RUN} (process {active['pid']}: {command})")


def runs_dvc(pid: int) -> bool:
    """Whether a process is there and is one of DVC; a killed run leaves its number behind, which another may have by now."""
    import psutil  # type: ignore[import-untyped]  # a dependency of DVC

    try:
        return any("dvc" in word or "pipeline.repro" in word for word in psutil.Process(pid).cmdline())
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # somebody else's
        return True


def what_would_run(settings: Sequence[str], targets: Sequence[str], jobs: int) -> Iterator[str]:
    """A line per stage, with its likely time, and that of all of them."""
    found = plan(settings, targets)
    recorded = tables.read_json(SECONDS) if SECONDS.is_file() else {}
    with contextlib.chdir(found.folder):
        seconds, gigabytes = expected(found.commands, recorded, load_params())
    shutil.rmtree(found.folder)  # whose links would keep data on the disk that nothing else needs any more
    for name, command in found.commands.items():
        yield f"  {short(command):40} {duration(seconds[name]):>10}"
    if not found.commands:
        yield f"Nothing would run: {len(found.before)} stages are up to date."
        return
    schedule = Schedule({name: found.before[name] for name in found.commands}, jobs, available_gb())
    schedule.expect(seconds, gigabytes)
    yield f"{len(found.commands)} of {len(found.before)} stages would run, in about {duration(schedule.rest_s({}))}."
    yield "A stage whose inputs turn out as they were is left out in the end."


def available_gb() -> float:
    """Memory that programs may take now."""
    import psutil

    return float(psutil.virtual_memory().available / 1e9)


def short(command: str) -> str:
    """A stage's command without what all have in common, and without options."""
    return command.removeprefix("python -m pipeline.").partition(" --")[0]


def model_files(model: str) -> dict[str, list[int]]:
    """Size and time (nanoseconds) of every file of a local model by its name; none where ``llm.model`` is no folder."""
    folder = Path(model).expanduser()
    files = (path for path in sorted(folder.iterdir()) if path.is_file()) if folder.is_dir() else ()
    return {path.name: [path.stat().st_size, path.stat().st_mtime_ns] for path in files}


class Running:
    """A stage that runs, and what its output says of it.

    Attributes:
        output: all that it printed.
        command: empty for files that ``dvc add`` tracks.
        ran: whether DVC ran the command, so far; it looks first whether anything changed.
        began, told: when it started, and when a line last said so (seconds of :func:`time.monotonic`).
    """

    def __init__(self, number: str, command: str, reproduction: Reproduction, expected_s: float, *, is_known: bool) -> None:
        """
        Args:
            number: its place among all stages.
            is_known: whether ``expected_s`` is more than a guess.
        """
        self.reproduction, self.output, self.ran = reproduction, list[str](), False
        self.command, self.began = command, time.monotonic()
        self.told = self.began
        self._number = number
        self._expected_s, self._is_known = expected_s, is_known
        self._percent, self._phase = "", ""

    def note(self, line: str) -> None:
        """The percentage of the stage where it tells one, else that of whatever bar it shows."""
        if line.endswith("\n"):
            self.output.append(line)
            self.ran = self.ran or line.startswith(RUNS)
        if of_stage := OF_STAGE.search(line):
            self._phase, self._percent = of_stage[1], f"{of_stage[2]}%"
        elif (percent := PERCENT.search(line)) and not self._phase:
            self._percent = f"{percent[1]}%"

    def rest_s(self) -> float:
        """Seconds that it may still take."""
        spent, done = time.monotonic() - self.began, int(self._percent.rstrip("%") or 0) / 100
        return spent * (1 - done) / done if self._phase and done >= TELLING else max(self._expected_s - spent, 0)

    def line(self, rest_s: float) -> str:
        """Number, stage, percent, seconds and the expected rest of the run, in 80 columns; then the phase of the stage."""
        spent, (factor, margin_s) = time.monotonic() - self.began, LATE
        if self._is_known and self._expected_s and spent > max(factor * self._expected_s, self._expected_s + margin_s):
            rest = "longer than expected"
        else:
            rest = f"about {duration(rest_s)} left" if rest_s else ""
        phase = f"  {self._phase}" if self._phase else ""
        return f"{self._number:>7} {short(self.command):37} {self._percent:>4} {spent:4.0f} s  {rest:20}{phase}".rstrip()

    def last_line(self, rest_s: float) -> str:
        """As :meth:`line`, once it has finished."""
        self._percent, self._phase, self._expected_s = "", "", 0.0
        return self.line(rest_s)


class Follower:
    """Runs stages, as many at a time as there are jobs, and turns what they print into a line for each.

    Attributes:
        n_run, n_unchanged: stages so far.
        failed: what each of the stages that failed printed, by name.
    """

    def __init__(self, todo: Todo, jobs: int, log: TextIO, start: Callable[[str], Reproduction]) -> None:
        self.n_run, self.n_unchanged = 0, todo.n_stages - sum(map(bool, todo.commands.values()))
        self.failed: dict[str, str] = {}
        self._commands, self._n_stages, self._n_started = todo.commands, todo.n_stages, self.n_unchanged
        self._log, self._launch, self._params = log, start, load_params()
        self._seconds: dict[str, float] = tables.read_json(SECONDS) if SECONDS.is_file() else {}
        self._schedule = Schedule({name: todo.before[name] for name in todo.commands}, jobs, available_gb())
        self._running: dict[str, Running] = {}
        self._is_terminal, self._n_shown, self._is_interrupted = sys.stdout.isatty(), 0, False

    def follow(self) -> None:
        """Run the stages; where one fails, those that run beside it are finished, and no other starts."""
        try:
            self._start()
            while self._running:
                by_output = {running.reproduction: name for name, running in self._running.items()}
                has_ended = [self._read(by_output[each]) for each in select.select([*by_output], [], [], 1.0)[0]]
                if any(has_ended):
                    self._start()
                self._show()
        except KeyboardInterrupt:  # the terminal sent it to DVC and the stages, too
            self._is_interrupted = True
            for name in [*self._running]:
                while not self._read(name):
                    pass
            typer.echo("\nStopped. What was finished is kept: the same command goes on from there.", err=True)
            raise typer.Exit(130) from None

    def _start(self) -> None:
        # What is expected changes with every stage: the table of costs needs sizes that some of them write.
        self._schedule.expect(*expected(self._commands, self._seconds, self._params))
        while not self.failed and (name := self._schedule.start()) is not None:
            command, seconds = self._commands[name], self._schedule.seconds[name]
            self._n_started += bool(command)
            number, is_known = f"[{self._n_started}/{self._n_stages}]", name in self._seconds or seconds != SMALL_S
            self._running[name] = Running(number, command, self._launch(name), seconds, is_known=is_known)

    def _read(self, name: str) -> bool:
        """Take in what a stage printed, and whether it has ended."""
        running = self._running[name]
        printed, code = running.reproduction.read()
        for line in printed:
            running.note(line)
            if line.strip() and line.endswith("\n"):
                self._log.write(f"{name} | {line}")
        self._log.flush()
        if code is not None:
            self._finish(name, code)
        return code is not None

    def _finish(self, name: str, code: int) -> None:
        running = self._running.pop(name)
        self._schedule.finish(name)
        if code:
            self.failed[name] = "".join(running.output)
            if self._running and not self._is_interrupted:
                self._clear()
                typer.echo(f"{name} failed; what runs beside it is finished first.")
        elif running.ran:
            self.n_run += 1
            self._seconds[name] = round(time.monotonic() - running.began, 1)
            tables.write_json(SECONDS, self._seconds)
            self._clear()
            typer.echo(running.last_line(self._rest_s()))
        else:
            self.n_unchanged += bool(running.command)

    def _rest_s(self) -> float:
        return self._schedule.rest_s({name: running.rest_s() for name, running in self._running.items()})

    def _show(self) -> None:
        """The running stages: always on a terminal, each minute elsewhere."""
        rest_s, shown = self._rest_s(), [running for running in self._running.values() if running.ran]
        if self._is_terminal:
            self._clear()
            width = shutil.get_terminal_size().columns - 1
            typer.echo("\n".join(running.line(rest_s)[:width] for running in shown), nl=False)
            self._n_shown = len(shown)
            return
        for running in shown:
            if time.monotonic() - running.told > HEARTBEAT_S:
                running.told = time.monotonic()
                typer.echo(f"{running.line(rest_s)}, still running")

    def _clear(self) -> None:
        if self._is_terminal and self._n_shown:
            up = f"\x1b[{self._n_shown - 1}A" if self._n_shown > 1 else ""
            typer.echo(f"\r{up}\x1b[J", nl=False)
            self._n_shown = 0


@dataclass(frozen=True)
class Todo:
    """The stages that have to run, or may have to, once those before them have run.

    Attributes:
        commands: by name, in an order in which they could run one by one; empty for files that ``dvc add`` tracks.
        before: those that each depends on directly.
        n_stages: with those that are up to date.
    """

    commands: dict[str, str]
    before: dict[str, set[str]]
    n_stages: int


FETCH = Todo({"fetch_llm": "python -m pipeline.fetch_llm"}, {"fetch_llm": set()}, 1)


def find_todo(targets: Sequence[str]) -> Todo:
    """What to do for ``targets``, or for all stages.

    Raises:
        LlaraError: DVC is at work here, or finds a fault in ``dvc.yaml`` or in ``targets``.
    """
    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.repo import Repo

    commands: dict[str, str] = {}
    try:
        with Repo() as repo, repo.lock:
            stages = stages_in_order(repo, targets)
            for stage, before in stages:
                if before & commands.keys() or stage.changed():
                    commands[stage.addressing] = stage.cmd or ""
    except LockError as error:
        raise LlaraError(ANOTHER_RUN) from error
    except DvcException as error:
        raise LlaraError(f"dvc: {error}") from error
    return Todo(commands, {stage.addressing: before for stage, before in stages}, sum(bool(stage.cmd) for stage, _ in stages))


def expected(
    commands: Mapping[str, str], recorded: Mapping[str, float], params: Params
) -> tuple[dict[str, float], dict[str, float]]:
    """The seconds that each stage took the last time, or else those of the table of costs; and the gigabytes of that table.

    Args:
        commands: of the stages, by name.
        recorded: seconds by name.
    """
    costs = dict[str, dict[str, tuple[float, float]]]()
    for dataset in params.run.datasets:
        statistics = paths.statistics(dataset)
        costs[dataset] = costs_of(tables.read_json(statistics), params) if statistics.is_file() else {}
    llm_gb = sum(file.stat().st_size for file in paths.LLM.glob("*") if file.is_file()) / 1e9
    seconds, gigabytes = dict[str, float](), dict[str, float]()
    for name, command in commands.items():
        script, dataset, answers, *_ = [*command.removeprefix("python -m pipeline.").split(), "", "", ""]
        of_dataset = costs.get(dataset, {})
        likely_s, gigabytes[name] = of_dataset.get(f"{script} {answers}", of_dataset.get(script, (SMALL_S, SMALL_GB)))
        seconds[name] = recorded.get(name, likely_s)
        if answers in params.systems:
            gigabytes[name] += llm_gb
    return seconds, gigabytes


def costs_of(statistics: Mapping[str, Any], params: Params) -> dict[str, tuple[float, float]]:
    """Likely seconds and gigabytes of one run of each stage that takes much, by script and what answers."""
    split = {"chosen": "", "by_strategy": {"": {"examples": statistics["examples_per_split"]}}}
    facts = {"splits": {**split, "items": statistics["items"], "interactions": statistics["interactions"]}}
    costs = estimate(facts, params, statistics["interactions"])
    return {cost["stage"]: (cost["seconds"][1], cost["gigabytes"][1]) for cost in costs}


def duration(seconds: float) -> str:
    """In words, as precisely as it can be known.

    >>> duration(8.2), duration(95), duration(4000)
    ('8 s', '2 min', '1 h 7 min')
    """
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


if __name__ == "__main__":
    run(main)
