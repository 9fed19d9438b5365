"""Recommends items for one history or for many; the stage ``recommend`` does so for all users.

``python -m pipeline.recommend movielens sasrec 0`` asks for titles, on a terminal
``python -m pipeline.recommend movielens sasrec 0 --item "Toy Story" --item "Aladdin"``
``python -m pipeline.recommend movielens sasrec 0 --user 196``
``python -m pipeline.recommend movielens sasrec 0 --all-users --out recommendations.csv``
``python -m pipeline.recommend movielens_cold sasrec_text 0 --all-users --new-items new.csv --audience 5``
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llara_core import columns as c
from llara_core import paths
from llara_core.config import load_params
from llara_core.errors import ConfigError, LlaraError
from llara_core.runtime import compute
from pipeline.stage import AnySystem, Dataset, Seed, run

if TYPE_CHECKING:
    import pandas as pd

    from llara_core.serving import Model
    from llara_core.serving.histories import Histories
    from llara_core.serving.item_finder import ItemFinder

FORMULA = r"[=+\-@\t\r](?![\d.]+$)"  # a text that a spreadsheet evaluates, unless it is a negative number


def main(
    dataset: Dataset,
    system: AnySystem,
    seed: Seed,
    item: Annotated[
        list[str] | None, typer.Option(help="Title or raw id of one history, oldest first; repeat the option for each item.")
    ] = None,
    user: Annotated[
        list[str] | None, typer.Option(help="Raw id of a user of the prepared data; repeat the option for each user.")
    ] = None,
    histories: Annotated[
        Path | None, typer.Option(help="CSV, JSON lines or Parquet file with a row per interaction; see docs/use.md.")
    ] = None,
    all_users: Annotated[bool, typer.Option("--all-users", help="Recommend for every user of the prepared data.")] = False,
    top: Annotated[int, typer.Option(min=1, help="Items per history.")] = 10,
    out: Annotated[Path | None, typer.Option(help="Output file, .csv or .parquet; required for several histories.")] = None,
    retriever: Annotated[
        str | None,
        typer.Option(
            help="Recommender or baseline that retrieves; default: the system's own, else the first of run.recommenders."
        ),
    ] = None,
    candidates: Annotated[
        int | None, typer.Option(min=1, help="Items to retrieve for the LLM; default: candidates.n_candidates.")
    ] = None,
    retrieve_only: Annotated[bool, typer.Option("--retrieve-only", help="Rank with the retriever only.")] = False,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Histories per pass; default: inference.batch_size.")] = None,
    new_items: Annotated[
        Path | None,
        typer.Option(help="CSV, JSON lines or Parquet file with one new item per row, ranked together with the others."),
    ] = None,
    encoder: Annotated[
        Path | None, typer.Option(help="Folder of the text encoder of new items; default: that of training.")
    ] = None,
    audience: Annotated[
        int | None, typer.Option(min=1, help="Number of users to print for each new item, those for whom it ranks highest.")
    ] = None,
) -> None:
    """Recommends items after each history, best first, without items of the history.

    Without --item, --user, --histories and --all-users, histories are entered on a terminal.
    """
    from llara_core.serving import Model
    from llara_core.serving.histories import (
        check_output,
        prepared_histories,
        read_histories,
        recommendations_table,
        write_recommendations,
    )
    from llara_core.serving.parts import parts_of_run

    n_sources = sum([bool(item), bool(user), histories is not None, all_users])
    is_interactive = n_sources == 0 and out is None and sys.stdin.isatty()
    if n_sources != 1 and not is_interactive:
        raise ConfigError(
            "give one of --item, --user, --histories and --all-users; without them, titles are entered on a terminal"
        )
    if audience is not None and (new_items is None or item or n_sources == 0):
        raise ConfigError("--audience needs --new-items, and --user, --histories or --all-users")
    if out is None and not item and not user and not is_interactive and audience is None:
        raise ConfigError("several histories need an output file: name it with --out")
    if out is not None:
        check_output(out)
    params = load_params()
    compute.use_threads(params.llm.threads)
    parts = parts_of_run(params, dataset, system, seed, retriever)
    loaded = parts.load(paths.LLM, params.llm, batch_size or params.inference.batch_size, retrieve_only=retrieve_only)
    model = Model(loaded, parts.read_items(), parts)
    if new_items is not None:
        model.add_items_from(new_items, encoder)
    ranker, items = model.ranker, model.items
    asked: Histories = {}
    if item:
        asked = {"": model.finder.history(item)}
    elif histories is not None:
        asked = read_histories(histories, items, params.dataset(dataset))
    elif user or all_users:
        asked = prepared_histories(dataset, list(dict.fromkeys(user or [])))
    if ranker.llm is not None and retriever is not None and candidates is None:
        candidates = parts.n_candidates  # a named retriever is used even by a system that could score the whole catalogue

    def recommend(asked: Histories) -> pd.DataFrame:
        ranked = list(ranker.rank(list(asked.values()), top=top, n_candidates=candidates, retrieve_only=retrieve_only))
        return recommendations_table(list(asked), ranked, items, model.n_known)

    if is_interactive:
        for history in typed_in(model.finder):
            show(recommend({"": history}))
    elif out is None and audience is None:
        table = recommend(asked)
        show(table)
        if n_new := len(items) - model.n_known:
            typer.echo(f"New items in the list: {table.loc[table['is_new'], 'item'].nunique()} of {n_new}.")
    elif out is not None:
        table = recommend(asked)
        write_recommendations(out, table)
        if out.suffix == ".csv":
            warn_of_formulas(out, table)
        logging.info("%s: %d recommendations for %d histories", out, len(table), len(asked))
    if audience is not None:
        show_audiences(model, asked, audience)


def warn_of_formulas(path: Path, table: pd.DataFrame) -> None:
    """Warns if a spreadsheet would evaluate a text of the table, which is kept as it is for other programs."""
    n_formulas = sum(int(table[name].astype(str).str.match(FORMULA).sum()) for name in ("user", "item", "label"))
    if n_formulas:
        logging.warning(
            "%s: %d texts begin with =, +, - or @, which spreadsheets read as formulas; import the columns as text there",
            path,
            n_formulas,
        )


def typed_in(finder: ItemFinder) -> Iterator[list[int]]:
    """Yields histories entered on the terminal until an empty line or the end of the input.

    A history with an unknown title is asked for again.
    """
    typer.echo("Enter titles or raw ids, oldest first, separated by ';'. An empty line ends the program.")
    with suppress(typer.Abort):  # the end of the input
        while line := typer.prompt("history", default="", show_default=False):
            try:
                yield finder.history(finder.split(line))
            except LlaraError as error:
                typer.echo(f"{error}", err=True)


def show(table: pd.DataFrame) -> None:
    """Prints the recommendations of each user, below the user's id if there is one."""
    for user in dict.fromkeys(table["user"].to_list()):
        if user:
            typer.echo(f"{user}:")
        for row in table[table["user"] == user].itertuples(index=False):
            typer.echo(f"{row.rank:3d}  {row.score:8.3f}  {row.label}{' (new)' if getattr(row, 'is_new', False) else ''}")


def show_audiences(model: Model, histories: Histories, n_users: int) -> None:
    """Prints for each new item the users for whom it ranks highest, with its rank among the items that are new to the user."""
    new = range(model.n_known, len(model.items))
    labels = model.items[c.LABEL]
    for item, users in zip(new, model.audience_ids(new, histories, n_users), strict=True):
        typer.echo(f"{labels[item]}:")
        for user in users:
            n_ranked = len(model.items) - len({*histories[user.user]})
            typer.echo(f"  rank {user.rank:,} of {n_ranked:,} for user {user.user}")


if __name__ == "__main__":
    run(main)
