"""Filters and splits a data set into Parquet tables: ``python -m pipeline.prepare movielens``."""

from __future__ import annotations

import logging

from llara_core import paths
from llara_core.config import load_params
from pipeline.stage import Dataset, run


def main(dataset: Dataset) -> None:
    """Filters and splits DATASET into data/prepared/DATASET/, and writes metrics/DATASET/statistics.json."""
    from llara_core import tables
    from llara_core.data.preparation import prepare

    prepared = prepare(paths.raw(dataset), load_params().dataset(dataset))
    tables.write_json(paths.statistics(dataset), prepared.statistics)
    prepared.write(paths.prepared(dataset))
    facts = prepared.statistics
    logging.info("%d sequences, %d items, %d interactions", facts["sequences"], facts["items"], facts["interactions"])
    logging.info("users per split %s, examples per split %s", facts["users_per_split"], facts["examples_per_split"])


if __name__ == "__main__":
    run(main)
