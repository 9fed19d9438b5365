"""How fast this machine tunes and answers: ``python -m benchmarks.llm_throughput movielens sasrec 0``.

Needs the stages up to ``export_embeddings`` and ``fetch_llm``. Prints rows per second of every tuning objective (forward and
backward) and queries per second of every way of answering, as the median over batches with the slowest and the fastest.
Compare ratios of one run only: machines, and the same machine at another hour, differ.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Annotated

import typer

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.config import OBJECTIVES, SystemConfig, load_params
from llara_core.prompts.rendering import ItemWording
from llara_core.runtime import compute
from pipeline.stage import run


def main(
    dataset: str,
    recommender: str,
    seed: int,
    batches: Annotated[int, typer.Option(min=1, help="Timed batches of each kind, after one that is not timed.")] = 5,
) -> None:
    """Time tuning and inference of an untuned hybrid model on DATASET with RECOMMENDER's embeddings."""
    import pandas as pd
    import torch

    from llara_core.inference import candidate_answers as answering
    from llara_core.inference.catalogue import HeadScorer
    from llara_core.inference.prompts import Query
    from llara_core.llm import adapters, loading
    from llara_core.llm.encoding import PromptEncoder
    from llara_core.llm.item_vectors import load_item_vectors
    from llara_core.prompts.rendering import answer_text, render_ranking
    from llara_core.tuning.data import load_training_data
    from llara_core.tuning.plan import make_plan
    from llara_core.tuning.rows import PlanDataset, TrainingStep, collate

    params = load_params()
    compute.use_threads(params.llm.threads)
    wording = ItemWording.of(params.dataset(dataset))
    items = tables.read_table(paths.prepared(dataset) / "items.parquet", tables.ITEMS)
    stored, _ = load_training_data(dataset, items[c.LABEL].to_list(), wording, None, "out_of_fold", seed)
    vectors, _ = load_item_vectors(paths.item_embeddings(dataset, paths.cell(recommender, seed)), len(items))
    encoder = PromptEncoder(loading.load_tokenizer(paths.LLM), chat_template=params.prompt.chat_template)
    base = loading.load_base_model(paths.LLM, params.llm)
    defaults = {name: getattr(params, name) for name in SystemConfig.model_fields if hasattr(params, name)}
    config = SystemConfig(recommender=recommender, **defaults)
    model = adapters.build_model(base, encoder, config, vectors, head_vectors=vectors, seed=seed)
    low_precision = base.dtype != torch.float32

    for objective in OBJECTIVES:
        size = params.tune.micro_batch_size
        budget = {
            "objective": objective,
            "max_examples": size * (batches + 1),
            "batch_size": size,
            "warm_start_rows": 0,
            "mixture": 0,
        }
        tune = params.tune.model_copy(update=budget)
        plan = make_plan(stored.units, tune, params.curriculum, sample_templates=True, seed=seed)
        rows = PlanDataset(plan, stored.planned(plan), encoder, params.prompt)
        step = TrainingStep(model, tune)

        def train(number: int, rows: PlanDataset = rows, step: TrainingStep = step, size: int = size) -> None:
            batch = collate([rows[row] for row in range(number * size, (number + 1) * size)], encoder)
            inputs = {name: value.to(base.device) if torch.is_tensor(value) else value for name, value in batch.items()}
            with torch.autocast(base.device.type, base.dtype, enabled=low_precision):
                step(**inputs)["loss"].backward()

        _report(f"tune, {objective}", size, _times(train, batches), "rows")

    model.eval()
    size = params.inference.batch_size
    asked = pd.DataFrame({"objective": "generative", "source": range(size * (batches + 1)), "draw": 0})
    data = stored.planned(asked)
    queries = [
        Query(
            render_ranking(data.histories[row], data.candidates[row, 0], data.labels, wording, params.prompt.representation, 0),
            tuple(answer_text(item, data.labels, params.prompt.representation) for item in data.candidates[row, 0]),
        )
        for row in asked["source"]
    ]
    for mode, parts in {"score and constrained": ("tree",), "generate": ("text",), "all three": ("tree", "text")}.items():

        @torch.inference_mode()
        def answer(number: int, parts: tuple[str, ...] = parts) -> None:
            part = queries[number * size : (number + 1) * size]
            prompts = [query.prompt for query in part]
            batch = encoder.pad([encoder.prompt_ids(prompt) for prompt in prompts], prompts)
            prefix = answering.read_prompts(model, batch)
            if "tree" in parts:
                branches = [[encoder.answer_ids(text) for text in query.answers] for query in part]
                answering.branch_logprobs(model, prefix, branches)
            if "text" in parts:
                answering.generate(model, prefix, encoder.eos_id, params.inference.max_new_tokens)

        _report(f"answer, {mode}", size, _times(answer, batches), "queries")

    scorer = HeadScorer(model, encoder, data.labels, wording, params.prompt, size)
    histories = [data.histories[row] for row in asked["source"]]
    head = _times(lambda number: scorer.score_catalogue(histories[number * size : (number + 1) * size]), batches)
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
