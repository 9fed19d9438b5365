"""Plots hit ratio@1 against tuning prompts: ``python -m benchmarks.learning_curve docs/figures/learning_curve.csv OUT``.

The table has a row per system and budget, with the columns :data:`COLUMNS` and any others, such as the source of a value.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from llara_core.errors import DataError
from llara_core.report.plots import PALETTE
from pipeline.stage import run

COLUMNS = ["system", "prompts", "validation", "test"]
SPLITS = {"validation": "--", "test": "-"}


def main(
    table: Annotated[Path, typer.Argument(help="CSV file with the hit ratios.")],
    out: Annotated[Path, typer.Argument(help="PNG file to write.")],
    users: Annotated[int, typer.Option(min=2, help="Number of users of a split, for the standard error.")] = 95,
    candidates: Annotated[int, typer.Option(min=2, help="Candidates per set; chance is its inverse.")] = 20,
) -> None:
    """Plots the systems of TABLE; rows without prompts are horizontal lines."""
    try:
        points = pd.read_csv(table)
    except (OSError, ValueError) as error:
        raise DataError(f"{table}: cannot be read as a CSV file: {error}") from error
    missing = [name for name in COLUMNS if name not in points.columns]
    if missing:
        raise DataError(f"{table}: has no column {', '.join(missing)}; give it {', '.join(COLUMNS)}")
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for colour, (system, rows) in zip(itertools.cycle(PALETTE), points.groupby("system", sort=False), strict=False):
        for split, style in SPLITS.items():
            label = f"{system}, {split}"
            if rows["prompts"].isna().all():
                axes.axhline(rows[split].iloc[0], color=colour, linestyle=style, linewidth=1, label=label)
                continue
            values = rows[split]
            errors = (values * (1 - values) / users) ** 0.5
            axes.errorbar(rows["prompts"], values, errors, color=colour, linestyle=style, marker="o", capsize=3, label=label)
    axes.axhline(1 / candidates, color="dimgrey", linestyle=":", label=f"chance (1 of {candidates})")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("prompts of tuning")
    axes.set_ylabel("HR@1 (bars: standard error)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    figure.savefig(out, dpi=120, metadata={"Software": None})


if __name__ == "__main__":
    run(main)
