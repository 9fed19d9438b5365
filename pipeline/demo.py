"""Runs the pipeline on a small budget and recommends items; not a stage: ``python -m pipeline.demo``.

The stages run with the preset ``demo`` in a copy of the repository under ``.scratch/``, so that the parameters, results and
outputs of the repository do not change.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from llara_core import paths
from llara_core.config import load_params
from llara_core.errors import LlaraError
from pipeline.dry_run import repository_files
from pipeline.stage import run

FOLDER = paths.scratch() / "demo"
DATASET, SYSTEM, RECOMMENDER, SEED = "movielens", "llara_compact", "sasrec_text", "0"
# Files in `metrics` that are copied: the definition of the plots, and the sizes from which times are estimated.
COPIED_METRICS = {"dvc.yaml", "statistics.json"}
EXAMPLE = ["Star Wars", "The Empire Strikes Back", "Raiders of the Lost Ark"]
NEW_ITEM = "item_id,title,year,attributes\nnew,Beyond the Last Star,1998,Action|Adventure|Sci-Fi\n"
NEXT = f"""
What next?
  The folder {FOLDER} has all outputs: metrics/report.html compares the systems; delete the folder when you are done.
  make repro          the same on the full budget, as in README.md, in 20 minutes on two free cores
  docs/use.md         your own log, recommendations for all users, another language model, a GPU, ...
"""


def main(
    item: Annotated[
        list[str] | None,
        typer.Option(help="Title of one history, oldest first; repeat the option. Default: prompt for titles."),
    ] = None,
) -> None:
    """Trains a recommender, tunes a compact LLM system on it, and recommends items for a typed history, and a new item."""
    copy_repository(FOLDER)
    run_in_copy("-m", "pipeline.repro")
    params = load_params(FOLDER / paths.PARAMS)
    budget = f"{params.recommenders.max_epochs} epochs, {params.system(SYSTEM).tune.max_examples} chunks"
    typer.echo(f"\nOn this budget ({budget}) the table shows the form of a comparison, not its outcome.")
    titles = item or ([] if sys.stdin.isatty() else EXAMPLE)
    if titles:
        typer.echo(f"After {'; '.join(titles)}:")
    else:
        typer.echo(f"\nWhich movies has your user watched? For example: {'; '.join(EXAMPLE)}")
    run_in_copy("-m", "pipeline.recommend", DATASET, SYSTEM, SEED, *(word for title in titles for word in ("--item", title)))
    typer.echo("\nBeyond the Last Star (1998: Action, Adventure, Sci-Fi) is new; it ranks highest for these users:")
    (FOLDER / "new.csv").write_text(NEW_ITEM, encoding="utf-8")
    audience = ("--new-items", "new.csv", "--all-users", "--audience", "3")
    run_in_copy("-m", "pipeline.recommend", DATASET, RECOMMENDER, SEED, *audience)
    typer.echo(NEXT)


def copy_repository(folder: Path) -> None:
    """Updates the files of the copy and applies the preset; outputs of an earlier demo are kept."""
    for source in repository_files():
        target = folder / source
        is_output = source == Path("dvc.lock") or (
            source.parts[0] == paths.REPORT.name and (source.name not in COPIED_METRICS or target.exists())
        )
        if source.is_file() and source.parts[0] != "tests" and not is_output:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    if not (folder / ".git").exists():
        # DVC needs a repository with a commit. The two repositories share a cache, so that downloads serve both.
        git = ["git", "-C", str(folder), "-c", "user.name=demo", "-c", "user.email=demo@localhost"]
        subprocess.run([*git, "init", "--quiet"], check=True)
        subprocess.run([*git, "add", "--all"], check=True)
        subprocess.run([*git, "commit", "--quiet", "--message", "Demo"], check=True)
        run_in_copy("-m", "dvc", "--quiet", "config", "--local", "cache.dir", str(Path(".dvc/cache").resolve()))
    run_in_copy("-m", "pipeline.preset", "demo", DATASET, quiet=True)


def run_in_copy(*arguments: str, quiet: bool = False) -> None:
    """Runs Python in the copy.

    Raises:
        LlaraError: it fails.
    """
    answer = subprocess.run([sys.executable, *arguments], cwd=FOLDER, check=False, capture_output=quiet, text=True)
    if answer.returncode:
        message = f":\n{answer.stderr.strip()}" if quiet else "; its message is above"
        raise LlaraError(f"`python {' '.join(arguments)}` failed in {FOLDER}{message}")


if __name__ == "__main__":
    run(main)
