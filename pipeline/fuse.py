"""Fuses the scores of every LLM system with those of its recommender, with weights chosen on validation.

Run by the stage ``fuse``: ``python -m pipeline.fuse movielens``.
"""

from __future__ import annotations

import logging

from llara_core import paths, tables
from llara_core.answers.held_out import read_held_out, read_positions
from llara_core.answers.predictions import read_predictions, write_predictions
from llara_core.config import load_params
from llara_core.evaluation.fusion import fuse, pairs
from pipeline.stage import Dataset, run


def main(dataset: Dataset) -> None:
    """Writes the fused predictions of all LLM systems of DATASET that have a recommender and score candidates."""
    params = load_params()
    params.dataset(dataset)
    held_out, positions = read_held_out(dataset), read_positions(dataset)
    with tables.atomic_path(paths.fused_predictions(dataset, "")) as folder:
        folder.mkdir()  # an empty folder is the result if there is nothing to fuse
        for pair in pairs(dataset, params):
            frame, metadata = fuse(read_predictions(pair.llm), read_predictions(pair.recommender), held_out)
            write_predictions(folder / pair.run_name, frame, metadata)
            weight = metadata.llm_weight
            logging.info("%s: weight of the LLM %.2f, %d candidate sets", pair.run_name, weight, len(frame))
            if positions is not None and (further := pair.at_positions()) is not None:
                # The weight chosen on the last items also applies at further positions.
                frame, metadata = fuse(read_predictions(further.llm), read_predictions(further.recommender), positions, weight)
                write_predictions(positions.folder(folder / pair.run_name), frame, metadata)


if __name__ == "__main__":
    run(main)
