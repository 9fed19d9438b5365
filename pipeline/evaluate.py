"""Evaluates the predictions of all systems of a data set: results per candidate set, for the report, and metrics.

Run by the stage ``evaluate``: ``python -m pipeline.evaluate movielens``.
"""

from __future__ import annotations

import logging

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.answers.held_out import read_held_out, read_positions
from llara_core.config import load_params
from llara_core.evaluation.evaluate import MainMetrics, evaluate, main_metrics, metrics_record, system_main_metrics
from llara_core.evaluation.means import means_over_sets, user_means
from llara_core.evaluation.results import write_run
from llara_core.evaluation.systems import systems_of
from pipeline.stage import Dataset, run


def main(dataset: Dataset) -> None:
    """Writes the results and metrics of every system of the run on DATASET."""
    params = load_params()
    params.dataset(dataset)
    held_out, positions = read_held_out(dataset), read_positions(dataset)
    scopes = [(held_out, means_over_sets), *([] if positions is None else [(positions, user_means)])]
    by_run: dict[str, dict[str, MainMetrics]] = {}  # metrics by run and mode
    llm_weights: dict[str, float | None] = {}  # weights of fusions by run; None for other systems
    # Whole folders are replaced, so that nothing remains of systems that are no longer in the run.
    with tables.atomic_path(paths.results(dataset)) as results, tables.atomic_path(paths.metrics(dataset, "")) as metrics:
        for questions, means_of in scopes:
            for run_name, results_of_run in evaluate(questions, params):
                write_run(questions.folder(results / run_name), results_of_run)
                file = (questions.folder(metrics / run_name) / results_of_run.metadata.file_name).with_suffix(".json")
                record = metrics_record(results_of_run, params.evaluation, means_of)
                tables.write_json(file, record)
                if questions is held_out and results_of_run.metadata.history == "ordered":
                    by_run.setdefault(run_name, {})[results_of_run.metadata.mode] = main_metrics(results_of_run)
                    llm_weights[run_name] = results_of_run.metadata.llm_weight
                logging.info("%s: test hit_ratio@1 %s", file.relative_to(metrics), record[c.TEST]["hit_ratio@1"])
    with tables.atomic_path(paths.main_metrics(dataset, "").parent) as folder:
        for system in systems_of(params):
            if system.kind == "fused" and not any(map(llm_weights.get, system.run_names)):
                continue  # it equals its recommender, on as many sets as its LLM system answers
            if system.run_names[0] in by_run:
                name = paths.fused(system.key) if system.kind == "fused" else system.key
                runs = [by_run[run_name] for run_name in system.run_names]
                tables.write_json(folder / paths.main_metrics(dataset, name).name, system_main_metrics(runs))


if __name__ == "__main__":
    run(main)
