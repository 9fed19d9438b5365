"""Tuning that goes on from another system's adapter: kept or made anew, it is the same one, and so is what comes of it."""

from __future__ import annotations

import logging
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from llara_core.config import SystemConfig
from llara_core.llm import adapters
from llara_core.tuning import kept, tune
from llara_core.tuning.trainer import Curves
from tests.helpers.llm import folder_hashes, make_base, system_config, tuning_setting

START = system_config()
SDPO = system_config(start="llara", tune={"objective": "preference"})
SOFTMAX = system_config(start="llara", tune={"objective": "preference", "preference_loss": "softmax"})


def _tune(tiny_llama: Path, root: Path, name: str, config: SystemConfig, **changes: Any) -> Curves:
    start = None if config.start is None else changes.pop("start", START)
    setting = tuning_setting(tiny_llama, root, **changes)
    return tune.tune(name, config, setting, start=start, adapter_folder=root / name, curves_folder=root / f"{name}-curves")


def test_a_kept_start_and_one_tuned_anew_give_the_same_bytes(
    tiny_llama: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    _tune(tiny_llama, tmp_path, "llara", START)
    with_kept = _tune(tiny_llama, tmp_path, "going_on", SDPO)
    assert "that an earlier run kept" in caplog.text
    assert "so it is tuned first" not in caplog.text
    caplog.clear()
    anew = _tune(tiny_llama, tmp_path / "anew", "going_on", SDPO)
    assert "so it is tuned first" in caplog.text
    assert folder_hashes(tmp_path / "anew" / "going_on") == folder_hashes(tmp_path / "going_on")
    assert anew == with_kept
    # What was tuned on the way is the adapter of the start's own cell, and is kept for the next.
    (start,) = (tmp_path / "anew" / "scratch" / "adapters" / "tiny" / "llara-0").iterdir()
    assert folder_hashes(start) == folder_hashes(tmp_path / "llara")
    caplog.clear()
    _tune(tiny_llama, tmp_path / "anew", "softly", SOFTMAX)
    assert "that an earlier run kept" in caplog.text
    assert not list((tmp_path / "anew" / "scratch" / "tune").iterdir())


def test_an_adapter_says_what_it_went_on_from(tiny_llama: Path, tmp_path: Path) -> None:
    _tune(tiny_llama, tmp_path, "llara", START)
    _tune(tiny_llama, tmp_path, "going_on", SDPO)
    metadata = adapters.read_metadata(tmp_path / "going_on")
    assert metadata.start == adapters.StartAdapter(system="llara", sha256=adapters.adapter_sha256(tmp_path / "llara"))
    assert (metadata.system, metadata.objective, metadata.rows) == ("going_on", "preference", 24)
    assert adapters.read_metadata(tmp_path / "llara").start is None
    assert adapters.adapter_sha256(tmp_path / "going_on") != metadata.start.sha256


@pytest.mark.parametrize("objective", ["preference", "generative"])
def test_tuning_goes_on_from_the_weights_of_the_start(tiny_llama: Path, tmp_path: Path, objective: str) -> None:
    """With a learning rate of nothing, what comes out is the start; with one, all of it has moved."""
    _tune(tiny_llama, tmp_path, "llara", START)
    for name, rate in (("still", 1e-30), ("moved", 1e-2)):
        config = system_config(start="llara", tune={"objective": objective, "learning_rate": rate, "max_examples": 96})
        curves = _tune(tiny_llama, tmp_path, name, config)
        if objective == "preference":
            assert curves["train/loss_preference"][0] == pytest.approx(math.log(4), rel=1e-5)  # of a guess among four
    for file in (adapters.LORA_FILE, adapters.MODULES_FILE):
        start, still, moved = (load_file(tmp_path / name / file) for name in ("llara", "still", "moved"))
        assert set(start) == set(still) == set(moved)
        assert all(start[name].equal(still[name]) for name in start)
        fixed = {name for name in start if start[name].equal(moved[name])}
        assert fixed <= {"projector.input_scale"}


def test_the_prompts_are_those_of_the_epochs_after_the_starts(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would see again what its start saw first."""
    asked = []
    real = tune.make_plan
    monkeypatch.setattr(
        tune,
        "make_plan",
        lambda *args, first_epoch, **named: asked.append(first_epoch) or real(*args, first_epoch=first_epoch, **named),
    )
    _tune(tiny_llama, tmp_path, "llara", START)
    _tune(tiny_llama, tmp_path, "going_on", SDPO)
    assert asked == [0, 0, START.tune.epochs]


def test_a_head_that_the_start_trained_is_carried_along(tiny_llama: Path, tmp_path: Path) -> None:
    """Its read-out of slots stays behind, as it does where an adapter is loaded to answer: only its own loss needs it."""
    start = system_config(tune={"mixture": 0.5, "ranking_weight": 1.0})
    _tune(tiny_llama, tmp_path, "llara", start)
    _tune(tiny_llama, tmp_path, "going_on", SDPO, start=start)
    before, after = (load_file(tmp_path / name / adapters.MODULES_FILE) for name in ("llara", "going_on"))
    assert adapters.read_metadata(tmp_path / "going_on").has_head
    assert set(before) - set(after) == {name for name in before if name.startswith("readout.")} != set()
    assert set(after) <= set(before)
    head = {name for name in after if name.startswith("head.")}
    assert head
    assert all(after[name].equal(before[name]) for name in head)


def test_gradient_checkpointing_changes_no_result(tiny_llama: Path, tmp_path: Path) -> None:
    """It forbids caches, which nothing here needs: prompt and titles are one sequence."""
    losses = []
    for on in (False, True):
        config = system_config(start="llara", tune={"objective": "preference", "gradient_checkpointing": on})
        losses.append(_tune(tiny_llama, tmp_path, str(on), config)["train/loss_preference"])
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


@pytest.mark.parametrize("loss", ["sdpo", "softmax"])
def test_preference_tuning_lowers_the_loss(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: str
) -> None:
    """Users walk along a cycle of items; the tied embeddings must allow confident answers."""
    monkeypatch.setattr(tune.loading, "load_base_model", lambda folder, config, **_: make_base(folder))
    values = {"objective": "preference", "preference_loss": loss, "epochs": 80, "max_examples": 480, "checkpoint_every": 1000}
    curves = _tune(tiny_llama, tmp_path, "going_on", system_config(start="llara", tune=values))
    losses = list(curves["train/loss_preference"].values())
    assert len(losses) == 120
    assert sum(losses[-20:]) < 0.7 * sum(losses[:20])


def test_an_adapter_of_other_code_or_another_run_is_not_taken(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    _tune(tiny_llama, tmp_path, "llara", START)
    folder = tmp_path / "scratch" / "adapters" / "tiny" / "llara-0"
    (first,) = folder.iterdir()
    monkeypatch.setattr(kept, "source_hash", lambda: "changed")
    _tune(tiny_llama, tmp_path, "going_on", SDPO)
    assert "so it is tuned first" in caplog.text
    (second,) = folder.iterdir()  # and the older one is gone
    assert second != first
    caplog.clear()
    _tune(tiny_llama, tmp_path, "going_on", SDPO, hashes={"data": "other", "item_embeddings": "vectors-hash"})
    assert "so it is tuned first" in caplog.text


def test_the_code_s_hash_covers_every_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(Path(kept.__file__).parents[1], tmp_path / "llara_core", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(kept.llara_core, "__file__", str(tmp_path / "llara_core" / "__init__.py"))
    hash_of = kept.source_hash.__wrapped__
    before = hash_of()
    assert before == kept.source_hash()
    module = tmp_path / "llara_core" / "tuning" / "trainer.py"
    module.write_text(module.read_text() + "\n")
    assert hash_of() != before
