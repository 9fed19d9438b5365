"""Combine the scores of one LLM system with those of its recommender; the weight is chosen on validation.

Run by the stage ``fuse``: ``python -m pipeline.fuse movielens llara sasrec 0``.
"""

from __future__ import annotations

import logging

from llara_core import paths, predictions
from llara_core.config import load_params
from llara_core.errors import DataError
from llara_core.evaluation.fusion import fuse
from llara_core.evaluation.results import read_ground
from pipeline.stage import run

logger = logging.getLogger(__name__)


def main(dataset: str, system: str, recommender: str, seed: int) -> None:
    """Write the fused predictions of SYSTEM on RECOMMENDER with SEED on DATASET."""
    load_params().dataset(dataset)
    llm_cell = paths.llm_cell(system, recommender, seed)
    scored = paths.predictions(dataset, llm_cell) / "score.parquet"
    if not scored.exists():
        raise DataError(f"{scored}: not found; only a system that scores its candidates can be fused; run `dvc repro`")
    recommender_file = paths.predictions(dataset, paths.recommender_cell(recommender, seed)) / "score.parquet"
    fusion = fuse(predictions.read_predictions(scored), predictions.read_predictions(recommender_file), read_ground(dataset))
    folder = paths.predictions(dataset, paths.fused_cell(llm_cell))
    target = predictions.write_predictions(folder, fusion.frame, fusion.facts)
    logger.info("weight of the LLM %.2f, %d candidate sets in %s", fusion.weight, len(fusion.frame), target)


if __name__ == "__main__":
    run(main)
