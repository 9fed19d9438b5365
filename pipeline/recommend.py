"""Recommend items for one history; no stage, but for users.

``python -m pipeline.recommend movielens llara_compact 0 --item "Toy Story" --item "Aladdin"``
"""

from __future__ import annotations

from typing import Annotated

import typer

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.config import SystemConfig, load_params
from llara_core.errors import ConfigError
from llara_core.prompts.rendering import ItemWording
from llara_core.runtime import compute
from pipeline.stage import Dataset, Seed, System, run


def main(
    dataset: Dataset,
    system: System,
    seed: Seed,
    item: Annotated[list[str], typer.Option(help="A title of the history, oldest first; repeat the option for each item.")],
    top: Annotated[int, typer.Option(min=1, help="Number of items to recommend.")] = 10,
) -> None:
    """Print the items that should follow a history of titles, best first.

    The whole history is left out of the answer, also where it is longer than what the model reads.
    """
    from llara_core.inference.recommend import find_items, recommend
    from llara_core.llm.inputs import read_inputs
    from llara_core.llm_systems import load_system
    from llara_core.recommenders import checkpoints

    params = load_params()
    compute.use_threads(params.llm.threads)
    config, cell = params.dataset(dataset), paths.cell(system, seed)
    items = tables.read_table(paths.prepared(dataset) / "items.parquet", tables.ITEMS)
    history = find_items(item, items)
    inputs = read_inputs(dataset, cell)
    if not isinstance(inputs.system, SystemConfig) or inputs.system.recommender is None:
        raise ConfigError(f"{system} reads no recommender, which would propose the items to rank; name a system with one")
    recommender = inputs.system.recommender
    checkpoint = paths.checkpoint(dataset, paths.cell(recommender, seed))
    ranked = recommend(
        load_system(
            paths.adapter(dataset, cell),
            paths.LLM,
            params.llm,
            params.inference,
            ItemWording.of(config),
            len(items),
            embeddings=inputs.item_embeddings,
        ),
        checkpoints.load(checkpoint, recommender, checkpoints.data_hash(dataset)),
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
