"""Answer the held-out candidate sets with a tuned system.

Run by the stages ``predict_llm`` and ``predict_text``:
``python -m pipeline.predict_llm movielens llara 0 --recommender sasrec``.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated

import typer

from llara_core import columns as c
from llara_core import compute, paths, predictions, provenance, tables
from llara_core.config import load_params
from llara_core.errors import DataError
from llara_core.prompts.rendering import Words
from pipeline.stage import run

if TYPE_CHECKING:
    import pandas as pd


def main(
    dataset: str,
    system: str,
    seed: Annotated[int, typer.Argument(min=0)],
    recommender: Annotated[str | None, typer.Option(help="Whose item embeddings it was tuned on.")] = None,
) -> None:
    """Predict validation and test of DATASET with the tuned SYSTEM, by every way of answering that its objective has."""
    from llara_core.inference.predict import predict_orders, shown_scores
    from llara_core.llm.session import load_tuned

    params = load_params()
    compute.use_threads(params.llm.threads)
    words = Words(params.dataset(dataset).noun, params.dataset(dataset).verb)
    cell = paths.llm_cell(system, recommender, seed)
    prepared = paths.prepared(dataset)
    labels = tables.read_table(prepared / "items.parquet", tables.ITEMS)[c.LABEL].to_list()
    examples = tables.read_table(prepared / "examples.parquet", tables.EXAMPLES)
    candidates, candidates_hash = predictions.held_out_candidates(dataset)
    rec_cell = paths.recommender_cell(recommender, seed) if recommender else None
    embeddings = paths.item_embeddings(dataset, rec_cell) if rec_cell else None
    model, encoder, adapter = load_tuned(paths.adapter(dataset, cell), paths.LLM, params.llm, embeddings, len(labels))

    def scores_of(order: predictions.Order) -> pd.DataFrame:
        file = paths.predictions(dataset, str(rec_cell)) / predictions.file_name("score", order)
        frame, opinions = predictions.read_predictions(file)
        if opinions.candidates_hash != candidates_hash:
            raise DataError(f"{file}: scores other candidate sets than {paths.candidates(dataset)} holds; run `dvc repro`")
        return shown_scores(frame, adapter.ablation.recommender_scores, seed, order)

    for order, mode, frame in predict_orders(
        model, encoder, adapter.objective, adapter.prompt, examples, candidates, labels, words, params.inference, scores_of
    ):
        facts = predictions.PredictionFacts(
            dataset=dataset,
            system=paths.llm_system(system, recommender),
            mode=mode,
            history=order,
            objective=adapter.objective,
            seed=seed,
            candidates_hash=candidates_hash,
            hardware=provenance.hardware(),
        )
        predictions.write_predictions(paths.predictions(dataset, cell), frame, facts)
        logging.info("%s, %s: %d candidate sets answered, %d validly", mode, order, len(frame), frame[c.VALID].sum())


if __name__ == "__main__":
    run(main)
