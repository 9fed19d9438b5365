"""Scores the held-out candidates with a trained recommender: ``python -m pipeline.predict_recommender movielens sasrec 0``."""

from __future__ import annotations

from llara_core import paths
from llara_core.config import load_params
from llara_core.runtime import compute
from pipeline.stage import Dataset, Recommender, Seed, run


def main(dataset: Dataset, recommender: Recommender, seed: Seed) -> None:
    """Predicts validation and test of DATASET with a trained RECOMMENDER."""
    from llara_core.answers.held_out import read_held_out, read_positions
    from llara_core.answers.predictions import CatalogueAnswerer, answer_held_out
    from llara_core.recommenders import checkpoints

    params = load_params()
    compute.use_threads(params.recommenders.threads)
    run_name = paths.run_name(recommender, seed)
    model = checkpoints.load(paths.checkpoint(dataset, run_name), recommender, checkpoints.data_hash(dataset))
    answer_held_out(
        CatalogueAnswerer(model),
        read_held_out(dataset),
        paths.recommender_predictions(dataset, run_name),
        system=recommender,
        seed=seed,
        shuffled_histories=params.inference.shuffled_histories,
        hardware=compute.hardware(),
        positions=read_positions(dataset),
    )


if __name__ == "__main__":
    run(main, pin_kernels=True)
