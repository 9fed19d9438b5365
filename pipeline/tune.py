"""Tune one LLM system: ``python -m pipeline.tune movielens llara 0``."""

from __future__ import annotations

import logging

from llara_core import paths
from llara_core.config import SystemConfig, load_params
from llara_core.prompts.rendering import ItemWording
from llara_core.runtime import compute, processes, progress
from pipeline.stage import Dataset, Seed, System, run


def main(
    dataset: Dataset,
    system: System,
    seed: Seed,
) -> None:
    """Tune SYSTEM on DATASET with SEED; of a system that is not tuned, only say so."""
    from llara_core.llm.inputs import read_inputs
    from llara_core.llm.item_vectors import item_vectors_for, load_text_vectors
    from llara_core.tuning.data import load_training_data
    from llara_core.tuning.tune import TuningSetting, mark_untuned, tune

    params = load_params()
    compute.use_threads(params.llm.threads)
    cell = paths.cell(system, seed)
    folder, curves = paths.adapter(dataset, cell), paths.curves(dataset, cell)
    inputs = read_inputs(dataset, cell)
    config = inputs.system
    if not isinstance(config, SystemConfig):
        if processes.is_first():
            mark_untuned(folder, curves)
        return
    if processes.start(params.parallel):
        return
    wording = ItemWording.of(params.dataset(dataset))
    data, data_hash = load_training_data(
        dataset,
        wording,
        inputs.training_scores,
        config.ablation.recommender_scores,
        seed,
    )
    item_vectors, embeddings_hash = item_vectors_for(
        config.prompt.representation, config.ablation, inputs.item_embeddings, len(data.labels), seed
    )
    text_vectors = None
    if inputs.item_embeddings is not None and config.tune.new_share and config.ablation.item_vectors == "recommender":
        text_vectors = load_text_vectors(inputs.item_embeddings, len(data.labels))
    setting = TuningSetting(
        dataset=dataset,
        recommender=config.recommender,
        seed=seed,
        llm_folder=paths.LLM,
        llm_config=params.llm,
        data=data,
        item_vectors=item_vectors,
        hashes={"data": data_hash, "item_embeddings": embeddings_hash},
        head_dim=params.recommenders.embedding_dim,
        scratch=paths.scratch(),
        text_vectors=text_vectors,
        weights=params.parallel.weights,
    )
    with progress.stage():
        tune(system, config, setting, start=inputs.start, adapter_folder=folder, curves_folder=curves)
    logging.info("adapter in %s", folder)


if __name__ == "__main__":
    run(main)
