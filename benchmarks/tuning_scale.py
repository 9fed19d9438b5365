"""Measures the memory of ``tune`` for a large log: ``python -m benchmarks.tuning_scale FOLDER --plan-rows 100000``.

FOLDER is the output of ``benchmarks.log_scale --stages``. Prints wall seconds and peak memory (``ru_maxrss``) of loading the
libraries alone, and of also reading the training data, building the plan and reading its rows, each in its own process.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.log_scale import DATASET, report, write_params
from pipeline.stage import run


def main(
    folder: Annotated[Path, typer.Argument(help="Output of benchmarks.log_scale with --stages.")],
    plan_rows: Annotated[int, typer.Option(min=64, help="tune.max_examples.")] = 100_000,
    objective: Annotated[str, typer.Option(help="tune.objective.")] = "generative",
) -> None:
    """Reads the data that a run of PLAN_ROWS prompts needs of the log in FOLDER."""
    write_params(folder)
    report("libraries alone", load_libraries)
    report("training data", read_training_data, folder.resolve(), plan_rows, objective)


def load_libraries() -> None:
    import llara_core.tuning.data  # noqa: F401


def read_training_data(folder: Path, plan_rows: int, objective: str) -> dict[str, int]:
    """Reads the training data of a plan and returns their sizes."""
    from llara_core.config import load_params
    from llara_core.llm.prompts.rendering import ItemWording
    from llara_core.tuning.data import load_training_data
    from llara_core.tuning.plan import make_plan

    os.chdir(folder)
    params = load_params()
    wording = ItemWording.of(params.dataset(DATASET))
    stored, _ = load_training_data(DATASET, wording, None, "out_of_fold", 0)
    tune = params.tune.model_copy(
        update={"objective": objective, "epochs": 1, "max_examples": plan_rows, "warm_start_rows": 0, "mixture": 0.0}
    )
    plan = make_plan(stored.sizes, tune, params.curriculum, sample_templates=True, seed=0)
    data = stored.planned(plan)
    items = 0
    row: Any
    for row in plan.itertuples():
        if objective == "next_item":
            items += len(data.sequences[row.source][row.start : row.stop])
        else:
            items += len(data.histories[row.source]) + len(data.candidates[row.source, row.draw])
    return {
        "examples": len(stored.sizes.history_lens),
        "sets": len(stored.sizes.history_lens) * stored.sizes.n_draws,
        "rows": len(plan),
        "items": items,
    }


if __name__ == "__main__":
    run(main)
