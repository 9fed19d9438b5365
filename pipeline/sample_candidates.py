"""Draws the candidate sets of every example: ``python -m pipeline.sample_candidates movielens``."""

from __future__ import annotations

import logging

from llara_core import paths
from llara_core.config import load_params
from pipeline.stage import Dataset, run


def main(dataset: Dataset) -> None:
    """Draws the candidate sets of DATASET, one table per split, and those at further positions."""
    import pyarrow.compute as pc

    from llara_core import columns as c
    from llara_core import tables
    from llara_core.data.candidates import CandidateSampler, exclusion
    from llara_core.data.positions import position_questions
    from llara_core.runtime.seeding import numpy_stream

    params = load_params()
    section, config = params.dataset(dataset), params.candidates
    exclude, facts = exclusion(section, config), None
    if section.is_presplit:
        facts = {"exclude": exclude}
        logging.warning("%s has only the histories of its users: negatives exclude no other interactions", dataset)
    examples = tables.read_arrow(paths.examples(dataset), tables.EXAMPLES)
    interactions = tables.read_table(paths.interactions(dataset), tables.INTERACTIONS)
    n_items = len(tables.read_arrow(paths.items(dataset), tables.ITEMS))
    positions = params.evaluation.positions
    with tables.atomic_path(paths.candidates(dataset)) as folder:
        for split in c.SPLITS:
            asked = examples.filter(pc.field(c.SPLIT) == split)
            n_draws = getattr(config.draws, split)
            sampler = CandidateSampler(interactions, n_items, split, n_candidates=config.n_candidates, exclude=exclude)
            sets = sampler.sample(asked, n_draws, numpy_stream(config.seed, "candidates", dataset, split))
            tables.write_parts(folder / paths.candidate_sets(dataset, split).name, sets, tables.CANDIDATE_SETS, facts)
            logging.info("%s: %d sets of %d", split, len(asked) * n_draws, config.n_candidates)
        if positions != "last" and not section.is_presplit:
            questions = position_questions(interactions, section.max_history_len, positions, config.seed, dataset)
            further = paths.at_positions(folder)
            tables.write_table(further / paths.QUESTIONS, questions, tables.POSITIONS)
            sets = (
                part
                for split in c.HELD_OUT
                for part in CandidateSampler(
                    interactions, n_items, split, n_candidates=config.n_candidates, exclude=exclude
                ).sample(
                    questions.filter(pc.field(c.SPLIT) == split),
                    1,
                    numpy_stream(config.seed, "candidates at positions", dataset, split),
                )
            )
            tables.write_parts(further / paths.CANDIDATE_SETS, sets, tables.CANDIDATE_SETS)
            logging.info("at further positions: %d sets of %d", len(questions), config.n_candidates)


if __name__ == "__main__":
    run(main)
