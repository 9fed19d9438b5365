"""Runs the stages that changed, with one line per stage; not a stage: ``python -m pipeline.repro`` (``make repro``).

Each stage runs by ``dvc repro --single-item``, several of them at a time. If parameters are set, ``dvc exp run`` then finds all
stages up to date and saves an experiment. The output of DVC and the stages goes to ``.scratch/repro.log``; that of a failed
stage is also printed.
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
from functools import partial
from pathlib import Path
from typing import Annotated, TextIO

import typer

from llara_core import paths, tables
from llara_core.config import Params, load_params
from llara_core.errors import LlaraError
from pipeline.costs import estimate
from pipeline.dry_run import COPY, plan
from pipeline.jobs import Reproduction, Todo, reproduce, sort_lock, stages_in_order
from pipeline.settings import overlay_params, with_settings
from pipeline.stage import run

LOG, SECONDS = paths.scratch() / "repro.log", paths.scratch() / "stage_seconds.json"
MODEL_FILES = paths.scratch() / "model_files.json"  # files of local models at the end of the last successful run, by path
RUNS = "Running stage '"  # DVC's message
PERCENT = re.compile(r"(\d+)%\|")
OF_STAGE = re.compile(r"([^\r\n]*?): +(\d+)% of the stage\|")  # the bar that runtime/progress.py writes
EXTRAPOLATED_FROM = 0.1  # progress of a stage from which its remaining time is extrapolated
LATE = 1.25, 10.0  # factor and margin in seconds beyond which a stage takes longer than expected
LOCKED = re.compile(r"Unable to acquire lock|is busy, it is being blocked by")
RUNNING = Path(".dvc/tmp/rwlock")  # DVC's record of the running processes and the files that they read and write
WIDTH = 100
SMALL_S, SMALL_GB = 8.0, 1.0  # assumed cost of a stage that is neither recorded nor in the table of costs
HEARTBEAT_S = 60.0  # interval between lines about a running stage without a terminal
ANOTHER_RUN = (
    "another run is active in this repository: wait for it or stop it, or use `dvc exp run --temp`, which runs in a copy"
)
FETCH = Todo({"fetch_llm": "python -m pipeline.fetch_llm"}, {"fetch_llm": set()}, 1)


def main(
    stage: Annotated[
        list[str] | None,
        typer.Argument(help="Stages of `dvc stage list`, run with the stages before them; default: all stages."),
    ] = None,
    set_param: Annotated[
        list[str] | None,
        typer.Option("--set-param", "-S", help="A parameter of this experiment, as in `dvc exp run -S`; repeat the option."),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", help="Number of concurrent stages; default: 2 on two cores or more, 1 with a GPU.", min=1),
    ] = None,
    dry: Annotated[bool, typer.Option("--dry", help="Only list the stages that would run, with their likely time.")] = False,
) -> None:
    """Runs the stages that changed, with a line and the remaining time for each, and prints the table of results."""
    settings, targets = set_param or [], stage or []
    if not dry:
        refuse_a_second_run()
    params, changes = overlay_params(settings)
    for line in changes:
        typer.echo("\n".join(textwrap.wrap(line, WIDTH, subsequent_indent="  ")))
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
            typer.echo(f"The files in {model} have changed, which DVC does not notice: they are fetched again.")
            run_stages(FETCH, 1, log, partial(reproduce, options=["--force"]))
            known[model] = files
        follower = run_stages(find_todo(targets), n_jobs, log)
        if follower.n_run:
            sort_lock()
        if settings:
            save_experiment(targets, log)
    tables.write_json(MODEL_FILES, known)
    spent = duration(time.monotonic() - started)
    n_stages = follower.n_run + follower.n_unchanged
    others = "; the others were up to date" if follower.n_unchanged else ""
    typer.echo(f"{follower.n_run} of {n_stages} stages ran in {spent}{others}.")
    if not targets:
        typer.echo(f"\n{(paths.REPORT / 'summary.txt').read_text(encoding='utf-8')}")
        typer.echo(f"Report: {paths.REPORT}/report.md and {paths.REPORT}/report.html; output of the stages: {LOG}")


def default_jobs(params: Params) -> int:
    """Returns 2 if the language model's threads leave a core for a second stage and there is no GPU to share, else 1."""
    processes = params.parallel.processes
    n_threads = params.llm.threads * (1 if processes == "auto" else processes)
    has_gpu = shutil.which("nvidia-smi") is not None or Path("/dev/kfd").exists()
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 1 if has_gpu or n_cores < 2 * n_threads else 2


def run_stages(todo: Todo, jobs: int, log: TextIO, start: Callable[[str], Reproduction] = reproduce) -> Follower:
    """Runs stages and prints a line for each.

    Raises:
        LlaraError: a stage failed; its output is printed before.
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
        f"{' and '.join(follower.failed)} failed; the output is above, that of earlier stages in {LOG}. Finished stages "
        "are kept: the same command continues with the others"
    )


def save_experiment(targets: Sequence[str], log: TextIO) -> None:
    """Saves the run as an experiment of DVC.

    Raises:
        LlaraError: DVC fails.
    """
    command = [sys.executable, "-m", "dvc", "exp", "run", *targets]
    answer = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, check=False
    )
    log.write(answer.stdout)
    if answer.returncode:
        typer.echo(f"\n{answer.stdout.strip()}\n", err=True)
        raise LlaraError("all stages ran, but `dvc exp run` failed to save an experiment; its output is above")


def refuse_a_second_run() -> None:
    """Checks that no other run reads the parameter files, before values are written into them.

    Raises:
        LlaraError: a stage is running, started by this command or by DVC.
    """
    try:
        record = json.loads(RUNNING.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    owners = [*record.get("write", {}).values(), *(owner for owners in record.get("read", {}).values() for owner in owners)]
    active = next((owner for owner in owners if runs_dvc(int(owner["pid"]))), None)
    if active is not None:
        command = re.sub(r"^\S*/dvc/__main__\.py", "dvc", active["cmd"])
        command = re.sub(r"^\S*/pipeline/repro\.py", "python -m pipeline.repro", command)
        raise LlaraError(f"{ANOTHER_RUN} (process {active['pid']}: {command})")


def runs_dvc(pid: int) -> bool:
    """Returns whether a process exists and runs DVC; the number of a killed run may by now belong to another process."""
    import psutil  # type: ignore[import-untyped]  # a dependency of DVC

    try:
        return any("dvc" in word or "pipeline.repro" in word for word in psutil.Process(pid).cmdline())
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # another user's process
        return True


def what_would_run(settings: Sequence[str], targets: Sequence[str], jobs: int) -> Iterator[str]:
    """Yields a line per stage with its likely time, and a line with the time of all of them."""
    recorded = tables.read_json(SECONDS) if SECONDS.is_file() else {}
    try:
        todo = plan(settings, targets)
        with contextlib.chdir(COPY):
            seconds, gigabytes = expected(todo.commands, recorded, load_params())
    finally:  # its links would keep deleted data on the disk
        if COPY.exists():
            shutil.rmtree(COPY)
    for name, command in todo.commands.items():
        yield f"  {short(command):40} {duration(seconds[name]):>10}"
    if not todo.commands:
        yield f"Nothing would run: {todo.n_stages} stages are up to date."
        return
    schedule = todo.schedule(jobs)
    schedule.expect(seconds, gigabytes)
    yield f"{len(todo.commands)} of {todo.n_stages} stages would run, in about {duration(schedule.rest_s({}))}."
    yield "A stage whose inputs turn out not to change will be skipped."


def short(command: str) -> str:
    """Returns a stage's command without the common prefix and without options."""
    return command.removeprefix("python -m pipeline.").partition(" --")[0]


def model_files(model: str) -> dict[str, list[int]]:
    """Returns size and time (nanoseconds) of each file of a local model by name; none if ``model`` is not a folder."""
    folder = Path(model).expanduser()
    files = (path for path in sorted(folder.iterdir()) if path.is_file()) if folder.is_dir() else ()
    return {path.name: [path.stat().st_size, path.stat().st_mtime_ns] for path in files}


class Running:
    """A running stage and its progress.

    Args:
        number: position among all stages, as printed.
        is_known: whether ``expected_s`` is recorded or in the table of costs.

    Attributes:
        output: lines of output.
        command: command of the stage; empty for files that ``dvc add`` tracks.
        ran: whether DVC has started the command; it first checks whether anything changed.
        started, printed: times of the start and of the last printed line (seconds of :func:`time.monotonic`).
    """

    def __init__(self, number: str, command: str, reproduction: Reproduction, expected_s: float, *, is_known: bool) -> None:
        self.reproduction, self.output, self.ran = reproduction, list[str](), False
        self.command, self.started = command, time.monotonic()
        self.printed = self.started
        self._number = number
        self._expected_s, self._is_known = expected_s, is_known
        self._percent, self._phase, self._has_several_bars = "", "", False

    def note(self, line: str) -> None:
        """Updates the progress: the percentage of the stage if it prints one, otherwise that of its only progress bar."""
        if line.endswith("\n"):
            self.output.append(line)
            self.ran = self.ran or line.startswith(RUNS)
        if of_stage := OF_STAGE.search(line):
            self._phase, self._percent = of_stage[1], f"{of_stage[2]}%"
        elif (percent := PERCENT.search(line)) and not self._phase:
            self._has_several_bars |= int(percent[1]) < int(self._percent.rstrip("%") or 0)  # a further bar starts lower
            self._percent = "" if self._has_several_bars else f"{percent[1]}%"

    def rest_s(self) -> float:
        """Returns the expected remaining seconds."""
        spent, done = time.monotonic() - self.started, int(self._percent.rstrip("%") or 0) / 100
        return spent * (1 - done) / done if self._phase and done >= EXTRAPOLATED_FROM else max(self._expected_s - spent, 0)

    def line(self, rest_s: float) -> str:
        """Returns number, stage, percent, seconds and the remaining time of the run in 80 columns, then the phase."""
        spent, (factor, margin_s) = time.monotonic() - self.started, LATE
        if self._is_known and self._expected_s and spent > max(factor * self._expected_s, self._expected_s + margin_s):
            rest = "longer than expected"
        else:
            rest = f"about {duration(rest_s)} left" if rest_s else ""
        phase = f"  {self._phase}" if self._phase else ""
        return f"{self._number:>7} {short(self.command):37} {self._percent:>4} {spent:4.0f} s  {rest:20}{phase}".rstrip()

    def last_line(self, rest_s: float) -> str:
        """Returns the line of the finished stage."""
        self._percent, self._phase, self._expected_s = "", "", 0.0
        return self.line(rest_s)


class Follower:
    """Runs as many stages at a time as there are jobs, and prints a line for each.

    Attributes:
        n_run, n_unchanged: numbers of stages so far.
        failed: output of each failed stage, by name.
    """

    def __init__(self, todo: Todo, jobs: int, log: TextIO, start: Callable[[str], Reproduction]) -> None:
        self.n_run, self.n_unchanged = 0, todo.n_stages - sum(map(bool, todo.commands.values()))
        self.failed: dict[str, str] = {}
        self._commands, self._n_stages, self._n_started = todo.commands, todo.n_stages, self.n_unchanged
        self._log, self._launch, self._params = log, start, load_params()
        self._seconds: dict[str, float] = tables.read_json(SECONDS) if SECONDS.is_file() else {}
        self._schedule = todo.schedule(jobs)
        self._running: dict[str, Running] = {}
        self._is_terminal, self._n_shown, self._is_interrupted = sys.stdout.isatty(), 0, False

    def follow(self) -> None:
        """Runs the stages; if one fails, running ones are finished and no other is started."""
        try:
            self._start()
            while self._running:
                by_output = {running.reproduction: name for name, running in self._running.items()}
                has_ended = [self._read(by_output[each]) for each in select.select([*by_output], [], [], 1.0)[0]]
                if any(has_ended):
                    self._start()
                self._show()
        except KeyboardInterrupt:  # the terminal also interrupts DVC and the stages
            self._is_interrupted = True
            for name in [*self._running]:
                while not self._read(name):
                    pass
            typer.echo("\nStopped. Finished stages are kept: the same command continues with the others.", err=True)
            raise typer.Exit(130) from None

    def _start(self) -> None:
        # Estimated again after every stage, because the table of costs needs sizes that some of them write.
        self._schedule.expect(*expected(self._commands, self._seconds, self._params))
        while not self.failed and (name := self._schedule.start()) is not None:
            command, seconds = self._commands[name], self._schedule.seconds[name]
            self._n_started += bool(command)
            number, is_known = f"[{self._n_started}/{self._n_stages}]", name in self._seconds or seconds != SMALL_S
            self._running[name] = Running(number, command, self._launch(name), seconds, is_known=is_known)

    def _read(self, name: str) -> bool:
        """Reads the output of a stage and returns whether it has ended."""
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
                typer.echo(f"{name} failed; the other running stages are finished first.")
        elif running.ran:
            self.n_run += 1
            self._seconds[name] = round(time.monotonic() - running.started, 1)
            tables.write_json(SECONDS, self._seconds)
            self._clear()
            typer.echo(running.last_line(self._rest_s()))
        else:
            self.n_unchanged += bool(running.command)

    def _rest_s(self) -> float:
        return self._schedule.rest_s({name: running.rest_s() for name, running in self._running.items()})

    def _show(self) -> None:
        """Prints the running stages: continuously on a terminal, otherwise every minute."""
        rest_s, shown = self._rest_s(), [running for running in self._running.values() if running.ran]
        if self._is_terminal:
            self._clear()
            width = shutil.get_terminal_size().columns - 1
            typer.echo("\n".join(running.line(rest_s)[:width] for running in shown), nl=False)
            self._n_shown = len(shown)
            return
        for running in shown:
            if time.monotonic() - running.printed > HEARTBEAT_S:
                running.printed = time.monotonic()
                typer.echo(f"{running.line(rest_s)}, still running")

    def _clear(self) -> None:
        if self._is_terminal and self._n_shown:
            up = f"\x1b[{self._n_shown - 1}A" if self._n_shown > 1 else ""
            typer.echo(f"\r{up}\x1b[J", nl=False)
            self._n_shown = 0


def find_todo(targets: Sequence[str]) -> Todo:
    """Returns what to do for ``targets``, or for all stages.

    Raises:
        LlaraError: another DVC process is active, or ``dvc.yaml`` or ``targets`` are invalid.
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
    """Returns the expected seconds (of the last run, otherwise of the table of costs) and gigabytes of each stage.

    Args:
        commands: commands of the stages, by name.
        recorded: seconds of the last run, by name.
    """
    costs = dict[str, dict[str, tuple[float, float]]]()
    for dataset in params.run.datasets:
        if (file := paths.statistics(dataset)).is_file():
            sizes = tables.read_json(file)
            n_items, n_rows = sizes["items"], sizes["interactions"]
            likely = estimate(params, n_rows, n_items, n_rows, sizes["examples_per_split"])
            costs[dataset] = {cost["stage"]: (cost["seconds"][1], cost["gigabytes"][1]) for cost in likely}
    llm_gb = sum(file.stat().st_size for file in paths.LLM.glob("*") if file.is_file()) / 1e9
    seconds, gigabytes = dict[str, float](), dict[str, float]()
    for name, command in commands.items():
        script, dataset, system, *_ = [*command.removeprefix("python -m pipeline.").split(), "", "", ""]
        of_dataset = costs.get(dataset, {})
        likely_s, gigabytes[name] = of_dataset.get(f"{script} {system}", of_dataset.get(script, (SMALL_S, SMALL_GB)))
        seconds[name] = recorded.get(name, likely_s)
        if system in params.systems:
            gigabytes[name] += llm_gb
    return seconds, gigabytes


def duration(seconds: float) -> str:
    """Returns a duration in words, rounded.

    >>> duration(8.2), duration(95), duration(4000)
    ('8 s', '2 min', '1 h 7 min')
    """
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


if __name__ == "__main__":
    run(main)
