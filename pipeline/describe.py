"""Describes a log before its use; not a stage: ``python -m pipeline.describe movielens``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from llara_core import paths, tables
from llara_core.config import load_params
from llara_core.errors import DataError
from pipeline.costs import of_log
from pipeline.stage import run


def main(
    dataset: Annotated[
        str, typer.Argument(help="Key of `datasets` in params.yaml, or a folder in data/own/ without a section.")
    ],
    json: Annotated[Path | None, typer.Option(help="JSON file to which all facts are also written.")] = None,
) -> None:
    """Describes the log of DATASET; for a folder without a section, also prints one to paste into params.yaml."""
    from llara_core.description.describe import describe
    from llara_core.description.page import render

    folder = Path(dataset)
    name = folder.name if folder.parent == paths.own("") else dataset  # the path of the folder is also accepted
    params = load_params()
    facts = describe(name, params, time.time())
    facts |= {"costs": costs} if (costs := of_log(facts, params)) else {}
    typer.echo(render(facts), nl=False)
    if json is not None:
        tables.write_json(json, facts)
    if "refused" in facts:
        raise DataError(facts["refused"])


if __name__ == "__main__":
    run(main)
