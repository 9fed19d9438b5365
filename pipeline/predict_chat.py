"""Answers the held-out candidate sets with a remote chat model: ``python -m pipeline.predict_chat movielens local``."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from llara_core import paths
from llara_core.config import load_params
from llara_core.llm.prompts.rendering import ItemWording
from pipeline.stage import Dataset, run


def main(dataset: Dataset, chat_model: Annotated[str, typer.Argument(help="Key of `chat_models` in systems.yaml.")]) -> None:
    """Predicts validation and test of DATASET with CHAT_MODEL from titles alone. Answers are cached on disk."""
    from llara_core.answers.held_out import read_held_out, read_positions
    from llara_core.answers.predictions import answer_held_out
    from llara_core.chat.models import ChatAnswerer, ChatModel, cache_folder

    params = load_params()
    config = params.chat_model(chat_model)
    model = ChatModel(chat_model, config, cache_folder())
    answer_held_out(
        ChatAnswerer(model, config.max_draws, ItemWording.of(params.dataset(dataset))),
        read_held_out(dataset),
        paths.system_predictions(dataset, chat_model),
        system=chat_model,
        seed=0,
        shuffled_histories=params.inference.shuffled_histories,
        hardware="",  # unknown: that of the endpoint
        positions=read_positions(dataset, params.inference.max_positions.prompts),
    )
    logging.info("%d requests; %d cached answers of earlier runs", model.n_requests, model.n_cached)


if __name__ == "__main__":
    run(main)
