"""Answer the held-out candidate sets with a tuned system: ``python -m pipeline.predict_llm movielens llara sasrec 0``."""

from __future__ import annotations

import logging

from llara_core import columns as c
from llara_core import paths, predictions, tables
from llara_core.config import load_params
from llara_core.prompts.rendering import Words
from pipeline.stage import run


def main(dataset: str, system: str, recommender: str, seed: int) -> None:
    """Predict validation and test of DATASET with a tuned SYSTEM, by every way of answering that its objective has."""
    from llara_core.inference.predict import predict_cell
    from llara_core.llm.session import load_tuned

    params = load_params()
    words = Words(params.dataset(dataset).noun, params.dataset(dataset).verb)
    cell = paths.llm_cell(system, recommender, seed)
    prepared = paths.prepared(dataset)
    labels = tables.read_table(prepared / "items.parquet", tables.ITEMS)[c.LABEL].to_list()
    examples = tables.read_table(prepared / "examples.parquet", tables.EXAMPLES)
    candidates, candidates_hash = predictions.held_out_candidates(dataset)
    embeddings = paths.item_embeddings(dataset, paths.recommender_cell(recommender, seed))

    model, encoder, facts = load_tuned(paths.adapter(dataset, cell), paths.LLM, params.llm, embeddings, len(labels))
    by_mode = predict_cell(model, encoder, facts, examples, candidates, labels, words, params.inference)
    for mode, frame in by_mode.items():
        predictions.write_predictions(
            paths.predictions(dataset, cell) / f"{mode}.parquet",
            frame,
            predictions.PredictionFacts(
                dataset=dataset,
                system=f"{system}-{recommender}",
                mode=mode,
                objective=facts.objective,
                seed=seed,
                candidates_hash=candidates_hash,
            ),
        )
        logging.info("%s: %d candidate sets answered, %d validly", mode, len(frame), frame[c.VALID].sum())


if __name__ == "__main__":
    run(main)
