"""Answer the held-out candidate sets with a remote chat model: ``python -m pipeline.predict_chat movielens local``."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from llara_core import columns as c
from llara_core import paths, predictions, tables
from llara_core.config import load_params
from llara_core.prompts.rendering import Words
from pipeline.stage import run


def main(
    dataset: str,
    chat_model: Annotated[str, typer.Argument(help="Key of `chat_models` in params.yaml.")],
) -> None:
    """Predict validation and test of DATASET with CHAT_MODEL, asked with titles alone. Its answers are kept on disk."""
    from llara_core.inference.chat import ChatModel, cache_folder, predict_chat

    params = load_params()
    config = params.chat_model(chat_model)
    words = Words(params.dataset(dataset).noun, params.dataset(dataset).verb)
    labels = tables.read_table(paths.prepared(dataset) / "items.parquet", tables.ITEMS)[c.LABEL].to_list()
    examples = tables.read_table(paths.prepared(dataset) / "examples.parquet", tables.EXAMPLES)
    candidates, candidates_hash = predictions.held_out_candidates(dataset)
    model = ChatModel(chat_model, config, cache_folder())
    questions = predictions.questions(examples, candidates, shuffled=params.inference.shuffled_histories == "all")
    for order, asked in questions.items():
        frame, note = predict_chat(model, config.max_draws, *asked, labels, words)
        facts = predictions.PredictionFacts(
            dataset=dataset,
            system=chat_model,
            mode="generate",
            history=order,
            objective="none",
            seed=0,
            candidates_hash=candidates_hash,
            note=note,
        )
        predictions.write_predictions(paths.predictions(dataset, chat_model), frame, facts)
        logging.info("%s: %d candidate sets asked, %d answered validly (%s)", order, len(frame), frame[c.VALID].sum(), note)
    logging.info("%d requests; %d answers were kept from earlier runs", model.n_requests, model.n_cached)


if __name__ == "__main__":
    run(main)
