"""Tests a running service under load: ``python -m benchmarks.service_load http://127.0.0.1:8000/ exported/llara_compact``.

Concurrent clients each send the next request after the previous answer, and retry after 503. Every answer is compared with that
of the exported folder for this history alone. Prints statuses, throughput, latencies and the number of histories per pass of
the model. ``--llm`` and ``--dtype`` must be as for ``pipeline.serve``.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import requests
import typer

from llara_core import columns as c
from llara_core import paths
from llara_core.errors import DataError
from llara_core.runtime import compute
from pipeline.stage import run

_OF = threading.local()


@dataclass(frozen=True)
class _Answer:
    status: int
    body: Any
    seconds: float
    refusals: int
    batch: int


def main(
    url: str,
    folder: Annotated[Path, typer.Argument(help="Folder of the served export.")],
    llm: Path = paths.LLM,
    dtype: str | None = None,
    clients: Annotated[int, typer.Option(min=1)] = 32,
    questions: Annotated[int, typer.Option(min=1)] = 1000,
    top: Annotated[int, typer.Option(min=1)] = 10,
    seed: int = 0,
    tolerance: Annotated[float, typer.Option(help="Maximum difference of scores by rounding.")] = 1e-4,
) -> None:
    """Sends requests to the service at URL and compares its answers with those of FOLDER."""
    os.environ["TQDM_DISABLE"] = "1"  # otherwise a bar per history
    from llara_core.serving import load

    logging.getLogger("llara_core.serving.ranking").setLevel(logging.WARNING)  # otherwise a line per long history
    model = load(folder, llm=llm, dtype=dtype, batch_size=1)
    histories = _histories(model.items[c.N_INTERACTIONS].to_numpy(), questions, seed)
    raw_ids = model.items[c.RAW_ITEM].to_list()

    def ask(history: list[int]) -> _Answer:
        return _ask(f"{url}recommend", {"history": [f"id:{raw_ids[item]}" for item in history], "top": top})

    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        answers = list(pool.map(ask, histories))
    took = time.perf_counter() - start

    statuses = Counter(answer.status for answer in answers)
    latencies = sorted(answer.seconds for answer in answers)
    refusals = sum(answer.refusals for answer in answers)
    typer.echo(f"{questions} questions of {clients} clients: statuses {dict(statuses)}, {refusals} retries")
    p50, p95, p99 = (latencies[min(len(latencies) - 1, int(share * len(latencies)))] for share in (0.5, 0.95, 0.99))
    typer.echo(f"{questions / took:.1f} answers per second; latency p50 {p50:.2f} s, p95 {p95:.2f} s, p99 {p99:.2f} s")
    passes = {size: round(n / size) for size, n in sorted(Counter(answer.batch for answer in answers).items())}
    typer.echo(f"histories per pass: mean {questions / sum(passes.values()):.1f}; passes by size {passes}")
    if set(statuses) != {200}:
        raise DataError(f"answers were lost: {dict(statuses)}")

    compute.use_threads(1)
    number = {raw: item for item, raw in enumerate(raw_ids)}
    n_same, furthest, wrong = 0, 0.0, []
    for place, (history, answer) in enumerate(zip(histories, answers, strict=True)):
        (ranked,) = model.recommend_ids([history], len(raw_ids))
        listed = [number[one["item"]] for one in answer.body["recommendations"]]
        scores = np.array([one["score"] for one in answer.body["recommendations"]])
        of_item = dict(zip(ranked.items.tolist(), ranked.scores.tolist(), strict=True))
        n_same += listed == ranked.items[:top].tolist()
        # Of the same item, and of the item that should stand there: the two differ where near ties have turned.
        far = max(
            np.abs(scores - [of_item.get(item, np.inf) for item in listed]).max(), np.abs(scores - ranked.scores[:top]).max()
        )
        furthest = max(furthest, far)
        if far > tolerance or len(set(listed)) != min(top, len(ranked.items)):
            wrong.append(place)
    typer.echo(f"same items in the same order: {n_same} of {questions}; scores differ by {furthest:.1e} at most")
    if wrong:
        raise DataError(f"{len(wrong)} answers differ by more than {tolerance:g}, the first to question {wrong[0]}")


def _histories(n_interactions: Any, n: int, seed: int) -> list[list[int]]:
    """Draws histories of 1 to 20 items, popular ones more often."""
    generator = np.random.default_rng(seed)
    weights = (n_interactions + 1) / (n_interactions + 1).sum()
    most = min(20, len(weights) - 1)
    lengths = generator.integers(1, most, n, endpoint=True)
    return [generator.choice(len(weights), length, replace=False, p=weights).tolist() for length in lengths]


def _ask(url: str, question: dict[str, Any]) -> _Answer:
    if not hasattr(_OF, "session"):
        _OF.session = requests.Session()
    start, refusals = time.perf_counter(), 0
    while True:
        response = _OF.session.post(url, json=question, timeout=600)
        if response.status_code != 503:
            break
        refusals += 1
        time.sleep(int(response.headers["Retry-After"]))
    found = re.search(r'desc="(\d+)"', response.headers.get("Server-Timing", ""))
    return _Answer(
        response.status_code,
        response.json(),
        time.perf_counter() - start,
        refusals,
        int(found.group(1)) if found else 1,
    )


if __name__ == "__main__":
    run(main)
