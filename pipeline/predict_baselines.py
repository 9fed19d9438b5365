"""Scores the held-out candidates with the baselines: ``python -m pipeline.predict_baselines movielens``."""

from __future__ import annotations

from llara_core import paths
from llara_core.config import load_params
from pipeline.stage import Dataset, run


def main(dataset: Dataset) -> None:
    """Fits the baselines of run.baselines on the training interactions of DATASET and predicts validation and test."""
    from llara_core import columns as c
    from llara_core import tables
    from llara_core.answers.held_out import read_held_out, read_positions
    from llara_core.answers.predictions import CatalogueAnswerer, answer_held_out
    from llara_core.baselines.fitting import fit_baseline
    from llara_core.runtime import compute

    interactions = tables.read_table(paths.interactions(dataset), tables.INTERACTIONS)
    catalogue = tables.read_table(paths.items(dataset), tables.ITEMS)
    held_out, positions = read_held_out(dataset), read_positions(dataset)
    training = interactions[interactions[c.SPLIT] == c.TRAIN]
    paths.baseline_predictions(dataset, "").mkdir(parents=True, exist_ok=True)  # also without baselines
    for baseline in load_params().run.baselines:
        answer_held_out(
            CatalogueAnswerer(fit_baseline(baseline, training, catalogue)),
            held_out,
            paths.baseline_predictions(dataset, baseline),
            system=baseline,
            seed=0,
            shuffled_histories="none",  # no baseline uses the order
            hardware=compute.hardware(),
            positions=positions,
        )


if __name__ == "__main__":
    run(main)
