"""Measurements on an accelerator, in slices that save every result at once.

    python -m benchmarks.gpu_campaign ceiling OUT                bfloat16 matrix products of the card
    python -m benchmarks.gpu_campaign tuning OUT                 rows per second and memory of tuning, by micro-batch
    python -m benchmarks.gpu_campaign plain OUT                  the same prompts in a plain loop of transformers
    python -m benchmarks.gpu_campaign answering OUT              queries per second by batch size
    python -m benchmarks.gpu_campaign protocol OUT               every stage of the run in params.yaml

A slice stops after the measurement during which ``--minutes`` pass, and appends every measurement to ``OUT/<slice>.jsonl``.
``protocol`` can be restarted: finished stages are skipped, and tuning resumes from its checkpoint. For the paper's settings,
first run ``python -m pipeline.preset paper movielens`` and list the systems in ``run.systems``.

The first four slices use the model in ``data/llm`` (for the shape of Llama-2-7B, write one with ``benchmarks.llama_shape`` and
fetch it as ``llm.model``). They need the stages up to ``export_embeddings`` of one recommender.
"""

from __future__ import annotations

import functools
import itertools
import json
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llara_core import paths, tables
from llara_core.config import load_params
from llara_core.errors import ConfigError, ModelError
from pipeline.stage import run

if TYPE_CHECKING:
    import torch

    from benchmarks.llm_bench import Bench, Work

MICRO_BATCHES = (1, 2, 4, 8, 16, 32)
BATCHES = 5  # timed batches per setting, after an untimed one


class Slice(StrEnum):
    ceiling = "ceiling"
    tuning = "tuning"
    plain = "plain"
    answering = "answering"
    protocol = "protocol"


def main(
    what: Annotated[Slice, typer.Argument(help="Slice to measure.")],
    out: Annotated[Path, typer.Argument(help="Folder to which measurements are appended.")],
    dataset: Annotated[str, typer.Option(help="Key of `datasets` in params.yaml.")] = "movielens",
    recommender: Annotated[str, typer.Option(help="Recommender of the item embeddings.")] = "sasrec",
    seed: Annotated[int, typer.Option(min=0, help="Training seed.")] = 0,
    minutes: Annotated[float, typer.Option(min=0.01, help="Minutes after which the slice stops.")] = 9.0,
) -> None:
    """Measures one slice and appends the results to OUT."""
    out.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + 60 * minutes
    if what is Slice.protocol:
        _protocol(out, deadline)
        return
    import torch

    from benchmarks.llm_bench import load_bench

    facts = {
        "device": torch.cuda.get_device_name(0) if torch.cuda.is_available() else platform.processor() or "CPU",
        "torch": torch.__version__,
        "llm": str(tables.read_json(paths.LLM / paths.LLM_SOURCE)["model"]),
    }
    if what is Slice.ceiling:
        measurements = _ceiling()
    else:
        measure = {Slice.tuning: _tuning, Slice.plain: _plain, Slice.answering: _answering}[what]
        measurements = measure(load_bench(dataset, recommender, seed))
    for measured in measurements:
        _append(out, what, {**facts, **measured})
        if time.monotonic() > deadline:
            typer.echo(f"{minutes:g} minutes are over: the rest of {what} is skipped")
            return


def _append(out: Path, what: Slice, measured: dict[str, Any]) -> None:
    line = json.dumps(measured)
    typer.echo(line)
    with (out / f"{what}.jsonl").open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def _ceiling() -> Iterator[dict[str, Any]]:
    """Measures products in the shapes of the model's linear layers, with the tokens of a micro-batch of 16 prompts as rows."""
    import torch
    from transformers import AutoConfig

    from benchmarks.llm_bench import times

    config = AutoConfig.from_pretrained(paths.LLM)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    n_tokens = 4096
    for d_in, d_out in {
        (config.hidden_size, config.hidden_size),
        (config.hidden_size, config.intermediate_size),
        (config.intermediate_size, config.hidden_size),
    }:
        left = torch.randn(n_tokens, d_in, device=device, dtype=torch.bfloat16)
        right = torch.randn(d_in, d_out, device=device, dtype=torch.bfloat16)
        seconds = statistics.median(seconds for seconds, _ in times(functools.partial(_product, left, right), 20))
        yield {"rows": n_tokens, "in": d_in, "out": d_out, "tflops": round(2e-12 * n_tokens * d_in * d_out / seconds, 3)}


def _product(left: torch.Tensor, right: torch.Tensor, number: int) -> Work:
    from benchmarks.llm_bench import Work

    return Work(lambda: left @ right, len(left))


def _tuning(bench: Bench) -> Iterator[dict[str, Any]]:
    for checkpointing in (False, True):
        if checkpointing:
            bench.model.causal_lm.activation_checkpointing_enable({"use_reentrant": False})
            bench.model.causal_lm.enable_input_require_grads()
        yield from _by_size(
            functools.partial(bench.tuning_pass, "generative"),
            {"gradient_checkpointing": checkpointing, "parameters": _n_parameters(bench.model)},
        )


def _plain(bench: Bench) -> Iterator[dict[str, Any]]:
    """Measures peft with full logits over padded prompts without slots, like a script with transformers' Trainer."""
    import torch

    from benchmarks.llm_bench import Work

    encoder, llm = bench.encoder, bench.model.llm
    device, dtype = bench.model.device, bench.model.causal_lm.dtype

    def training_pass(size: int, number: int) -> Work:
        rows, labels = [], []
        for example in bench.examples(size, number):
            prompt = encoder.prompt_ids(bench.prompt(example, "title"))
            answer = encoder.answer_ids(bench.data.labels[example.target])
            rows.append([*prompt, *answer])
            labels.append([-100] * len(prompt) + list(answer))
        width = max(map(len, rows))
        pad = [width - len(row) for row in rows]
        ids = torch.tensor([row + [encoder.eos_id] * n for row, n in zip(rows, pad, strict=True)], device=device)
        mask = torch.tensor([[1] * len(row) + [0] * n for row, n in zip(rows, pad, strict=True)], device=device)
        targets = torch.tensor([row + [-100] * n for row, n in zip(labels, pad, strict=True)], device=device)

        def work() -> None:
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                llm(input_ids=ids, attention_mask=mask, labels=targets).loss.backward()
            llm.zero_grad(set_to_none=True)

        return Work(work, sum(map(len, rows)))

    yield from _by_size(training_pass, {"parameters": _n_parameters(bench.model)})


def _answering(bench: Bench) -> Iterator[dict[str, Any]]:
    bench.model.eval()
    for by_text in (False, True):
        modes = "score, constrained" + (", generate" if by_text else "")
        yield from _by_size(functools.partial(bench.answering_pass, by_score=True, by_text=by_text), {"modes": modes})


def _by_size(prepare: Callable[[int, int], Work], facts: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Measures speed, and memory of a card, of the work that ``prepare(rows, number)`` returns, until a size does not fit."""
    import torch

    from benchmarks.llm_bench import times

    on_cuda = torch.cuda.is_available()
    for size in MICRO_BATCHES:
        if on_cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        try:
            timed = list(times(functools.partial(prepare, size), BATCHES))
        except torch.cuda.OutOfMemoryError:
            yield {**facts, "rows": size, "error": "out of memory"}
            return
        seconds = statistics.median(seconds for seconds, _ in timed)
        yield {
            **facts,
            "rows": size,
            "rows_per_s": round(size / seconds, 3),
            "tokens_per_s": round(sum(tokens for _, tokens in timed) / sum(seconds for seconds, _ in timed), 1),
            **({"peak_gb": round(torch.cuda.max_memory_allocated() / 1e9, 2)} if on_cuda else {}),
        }


def _n_parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _protocol(out: Path, deadline: float) -> None:
    """Runs the stages of ``params.yaml`` that are not yet in ``OUT/stages.json``, until the deadline."""
    file, params = out / "stages.json", [tables.file_sha256(each) for each in (paths.PARAMS, paths.SYSTEMS)]
    done: dict[str, Any] = tables.read_json(file) if file.exists() else {"params": params, "seconds": {}}
    if done["params"] != params:
        raise ConfigError(f"{file}: these stages ran with other parameters; name another folder, or delete the file")
    for stage in _stages():
        name = " ".join(stage)
        if name in done["seconds"]:
            continue
        start = time.monotonic()
        process = subprocess.Popen([sys.executable, "-m", f"pipeline.{stage[0]}", *stage[1:]])
        try:
            process.wait(max(deadline - start, 1))
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()
            typer.echo(f"the time is over in `{name}`: restart this slice to continue")
            return
        if process.returncode:
            raise ModelError(f"`{name}` failed; its message is above")
        done["seconds"][name] = round(time.monotonic() - start, 1)
        tables.write_json(file, done)
    shutil.copytree(paths.REPORT, out / paths.REPORT.name, dirs_exist_ok=True)
    for dataset in load_params().run.datasets:
        for name in ("adapters", "further"):
            shutil.copytree(paths.systems(dataset) / name, out / name / dataset, dirs_exist_ok=True)
    typer.echo(f"finished; metrics and adapters are in {out}")


def _stages() -> Iterator[tuple[str, ...]]:
    """Yields the commands of a whole run in topological order."""
    params = load_params()
    axes = params.run
    seeds = [str(seed) for seed in axes.seeds]
    yield ("fetch_llm",)
    yield ("resolve",)
    for dataset in axes.datasets:
        for stage in ("download", "prepare", "sample_candidates", "predict_baselines"):
            yield (stage, dataset)
        for recommender, seed in itertools.product(axes.recommenders, seeds):
            for stage in ("train_recommender", "export_embeddings", "predict_recommender", "score_training"):
                yield (stage, dataset, recommender, seed)
        yield ("gather_inputs", dataset)
        for system, seed in itertools.product(axes.systems, seeds):
            yield ("tune", dataset, system, seed)
        yield ("gather_starts", dataset)
        for system, seed in itertools.product(axes.systems, seeds):
            yield ("tune_further", dataset, system, seed)
            yield ("predict_llm", dataset, system, seed)
        for chat_model in axes.chat_models:
            yield ("predict_chat", dataset, chat_model)
        yield ("fuse", dataset)
        yield ("evaluate", dataset)
        for name, seed in itertools.product(axes.recommend, seeds):
            ranked = paths.recommendations(dataset, paths.run_name(name, int(seed)))
            yield ("recommend", dataset, name, seed, "--all-users", "--out", str(ranked))
    yield ("report",)


if __name__ == "__main__":
    run(main)
