"""Tune one LLM system: ``python -m pipeline.tune movielens llara 0 --recommender sasrec``."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from llara_core import columns as c
from llara_core import compute, paths, tables
from llara_core.config import SystemConfig, load_params
from llara_core.prompts.rendering import ItemWording
from pipeline.stage import run


def main(
    dataset: str,
    system: str,
    seed: Annotated[int, typer.Argument(min=0)],
    recommender: Annotated[str | None, typer.Option(help="Whose item embeddings it reads; none for text systems.")] = None,
) -> None:
    """Tune SYSTEM of params.yaml on DATASET with SEED."""
    from llara_core.llm.item_vectors import item_vectors_for
    from llara_core.tuning.data import load_training_data
    from llara_core.tuning.tune import tune

    params = load_params()
    compute.use_threads(params.llm.threads)
    config = SystemConfig.model_validate(tables.read_json(paths.system(system)))
    wording = ItemWording.of(params.dataset(dataset))
    cell = paths.llm_cell(system, recommender, seed)
    labels = tables.read_table(paths.prepared(dataset) / "items.parquet", tables.ITEMS)[c.LABEL].to_list()
    rec_cell = paths.recommender_cell(recommender, seed) if recommender else None
    embeddings = paths.item_embeddings(dataset, rec_cell) if rec_cell else None
    scores = paths.training_scores(dataset, rec_cell) if rec_cell and config.prompt.recommender_scores else None
    data, data_hash = load_training_data(dataset, labels, wording, scores, config.ablation.recommender_scores, seed)
    item_vectors, embeddings_hash = item_vectors_for(
        config.prompt.representation, config.ablation, embeddings, len(labels), seed
    )
    tune(
        config,
        params.llm,
        data,
        item_vectors,
        cell=(dataset, system, recommender, seed),
        hashes={"data": data_hash, "item_embeddings": embeddings_hash},
        head_dim=params.recommenders.embedding_dim,
        llm_folder=paths.LLM,
        adapter_folder=paths.adapter(dataset, cell),
        curves_folder=paths.curves(dataset, cell),
        scratch=paths.scratch(),
    )
    logging.info("adapter in %s", paths.adapter(dataset, cell))


if __name__ == "__main__":
    run(main)
