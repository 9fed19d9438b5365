"""Tune one LLM system on one recommender's embeddings: ``python -m pipeline.tune movielens llara sasrec 0``."""

from __future__ import annotations

import logging

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.config import SystemConfig, load_params
from llara_core.prompts.rendering import Words
from pipeline.stage import run


def main(dataset: str, system: str, recommender: str, seed: int) -> None:
    """Tune SYSTEM of params.yaml on DATASET with RECOMMENDER's item embeddings."""
    from llara_core.llm.item_vectors import load_item_vectors
    from llara_core.tuning.data import load_training_data
    from llara_core.tuning.tune import tune

    params = load_params()
    config = SystemConfig.model_validate(tables.read_json(paths.system(system)))
    words = Words(params.dataset(dataset).noun, params.dataset(dataset).verb)
    cell = paths.llm_cell(system, recommender, seed)
    items = tables.read_table(paths.prepared(dataset) / "items.parquet", tables.ITEMS)
    data, data_hash = load_training_data(dataset, items[c.LABEL].to_list(), words)
    embeddings = paths.item_embeddings(dataset, paths.recommender_cell(recommender, seed))
    item_vectors, embeddings_hash = load_item_vectors(embeddings, len(items))
    tune(
        config,
        params.llm,
        data,
        item_vectors,
        cell=(dataset, system, recommender, seed),
        hashes={"data": data_hash, "item_embeddings": embeddings_hash},
        llm_folder=paths.LLM,
        adapter_folder=paths.adapter(dataset, cell),
        curves_folder=paths.curves(dataset, cell),
        scratch=paths.scratch(),
    )
    logging.info("adapter in %s", paths.adapter(dataset, cell))


if __name__ == "__main__":
    run(main)
