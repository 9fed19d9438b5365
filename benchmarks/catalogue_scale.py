"""Measures time and memory for a large catalogue: ``python -m benchmarks.catalogue_scale --items 1000000``.

Prints wall seconds and peak memory (``ru_maxrss``) of steps on random data, each in its own process: training steps of
SASRec with a softmax over the catalogue, its scores and ranks of held-out histories, and, at the width of SmolLM2-135M, the
projector's initial scale, training steps of the catalogue head on compact items and its scores. No language model runs.
"""

from __future__ import annotations

from typing import Annotated

import typer

from benchmarks.log_scale import report
from pipeline.stage import run

D_REC, D_TEXT, D_LLM = 64, 128, 576
BATCH, HISTORY_LEN, CHUNK = 256, 10, 400  # targets per step of the recommender, per history, and per pass of the head


def main(
    items: Annotated[int, typer.Option(min=1000, help="Size of the catalogue.")] = 1_000_000,
    histories: Annotated[int, typer.Option(min=1, help="Number of held-out histories.")] = 500,
    steps: Annotated[int, typer.Option(min=1, help="Training steps.")] = 3,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
) -> None:
    """Measures a catalogue of ITEMS items."""
    report("libraries alone", load_libraries)
    report("train sasrec", train_recommender, items, steps, threads)
    report("rank, sasrec", rank, items, histories, threads)
    report("projector", scale_projector, items, threads)
    report("train head", train_head, items, steps, threads)
    report("scores of the head", score_with_head, items, histories, threads)


def load_libraries() -> None:
    import llara_core.llm.hybrid
    import llara_core.recommenders.training  # noqa: F401


def train_recommender(items: int, steps: int, threads: int) -> None:
    import numpy as np
    import torch

    from llara_core.recommenders import training
    from llara_core.recommenders.sasrec import SasRec
    from llara_core.runtime import compute

    compute.use_threads(threads)
    rng, model = np.random.default_rng(0), SasRec(items, D_REC, HISTORY_LEN, 0.2, 2, 2)
    sequences = list(rng.integers(0, items, (steps * (BATCH // HISTORY_LEN), HISTORY_LEN + 1)))
    optimiser = torch.optim.Adam(model.parameters(), fused=True)
    training._train_epoch(model, optimiser, sequences, training.TrainingOptions(1e-3, BATCH, "cross_entropy", 1, 1), rng)


def rank(items: int, histories: int, threads: int) -> None:
    import numpy as np
    import pandas as pd

    from llara_core import columns as c
    from llara_core.answers.held_out import HeldOut
    from llara_core.answers.predictions import CatalogueAnswerer
    from llara_core.recommenders.sasrec import SasRec
    from llara_core.runtime import compute

    compute.use_threads(threads)
    rng, model = np.random.default_rng(0), SasRec(items, D_REC, HISTORY_LEN, 0.2, 2, 2)
    read, sets = (list(rng.integers(0, items, (histories, size))) for size in (HISTORY_LEN, 20))
    examples = pd.DataFrame({c.EXAMPLE: range(histories), c.HISTORY: read, c.TARGET: [row[0] for row in sets]})
    candidates = pd.DataFrame({c.EXAMPLE: range(histories), c.DRAW: 0, c.CANDIDATES: sets})
    CatalogueAnswerer(model).answer(HeldOut("generated", examples, candidates, "", [""] * items))


def scale_projector(items: int, threads: int) -> None:
    import torch

    from llara_core.llm.projector import Projector
    from llara_core.runtime import compute

    compute.use_threads(threads)
    Projector(torch.randn(items, D_REC + D_TEXT), D_LLM, 0.1)


def train_head(items: int, steps: int, threads: int) -> None:
    import torch

    from llara_core.llm.hybrid import NextItemHead
    from llara_core.runtime import compute

    compute.use_threads(threads)
    texts, head = torch.randn(items, D_TEXT), NextItemHead(torch.randn(items, D_REC), D_LLM, d_text=D_TEXT, dropout=0.1)
    optimiser = torch.optim.AdamW(head.parameters())
    for _ in range(steps):
        optimiser.zero_grad()
        head.loss(torch.randn(CHUNK, D_LLM), torch.randint(items, (CHUNK,)), texts).backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def score_with_head(items: int, histories: int, threads: int) -> None:
    import torch

    from llara_core.answers import ranking
    from llara_core.llm.hybrid import NextItemHead
    from llara_core.runtime import compute, memory

    compute.use_threads(threads)
    texts, head = torch.randn(items, D_TEXT), NextItemHead(torch.randn(items, D_REC), D_LLM, d_text=D_TEXT).eval()
    block = memory.histories_at_a_time(items, 4096)
    with torch.inference_mode():
        for start in range(0, histories, block):
            scores = head(torch.randn(min(block, histories - start), D_LLM), texts).numpy()
            ranking.catalogue_rank(scores, scores.argmax(axis=1), [[0]] * len(scores))


if __name__ == "__main__":
    run(main)
