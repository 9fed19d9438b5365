"""Gathers the inputs of LLM systems that continue from another's adapter: ``python -m pipeline.gather_starts movielens``."""

from __future__ import annotations

import logging

from llara_core import paths, tables
from llara_core.config import load_params
from pipeline.stage import Dataset, run


def main(dataset: Dataset) -> None:
    """Writes one folder per system and seed of DATASET, on which tuning from another system's adapter depends."""
    from llara_core.llm.inputs import write_start

    params = load_params()
    params.dataset(dataset)
    starts = tables.read_json(paths.start_of_each(dataset))
    with tables.atomic_path(paths.starts(dataset)) as staged:
        staged.mkdir()
        for system, start in starts.items():
            for seed in params.run.seeds:
                write_start(staged / paths.run_name(system, seed), dataset, system, start, seed)
    logging.info("%d of %d systems continue from another", sum(start is not None for start in starts.values()), len(starts))


if __name__ == "__main__":
    run(main)
