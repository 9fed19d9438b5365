"""Run what changed, with one line per stage; no stage, but for users: ``python -m pipeline.repro`` (``make repro``).

The engine is ``dvc repro``, or ``dvc exp run`` where parameters are set. All that it and the stages print goes into
``.scratch/repro.log``; a failed stage's part of it is shown in full.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import re
import select
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from llara_core import paths, tables
from llara_core.config import Params, load_params
from llara_core.description.costs import estimate
from llara_core.errors import LlaraError
from pipeline.dry_run import plan
from pipeline.settings import changes, checked_params
from pipeline.stage import run

LOG, SECONDS = paths.scratch() / "repro.log", paths.scratch() / "stage_seconds.json"
MODEL_FILES = paths.scratch() / "model_files.json"  # of local models, by path, when a run last ended well
FETCH = ["repro", "--force", "--single-item", "fetch_llm"]
EVENT = re.compile(r"(Running stage|Stage) '([^']+)'(?::| didn't change| is cached)")
PERCENT = re.compile(r"(\d+)%\|")
OF_STAGE = re.compile(r"([^\r\n]*?): +(\d+)% of the stage\|")  # as runtime/progress.py writes it
TELLING = 0.1  # share of a stage from which the rest follows from the time that it took
LATE = 1.25, 10.0  # a stage takes longer than expected from so many times its seconds, and so many of them
LOCKED = re.compile(r"Unable to acquire lock|is busy, it is being blocked by")
RUNNING = Path(".dvc/tmp/rwlock")  # in which DVC notes what the stage that runs reads and writes, and its process
WIDTH = 100
SMALL_S = 8.0  # of a stage without a record that the table of costs leaves out
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
    if dry:
        for line in what_would_run(settings, targets):
            typer.echo(line)
        return
    model = checked_params(settings).llm.model
    command = ["exp", "run", *(word for value in settings for word in ("-S", value))] if settings else ["repro"]
    started, follower = time.monotonic(), Follower(targets)
    commands = [[*command, *targets]]
    files, known = model_files(model), tables.read_json(MODEL_FILES) if MODEL_FILES.is_file() else {}
    # A model that only -S names is left to the next run: by then, it is the one of params.yaml, which is what is fetched here.
    if known.setdefault(model, files) != files and load_params(paths.PARAMS).llm.model == model:
        typer.echo(f"The files in {model} have changed, which DVC does not see: they are fetched again.")
        commands.insert(0, FETCH)
        known[model] = files
    paths.scratch().mkdir(exist_ok=True)
    with LOG.open("w", encoding="utf-8") as log:
        code = next(filter(None, (follower.follow([sys.executable, "-m", "dvc", *each], log) for each in commands)), 0)
    if code:
        output = "".join(follower.output)
        if LOCKED.search(output):
            raise LlaraError(ANOTHER_RUN)
        typer.echo(f"\n{output.strip()}\n", err=True)
        failed = re.search(r"failed to reproduce '([^']+)'", output)
        raise LlaraError(
            f"{failed[1] if failed else 'dvc'} failed; above is all that it printed, and {LOG} has what the stages before it "
            "printed. These are kept: the same command goes on from there"
        )
    tables.write_json(MODEL_FILES, known)
    spent = duration(time.monotonic() - started)
    typer.echo(f"{follower.n_run} stages ran in {spent}, {follower.n_unchanged} were up to date.")
    if not targets:
        typer.echo(f"\n{(paths.REPORT / 'summary.txt').read_text(encoding='utf-8')}")
        typer.echo(f"Report: {paths.REPORT}/report.md and {paths.REPORT}/report.html; output of the stages: {LOG}")


ANOTHER_RUN = (
    "another run is active in this repository: wait for its end, or stop it; beside it, `dvc exp run --temp` works in a copy"
)


def refuse_a_second_run() -> None:
    """Before values are written into ``params.yaml``, which the first run reads.

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
        raise LlaraError(f"{ANOTHER_RUN} (process {active['pid']}: {command})")


def runs_dvc(pid: int) -> bool:
    """Whether a process is there and is one of DVC; a killed run leaves its number behind, which another may have by now."""
    import psutil  # type: ignore[import-untyped]  # a dependency of DVC

    try:
        return any("dvc" in word for word in psutil.Process(pid).cmdline())
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # somebody else's
        return True


def what_would_run(settings: Sequence[str], targets: Sequence[str]) -> Iterator[str]:
    """A line per stage, with its likely time, and their sum."""
    found = plan(settings, targets)
    recorded = tables.read_json(SECONDS) if SECONDS.is_file() else {}
    with contextlib.chdir(found.folder):
        expected = expected_seconds(found.commands, recorded)
    shutil.rmtree(found.folder)  # whose links would keep data on the disk that nothing else needs any more
    for name, command in found.commands.items():
        yield f"  {short(command):40} {duration(expected[name]):>10}"
    if not found.commands:
        yield f"Nothing would run: {found.n_stages} stages are up to date."
        return
    yield f"{len(found.commands)} of {found.n_stages} stages would run, in about {duration(sum(expected.values()))}."
    yield "A stage whose inputs turn out as they were is left out in the end."


def short(command: str) -> str:
    """A stage's command without what all have in common, and without options."""
    return command.removeprefix("python -m pipeline.").partition(" --")[0]


def model_files(model: str) -> dict[str, list[int]]:
    """Size and time (nanoseconds) of every file of a local model by its name; none where ``llm.model`` is no folder."""
    folder = Path(model).expanduser()
    files = (path for path in sorted(folder.iterdir()) if path.is_file()) if folder.is_dir() else ()
    return {path.name: [path.stat().st_size, path.stat().st_mtime_ns] for path in files}


class Follower:
    """Runs DVC and turns what it prints into a line per stage.

    Attributes:
        name: of the stage that runs; empty between stages.
        output: what was printed since the last stage began.
        n_run, n_unchanged: stages so far.
    """

    def __init__(self, targets: list[str]) -> None:
        self.name, self.n_run, self.n_unchanged = "", 0, 0
        self.output: list[str] = []
        self._targets = targets
        self._seconds: dict[str, float] = tables.read_json(SECONDS) if SECONDS.is_file() else {}
        self._commands: dict[str, str] = {}  # of the stages still to come, by name
        self._n_stages = 0
        self._command, self._percent, self._phase, self._began, self._shown = "", "", "", 0.0, 0.0
        self._own_s, self._rest_s = 0.0, 0.0  # expected of the running stage and of those after it
        self._is_known = False  # whether the former is more than SMALL_S
        self._is_terminal = sys.stdout.isatty()

    def follow(self, command: list[str], log: TextIO) -> int:
        """Run ``command`` to its end, and return its exit status."""
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        try:
            for line in lines(process):
                if event := EVENT.match(line):
                    self._finish()
                    self._begin(event[2], runs=event[1].startswith("Running"))
                if line.endswith("\n"):
                    self.output.append(line)
                    log.write(line)
                    log.flush()
                self._note_progress(line)
                self._show()
            code = process.wait()
        except KeyboardInterrupt:  # the terminal sent it to DVC and the stage, too
            process.communicate()
            typer.echo("\nStopped. What was finished is kept: the same command goes on from there.", err=True)
            raise typer.Exit(130) from None
        if code == 0:
            self._finish()
        self._clear()
        return code

    def _begin(self, name: str, *, runs: bool) -> None:
        if not self._n_stages:  # now, since `dvc exp run` has written its values into params.yaml by now
            self._commands = commands_in_order(self._targets)
            self._n_stages = len(self._commands)
        command = self._commands.pop(name, None)
        if command is None:  # no stage, but files that `dvc add` tracks
            return
        if not runs:
            self.n_unchanged += 1
            return
        self.name, self.output, self._percent, self._phase = name, [], "", ""
        self._command = short(command)
        self._began = self._shown = time.monotonic()
        expected = expected_seconds({name: command, **self._commands}, self._seconds)
        self._own_s = expected.pop(name)
        self._is_known = name in self._seconds or self._own_s != SMALL_S
        self._rest_s = sum(expected.values())

    def _finish(self) -> None:
        if not self.name:
            return
        self._seconds[self.name] = round(time.monotonic() - self._began, 1)
        tables.write_json(SECONDS, self._seconds)
        self.n_run += 1
        self._percent, self._phase, self._own_s = "", "", 0.0
        self._clear()
        typer.echo(self._line())
        self.name = ""

    def _note_progress(self, line: str) -> None:
        """The percentage of the stage where it tells one, else that of whatever bar it shows."""
        if of_stage := OF_STAGE.search(line):
            self._phase, self._percent = of_stage[1], f"{of_stage[2]}%"
        elif (percent := PERCENT.search(line)) and not self._phase:
            self._percent = f"{percent[1]}%"

    def _show(self) -> None:
        """The running stage: always on a terminal, each minute elsewhere."""
        if self.name and self._is_terminal:
            self._clear()
            typer.echo(self._line()[: shutil.get_terminal_size().columns - 1], nl=False)
        elif self.name and time.monotonic() - self._shown > HEARTBEAT_S:
            self._shown = time.monotonic()
            typer.echo(f"{self._line()}, still running")

    def _line(self) -> str:
        """Number, stage, percent, seconds and the expected rest of the run, in 80 columns; then the phase of the stage."""
        number, spent = f"[{self._n_stages - len(self._commands)}/{self._n_stages}]", time.monotonic() - self._began
        factor, margin_s = LATE
        own_rest_s, done = max(self._own_s - spent, 0), int(self._percent.rstrip("%") or 0) / 100
        if self._phase and done >= TELLING:
            own_rest_s = spent * (1 - done) / done
        rest_s = own_rest_s + self._rest_s
        if self._is_known and self._own_s and spent > max(factor * self._own_s, self._own_s + margin_s):
            rest = "longer than expected"
        else:
            rest = f"about {duration(rest_s)} left" if rest_s else ""
        phase = f"  {self._phase}" if self._phase else ""
        return f"{number:>7} {self._command:37} {self._percent:>4} {spent:4.0f} s  {rest:20}{phase}".rstrip()

    def _clear(self) -> None:
        if self._is_terminal:
            typer.echo("\r\x1b[K", nl=False)


def lines(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """What a process prints, by line or state of a progress bar; "" for each second without."""
    assert process.stdout is not None
    decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
    pending = ""
    while True:
        if not select.select([process.stdout], [], [], 1.0)[0]:
            yield ""
            continue
        read = os.read(process.stdout.fileno(), 1 << 16)
        *ended, pending = re.split(r"(?<=[\r\n])", pending + decode(read, final=not read))
        yield from ended
        if not read:
            if pending:
                yield f"{pending}\n"
            return


def commands_in_order(targets: list[str]) -> dict[str, str]:
    """The command of every stage that DVC will look at, by name."""
    from dvc.repo import Repo
    from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro

    with Repo() as repo:
        stages = plan_repro(get_active_graph(repo.index.graph), collect_stages(repo, targets or ["dvc.yaml"]))
        return {stage.addressing: stage.cmd for stage in stages if stage.cmd}


def expected_seconds(commands: Mapping[str, str], recorded: Mapping[str, float]) -> dict[str, float]:
    """What each stage took the last time, or else what the table of costs says of it.

    Args:
        commands: of the stages, by name.
        recorded: seconds by name.
    """
    params, costs, expected = load_params(), {}, {}
    for dataset in params.run.datasets:
        statistics = paths.statistics(dataset)
        costs[dataset] = costs_of(tables.read_json(statistics), params) if statistics.is_file() else {}
    for name, command in commands.items():
        script, dataset, answers, *_ = [*command.removeprefix("python -m pipeline.").split(), "", ""]
        of_dataset = costs.get(dataset, {})
        likely = of_dataset.get(f"{script} {answers}", of_dataset.get(script, SMALL_S))
        expected[name] = recorded.get(name, likely)
    return expected


def costs_of(statistics: Mapping[str, Any], params: Params) -> dict[str, float]:
    """Likely seconds of one run of each stage that takes long, by script and what answers."""
    split = {"chosen": "", "by_strategy": {"": {"examples": statistics["examples_per_split"]}}}
    facts = {"splits": {**split, "items": statistics["items"], "interactions": statistics["interactions"]}}
    return {cost["stage"]: cost["seconds"][1] for cost in estimate(facts, params, statistics["interactions"])}


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
