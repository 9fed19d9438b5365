"""Trains one sequence recommender: ``python -m pipeline.train_recommender movielens sasrec 0``."""

from __future__ import annotations

import logging
from functools import partial

from llara_core import paths
from llara_core.config import load_params
from llara_core.runtime import compute
from pipeline.stage import Dataset, Recommender, Seed, run


def main(dataset: Dataset, recommender: Recommender, seed: Seed) -> None:
    """Trains RECOMMENDER on DATASET once per L2 coefficient and writes the one best on validation to data/recommenders/."""
    from llara_core import tables
    from llara_core.fetching.llm import fetch_encoder
    from llara_core.recommenders import checkpoints, models, training
    from llara_core.runtime.curves import write_curves

    params = load_params()
    compute.use_threads(params.recommenders.threads)
    config, max_history_len = params.recommenders, params.dataset(dataset).max_history_len
    interactions = tables.read_table(paths.interactions(dataset), tables.INTERACTIONS)
    items = tables.read_table(paths.items(dataset), tables.ITEMS)
    fetch = partial(fetch_encoder, scratch=paths.scratch() / "encoders", section=f"recommenders.{recommender}")
    build, arguments = models.builder(recommender, config, items, max_history_len, fetch)
    results = training.search_l2(
        build,
        training.training_sequences(interactions),
        training.validation_set(interactions, max_history_len, params.candidates.n_candidates, config.max_validation_positions),
        config.options_of(recommender).l2,
        training.TrainingOptions.of(config),
        seed,
        dataset,
        recommender,
    )
    run_name = paths.run_name(recommender, seed)
    folder = paths.checkpoint(dataset, run_name)
    texts = checkpoints.TextSource.of(config.options_of(recommender))
    best = checkpoints.save(folder, results, recommender, arguments, checkpoints.data_hash(dataset), texts)
    write_curves(paths.curves(dataset, run_name), best.curves)
    logging.info("%s: l2 %g, epoch %d, validation %.4f", run_name, best.l2, best.best_epoch, best.validation_score)


if __name__ == "__main__":
    run(main, pin_kernels=True)
