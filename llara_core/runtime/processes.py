"""Runs a stage on several processes: torchrun starts them, torch.distributed connects them.

A stage that supports this calls :func:`start`. If ``parallel.processes`` asks for more than one process, the stage becomes
the launcher of that many copies of itself and waits for them; each copy reaches the same call, joins the others and does its
part. A stage that already runs under a launcher joins its processes. All other functions also work in a single process,
which is the first and does all the work.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from llara_core.config import ParallelConfig
from llara_core.errors import ConfigError, LlaraError

Value = TypeVar("Value")

_LAUNCHER = "LLARA_LAUNCHER"  # environment variable with the process id of the stage that started this process
_WATCH_S = 1.0
_joined: set[object] = set()  # holds the group of all processes while this one is a member
_AFTER_OTHERS = {"SIGTERM", "SIGABRT"}  # sent by the launcher or NCCL after another process has ended


def rank() -> int:
    """Returns the rank of this process; the process of rank 0, the first, logs and writes."""
    return int(os.environ["RANK"]) if _is_launched() else 0


def is_first() -> bool:
    return rank() == 0


def is_started_by_stage() -> bool:
    """Returns whether another process of the same stage waits for this one."""
    return _LAUNCHER in os.environ and _is_launched()


def count() -> int:
    """Returns the number of cooperating processes."""
    dist = _group()
    return 1 if dist is None else int(dist.get_world_size())


def start(config: ParallelConfig) -> bool:
    """Distributes this stage over processes; returns whether they have done the work.

    If not, this process has to do it, alone or with those that it has joined.

    Args:
        config: number of processes, unless a launcher around the stage has set it.

    Raises:
        LlaraError: a process failed, with its own message, or the machine has fewer GPUs than requested processes.
    """
    if _is_launched():
        _join()
        return False
    n = _wanted(config)
    if n > 1:
        _launch(n)
    return n > 1


def leave() -> None:
    """Waits until every process is done, and leaves the group."""
    dist = _group()
    if dist is not None:
        dist.barrier()
        dist.destroy_process_group()
        _joined.clear()


def broadcast(value: Value) -> Value:
    """Returns the first process's value in every process, after waiting for it."""
    dist = _group()
    if dist is None:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def own_share(batches: list[Value]) -> list[Value]:
    """Returns this process's batches; batches stay whole, so results do not depend on the number of processes."""
    return batches[rank() :: count()]


def fill_in(done: Sequence[npt.NDArray[np.integer]], *results: npt.NDArray[Any]) -> None:
    """Fills in the rows that other processes have computed.

    Args:
        done: numbers of the rows that this process has computed, in any number of arrays.
        results: arrays of all rows; those of other processes are filled in place.
    """
    dist = _group()
    if dist is None:
        return
    rows = np.concatenate([np.empty(0, dtype=np.int64), *done])
    parts: list[Any] = [None] * count()
    dist.all_gather_object(parts, (rows, [result[rows] for result in results]))
    for others, values in parts:
        for result, value in zip(results, values, strict=True):
            result[others] = value


@contextmanager
def first_goes_ahead() -> Iterator[None]:
    """Runs the block in the first process alone, then in all others."""
    dist = _group()
    if dist is not None and not is_first():
        dist.barrier()
    yield
    if dist is not None and is_first():
        dist.barrier()


def report(error: BaseException) -> bool:
    """Writes an error to the file that the launcher reads; returns whether the launcher is a stage, which will show it."""
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if file is None or not _is_launched():
        return False
    foreseen = isinstance(error, LlaraError)
    content = {
        "message": str(error) if foreseen else f"{type(error).__name__}: {error}",
        "foreseen": foreseen,
        # The form is that of torch.distributed.elastic, which counts in whole seconds.
        "extraInfo": {"py_callstack": "".join(traceback.format_exception(error)), "timestamp": str(int(time.time()))},
        "time": time.time(),
    }
    Path(file).write_text(json.dumps({"message": content}), encoding="utf-8")
    return is_started_by_stage()


def _group() -> Any:
    """Returns ``torch.distributed`` if this process has joined others; groups of other code do not count."""
    if not _joined:
        return None
    import torch.distributed

    return torch.distributed


def _is_launched() -> bool:
    return {"RANK", "LOCAL_RANK", "WORLD_SIZE"} <= os.environ.keys() and int(os.environ["WORLD_SIZE"]) > 1


def _wanted(config: ParallelConfig) -> int:
    if config.processes == 1:
        return 1
    import torch

    n_gpus = torch.cuda.device_count()
    if config.processes == "auto":
        n = max(n_gpus, 1)
    else:
        n = config.processes
        if 0 < n_gpus < n:
            raise ConfigError(f"parallel.processes is {n}, but {n_gpus} GPUs are visible; set it to {n_gpus} or to auto")
    if n > 1 and int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        raise ConfigError(
            f"Slurm has started several tasks, and each would start {n} processes (parallel.processes); start one torchrun per "
            "task, as docs/scale.md shows"
        )
    return n


def _join() -> None:
    import torch
    import torch.distributed as dist

    if _LAUNCHER in os.environ:
        threading.Thread(target=_end_with, args=(int(os.environ[_LAUNCHER]),), daemon=True).start()
    if torch.cuda.is_available():
        own, n_gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if own >= n_gpus:
            raise ConfigError(
                f"the launcher started process {own} (from 0) on a machine with {n_gpus} visible GPUs; start fewer"
            )
        torch.cuda.set_device(own)
        dist.init_process_group("cpu:gloo,cuda:nccl")
    else:
        dist.init_process_group("gloo")
    _joined.add(dist.group.WORLD)


def _end_with(launcher: int) -> None:
    """Ends this process when the stage that started it is gone: nothing else would, and a second run may have started."""
    while os.getppid() == launcher:
        time.sleep(_WATCH_S)
    os._exit(1)


def _launch(n: int) -> None:
    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    logging.info("on %d processes", n)
    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # failures are reported below
    os.environ |= {_LAUNCHER: str(os.getpid()), "TORCH_CPP_LOG_LEVEL": "ERROR"}
    module = sys.modules["__main__"].__spec__.name  # type: ignore[union-attr]
    with tempfile.TemporaryDirectory(prefix="llara-") as logs:
        options = ["--standalone", "--nproc-per-node", str(n), "--log-dir", logs]
        try:
            arguments = torchrun.parse_args([*options, "--module", module])  # type: ignore[no-untyped-call]
            arguments.training_script_args = sys.argv[1:]  # set unparsed, since torchrun would take --n for its own option
            torchrun.run(arguments)  # type: ignore[no-untyped-call]
        except ChildFailedError as error:
            raise _failure(error.failures, n) from None
        except SignalException as error:
            raise SystemExit(128 + error.sigval) from None


def _failure(failures: Mapping[int, Any], n: int) -> LlaraError:
    """Returns an error with the cause, which is the process that failed first: the others fail because it is gone."""
    again = "start the same command again; tuning continues from its last checkpoint"
    reports = [(failure.message, number) for number, failure in failures.items() if isinstance(failure.message, dict)]
    report, first = min(reports, key=lambda each: each[0]["time"], default=(None, None))
    if report is not None and report["foreseen"]:
        return LlaraError(report["message"])
    for number, failure in failures.items():
        if failure.exitcode < 0 and failure.signal_name() not in _AFTER_OTHERS:
            return LlaraError(
                f"process {number} of 0 to {n - 1} was ended by {failure.signal_name()}, perhaps for lack of memory; {again}"
            )
    if report is not None:
        print(report["extraInfo"]["py_callstack"], end="", file=sys.stderr)
        return LlaraError(f"process {first} of 0 to {n - 1} failed with the traceback above; {again}")
    codes = ", ".join(f"process {number} ended with exit code {failure.exitcode}" for number, failure in failures.items())
    return LlaraError(f"processes 0 to {n - 1} failed: {codes}; {again}")
