"""Recommend items for one history or for many; the stage `recommend` does it for all users.

``python -m pipeline.recommend movielens sasrec 0`` asks for titles, on a terminal
``python -m pipeline.recommend movielens sasrec 0 --item "Toy Story" --item "Aladdin"``
``python -m pipeline.recommend movielens sasrec 0 --all-users --out recommendations.csv``
``python -m pipeline.recommend movielens_cold sasrec_text 0 --all-users --new-items new.csv --audience 5``
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.config import load_params
from llara_core.errors import ConfigError, LlaraError
from llara_core.runtime import compute
from pipeline.stage import Answers, Dataset, Seed, run

if TYPE_CHECKING:
    import pandas as pd

    from llara_core.serving import Model
    from llara_core.serving.histories import Histories
    from llara_core.serving.titles import ItemFinder

FORMULA = r"[=+\-@\t\r](?![\d.]+$)"  # and no negative number

logger = logging.getLogger(__name__)


def main(
    dataset: Dataset,
    system: Answers,
    seed: Seed,
    item: Annotated[
        list[str] | None, typer.Option(help="Title or raw id of one history, oldest first; repeat the option for each item.")
    ] = None,
    histories: Annotated[
        Path | None, typer.Option(help="CSV, JSON lines or Parquet, a row per interaction; see docs/use.md.")
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
    new_items: Annotated[
        Path | None,
        typer.Option(
            help="CSV, JSON lines or Parquet, an item a row that training never saw; they are ranked with the others."
        ),
    ] = None,
    encoder: Annotated[
        Path | None, typer.Option(help="Folder of the text encoder that reads them; default: that of the training.")
    ] = None,
    audience: Annotated[
        int | None, typer.Option(min=1, help="Print for each new item this many users for whom it ranks highest.")
    ] = None,
) -> None:
    """Recommend the items that should follow each history, best first; nothing of a history is recommended again.

    Without --item, --histories and --all-users, histories are asked for on a terminal.
    """
    from llara_core.serving import Model
    from llara_core.serving import histories as many
    from llara_core.serving.run_parts import parts_of_run
    from llara_core.serving.titles import ItemFinder

    n_sources = sum([bool(item), histories is not None, all_users])
    asks = n_sources == 0 and out is None and sys.stdin.isatty()
    if n_sources != 1 and not asks:
        raise ConfigError("give one of --item, --histories and --all-users; without any, titles are asked for on a terminal")
    if audience is not None and (new_items is None or not (all_users or histories is not None)):
        raise ConfigError("--audience ranks new items for many users: give --new-items, and --histories or --all-users")
    if out is None and not item and not asks and audience is None:
        raise ConfigError("more than one history: name a file to write with --out")
    if out is not None:
        many.check_output(out)
    params = load_params()
    compute.use_threads(params.llm.threads)
    parts = parts_of_run(params, dataset, system, seed, retriever)
    loaded = parts.load(paths.LLM, params.llm, batch_size or params.inference.batch_size, retrieve_only=retrieve_only)
    model = Model(loaded, parts.read_items(), parts)
    if new_items is not None:
        model.add_items_from(new_items, encoder)
    ranker, items = model.ranker, model.items
    asked: many.Histories = {}
    if item:
        asked = {"": ItemFinder(items).history(item)}
    elif histories is not None:
        asked = many.read_histories(histories, items, params.dataset(dataset))
    elif all_users:
        asked = many.prepared_histories(
            tables.read_table(paths.prepared(dataset) / "interactions.parquet", tables.INTERACTIONS)
        )
    if ranker.system is not None and retriever is not None and candidates is None:
        candidates = parts.n_candidates  # one that is named retrieves, also for a system that could score the whole catalogue

    def recommend(asked: many.Histories) -> pd.DataFrame:
        ranked = ranker.rank(list(asked.values()), top=top, n_candidates=candidates, retrieve_only=retrieve_only)
        return many.recommendations_table(list(asked), ranked, items, model.n_known)

    if asks:
        for history in typed_in(ItemFinder(items)):
            show(recommend({"": history}))
    elif out is None and audience is None:
        show(recommend(asked))
    elif out is not None:
        table = recommend(asked)
        many.write_recommendations(out, table)
        if out.suffix == ".csv":
            warn_of_formulas(out, table)
        logger.info("%s: %d recommendations for %d histories", out, len(table), len(asked))
    if audience is not None:
        show_audiences(model, asked, audience)


def warn_of_formulas(path: Path, table: pd.DataFrame) -> None:
    """Say so where a spreadsheet would compute a text of the table; it stays as it is, for programs that read it."""
    n_formulas = sum(int(table[name].astype(str).str.match(FORMULA).sum()) for name in ("user", "item", "label"))
    if n_formulas:
        logger.warning(
            "%s: %d texts begin with =, +, - or @, which a spreadsheet takes for formulas; there, import the columns as text",
            path,
            n_formulas,
        )


def typed_in(finder: ItemFinder) -> Iterator[list[int]]:
    """Histories that are typed in, until an empty line; one with an unknown title is asked for again."""
    typer.echo("Titles or raw ids, oldest first, separated by ';'. An empty line ends this.")
    while line := typer.prompt("history", default="", show_default=False):
        try:
            yield finder.history(finder.split(line))
        except LlaraError as error:
            typer.echo(f"{error}", err=True)


def show(table: pd.DataFrame) -> None:
    """Print one history's recommendations."""
    for row in table.itertuples(index=False):
        typer.echo(f"{row.rank:3d}  {row.score:8.3f}  {row.label}{' (new)' if getattr(row, 'is_new', False) else ''}")


def show_audiences(model: Model, histories: Histories, n_users: int) -> None:
    """Print for each new item the users for whom it ranks highest, and its rank."""
    new = range(model.n_known, len(model.items))
    labels = model.items[c.LABEL]
    for item, reached in zip(new, model.audience_ids(new, histories, n_users), strict=True):
        typer.echo(f"{labels[item]}:")
        for one in reached:
            typer.echo(f"{one.rank:5d}  {one.user}")


if __name__ == "__main__":
    run(main)
