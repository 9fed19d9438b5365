"""Scores training candidates as for users new to the recommender: ``python -m pipeline.score_training movielens sasrec 0``."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from llara_core import paths
from llara_core.config import load_params
from llara_core.runtime import compute
from pipeline.stage import Dataset, Recommender, Seed, run

if TYPE_CHECKING:
    import pandas as pd

    from llara_core.recommenders.base import SequenceRecommender


def main(dataset: Dataset, recommender: Recommender, seed: Seed) -> None:
    """Scores the training candidate sets of DATASET with RECOMMENDER, and with copies of it not trained on the user."""
    from llara_core import columns as c
    from llara_core import tables

    params, run_name = load_params(), paths.run_name(recommender, seed)
    compute.use_threads(params.recommenders.threads)
    target = paths.training_scores(dataset, run_name)
    if not tables.read_json(paths.resolved_recommender(recommender))["training_scores"]:
        tables.write_table(target, tables.TRAINING_SCORES.empty_table(), tables.TRAINING_SCORES)
        logging.info("no system of run.systems shows scores of %s: nothing to do", recommender)
        return

    import pyarrow.compute as pc

    from llara_core.fetching.llm import fetch_encoder
    from llara_core.recommenders import checkpoints, models, training
    from llara_core.recommenders.cross_fitting import cross_fit

    config, max_history_len = params.recommenders, params.dataset(dataset).max_history_len
    interactions = tables.read_table(paths.interactions(dataset), tables.INTERACTIONS)
    items = tables.read_table(paths.items(dataset), tables.ITEMS)
    examples = tables.read_arrow(paths.examples(dataset), tables.EXAMPLES)
    candidates_file = paths.candidate_sets(dataset, c.TRAIN)
    candidates = tables.read_arrow(candidates_file, tables.CANDIDATE_SETS)
    folder, data_hash = paths.checkpoint(dataset, run_name), checkpoints.data_hash(dataset)
    in_sample = checkpoints.load(folder, recommender, data_hash)
    l2 = checkpoints.read_metadata(folder).l2
    fetch = partial(fetch_encoder, scratch=paths.scratch() / "encoders", section=f"recommenders.{recommender}")
    build, _ = models.builder(recommender, config, items, max_history_len, fetch)
    validation = training.validation_set(
        interactions, max_history_len, params.candidates.n_candidates, config.max_validation_positions
    )

    def fit(known: pd.DataFrame, fold: int) -> SequenceRecommender:
        sequences = training.training_sequences(known)
        (result,) = training.search_l2(
            build, sequences, validation, [l2], training.TrainingOptions.of(config), seed, dataset, recommender, f"fold {fold}"
        )
        return result.model

    scores = cross_fit(
        fit,
        in_sample,
        interactions,
        examples.filter(pc.field(c.SPLIT) == c.TRAIN),
        candidates,
        n_items=len(items),
        n_folds=config.folds,
        seed=seed,
        dataset=dataset,
    )
    metadata = {
        "recommender": recommender,
        "seed": str(seed),
        "data_hash": data_hash,
        "candidates_hash": tables.tables_hash(candidates_file),
        "hardware": compute.hardware(),
    }
    tables.write_parts(target, scores, tables.TRAINING_SCORES, metadata)
    logging.info("%d candidate sets scored by %s and %d recommenders of other users", len(candidates), run_name, config.folds)


if __name__ == "__main__":
    run(main, pin_kernels=True)
