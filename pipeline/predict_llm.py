"""Answer the held-out candidate sets with a tuned system.

Run by the stages ``predict_llm`` and ``predict_text``:
``python -m pipeline.predict_llm movielens llara 0 --recommender sasrec``.
"""

from __future__ import annotations

from typing import Annotated

import typer

from llara_core import compute, paths, provenance
from llara_core.config import load_params
from llara_core.prompts.rendering import ItemWording
from pipeline.stage import run


def main(
    dataset: str,
    system: str,
    seed: Annotated[int, typer.Argument(min=0)],
    recommender: Annotated[str | None, typer.Option(help="Whose item embeddings it was tuned on.")] = None,
) -> None:
    """Predict validation and test of DATASET with the tuned SYSTEM, by every way of answering that its objective has."""
    from llara_core.held_out import read_held_out
    from llara_core.llm_systems import load_system
    from llara_core.predictions import answer_held_out

    params = load_params()
    compute.use_threads(params.llm.threads)
    cell = paths.llm_cell(system, recommender, seed)
    rec_cell = paths.recommender_cell(recommender, seed) if recommender else None
    held_out = read_held_out(dataset)
    answer_held_out(
        load_system(
            paths.adapter(dataset, cell),
            paths.LLM,
            params.llm,
            params.inference,
            ItemWording.of(params.dataset(dataset)),
            len(held_out.labels),
            embeddings=paths.item_embeddings(dataset, rec_cell) if rec_cell else None,
            recommender_predictions=paths.predictions(dataset, rec_cell) if rec_cell else None,
        ),
        held_out,
        paths.predictions(dataset, cell),
        system=paths.llm_system(system, recommender),
        seed=seed,
        shuffled_histories=params.inference.shuffled_histories,
        hardware=provenance.hardware(),
    )


if __name__ == "__main__":
    run(main)
