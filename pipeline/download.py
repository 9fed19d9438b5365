"""Downloads the raw files of a data set: ``python -m pipeline.download movielens``."""

from __future__ import annotations

from llara_core import paths
from llara_core.config import load_params
from pipeline.stage import Dataset, run


def main(dataset: Dataset) -> None:
    """Downloads and verifies, generates or copies the raw files of DATASET into data/raw/DATASET/."""
    from llara_core.fetching.datasets import fetch_dataset

    params = load_params()
    fetch_dataset(dataset, params.dataset(dataset), params.download, paths.raw(dataset))


if __name__ == "__main__":
    run(main)
