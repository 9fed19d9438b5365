"""Exports the item embeddings of a frozen recommender: ``python -m pipeline.export_embeddings movielens sasrec 0``."""

from __future__ import annotations

import logging

from llara_core import paths
from pipeline.stage import Dataset, Recommender, Seed, run


def main(dataset: Dataset, recommender: Recommender, seed: Seed) -> None:
    """Writes the item embeddings of a trained RECOMMENDER to data/recommenders/."""
    from llara_core import columns as c
    from llara_core import tables
    from llara_core.recommenders import checkpoints
    from llara_core.runtime import compute

    run_name = paths.run_name(recommender, seed)
    folder = paths.checkpoint(dataset, run_name)
    data_hash = checkpoints.data_hash(dataset)
    model = checkpoints.load(folder, recommender, data_hash)
    vectors, from_texts = model.item_embeddings(), model.text_embeddings()
    items = tables.read_table(paths.items(dataset), tables.ITEMS)
    metadata = {
        "recommender": recommender,
        "seed": str(seed),
        "data_hash": data_hash,
        "hardware": compute.hardware(),
        "model_sha256": tables.file_sha256(folder / checkpoints.WEIGHTS),
    }
    frame = items[[c.ITEM, c.LABEL]].assign(
        **{c.VECTOR: list(vectors), c.TEXT_VECTOR: None if from_texts is None else list(from_texts)}
    )
    tables.write_table(paths.item_embeddings(dataset, run_name), frame, tables.ITEM_EMBEDDINGS, metadata)
    logging.info("%d items, %d dimensions", *vectors.shape)


if __name__ == "__main__":
    run(main, pin_kernels=True)
