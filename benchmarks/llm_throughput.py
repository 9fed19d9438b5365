"""Measures the speed of tuning and inference: ``python -m benchmarks.llm_throughput movielens sasrec 0``.

Needs the stages up to ``export_embeddings`` and ``fetch_llm``. Prints rows per second of every tuning objective (forward and
backward; on a CPU also with padding, alternately) and queries per second of every mode, as the median, minimum and maximum over
batches. Reading and encoding is not timed. Compare only values of one run, since machines and their load differ.
"""

from __future__ import annotations

import functools
import statistics
from collections.abc import Iterable
from typing import Annotated

import typer

from llara_core.config import OBJECTIVES
from pipeline.stage import run


def main(
    dataset: str,
    recommender: str,
    seed: int,
    batches: Annotated[int, typer.Option(min=1, help="Timed batches of each kind, after an untimed one.")] = 5,
) -> None:
    """Measures tuning and inference of an untuned hybrid model on DATASET with RECOMMENDER's embeddings."""
    from benchmarks.llm_bench import load_bench, times
    from llara_core.llm.packing import BY_ROW

    bench = load_bench(dataset, recommender, seed)
    size = bench.config.tune.micro_batch_size
    attentions = {"": bench.model.causal_lm.config._attn_implementation}
    if BY_ROW in attentions.values():
        attentions = {" with padding": "eager", **attentions}
    for objective in OBJECTIVES:
        passes = (functools.partial(bench.tuning_pass, objective, size, attention=name) for name in attentions.values())
        in_turn = zip(*(times(each, batches) for each in passes), strict=True)
        for name, timed in zip(attentions, zip(*in_turn, strict=True), strict=True):
            _report(f"tune, {objective}{name}", size, timed, "rows")

    bench.model.eval()
    size = bench.params.inference.batch_size
    for mode, by_score, by_text in (
        ("score and constrained", True, False),
        ("generate", False, True),
        ("all three", True, True),
    ):
        answer = functools.partial(bench.answering_pass, size, by_score=by_score, by_text=by_text)
        _report(f"answer, {mode}", size, times(answer, batches), "queries")
    _report("rank the catalogue (head)", size, times(functools.partial(bench.ranking_pass, size), batches), "queries")


def _report(what: str, size: int, timed: Iterable[tuple[float, int]], unit: str) -> None:
    speeds = sorted(size / seconds for seconds, _ in timed)
    typer.echo(f"{what:40s} {statistics.median(speeds):8.2f} {unit}/s  ({speeds[0]:.2f} to {speeds[-1]:.2f})")


if __name__ == "__main__":
    run(main)
