"""Gathers the inputs of each LLM training run: ``python -m pipeline.gather_inputs movielens``."""

from __future__ import annotations

import logging

from llara_core import paths, tables
from llara_core.config import load_params
from pipeline.stage import Dataset, run


def main(dataset: Dataset) -> None:
    """Writes one folder per system and seed of DATASET, on which tuning and answers depend, and the `start` of each system."""
    from llara_core.config.resolution import read_resolved
    from llara_core.llm.inputs import write_inputs

    params = load_params()
    params.dataset(dataset)
    systems = {name: read_resolved(paths.resolved_system(name)) for name in params.run.systems}
    tables.write_json(paths.start_of_each(dataset), {name: system.start for name, system in systems.items()})
    with tables.atomic_path(paths.all_inputs(dataset)) as staged:
        staged.mkdir()
        for name, system in systems.items():
            for seed in params.run.seeds:
                write_inputs(staged / paths.run_name(name, seed), system, dataset, seed, params.run.seeds[0])
    logging.info("%d systems, %d seeds", len(params.run.systems), len(params.run.seeds))


if __name__ == "__main__":
    run(main)
