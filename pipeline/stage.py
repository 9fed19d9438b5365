"""The command line of all stage scripts: arguments, logging, and errors as one clear message."""

from __future__ import annotations

import functools
import inspect
import io
import logging
import os
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from llara_core.errors import LlaraError
from llara_core.runtime import compute, processes

# Arguments of a stage, in this order in every script.
Dataset = Annotated[str, typer.Argument(help="Key of `datasets` in params.yaml, e.g. movielens.")]
Recommender = Annotated[str, typer.Argument(help="One of run.recommenders, e.g. sasrec.")]
System = Annotated[str, typer.Argument(help="One of run.systems, e.g. llara.")]
AnySystem = Annotated[str, typer.Argument(help="One of run.systems, run.recommenders or run.baselines.")]
Seed = Annotated[int, typer.Argument(help="Training seed, one of run.seeds.", min=0)]

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of a foreseeable error.")]


def run(main: Callable[..., None], *, pin_kernels: bool = False) -> None:
    """Runs ``main`` as a Typer command on one thread; a :class:`LlaraError` ends it with its message and exit code 1.

    Args:
        main: function with Typer annotations.
        pin_kernels: whether to use the same instructions on every processor, as the stages of recommenders do.
    """
    spec = sys.modules[main.__module__].__spec__
    if spec is None:
        script = Path(inspect.getfile(main)).stem
        sys.exit(f"error: run it from the repository root as a module: python -m pipeline.{script}")
    name = spec.name.rpartition(".")[2]
    if not processes.is_first():  # only the first of several processes prints
        os.environ["TQDM_DISABLE"] = "1"
    level = logging.INFO if processes.is_first() else logging.WARNING
    logging.basicConfig(level=level, format=f"{name}: %(message)s", stream=sys.stderr)
    for chatty in ("httpx", "httpx2", "openai", "urllib3", "filelock", "datasets", "fsspec"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # peft imports it if it is installed, and on a CPU it warns about a faster kernel that is not needed here.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

    for stream in (sys.stdin, sys.stdout):  # titles can have characters that the encoding lacks
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    compute.use_threads(compute.STAGE_THREADS)
    if pin_kernels:
        compute.pin_kernels()

    @functools.wraps(main)
    def command(*args: object, debug: bool = False, **kwargs: object) -> None:
        level = logging.DEBUG if processes.is_started_by_stage() else logging.INFO  # the stage has logged it
        logging.log(level, shlex.join(["start", *sys.argv[1:]]))
        start = time.perf_counter()
        try:
            main(*args, **kwargs)
            processes.leave()
        except Exception as error:
            shown = processes.report(error)
            if debug or not (shown or isinstance(error, LlaraError)):
                raise
            if not shown:
                typer.echo(f"{name}: error: {error}", err=True)
            raise typer.Exit(1) from None
        logging.log(level, "done in %.1f s", time.perf_counter() - start)

    option = inspect.Parameter("debug", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Debug)
    signature = inspect.signature(main, eval_str=True)
    command.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), option]
    )
    command.__annotations__ = {**inspect.get_annotations(main, eval_str=True), "debug": Debug}
    typer.run(command)
