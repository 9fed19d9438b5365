"""Recommend items for one history or for many; the stage `recommend` does it for all users.

``python -m pipeline.recommend movielens llara_compact 0 --item "Toy Story" --item "Aladdin"``
``python -m pipeline.recommend movielens sasrec 0 --all-users --out recommendations.csv``
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from llara_core import paths, tables
from llara_core.config import load_params
from llara_core.errors import ConfigError
from llara_core.runtime import compute
from pipeline.stage import Answers, Dataset, Seed, run

logger = logging.getLogger(__name__)


def main(
    dataset: Dataset,
    system: Answers,
    seed: Seed,
    item: Annotated[
        list[str] | None, typer.Option(help="Title or raw id of one history, oldest first; repeat the option for each item.")
    ] = None,
    histories: Annotated[
        Path | None, typer.Option(help="CSV or Parquet file, a row per interaction; see docs/recommend.md.")
    ] = None,
    all_users: Annotated[bool, typer.Option("--all-users", help="Every user of the prepared data.")] = False,
    top: Annotated[int, typer.Option(min=1, help="Items per history.")] = 10,
    out: Annotated[Path | None, typer.Option(help="File to write, .csv or .parquet; needed for more than one history.")] = None,
    retriever: Annotated[
        str | None,
        typer.Option(help="What retrieves; default: the system's own recommender, else the first of run.recommenders."),
    ] = None,
    candidates: Annotated[
        int | None, typer.Option(min=1, help="Items that are retrieved for the LLM; default: candidates.n_candidates.")
    ] = None,
    retrieve_only: Annotated[bool, typer.Option("--retrieve-only", help="The retriever's ranking, without the LLM.")] = False,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Histories per pass; default: inference.batch_size.")] = None,
) -> None:
    """Recommend the items that should follow each history, best first; nothing of a history is recommended again."""
    from llara_core.serving import histories as many
    from llara_core.serving.run_parts import parts_of_run
    from llara_core.serving.titles import ItemFinder

    if sum([bool(item), histories is not None, all_users]) != 1:
        raise ConfigError("give one of --item, --histories and --all-users")
    if out is None and not item:
        raise ConfigError("more than one history: name a file to write with --out")
    if out is not None:
        many.check_output(out)
    params = load_params()
    compute.use_threads(params.llm.threads)
    parts = parts_of_run(params, dataset, system, seed, retriever)
    items = parts.read_items()
    if item:
        asked = {"": ItemFinder(items).history(item)}
    elif histories is not None:
        asked = many.read_histories(histories, items, many.HistoryFormat.of(params.dataset(dataset)))
    else:
        asked = many.prepared_histories(
            tables.read_table(paths.prepared(dataset) / "interactions.parquet", tables.INTERACTIONS)
        )
    inference = params.inference if batch_size is None else params.inference.model_copy(update={"batch_size": batch_size})
    ranker = parts.load(paths.LLM, params.llm, inference, retrieve_only=retrieve_only)
    if ranker.system is not None and retriever is not None and candidates is None:
        candidates = parts.n_candidates  # one that is named retrieves, also for a system that could score the whole catalogue
    ranked = ranker.rank(list(asked.values()), top=top, n_candidates=candidates, retrieve_only=retrieve_only)
    table = many.recommendations_table(list(asked), ranked, items)
    if out is not None:
        many.write_recommendations(out, table)
        logger.info("%s: %d recommendations for %d histories", out, len(table), len(asked))
        return
    for row in table.itertuples(index=False):
        typer.echo(f"{row.rank:3d}  {row.score:8.3f}  {row.label}")


if __name__ == "__main__":
    run(main)
