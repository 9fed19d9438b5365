"""Comparison of a run's hit ratios with the spread of the published runs."""

from __future__ import annotations

from collections.abc import Sequence

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.config import Params
from llara_core.evaluation.comparison import ComparedSystem
from llara_core.evaluation.published import Published, other_settings, read_published, settings
from llara_core.evaluation.results import SystemResults
from llara_core.evaluation.significance import further_run
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
    own = settings(params, dataset)
    changed = {row.name: keys for row in rows if (keys := other_settings(row.system, published.provenance, own))}
    spreads = {row.name: _spread(row.results, published) for row in rows if row.name not in changed}
    if not any(spreads.get(row.name) for row in rows if row.system.is_trained):
        return ""
    inside, outside = list[str](), list[str]()
    for row in rows:
        if (ends := spreads.get(row.name)) is not None:
            low, high = ends
            spread = number(low) if low == high else f"{number(low)} to {number(high)}"
            hit_ratios = row.results.hits(c.TEST).groupby(level=c.USER).mean().mean()
            runs_outside = [
                f"{row.name} (seed {run.metadata.seed}: {number(hit_ratio)}, published {spread})"
                for run, hit_ratio in zip(row.results.runs, hit_ratios, strict=True)
                if not low - 1e-9 <= hit_ratio <= high + 1e-9
            ]
            outside += runs_outside
            inside += [] if runs_outside else [row.name]
    verdicts = [f"within it: {listed(inside)}" if inside else "", f"outside it: {listed(outside)}" if outside else ""]
    seeds, n_runs = params.run.seeds, max(len(each.runs) for each in published.last)
    left_out = [f"{name} (another {keys[0]})" for name, keys in changed.items()]
    left_out += [f"{name} (fewer than two published runs)" for name, ends in spreads.items() if ends is None]
    return joined(
        f"Your {'run' if len(seeds) == 1 else 'runs'} ({'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}) "
        f"against the spread of the {count(n_runs, 'published run')} in HR@1 on test, where "
        f"{published.config.confidence:.0%} of further runs are expected: {'; '.join(filter(None, verdicts))}.",
        f"Not compared: {listed(left_out)}." if left_out else "",
    )


def _spread(own: SystemResults, published: Published) -> tuple[float, float] | None:
    """Returns the interval in which the hit ratio of a further run is expected; None where published runs are too few or answer
    other sets. An untrained system has one published run, whose hit ratio is both ends."""
    same = [each for each in published.last if (each.system.name, each.mode) == (own.system.name, own.mode)]
    if not same or (own.system.is_trained and len(same[0].runs) < 2):
        return None
    hits = same[0].hits(c.TEST)
    if set(hits.index) != set(own.hits(c.TEST).index):
        return None
    runs = hits.groupby(level=c.USER).mean().to_numpy().T  # (S, U)
    low, high = further_run(runs, published.config.confidence) if len(runs) > 1 else (float(runs.mean()),) * 2
    return max(low, 0.0), min(high, 1.0)
