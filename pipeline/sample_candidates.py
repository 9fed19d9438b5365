"""Draw the candidate sets of every example: ``python -m pipeline.sample_candidates movielens``."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from llara_core import paths
from llara_core.config import load_params
from pipeline.stage import run

logger = logging.getLogger(__name__)


def main(dataset: Annotated[str, typer.Argument(help="key of `datasets` in params.yaml")]) -> None:
    """Draw the candidate sets of DATASET into data/candidates/DATASET/, one table per split."""
    from llara_core import columns as c
    from llara_core import tables
    from llara_core.data.candidates import sample_candidates
    from llara_core.seeding import numpy_stream

    config = load_params().candidates
    prepared = paths.prepared(dataset)
    interactions = tables.read_table(prepared / "interactions.parquet", tables.INTERACTIONS)
    examples = tables.read_table(prepared / "examples.parquet", tables.EXAMPLES)
    n_items = len(tables.read_table(prepared / "items.parquet", tables.ITEMS))
    with tables.atomic_path(paths.candidates(dataset)) as folder:
        for split in c.SPLITS:
            sets = sample_candidates(
                examples[examples[c.SPLIT] == split],
                interactions,
                n_items,
                n_candidates=config.n_candidates,
                n_draws=getattr(config.draws, split),
                exclude=config.exclude,
                rng=numpy_stream(config.seed, "candidates", dataset, split),
            )
            tables.write_table(folder / f"{split}.parquet", sets, tables.CANDIDATE_SETS)
            logger.info("%s: %d sets of %d", split, len(sets), config.n_candidates)


if __name__ == "__main__":
    run(main)
