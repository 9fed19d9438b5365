"""A hybrid model with random projections and real prompts, for the benchmarks of tuning and inference."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd
import torch
from peft.helpers import disable_input_dtype_casting

from llara_core import paths
from llara_core.answers.prompts import Query
from llara_core.config import Params, Representation, SystemConfig, load_params
from llara_core.inference import candidate_answers as answering
from llara_core.inference.catalogue import HeadScorer
from llara_core.llm import adapters, loading
from llara_core.llm.encoding import PromptEncoder
from llara_core.llm.hybrid import HybridLM
from llara_core.llm.item_vectors import load_item_vectors
from llara_core.llm.prompts.rendering import ItemWording, Prompt, answer_text, render_ranking
from llara_core.runtime import compute
from llara_core.tuning.data import StoredTrainingData, load_training_data
from llara_core.tuning.plan import make_plan
from llara_core.tuning.rows import PlanDataset, TrainingStep, collate


class Example(NamedTuple):
    """A training example with its first candidate set."""

    history: Sequence[int]
    candidates: Sequence[int]
    target: int


class Work(NamedTuple):
    """Timed work, whose inputs are in memory.

    Attributes:
        run: function that does the work.
        tokens: number of tokens without padding.
    """

    run: Callable[[], object]
    tokens: int


def times(prepare: Callable[[int], Work], n: int) -> Iterator[tuple[float, int]]:
    """Yields seconds and tokens of ``n`` batches after an untimed one; preparation is not timed."""
    for number in range(n + 1):
        work = prepare(number)
        _synchronize()
        start = time.perf_counter()
        work.run()
        _synchronize()
        if number:
            yield time.perf_counter() - start, work.tokens


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@dataclass(frozen=True)
class Bench:
    """An untrained model with its data.

    Attributes:
        params: parameters of the working directory.
        config: global sections as the configuration of a system.
        data: training data without scores of a recommender.
        model: model on the device, in training mode.
    """

    params: Params
    config: SystemConfig
    data: StoredTrainingData
    encoder: PromptEncoder
    model: HybridLM

    def tuning_pass(self, objective: str, size: int, number: int, *, attention: str | None = None) -> Work:
        """Returns the forward and backward pass of micro-batch ``number`` with ``size`` rows, as in the trainer.

        Args:
            attention: attention implementation to set first; None: the current one.
        """
        if attention is not None:
            self.model.causal_lm.set_attn_implementation(attention)
        budget = {
            "objective": objective,
            "max_examples": size * (number + 1),
            "batch_size": size,
            "micro_batch_size": size,
            "warm_start_rows": 0,
            "mixture": 0,
            "preference_loss": "softmax",  # as fast as sdpo except for its reference pass
        }
        tune = self.config.tune.model_copy(update=budget)
        plan = make_plan(self.data.sizes, tune, self.config.curriculum, sample_templates=True, seed=0).tail(size)
        data = PlanDataset(plan, self.data.planned(plan), self.encoder, self.config.prompt)
        rows = [data[row] for row in range(size)]
        batch = collate(rows, self.encoder)
        inputs = {name: value.to(self.model.device) if torch.is_tensor(value) else value for name, value in batch.items()}
        dtype, step = self.model.causal_lm.dtype, TrainingStep(self.model, tune)

        def work() -> None:
            with (
                disable_input_dtype_casting(self.model, active=dtype != torch.float32),
                torch.autocast(self.model.device.type, dtype, enabled=dtype != torch.float32),
            ):
                step(**inputs)["loss"].backward()
            self.model.zero_grad(set_to_none=True)

        return Work(work, sum(len(row.input_ids) for row in rows))

    def examples(self, size: int, number: int) -> Iterator[Example]:
        """Yields ``size`` training examples from ``number * size`` on."""
        numbers = range(number * size, (number + 1) * size)
        data = self.data.planned(pd.DataFrame({"objective": "generative", "source": numbers, "draw": 0}))
        for row in numbers:
            yield Example(data.histories[row], data.candidates[row, 0], data.targets[row])

    def prompt(self, example: Example, representation: Representation) -> Prompt:
        return render_ranking(example.history, example.candidates, self.data.labels, self.data.wording, representation, 0)

    def queries(self, size: int, number: int) -> list[Query]:
        """Returns prompts with candidates for :meth:`examples`."""
        representation = self.config.prompt.representation
        return [
            Query(
                self.prompt(example, representation),
                tuple(answer_text(item, self.data.labels, representation) for item in example.candidates),
            )
            for example in self.examples(size, number)
        ]

    def answering_pass(self, size: int, number: int, *, by_score: bool, by_text: bool) -> Work:
        """Returns the inference of batch ``number`` by likelihood (``score`` and ``constrained``), by free text, or both."""
        asked = self.queries(size, number)
        prompts = [query.prompt for query in asked]
        ids = [self.encoder.prompt_ids(prompt) for prompt in prompts]
        batch = self.encoder.pad(ids, prompts)
        branches = [[self.encoder.answer_ids(text) for text in query.answers] for query in asked]

        @torch.inference_mode()
        def work() -> None:
            prefix = answering.read_prompts(self.model, batch)
            if by_score:
                answering.branch_logprobs(self.model, prefix, branches)
            if by_text:
                answering.generate(self.model, prefix, self.encoder.eos_id, self.params.inference.max_new_tokens)

        return Work(work, sum(map(len, ids)))

    def ranking_pass(self, size: int, number: int) -> Work:
        """Returns the scoring of the catalogue by the head for the histories of batch ``number``."""
        scorer = HeadScorer(self.model, self.encoder, self.data.labels, self.data.wording, self.config.prompt, size)
        histories = [example.history for example in self.examples(size, number)]
        return Work(functools.partial(scorer.score_catalogue, histories), sum(map(len, histories)))


def load_bench(dataset: str, recommender: str, seed: int) -> Bench:
    """Loads the model in ``data/llm`` with LoRA and the data; needs the stages up to ``export_embeddings``."""
    params = load_params()
    compute.use_threads(params.llm.threads)
    wording = ItemWording.of(params.dataset(dataset))
    data, _ = load_training_data(dataset, wording, None, "out_of_fold", seed)
    vectors, _ = load_item_vectors(paths.item_embeddings(dataset, paths.run_name(recommender, seed)), len(data.labels))
    encoder = PromptEncoder(loading.load_tokenizer(paths.LLM), chat_template=params.prompt.chat_template)
    base = loading.load_base_model(paths.LLM, params.llm)
    sections = {name: getattr(params, name) for name in SystemConfig.model_fields if hasattr(params, name)}
    config = SystemConfig(recommender=recommender, **sections)
    model = adapters.build_model(base, encoder, config, vectors, head_vectors=vectors, seed=seed)
    return Bench(params, config, data, encoder, model.train())  # the base model is in evaluation mode
