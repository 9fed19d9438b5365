"""A tiny random language model and a tiny catalogue, for the tests of everything around language models."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from llara_core.answers.held_out import HeldOut
from llara_core.answers.predictions import NOT_TUNED
from llara_core.config import LlmConfig, PromptConfig, SystemConfig
from llara_core.inference.llm_systems import AnswerLimits, LlmSystem, answerer
from llara_core.llm import adapters, loading
from llara_core.llm.encoding import PromptEncoder
from llara_core.llm.hybrid import HybridLM
from llara_core.llm.inputs import Start
from llara_core.llm.loading import load_base_model
from llara_core.llm.new_items import NewItems
from llara_core.llm.prompts.rendering import ItemWording
from llara_core.objectives.base import DataSizes, TrainingData
from llara_core.runtime import processes
from llara_core.tuning.rows import TrainingStep
from llara_core.tuning.setting import TuningSetting
from llara_core.tuning.tune import tune

torch.set_num_threads(1)

LABELS = ["Alien", "Aliens", "Heat", "Fargo", "Twelve Monkeys", "Babe", "Seven", "Toy Story", "Nixon", "Casino", "Clue", "Big"]
WORDING = ItemWording("movie", "watched")
N_ITEMS, D_REC = len(LABELS), 6
LLM = LlmConfig(model="tiny", revision=None, dtype="float32", quantization="none", threads=1)


def system_config(*, start: str | None = None, **changes: dict[str, Any]) -> SystemConfig:
    """Returns a small configuration, overlaid with ``changes``."""
    sections: dict[str, dict[str, Any]] = {
        "prompt": {
            "representation": "hybrid",
            "slot": "after",
            "recommender_scores": False,
            "text_dim": 4,
            "templates": "sampled",
            "chat_template": False,
        },
        "lora": {"rank": 2, "alpha": 4.0, "dropout": 0.0, "targets": "all-linear"},
        "curriculum": {"schedule": "linear", "two_stage_text_share": 0.4},
        "tune": {
            "objective": "generative",
            "epochs": 4,
            "max_examples": 24,
            "min_history_len": 1,
            "batch_size": 4,
            "micro_batch_size": 2,
            "learning_rate": 1e-2,
            "warmup_share": 0.1,
            "final_lr_share": 0.0,
            "weight_decay": 0.0,
            "projector_l2": 0.0,
            "projector_init": "token_scale",
            "max_grad_norm": 1.0,
            "chunk_len": 4,
            "warm_start_rows": 0,
            "mixture": 0.0,
            "ranking_weight": 0.0,
            "preference_loss": "sdpo",
            "preference_beta": 1.0,
            "preference_negatives": 3,
            "feature_dropout": 0.0,
            "gradient_checkpointing": False,
            "checkpoint_every": 2,
        },
        "ablation": {"llm_weights": "pretrained", "item_vectors": "recommender", "recommender_scores": "out_of_fold"},
    }
    for name, values in changes.items():
        sections[name] |= values
    return SystemConfig.model_validate({"recommender": "sasrec", "start": start, **sections})


def item_vectors(seed: int = 0) -> torch.Tensor:
    return torch.randn(N_ITEMS, D_REC, generator=torch.Generator().manual_seed(seed)) * (1 + seed)


def make_encoder(folder: Path, *, chat_template: str | None = None) -> PromptEncoder:
    tokenizer = loading.load_tokenizer(folder)
    tokenizer.chat_template = chat_template
    return PromptEncoder(tokenizer, chat_template=chat_template is not None)


def make_base(folder: Path) -> Any:
    """Returns the tiny model with weights large enough that every token and position matters."""
    base = load_base_model(folder, LLM)
    generator = torch.Generator().manual_seed(1)
    for parameter in base.parameters():
        if parameter.ndim > 1:
            parameter.normal_(0, 0.25, generator=generator)
    return base


def make_model(
    folder: Path,
    representation: str = "hybrid",
    *,
    with_head: bool = False,
    vectors: torch.Tensor | None = None,
    texts: torch.Tensor | None = None,
    new_items: NewItems | None = None,
    seed: int = 0,
    **changes: dict[str, Any],
) -> HybridLM:
    """Returns an adapted model in evaluation mode whose LoRA is not zero, as peft initialises it."""
    torch.manual_seed(seed)
    changes["prompt"] = {"representation": representation, **changes.get("prompt", {})}
    config = system_config(**changes)
    vectors = item_vectors() if vectors is None else vectors
    model = adapters.build_model(
        make_base(folder),
        make_encoder(folder),
        config,
        vectors if config.shows_behavior else None,
        head_vectors=vectors if with_head else None,
        item_texts=texts,
        new_items=new_items,
        seed=seed,
    )
    with torch.no_grad():
        for name, tensor in adapters.trained_tensors(model).items():
            if "lora_B" in name:
                tensor.normal_(0, 0.1)
    return model.eval()


def adapter_metadata(model: HybridLM, representation: str = "hybrid", **prompt: Any) -> adapters.AdapterMetadata:
    return adapters.AdapterMetadata(
        dataset="tiny",
        system="llara",
        recommender="sasrec",
        seed=0,
        objective="generative" if model.head is None else "next_item",
        prompt=system_config().prompt.model_copy(update={"representation": representation, **prompt}),
        ablation=system_config().ablation,
        has_head=model.head is not None,
        llm="llm-hash",
        item_embeddings="vectors-hash",
        rows=24,
        dtype="float32",
        hardware="",
        versions={},
    )


def llm_system(
    model: Any,
    encoder: Any,
    objective: str = "generative",
    *,
    tuned: bool = True,
    prompt: PromptConfig | None = None,
    wording: ItemWording = WORDING,
    score_features_of: Callable[[HeldOut], pd.DataFrame] | None = None,
    **limits: Any,
) -> LlmSystem:
    """Wraps the model as a system of ``objective``; ``limits`` override small ones."""
    return answerer(objective)(
        model,
        encoder,
        prompt or system_config().prompt,
        wording,
        AnswerLimits(**{"batch_size": 2, "max_new_tokens": 4, **limits}),
        objective if tuned else NOT_TUNED,
        score_features_of,
    )


def tuning_setting(llm_folder: Path, root: Path, **changes: Any) -> TuningSetting:
    """Returns a setting with the tiny data and model and a scratch folder in ``root``; ``changes`` override it."""
    setting: dict[str, Any] = {
        "dataset": "tiny",
        "recommender": "sasrec",
        "seed": 0,
        "llm_folder": llm_folder,
        "llm_config": LLM,
        "data": training_data(),
        "item_vectors": item_vectors(),
        "data_hash": "data-hash",
        "embeddings_hash": "vectors-hash",
        "head_dim": D_REC,
        "scratch": root / "scratch",
    }
    return TuningSetting(**setting | changes)


def tuned_start(system: SystemConfig, setting: TuningSetting, root: Path) -> Start:
    """Returns the system with its adapter ``root/llara``, which is tuned if it does not exist."""
    if not (root / "llara").exists():
        tune("llara", system, setting, adapter_folder=root / "llara", curves_folder=root / "llara-curves")
        processes.broadcast(None)  # waits for the first process, which writes the adapter
    return Start("llara", system, root / "llara")


def loss_of(model: HybridLM, batch: dict[str, Any], *, start: str | None = None, **tune: Any) -> torch.Tensor:
    """Returns the training loss of a batch, the mean over its predicting positions."""
    loss: torch.Tensor = TrainingStep(model, system_config(start=start, tune=tune).tune)(**batch)["loss"]
    return loss


class DataInMemory(TrainingData):
    """Complete training data in place of a data set's tables."""

    @property
    def sizes(self) -> DataSizes:
        lens = [len(self.histories[number]) for number in range(len(self.histories))]
        n_draws = 1 + max((draw for _, draw in self.candidates), default=0)
        return DataSizes(lens, n_draws, [len(items) for items in self.sequences])

    def planned(self, plan: pd.DataFrame) -> TrainingData:
        return self


def training_data(*, with_scores: bool = False) -> DataInMemory:
    """Returns data in which all users follow one cycle of items and all other items are candidates."""
    sequences = [[(start + step) % N_ITEMS for step in range(length)] for start, length in ((0, 7), (3, 5), (5, 2), (8, 9))]
    examples = [(sequence[:end], sequence[end]) for sequence in sequences for end in range(1, len(sequence))]
    return DataInMemory(
        histories=[history for history, _ in examples],
        targets=[target for _, target in examples],
        candidates={
            (number, draw): _rotated([(target + offset * (1 + 2 * draw)) % N_ITEMS for offset in range(4)], number)
            for number, (_, target) in enumerate(examples)
            for draw in range(2)
        },
        scores={
            # Highest for the target.
            (number, draw): _rotated([(1.5, 0.7), (0.5, 0.2), (-0.5 - 0.1 * draw, 0.06), (-1.5 + 0.1 * draw, 0.04)], number)
            for number in range(len(examples))
            for draw in range(2)
        }
        if with_scores
        else None,
        sequences=sequences,
        labels=LABELS,
        wording=WORDING,
    )


def plan_of(*rows: dict[str, Any]) -> pd.DataFrame:
    """Returns a plan of hybrid ranking rows with the given changes."""
    row = {
        "objective": "generative",
        "source": 5,
        "start": 0,
        "stop": 0,
        "draw": 1,
        "template": 0,
        "p_hybrid": 1.0,
        "hybrid": True,
    }
    return pd.DataFrame([{**row, **changes} for changes in rows])


def _rotated(values: list[Any], number: int) -> list[Any]:
    """Rotates the candidates, so that the place of the target differs between examples."""
    return values[number % len(values) :] + values[: number % len(values)]


def folder_hashes(folder: Path) -> dict[str, str]:
    """Returns the sha256 of every file by its path in ``folder``."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
