"""How fast this machine tunes and answers: ``python -m benchmarks.llm_throughput movielens sasrec 0``.

Needs the stages up to ``export_embeddings`` and ``fetch_llm``. Prints rows per second of every tuning objective (forward and
backward) and queries per second of every way of answering, as the median over batches with the slowest and the fastest.
Compare ratios of one run only: machines, and the same machine at another hour, differ.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Annotated

import typer

from llara_core.config import OBJECTIVES
from pipeline.stage import run


def main(
    dataset: str,
    recommender: str,
    seed: int,
    batches: Annotated[int, typer.Option(min=1, help="Timed batches of each kind, after one that is not timed.")] = 5,
) -> None:
    """Time tuning and inference of an untuned hybrid model on DATASET with RECOMMENDER's embeddings."""
    from benchmarks.llm_bench import load_bench
    from llara_core.inference.catalogue import HeadScorer

    bench = load_bench(dataset, recommender, seed)
    size = bench.config.tune.micro_batch_size
    for objective in OBJECTIVES:
        _report(f"tune, {objective}", size, _times(functools.partial(bench.tuning_pass, objective, size), batches), "rows")

    bench.model.eval()
    size = bench.params.inference.batch_size
    for mode, by_score, by_text in (
        ("score and constrained", True, False),
        ("generate", False, True),
        ("all three", True, True),
    ):

        def answer(number: int, by_score: bool = by_score, by_text: bool = by_text) -> None:
            bench.answer(size, number, by_score=by_score, by_text=by_text)

        _report(f"answer, {mode}", size, _times(answer, batches), "queries")

    data = bench.data
    scorer = HeadScorer(bench.model, bench.encoder, data.labels, data.wording, bench.config.prompt, size)

    def rank(number: int) -> object:
        return scorer.score_catalogue([example.history for example in bench.examples(size, number)])

    head = _times(rank, batches)
    _report("rank the catalogue (head)", size, head, "queries")


def _times(work: Callable[[int], object], batches: int) -> Iterator[float]:
    work(0)
    for number in range(1, batches + 1):
        start = time.perf_counter()
        work(number)
        yield time.perf_counter() - start


def _report(what: str, size: int, seconds: Iterator[float], unit: str) -> None:
    speeds = sorted(size / value for value in seconds)
    typer.echo(f"{what:40s} {statistics.median(speeds):8.2f} {unit}/s  ({speeds[0]:.2f} to {speeds[-1]:.2f})")


if __name__ == "__main__":
    run(main)
