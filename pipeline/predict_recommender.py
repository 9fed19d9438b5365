"""Score the held-out candidates with a trained recommender: ``python -m pipeline.predict_recommender movielens sasrec 0``."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from llara_core import paths
from llara_core.config import load_params
from pipeline.stage import run

logger = logging.getLogger(__name__)


def main(
    dataset: Annotated[str, typer.Argument(help="key of `datasets` in params.yaml")],
    recommender: Annotated[str, typer.Argument(help="one with a section under `recommenders`, e.g. sasrec")],
    seed: Annotated[int, typer.Argument(help="training seed of the recommender", min=0)],
) -> None:
    """Predict validation and test of DATASET with a trained RECOMMENDER."""
    from llara_core import predictions, provenance, tables
    from llara_core.recommenders import checkpoints

    cell = paths.recommender_cell(recommender, seed)
    model = checkpoints.load(paths.recommender(dataset, cell), recommender, checkpoints.data_hash(dataset))
    examples = tables.read_table(paths.prepared(dataset) / "examples.parquet", tables.EXAMPLES)
    candidates, candidates_hash = predictions.held_out_candidates(dataset)

    shuffled = load_params().inference.shuffled_histories != "none"
    for order, asked in predictions.questions(examples, candidates, shuffled=shuffled).items():
        frame = predictions.predict(model, *asked)
        facts = predictions.PredictionFacts(
            dataset=dataset,
            system=recommender,
            mode="score",
            history=order,
            objective="none",
            seed=seed,
            candidates_hash=candidates_hash,
            hardware=provenance.hardware(),
        )
        predictions.write_predictions(paths.predictions(dataset, cell), frame, facts)
        logger.info("%s: %d candidate sets scored", order, len(frame))


if __name__ == "__main__":
    run(main)
