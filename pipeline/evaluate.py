"""Turn the predictions of all systems of a data set into results per candidate set, for the report, and into metrics.

Run by the stage ``evaluate``: ``python -m pipeline.evaluate movielens``.
"""

from __future__ import annotations

import logging

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.config import load_params
from llara_core.evaluation.comparison import over_sets
from llara_core.evaluation.evaluate import Figures, deciding_figures, evaluate, mean_of_headlines, metrics_record
from llara_core.evaluation.positions import user_means
from llara_core.evaluation.results import write_run
from llara_core.evaluation.systems import systems_of
from llara_core.held_out import read_held_out, read_positions
from pipeline.stage import Dataset, run

logger = logging.getLogger(__name__)


def main(dataset: Dataset) -> None:
    """Write the results and the metrics of every system of `run` on DATASET."""
    params = load_params()
    params.dataset(dataset)
    held_out, positions = read_held_out(dataset), read_positions(dataset)
    scopes = [(held_out, over_sets), *([] if positions is None else [(positions, user_means)])]
    figures: dict[str, dict[str, Figures]] = {}  # by cell and mode
    # Whole folders, so that nothing is left of systems that are no longer in `run`.
    with tables.atomic_path(paths.results(dataset)) as results, tables.atomic_path(paths.metrics(dataset, "")) as metrics:
        for asked, means_of in scopes:
            for cell, answered in evaluate(asked, params):
                write_run(asked.folder(results / cell), answered)
                file = (asked.folder(metrics / cell) / answered.metadata.file_name).with_suffix(".json")
                record = metrics_record(answered, params.evaluation, means_of)
                tables.write_json(file, record)
                if asked is held_out and answered.metadata.history == "ordered":
                    figures.setdefault(cell, {})[answered.metadata.mode] = deciding_figures(answered)
                logger.info("%s: test hit_ratio@1 %s", file.relative_to(metrics), record[c.TEST]["hit_ratio@1"])
    with tables.atomic_path(paths.deciding(dataset, "").parent) as deciding:
        for system in systems_of(params):
            if system.cells[0] in figures:
                file = (
                    deciding / paths.deciding(dataset, paths.fused(system.key) if system.kind == "fused" else system.key).name
                )
                tables.write_json(file, mean_of_headlines([figures[cell] for cell in system.cells]))


if __name__ == "__main__":
    run(main)
