"""Exports a system of a finished run into one folder; not a stage.

``python -m pipeline.export movielens sasrec 0 exported/sasrec``
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llara_core.config import load_params
from pipeline.stage import Dataset, Seed, run


def main(
    dataset: Dataset,
    system: Annotated[str, typer.Argument(help="One of run.systems or run.recommenders.")],
    seed: Seed,
    out: Annotated[Path, typer.Argument(help="Folder to write: new, empty or an earlier export.")],
    retriever: Annotated[
        str | None, typer.Option(help="Recommender that retrieves; default: the system's own, else the first of the run.")
    ] = None,
) -> None:
    """Exports SYSTEM of a finished run into OUT, with everything that `llara_core.serving.load` needs except the language
    model."""
    from llara_core.serving.export import export
    from llara_core.serving.parts import parts_of_run

    params = load_params()
    export(parts_of_run(params, dataset, system, seed, retriever), params, out)


if __name__ == "__main__":
    run(main)
