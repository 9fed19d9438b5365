"""Draws the candidate sets of every example: ``python -m pipeline.sample_candidates movielens``."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from llara_core import paths
from llara_core.config import load_params
from pipeline.stage import Dataset, run

if TYPE_CHECKING:
    import pyarrow as pa


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

    def draw(asked: pa.Table, split: str, n_draws: int, stream: str) -> Iterator[pa.Table]:
        sampler = CandidateSampler(interactions, n_items, split, n_candidates=config.n_candidates, exclude=exclude)
        of_split = asked.filter(pc.field(c.SPLIT) == split)
        logging.info("%s, %s: drawing %d sets of %d", stream, split, len(of_split) * n_draws, config.n_candidates)
        return sampler.sample(of_split, n_draws, numpy_stream(config.seed, stream, dataset, split))

    with tables.atomic_path(paths.candidates(dataset)) as folder:
        for split in c.SPLITS:
            sets = draw(examples, split, getattr(config.draws, split), "candidates")
            tables.write_parts(folder / paths.candidate_sets(dataset, split).name, sets, tables.CANDIDATE_SETS, facts)
        if positions != "last" and not section.is_presplit:
            questions = position_questions(interactions, section.max_history_len, positions, config.seed, dataset)
            further = paths.at_positions(folder)
            tables.write_table(further / paths.QUESTIONS, questions, tables.POSITIONS)
            sets = (part for split in c.HELD_OUT for part in draw(questions, split, 1, "candidates at positions"))
            tables.write_parts(further / paths.CANDIDATE_SETS, sets, tables.CANDIDATE_SETS)


if __name__ == "__main__":
    run(main)
