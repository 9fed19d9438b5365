"""Comparison of a run's hit ratios with the spread of the published runs."""

from __future__ import annotations

from collections.abc import Sequence

from llara_core import paths, tables
from llara_core.config import Params
from llara_core.evaluation.comparison import ComparedSystem
from llara_core.evaluation.published import (
    ReproducedRun,
    other_settings,
    read_published,
    reproductions,
    settings,
)
from llara_core.report.wording import count, joined, listed, number


def reproduction_summary(dataset: str, params: Params, rows: Sequence[ComparedSystem]) -> str:
    """Says which systems of a run lie within the spread of the published runs; empty if no trained system can be compared.

    Raises:
        DataError: the published results cannot be read.
    """
    published = read_published(dataset)
    if published is None or published.provenance.candidates != rows[0].results.runs[0].metadata.candidates_hash:
        return ""
    if published.provenance.prepared != tables.tables_hash(*paths.prepared_tables(dataset)):
        return ""
    own, confidence = settings(params, dataset), published.provenance.evaluation.confidence
    changed = {row.name: keys for row in rows if (keys := other_settings(row.system, published.provenance, own))}
    runs_of = {row.name: reproductions(row.results, published.last, confidence) for row in rows if row.name not in changed}
    if not any(runs_of.get(row.name) for row in rows if row.system.is_trained):
        return ""
    inside = [name for name, runs in runs_of.items() if runs and all(run.is_inside for run in runs)]
    outside = [_run(run) for runs in runs_of.values() for run in runs if not run.is_inside]
    verdicts = [f"within it: {listed(inside)}" if inside else "", f"outside it: {listed(outside)}" if outside else ""]
    seeds, n_runs = params.run.seeds, max(len(each.runs) for each in published.last)
    left_out = [f"{name} (another {keys[0]})" for name, keys in changed.items()]
    left_out += [f"{name} (fewer than two published runs)" for name, runs in runs_of.items() if not runs]
    return joined(
        f"Your {'run' if len(seeds) == 1 else 'runs'} ({'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}) "
        f"against the spread of the {count(n_runs, 'published run')} in HR@1 on test, where {confidence:.0%} of further runs "
        f"are expected: {'; '.join(filter(None, verdicts))}.",
        f"Not compared: {listed(left_out)}." if left_out else "",
    )


def _run(run: ReproducedRun) -> str:
    spread = number(run.low) if run.low == run.high else f"{number(run.low)} to {number(run.high)}"
    return f"{run.system} (seed {run.seed}: {number(run.hit_ratio)}, published {spread})"
