"""Score the held-out candidates with a baseline: ``python -m pipeline.predict_baseline movielens popularity``."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from llara_core import paths
from pipeline.stage import run

logger = logging.getLogger(__name__)


def main(
    dataset: Annotated[str, typer.Argument(help="key of `datasets` in params.yaml")],
    baseline: Annotated[str, typer.Argument(help="one of llara_core.config.BASELINES, e.g. popularity")],
) -> None:
    """Fit BASELINE on the training interactions of DATASET and predict validation and test."""
    from llara_core import columns as c
    from llara_core import predictions, provenance, tables
    from llara_core.baselines import fit_baseline

    prepared = paths.prepared(dataset)
    interactions = tables.read_table(prepared / "interactions.parquet", tables.INTERACTIONS)
    examples = tables.read_table(prepared / "examples.parquet", tables.EXAMPLES)
    n_items = len(tables.read_table(prepared / "items.parquet", tables.ITEMS))
    candidates, candidates_hash = predictions.held_out_candidates(dataset)

    training = interactions[interactions[c.SPLIT] == c.TRAIN]
    frame = predictions.predict(fit_baseline(baseline, training, n_items), examples, candidates)
    facts = predictions.PredictionFacts(
        dataset=dataset,
        system=baseline,
        mode="score",
        objective="none",
        seed=0,
        candidates_hash=candidates_hash,
        hardware=provenance.hardware(),
    )
    predictions.write_predictions(paths.predictions(dataset, baseline), frame, facts)
    logger.info("%d candidate sets scored", len(frame))


if __name__ == "__main__":
    run(main)
