"""Turn the predictions of one cell into metrics, one JSON file per predictions table.

Run by the stages ``evaluate_*``: ``python -m pipeline.evaluate movielens llara-sasrec-0 --system llara``.
"""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.config import PromptConfig, load_params
from llara_core.evaluation import metrics, results
from pipeline.stage import run

logger = logging.getLogger(__name__)


def main(
    dataset: str,
    cell: str,
    system: Annotated[str | None, typer.Option(help="The LLM system in CELL, whose prompts say how it names an item.")] = None,
) -> None:
    """Write the metrics of CELL on DATASET."""
    params = load_params()
    params.dataset(dataset)
    ground = results.read_ground(dataset)
    prompt = PromptConfig.model_validate(tables.read_json(paths.system(system))["prompt"]) if system else None
    for answers in results.read_cell(ground, cell, prompt.representation if prompt else "title"):
        record = results.metrics_record(answers, params.evaluation)
        file = (paths.metrics(dataset, cell) / answers.facts.file_name).with_suffix(".json")
        tables.write_json(file, record)
        test = answers.split(c.TEST)
        logger.info("%s: test hit_ratio@1 %.4f over %d candidate sets", file.stem, test[metrics.HIT].mean(), len(test))


if __name__ == "__main__":
    run(main)
