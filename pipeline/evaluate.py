"""Turn the predictions of one cell into metrics, one JSON file per predictions table.

Run by the stages ``evaluate_*``: ``python -m pipeline.evaluate movielens sasrec-0``.
"""

from __future__ import annotations

import logging

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.config import load_params
from llara_core.evaluation import metrics, results
from pipeline.stage import run

logger = logging.getLogger(__name__)


def main(dataset: str, cell: str) -> None:
    """Write the metrics of CELL on DATASET."""
    params = load_params()
    params.dataset(dataset)
    ground = results.read_ground(dataset)
    for answers in results.read_cell(ground, cell):
        record = results.metrics_record(answers, params.evaluation)
        file = (paths.metrics(dataset, cell) / answers.facts.file_name).with_suffix(".json")
        tables.write_json(file, record)
        test = answers.split(c.TEST)
        logger.info("%s: test hit_ratio@1 %.4f over %d candidate sets", file.stem, test[metrics.HIT].mean(), len(test))


if __name__ == "__main__":
    run(main)
