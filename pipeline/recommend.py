"""Recommend items for one history; no stage, but for users.

``python -m pipeline.recommend movielens llara_next_item sasrec 0 --item "Toy Story" --item "Aladdin"``
"""

from __future__ import annotations

from typing import Annotated

import typer

from llara_core import columns as c
from llara_core import compute, paths, tables
from llara_core.config import load_params
from llara_core.prompts.rendering import ItemWording
from pipeline.stage import run


def main(
    dataset: str,
    system: str,
    recommender: str,
    seed: int,
    item: Annotated[list[str], typer.Option(help="A title of the history, oldest first; repeat the option for each item.")],
    top: Annotated[int, typer.Option(min=1, help="Number of items to recommend.")] = 10,
) -> None:
    """Print the items that should follow a history of titles, best first.

    The whole history is left out of the answer, also where it is longer than what the model reads.
    """
    from llara_core.inference.recommend import find_items, recommend
    from llara_core.llm_systems import load_system
    from llara_core.recommenders import checkpoints

    params = load_params()
    compute.use_threads(params.llm.threads)
    config, cell = params.dataset(dataset), paths.llm_cell(system, recommender, seed)
    items = tables.read_table(paths.prepared(dataset) / "items.parquet", tables.ITEMS)
    history = find_items(item, items)
    rec_cell = paths.recommender_cell(recommender, seed)
    retriever = checkpoints.load(paths.recommender(dataset, rec_cell), recommender, checkpoints.data_hash(dataset))
    tuned = load_system(
        paths.adapter(dataset, cell),
        paths.LLM,
        params.llm,
        params.inference,
        ItemWording.of(config),
        len(items),
        embeddings=paths.item_embeddings(dataset, rec_cell),
    )
    ranked = recommend(
        tuned,
        retriever,
        history,
        items,
        max_history_len=config.max_history_len,
        n_candidates=params.candidates.n_candidates,
        top=top,
    )
    for rank, row in enumerate(ranked.itertuples(index=False), start=1):
        typer.echo(f"{rank:3d}  {row.score:8.3f}  {getattr(row, c.LABEL)}")


if __name__ == "__main__":
    run(main)
