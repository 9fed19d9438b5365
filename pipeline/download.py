"""Fetch and verify the raw files of a data set: ``python -m pipeline.download movielens``."""

from __future__ import annotations

from typing import Annotated

import typer

from llara_core import paths
from llara_core.config import load_params
from pipeline.stage import run


def main(dataset: Annotated[str, typer.Argument(help="key of `datasets` in params.yaml")]) -> None:
    """Fetch and verify the raw files of DATASET into data/raw/DATASET/."""
    from llara_core.data import sources, synthetic

    params = load_params()
    destination = paths.raw(dataset)
    if params.dataset(dataset).format == "synthetic":
        synthetic.write(destination)
        return
    sources.fetch(
        sources.MOVIELENS_100K,
        destination,
        mirror=params.download.mirror,
        timeout_s=params.download.timeout_s,
        retries=params.download.retries,
    )


if __name__ == "__main__":
    run(main)
