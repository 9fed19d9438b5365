"""What a run says of itself beside the published runs."""

from __future__ import annotations

from collections.abc import Sequence

from llara_core.config import Params
from llara_core.evaluation.comparison import ComparedSystem
from llara_core.evaluation.published import Beside, beside, other_settings, prepared_hash, read_published, settings
from llara_core.report.wording import count, joined, listed, number


def beside_published(dataset: str, params: Params, rows: Sequence[ComparedSystem]) -> str:
    """Which systems of a run lie within the spread of the published runs; empty where no trained one can be compared.

    Args:
        dataset: key in ``params.yaml``.
        params: of the run.
        rows: one per system.

    Raises:
        DataError: the published results cannot be read.
    """
    published = read_published(dataset)
    if published is None or published.facts.candidates != rows[0].results.runs[0].metadata.candidates_hash:
        return ""
    if published.facts.prepared != prepared_hash(dataset):
        return ""
    own, confidence = settings(params, dataset), published.facts.evaluation.confidence
    changed = {row.name: keys for row in rows if (keys := other_settings(row.system, published.facts, own))}
    found = {row.name: beside(row.results, published.last, confidence) for row in rows if row.name not in changed}
    if not any(found.get(row.name) for row in rows if row.system.is_trained):
        return ""
    inside = [name for name, runs in found.items() if runs and all(run.is_inside for run in runs)]
    outside = [_run(run) for runs in found.values() for run in runs if not run.is_inside]
    lies = [
        f"within their spread for {listed(inside)}" if inside else "",
        f"outside it for {listed(outside)}" if outside else "",
    ]
    seeds, n_runs = params.run.seeds, max(len(each.runs) for each in published.last)
    yours = f"your run, seed {seeds[0]}, lies" if len(seeds) == 1 else f"your runs, seeds {', '.join(map(str, seeds))}, lie"
    left_out = [f"{name} (another {keys[0]})" for name, keys in changed.items()]
    left_out += [f"{name} (fewer than two published runs)" for name, runs in found.items() if not runs]
    return joined(
        f"Beside the {count(n_runs, 'published run')}, in HR@1 on test: {yours} {' and '.join(filter(None, lies))}. Spread: "
        f"where {confidence:.0%} of further runs are expected.",
        f"Not compared: {listed(left_out)}." if left_out else "",
    )


def _run(run: Beside) -> str:
    spread = number(run.low) if run.low == run.high else f"{number(run.low)} to {number(run.high)}"
    return f"{run.system} (seed {run.seed}: {number(run.own)}, published {spread})"
