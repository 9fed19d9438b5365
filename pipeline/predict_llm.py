"""Answers the held-out candidate sets with an LLM system: ``python -m pipeline.predict_llm movielens llara 0``."""

from __future__ import annotations

import logging

from llara_core import paths, tables
from llara_core.config import SystemConfig, load_params
from llara_core.llm.prompts.rendering import ItemWording
from llara_core.runtime import compute, processes, progress
from pipeline.stage import Dataset, Seed, System, run

LOADED = 0.05  # share of the stage's time that loading takes


def main(dataset: Dataset, system: System, seed: Seed) -> None:
    """Predicts validation and test of DATASET with SYSTEM, in each of its modes."""
    from llara_core.answers.held_out import read_held_out, read_positions
    from llara_core.answers.predictions import answer_held_out
    from llara_core.inference.llm_systems import AnswerLimits, load_system
    from llara_core.llm.inputs import SAME_AS, adapter_of, read_inputs

    params = load_params()
    compute.use_threads(params.llm.threads)
    run_name = paths.run_name(system, seed)
    folder, inputs = paths.system_predictions(dataset, run_name), read_inputs(dataset, run_name)
    if inputs.same_as is not None:
        if processes.is_first():
            tables.write_json(folder / SAME_AS, {"seed": inputs.same_as})
        logging.info("%s is not tuned: its answers under seed %d apply", system, inputs.same_as)
        return
    if processes.start(params.parallel):
        return
    held_out, config = read_held_out(dataset), inputs.system
    inference, positions = params.inference, params.inference.max_positions
    with progress.stage():
        with progress.phase("loading", 0, LOADED):
            loaded = load_system(
                adapter_of(dataset, run_name, config) if isinstance(config, SystemConfig) else config.prompt,
                paths.LLM,
                params.llm,
                AnswerLimits(inference.batch_size, inference.max_draws, inference.max_new_tokens, inference.num_beams),
                ItemWording.of(params.dataset(dataset)),
                len(held_out.labels),
                embeddings=inputs.item_embeddings,
                recommender_predictions=inputs.recommender_predictions,
                weights=params.parallel.weights,
            )
        with progress.phase("", LOADED, 1):
            answer_held_out(
                loaded,
                held_out,
                folder,
                system=system,
                seed=seed,
                shuffled_histories=inference.shuffled_histories,
                hardware=compute.hardware(),
                positions=read_positions(dataset, positions.catalogue if loaded.scores_catalogue else positions.prompts),
            )


if __name__ == "__main__":
    run(main)
