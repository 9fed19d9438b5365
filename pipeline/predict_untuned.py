"""Answer the held-out candidate sets with the base LLM as it is: ``python -m pipeline.predict_untuned movielens zero_shot``."""

from __future__ import annotations

import logging

from llara_core import columns as c
from llara_core import compute, paths, predictions, provenance, tables
from llara_core.config import PromptConfig, load_params
from llara_core.prompts.rendering import Words
from pipeline.stage import run


def main(dataset: str, system: str) -> None:
    """Predict validation and test of DATASET with the untuned SYSTEM of params.yaml, of which only the prompt counts."""
    from llara_core.inference.predict import predict_orders
    from llara_core.llm.session import load_untuned

    params = load_params()
    compute.use_threads(params.llm.threads)
    prompt = PromptConfig.model_validate(tables.read_json(paths.system(system))["prompt"])
    words = Words(params.dataset(dataset).noun, params.dataset(dataset).verb)
    prepared = paths.prepared(dataset)
    labels = tables.read_table(prepared / "items.parquet", tables.ITEMS)[c.LABEL].to_list()
    examples = tables.read_table(prepared / "examples.parquet", tables.EXAMPLES)
    candidates, candidates_hash = predictions.held_out_candidates(dataset)
    model, encoder = load_untuned(paths.LLM, params.llm, prompt)
    for order, mode, frame in predict_orders(
        model, encoder, None, prompt, examples, candidates, labels, words, params.inference
    ):
        facts = predictions.PredictionFacts(
            dataset=dataset,
            system=system,
            mode=mode,
            history=order,
            objective="none",
            seed=0,
            candidates_hash=candidates_hash,
            hardware=provenance.hardware(),
        )
        predictions.write_predictions(paths.predictions(dataset, system), frame, facts)
        logging.info("%s, %s: %d candidate sets answered, %d validly", mode, order, len(frame), frame[c.VALID].sum())


if __name__ == "__main__":
    run(main)
