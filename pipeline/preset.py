"""Overlays params.yaml and systems.yaml with a preset; not a stage: ``python -m pipeline.preset paper movielens``."""

from __future__ import annotations

from typing import Annotated

import typer

from llara_core import paths
from llara_core.config.params import file_of
from llara_core.config.presets import apply_preset
from pipeline.stage import run


def main(
    preset: Annotated[str, typer.Argument(help="A file in presets/, without its extension.")],
    dataset: Annotated[
        str, typer.Argument(help="Key of `datasets` in params.yaml, which becomes the only one in run.datasets.")
    ],
) -> None:
    """Writes the values of PRESET for DATASET; `git checkout params.yaml systems.yaml` restores the previous ones."""
    changes = apply_preset(paths.PRESETS, preset, dataset, paths.PARAMS)
    for change in changes:
        typer.echo(f"{change.key}: {change.before} -> {change.after}")
    typer.echo(f"{len(changes)} keys of {' and '.join(sorted({str(file_of(change.key)) for change in changes}))} changed")


if __name__ == "__main__":
    run(main)
