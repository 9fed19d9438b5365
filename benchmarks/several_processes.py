"""Compares one process of two threads with two of one: ``python -m benchmarks.several_processes movielens llara_guided 0``.

Needs the stages up to ``score_training`` and ``fetch_llm``. Tunes SYSTEM for a few steps and answers a few questions,
alternately in one process and in two, and prints rows and queries per second and their ratio for each round. Compare only
values of one run, since machines and their load differ.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from llara_core import paths
from llara_core.config import ParallelConfig, SystemConfig, load_params
from llara_core.llm.inputs import read_inputs
from llara_core.llm.prompts.rendering import ItemWording
from llara_core.runtime import compute, processes
from pipeline.stage import run

RESULT = "LLARA_BENCHMARK_RESULT"  # environment variable with the file for the results of a timed run


def main(
    dataset: str,
    system: str,
    seed: int,
    steps: Annotated[int, typer.Option(min=1, help="Timed optimiser steps.")] = 4,
    queries: Annotated[int, typer.Option(min=1, help="Timed held-out questions.")] = 16,
    rounds: Annotated[int, typer.Option(min=1, help="Number of measurements of each.")] = 2,
    n: Annotated[int, typer.Option(min=0, help="Measure only this number of processes (used internally).")] = 0,
) -> None:
    """Measures tuning and inference on one process and on two."""
    if n:
        if not processes.start(ParallelConfig(processes=n, weights="replicated")):
            _time(dataset, system, seed, steps, queries, threads=2 // n)
        return
    for number in range(1, rounds + 1):
        speeds = {}
        for of in (1, 2):
            with tempfile.TemporaryDirectory() as folder:
                result = Path(folder) / "speeds.json"
                options = [f"--steps={steps}", f"--queries={queries}", f"--n={of}"]
                command = [sys.executable, "-m", "benchmarks.several_processes", dataset, system, str(seed), *options]
                subprocess.run(command, env={**os.environ, RESULT: str(result)}, check=True)
                speeds[of] = json.loads(result.read_text(encoding="utf-8"))
        for what, one in speeds[1].items():
            two = speeds[2][what]
            typer.echo(f"round {number}: {what}/s {one:.3f} on one process, {two:.3f} on two, {two / one:.2f} times as many")


def _time(dataset: str, system: str, seed: int, steps: int, queries: int, threads: int) -> None:
    from llara_core.answers.held_out import read_held_out
    from llara_core.answers.predictions import Questions
    from llara_core.answers.prompts import ranking_queries
    from llara_core.inference.candidate_answers import answer_queries
    from llara_core.llm import adapters, loading
    from llara_core.llm.encoding import PromptEncoder
    from llara_core.llm.item_vectors import item_vectors_for
    from llara_core.tuning.data import load_training_data
    from llara_core.tuning.plan import make_plan
    from llara_core.tuning.rows import PlanDataset
    from llara_core.tuning.trainer import train

    compute.use_threads(threads)
    params = load_params()
    inputs = read_inputs(dataset, paths.run_name(system, seed))
    config = params.system(system)
    assert isinstance(config, SystemConfig)
    size = config.tune.batch_size
    budget = {"max_examples": steps * size, "micro_batch_size": size // processes.count(), "checkpoint_every": steps + 1}
    tune = config.tune.model_copy(update=budget)
    wording = ItemWording.of(params.dataset(dataset))
    data, _ = load_training_data(dataset, wording, inputs.training_scores, "out_of_fold", seed)
    vectors, _ = item_vectors_for(config.prompt.representation, config.ablation, inputs.item_embeddings, len(data.labels), seed)
    encoder = PromptEncoder(loading.load_tokenizer(paths.LLM), chat_template=config.prompt.chat_template)
    base = loading.load_base_model(paths.LLM, params.llm)
    model = adapters.build_model(base, encoder, config, vectors, head_vectors=None, seed=seed)
    plan = make_plan(data.sizes, tune, config.curriculum, sample_templates=True, seed=seed)
    speeds = {}
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        scratch = processes.broadcast(Path(folder))
        train(
            model,
            plan,
            PlanDataset(plan, data.planned(plan), encoder, config.prompt),
            encoder,
            tune,
            seed=seed,
            scratch=scratch,
        )
        speeds["rows"] = steps * size / (time.perf_counter() - start)
        processes.broadcast(None)  # waits before the folder is deleted

    model.eval()
    held_out = read_held_out(dataset).first_draws(1)
    questions = Questions.of(replace(held_out, candidates=held_out.candidates.head(queries)))
    silent = [np.zeros((len(items), 2), dtype=np.float32) for items in questions.candidates]
    asked = ranking_queries(replace(questions, labels=data.labels, score_features=silent), wording, config.prompt)
    start = time.perf_counter()
    batch_size = min(params.inference.batch_size, max(queries // 2, 1))
    answer_queries(model, encoder, asked, batch_size=batch_size, max_new_tokens=params.inference.max_new_tokens)
    speeds["queries"] = queries / (time.perf_counter() - start)
    if processes.is_first():
        Path(os.environ[RESULT]).write_text(json.dumps(speeds), encoding="utf-8")


if __name__ == "__main__":
    run(main)
