"""Whole tuning runs on the tiny model: learning, interruption, and what is saved."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from llara_core import columns as c
from llara_core import tables
from llara_core.config import SystemConfig
from llara_core.errors import DataError, ModelError
from llara_core.inference.catalogue import HeadScorer
from llara_core.inference.llm_systems import load_tuned_model
from llara_core.llm import adapters
from llara_core.llm.encoding import PromptEncoder
from llara_core.llm.hybrid import HybridLM
from llara_core.llm.item_vectors import item_vectors_for, load_item_vectors
from llara_core.llm.loading import load_tokenizer
from llara_core.llm.prompts.rendering import ItemWording
from llara_core.objectives.base import EncodedRow
from llara_core.tuning import tune
from llara_core.tuning.rows import PlanDataset
from llara_core.tuning.trainer import Curves, learning_rate_factor
from tests.helpers.llm import (
    LABELS,
    LLM,
    N_ITEMS,
    WORDING,
    folder_hashes,
    item_vectors,
    make_base,
    system_config,
    tuned_start,
    tuning_setting,
)


class KilledError(Exception):
    """Stands for a kill signal."""


DIRECT = {"schedule": "direct"}


def _name(config: SystemConfig) -> str:
    return "llara" if config.start is None else "further"


def _tune(tiny_llama: Path, root: Path, config: SystemConfig, name: str | None = None, **changes: Any) -> Curves:
    name = name or _name(config)
    vectors = {"item_vectors": item_vectors() if config.shows_behavior else None}
    setting = tuning_setting(tiny_llama, root, **vectors | changes)
    return tune.tune(
        _name(config),
        config,
        setting,
        start=None if config.start is None else tuned_start(system_config(lora=config.lora.model_dump()), setting, root),
        adapter_folder=root / name,
        curves_folder=root / f"{name}-curves",
    )


def _kill_in_step(monkeypatch: pytest.MonkeyPatch, row: int, config: SystemConfig) -> None:
    read, of_row = PlanDataset.__getitem__, []

    def until_killed(self: PlanDataset, index: int) -> EncodedRow:
        of_row.extend([index] * (index == row))
        if len(of_row) > config.tune.compares_with_start:  # the reference reads all rows once before the first step
            raise KilledError
        return read(self, index)

    monkeypatch.setattr(PlanDataset, "__getitem__", until_killed)


def _interrupt(tiny_llama: Path, root: Path, config: SystemConfig, row: int) -> Path:
    """Runs until ``row`` is trained and returns the folder of the checkpoints."""
    if config.start is not None:
        tuned_start(system_config(lora=config.lora.model_dump()), tuning_setting(tiny_llama, root), root)
    with pytest.MonkeyPatch.context() as patch:
        _kill_in_step(patch, row, config)
        with pytest.raises(KilledError):
            _tune(tiny_llama, root, config)
    assert not (root / _name(config)).exists()
    (checkpoints,) = (root / "scratch" / "tune").iterdir()
    return checkpoints


RESUMABLE = {
    "generative": system_config(lora={"dropout": 0.3}),
    "next_item": system_config(lora={"dropout": 0.3}, tune={"objective": "next_item"}),
    "mixed": system_config(lora={"dropout": 0.3}, tune={"mixture": 0.5, "warm_start_rows": 4}),
    "sdpo": system_config(start="llara", lora={"dropout": 0.3}, tune={"objective": "preference"}),
    "softmax": system_config(
        start="llara", lora={"dropout": 0.3}, tune={"objective": "preference", "preference_loss": "softmax"}
    ),
}


@pytest.mark.parametrize("name", list(RESUMABLE))
def test_a_resumed_run_equals_an_uninterrupted_one(tiny_llama: Path, tmp_path: Path, name: str) -> None:
    """Runs of six or seven steps are killed in the fifth, once with an incomplete newer checkpoint."""
    config = RESUMABLE[name]
    curves = _tune(tiny_llama, tmp_path / "whole", config)
    whole = folder_hashes(tmp_path / "whole" / _name(config))

    checkpoints = _interrupt(tiny_llama, tmp_path / "resumed", config, row=19)
    assert sorted(path.name for path in checkpoints.iterdir()) == ["checkpoint-2", "checkpoint-4"]
    half = checkpoints / "checkpoint-5"
    half.mkdir()
    shutil.copy(checkpoints / "checkpoint-2" / "trained.safetensors", half)
    (half / "trainer_state.json").write_text('{"global_step": 5, "log_his')
    resumed_curves = _tune(tiny_llama, tmp_path / "resumed", config)

    assert folder_hashes(tmp_path / "resumed" / _name(config)) == whole
    assert resumed_curves == curves
    n_steps = len(curves["curriculum/p_hybrid"])
    assert sorted(curves["train/lr"]) == list(range(n_steps))
    assert not list((tmp_path / "resumed" / "scratch" / "tune").iterdir())


def test_another_seed_of_dropout_gives_another_adapter(tiny_llama: Path, tmp_path: Path) -> None:
    """Dropout affects the weights, so that the test above is meaningful."""
    for dropout in (0.0, 0.3):
        _tune(tiny_llama, tmp_path, system_config(lora={"dropout": dropout}), name=str(dropout))
    assert folder_hashes(tmp_path / "0.0")[adapters.LORA_FILE] != folder_hashes(tmp_path / "0.3")[adapters.LORA_FILE]


def test_checkpoints_of_another_run_are_ignored(tiny_llama: Path, tmp_path: Path) -> None:
    config = system_config(tune={"learning_rate": 2e-2})
    _tune(tiny_llama, tmp_path / "fresh", config)
    _interrupt(tiny_llama, tmp_path / "stale", system_config(), row=19)
    _tune(tiny_llama, tmp_path / "stale", config)
    assert folder_hashes(tmp_path / "stale" / "llara") == folder_hashes(tmp_path / "fresh" / "llara")


@pytest.mark.parametrize("changed", ["quantization", "noun", "data", "head_dim", "item_texts", "item_embeddings", "hardware"])
def test_the_run_key_depends_on_all_inputs_of_training(changed: str) -> None:
    def key(value: str | None) -> str:
        metadata = adapters.AdapterMetadata(
            dataset="d",
            system="s",
            recommender="r",
            seed=0,
            objective="generative",
            prompt=system_config().prompt,
            ablation=system_config().ablation,
            has_head=False,
            llm="l",
            item_embeddings=value if value and changed == "item_embeddings" else "e",
            rows=1,
            dtype="float32",
            hardware=value if value and changed == "hardware" else "this machine",
            versions={},
        )
        llm = LLM.model_copy(update={"quantization": "4bit"}) if value and changed == "quantization" else LLM
        words = ItemWording(value if value and changed == "noun" else "movie", "watched")
        others = ["data-hash", "6", "texts-hash"]
        if value and changed in (names := ["data", "head_dim", "item_texts"]):
            others[names.index(changed)] = value
        return tune._run_key(system_config(), llm, metadata, words, others, pd.DataFrame({"source": [0]}))

    assert key(None) == key(None)
    # A run may be resumed on another machine.
    assert (key("other") == key(None)) == (changed == "hardware")


@pytest.mark.parametrize("objective", ["generative", "next_item"])
def test_tuning_lowers_the_loss(tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, objective: str) -> None:
    """Users follow a cycle of items; the tied embeddings must allow confident answers."""
    monkeypatch.setattr(tune.loading, "load_base_model", lambda folder, config, **_: make_base(folder))
    config = system_config(tune={"objective": objective, "epochs": 40, "max_examples": 240, "checkpoint_every": 1000})
    loss = list(_tune(tiny_llama, tmp_path, config)[f"train/loss_{objective}"].values())
    assert len(loss) == 60
    assert sum(loss[-10:]) < 0.7 * sum(loss[:10])


def test_text_only_tuning_also_saves_the_projector(tiny_llama: Path, tmp_path: Path) -> None:
    config = system_config(curriculum={"schedule": "two_stage", "two_stage_text_share": 1.0})
    _tune(tiny_llama, tmp_path, config)
    saved = load_file(tmp_path / "llara" / adapters.MODULES_FILE)
    layers = {f"projector.layers.{layer}.{part}" for layer in (0, 2) for part in ("weight", "bias")}
    assert set(saved) == layers | {"projector.input_scale", "placeholder"}


@pytest.mark.parametrize("representation", ["text", "title", "index"])
@pytest.mark.parametrize("objective", ["generative", "next_item"])
def test_a_system_without_behavior_tokens_has_no_projector_and_no_recommender(
    tiny_llama: Path, tmp_path: Path, representation: str, objective: str
) -> None:
    config = system_config(prompt={"representation": representation}, tune={"objective": objective})
    _tune(tiny_llama, tmp_path, config, recommender=None, embeddings_hash=None)
    saved = set(load_file(tmp_path / "llara" / adapters.MODULES_FILE))
    assert {name.split(".")[0] for name in saved} == {"placeholder"} | ({"head"} if objective == "next_item" else set())
    model, _, metadata = load_tuned_model(tmp_path / "llara", tiny_llama, LLM, None, N_ITEMS)
    assert model.item_vectors is None
    assert (metadata.recommender, metadata.item_embeddings) == (None, None)


def test_text_only_and_hybrid_systems_train_on_the_same_examples_in_the_same_order(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TALLRec is comparable because the representation changes only the content of a row."""
    walked: list[tuple[pd.DataFrame, PlanDataset]] = []

    def keep(model: HybridLM, plan: pd.DataFrame, rows: PlanDataset, *_: Any, **__: Any) -> Curves:
        walked.append((plan, rows))
        return {}

    monkeypatch.setattr(tune, "train", keep)
    _tune(tiny_llama, tmp_path, system_config(), name="llara")
    titles = system_config(prompt={"representation": "title"})
    _tune(tiny_llama, tmp_path, titles, name="tallrec", recommender=None)
    (hybrid, _), (text, rows) = walked
    columns = ["objective", "source", "draw", "template"]
    pd.testing.assert_frame_equal(hybrid[columns], text[columns])
    assert hybrid["hybrid"].any()
    assert all(rows[row].prompt.slot_items == () for row in range(len(text)))


@pytest.mark.parametrize("ablation", [{"llm_weights": "random"}, {"item_vectors": "random"}, {"item_vectors": "constant"}])
def test_replacements_of_an_ablation_are_loaded_again(tiny_llama: Path, tmp_path: Path, ablation: dict[str, str]) -> None:
    table = tmp_path / "sasrec-0.parquet"
    frame = pd.DataFrame({c.ITEM: range(N_ITEMS), c.LABEL: LABELS, c.VECTOR: list(item_vectors().numpy()), c.TEXT_VECTOR: None})
    tables.write_table(table, frame, tables.ITEM_EMBEDDINGS)
    config = system_config(ablation=ablation, tune={"objective": "next_item"})
    vectors, source = item_vectors_for("hybrid", config.ablation, table, N_ITEMS, seed=0)
    kept: list[HybridLM] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adapters, "assert_round_trip", lambda folder, model: kept.append(model))
        _tune(tiny_llama, tmp_path, config, embeddings_hash=source, item_vectors=vectors)
    loaded, encoder, metadata = load_tuned_model(tmp_path / "llara", tiny_llama, LLM, table, N_ITEMS)
    scores = [
        HeadScorer(model.eval(), encoder, LABELS, WORDING, metadata.prompt, batch_size=1).score_catalogue([[0, 1, 2]])
        for model in (kept[0], loaded)
    ]
    np.testing.assert_array_equal(scores[0], scores[1])


def test_gradient_checkpointing_changes_no_result(tiny_llama: Path, tmp_path: Path) -> None:
    losses = [
        _tune(tiny_llama, tmp_path, system_config(tune={"gradient_checkpointing": on}), name=str(on))["train/loss_generative"]
        for on in (False, True)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


@pytest.mark.parametrize("objective", ["generative", "next_item"])
def test_the_micro_batch_changes_neither_loss_nor_gradient(tiny_llama: Path, tmp_path: Path, objective: str) -> None:
    """Answers and chunks differ in length, but every predicted token has the same weight."""
    sizes = (4, 2, 1)
    losses = {
        size: _tune(
            tiny_llama,
            tmp_path,
            system_config(tune={"objective": objective, "micro_batch_size": size, "max_grad_norm": 1e9}),
            name=str(size),
        )[f"train/loss_{objective}"]
        for size in sizes
    }
    tuned = {size: load_file(tmp_path / str(size) / adapters.LORA_FILE) for size in sizes}
    for size in sizes[1:]:
        assert losses[size] == pytest.approx(losses[4], rel=1e-4)
        for name, tensor in tuned[4].items():
            # Adam turns rounding noise of gradients near zero into steps: a share of one step of 1e-2.
            torch.testing.assert_close(tuned[size][name], tensor, rtol=0, atol=1e-3)


def test_without_a_limit_gradients_are_not_clipped(tiny_llama: Path, tmp_path: Path) -> None:
    tuned = {}
    for limit in (None, 1e9, 1e-9):
        _tune(tiny_llama, tmp_path, system_config(tune={"max_grad_norm": limit}), name=str(limit))
        tuned[limit] = adapters.adapter_sha256(tmp_path / str(limit))
    assert tuned[None] == tuned[1e9] != tuned[1e-9]


def test_l2_is_added_only_to_the_gradient_of_the_projector(tiny_llama: Path, tmp_path: Path) -> None:
    """A large L2 term determines the sign of Adam's first step, whose size is the learning rate."""
    one_step = {"max_examples": 4, "epochs": 1, "warmup_share": 0.0}
    text_only = {"schedule": "two_stage", "two_stage_text_share": 1.0}
    for name, l2, curriculum in (("start", 0.0, text_only), ("without", 0.0, DIRECT), ("with", 1e9, DIRECT)):
        _tune(tiny_llama, tmp_path, system_config(tune=one_step | {"projector_l2": l2}, curriculum=curriculum), name=name)
    start, without, with_l2 = (load_file(tmp_path / name / adapters.MODULES_FILE) for name in ("start", "without", "with"))
    for name, weight in start.items():
        if name.startswith("projector.layers"):
            torch.testing.assert_close(with_l2[name], weight - 1e-2 * weight.sign(), rtol=0, atol=1e-6)
            assert not torch.equal(with_l2[name], without[name])
        else:
            assert torch.equal(with_l2[name], without[name])
    lora = [load_file(tmp_path / name / adapters.LORA_FILE) for name in ("without", "with")]
    assert all(torch.equal(lora[0][name], tensor) for name, tensor in lora[1].items())


def test_rows_of_a_step_have_different_lengths(tiny_llama: Path) -> None:
    """Different lengths make the test above meaningful."""
    encoder = PromptEncoder(load_tokenizer(tiny_llama), chat_template=False)
    assert len({len(encoder.answer_ids(label)) for label in LABELS}) > 2


def test_a_loss_that_is_not_finite_ends_tuning(tiny_llama: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"step 1 of 6: the tuning loss is nan.*tune.learning_rate"):
        _tune(tiny_llama, tmp_path, system_config(), item_vectors=item_vectors() * torch.nan)
    assert not (tmp_path / "llara").exists()


def test_a_loaded_system_is_the_trained_one(tiny_llama: Path, tmp_path: Path) -> None:
    table = tmp_path / "sasrec-0.parquet"
    frame = pd.DataFrame({c.ITEM: range(N_ITEMS), c.LABEL: LABELS, c.VECTOR: list(item_vectors().numpy()), c.TEXT_VECTOR: None})
    tables.write_table(table, frame, tables.ITEM_EMBEDDINGS)
    _, vectors_hash = load_item_vectors(table, N_ITEMS)
    config = system_config(tune={"objective": "next_item"})
    kept: list[HybridLM] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adapters, "assert_round_trip", lambda folder, model: kept.append(model))
        _tune(tiny_llama, tmp_path, config, embeddings_hash=vectors_hash)

    loaded, encoder, metadata = load_tuned_model(tmp_path / "llara", tiny_llama, LLM, table, N_ITEMS)
    assert (metadata.objective, metadata.has_head, metadata.rows) == ("next_item", True, 24)
    histories = [[0, 1, 2], [5]]
    scores = [
        HeadScorer(model.eval(), encoder, LABELS, WORDING, metadata.prompt, batch_size=2).score_catalogue(histories)
        for model in (kept[0], loaded)
    ]
    np.testing.assert_array_equal(scores[0], scores[1])

    frame[c.VECTOR] = list(item_vectors(1).numpy())
    tables.write_table(table, frame, tables.ITEM_EMBEDDINGS)
    with pytest.raises(ModelError, match="use the recommender it was tuned on"):
        load_tuned_model(tmp_path / "llara", tiny_llama, LLM, table, N_ITEMS)
    with pytest.raises(DataError, match=f"has {N_ITEMS} items, but the prepared data has 3"):
        load_tuned_model(tmp_path / "llara", tiny_llama, LLM, table, 3)


def test_curves_split_the_losses_of_a_mixed_run(tiny_llama: Path, tmp_path: Path) -> None:
    curves = _tune(tiny_llama, tmp_path, system_config(tune={"mixture": 0.5, "warm_start_rows": 4}))
    steps = sorted([*curves["train/loss_next_item"], *curves["train/loss_generative"]])
    assert steps == list(range(7))
    assert 0 in curves["train/loss_next_item"]
    share, p = curves["curriculum/hybrid_share"], curves["curriculum/p_hybrid"]
    assert list(p.values()) == pytest.approx([sum(range(4 * step, 4 * step + 4)) / 4 / 28 for step in range(7)])
    assert list(share) == list(p)
    assert all(0 <= value <= 1 for value in share.values())


def test_without_hybrid_prompts_there_is_no_curriculum(tiny_llama: Path, tmp_path: Path) -> None:
    curves = _tune(tiny_llama, tmp_path, system_config(prompt={"representation": "text"}))
    assert set(curves["curriculum/p_hybrid"].values()) == set(curves["curriculum/hybrid_share"].values()) == {0.0}


def test_learning_rate_rises_from_a_hundredth_and_falls_to_zero() -> None:
    factors = [learning_rate_factor(step, n_steps=100, warmup_share=0.1, final_share=0.0) for step in range(101)]
    assert factors[0] == 0.01
    assert factors[5] == pytest.approx(0.01 + 0.99 * 5 / 10)
    assert factors[10] == 1
    assert factors[55] == pytest.approx(0.5 * (1 + math.cos(math.pi / 2)))
    assert factors[100] == pytest.approx(0)
    assert factors[:11] == sorted(factors[:11])
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert learning_rate_factor(0, n_steps=3, warmup_share=0.0, final_share=0.0) == 1


def test_the_cosine_can_end_at_a_share_of_the_peak() -> None:
    factors = [learning_rate_factor(step, n_steps=100, warmup_share=0.1, final_share=0.01) for step in range(101)]
    assert factors[10] == 1
    assert factors[55] == pytest.approx(0.01 + 0.99 / 2)
    assert factors[100] == pytest.approx(0.01)
    assert factors[10:] == sorted(factors[10:], reverse=True)


def test_training_applies_the_learning_rate(tiny_llama: Path, tmp_path: Path) -> None:
    rates = _tune(tiny_llama, tmp_path, system_config(tune={"warmup_share": 0.5, "final_lr_share": 0.1}))["train/lr"]
    expected = [1e-2 * learning_rate_factor(step, n_steps=6, warmup_share=0.5, final_share=0.1) for step in range(6)]
    assert list(rates.values()) == pytest.approx(expected)


# DVCLive leaves the Git repository open, so that its packs cause a ResourceWarning at garbage collection. Python ignores these
# by default.
@pytest.mark.filterwarnings("error", "ignore::ResourceWarning")
def test_progress_is_one_bar_without_warnings(tiny_llama: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _tune(tiny_llama, tmp_path, system_config())
    out, err = capfd.readouterr()
    assert out == ""
    last = err.replace("\r", "\n").strip().splitlines()[-1]
    assert last.startswith("tune: 100%")
    assert "p(hybrid) 0.83" in last  # first row of the last step: 20 of 24
