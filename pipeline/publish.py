"""Collects the results behind published figures and writes the generated tables and figures of the documentation; not a stage.

- ``python -m pipeline.publish collect movielens`` reads a finished run of several seeds and writes
  ``results/movielens.parquet`` and ``results/movielens.json``.
- ``python -m pipeline.publish write`` writes the tables and figures of README.md and docs/results.md from ``results/``.
"""

from __future__ import annotations

import subprocess
from typing import Annotated

import typer

from llara_core import tables
from llara_core.config import load_params
from llara_core.errors import DataError
from llara_core.evaluation.published import collect
from llara_core.report.published import updated_figures, updated_pages
from pipeline.stage import run

CODE = ("llara_core", "pipeline", "dvc.yaml")


def main(
    action: Annotated[str, typer.Argument(help="collect or write.")],
    dataset: Annotated[str | None, typer.Argument(help="For collect: key of `datasets` in params.yaml.")] = None,
    commit: Annotated[str | None, typer.Option(help="For collect: commit of the run's code; default: HEAD.")] = None,
    command: Annotated[str, typer.Option(help="For collect: command that made the run.")] = "make repro",
    add: Annotated[bool, typer.Option("--add", help="For collect: keep the systems collected earlier.")] = False,
) -> None:
    """Collects the results of a finished run of DATASET into results/, or writes what is generated from there."""
    if action == "collect" and dataset is not None:
        file = collect(dataset, load_params(), commit or head(), command, keep_others=add)
        typer.echo(f"{file}: {file.stat().st_size / 1000:.0f} KB; now `python -m pipeline.publish write`")
    elif action == "write" and dataset is None:
        pages = {path: text.encode() for path, text in updated_pages().items()}
        for path, content in (pages | updated_figures()).items():
            with tables.atomic_path(path) as staged:
                staged.write_bytes(content)
            typer.echo(f"{path}: written")
    else:
        raise DataError("use `collect DATASET` or `write`")


def head() -> str:
    """Returns the commit that is checked out.

    Raises:
        DataError: the code has uncommitted changes.
    """
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", *CODE], check=False).returncode
    if changed:
        raise DataError(f"{', '.join(CODE)} differ from the last commit: commit them, or name the run's commit with --commit")
    return subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    run(main)
