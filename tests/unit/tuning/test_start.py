"""Tuning that goes on from another system's adapter."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from safetensors.torch import load_file

from llara_core.config import SystemConfig
from llara_core.llm import adapters
from llara_core.tuning import tune
from llara_core.tuning.trainer import Curves
from tests.helpers.llm import folder_hashes, make_base, system_config, tuned_start, tuning_setting

START = system_config()
SDPO = system_config(start="llara", tune={"objective": "preference"})


def _tune(tiny_llama: Path, root: Path, name: str, config: SystemConfig, start: SystemConfig = START) -> Curves:
    """Tune a system that goes on from ``start``, which is tuned before."""
    setting = tuning_setting(tiny_llama, root)
    began = tuned_start(start, setting, root)
    return tune.tune(name, config, setting, start=began, adapter_folder=root / name, curves_folder=root / f"{name}-curves")


def test_the_same_start_gives_the_same_bytes_and_stays_as_it_is(tiny_llama: Path, tmp_path: Path) -> None:
    first, again = (_tune(tiny_llama, tmp_path / name, "going_on", SDPO) for name in ("first", "again"))
    start = folder_hashes(tmp_path / "first" / "llara")
    second = _tune(tiny_llama, tmp_path / "first", "once_more", SDPO)
    assert first == again == second
    assert folder_hashes(tmp_path / "first" / "going_on") == folder_hashes(tmp_path / "again" / "going_on")
    assert folder_hashes(tmp_path / "first" / "llara") == start
    assert not list((tmp_path / "first" / "scratch" / "tune").iterdir())


def test_an_adapter_says_what_it_went_on_from(tiny_llama: Path, tmp_path: Path) -> None:
    _tune(tiny_llama, tmp_path, "going_on", SDPO)
    metadata = adapters.read_metadata(tmp_path / "going_on")
    assert metadata.start == adapters.StartAdapter(system="llara", sha256=adapters.adapter_sha256(tmp_path / "llara"))
    assert (metadata.system, metadata.objective, metadata.rows) == ("going_on", "preference", 24)
    assert adapters.read_metadata(tmp_path / "llara").start is None
    assert adapters.adapter_sha256(tmp_path / "going_on") != metadata.start.sha256


@pytest.mark.parametrize("objective", ["preference", "generative"])
def test_tuning_goes_on_from_the_weights_of_the_start(tiny_llama: Path, tmp_path: Path, objective: str) -> None:
    """With a learning rate of nothing, what comes out is the start; with one, all of it has moved."""
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
    _tune(tiny_llama, tmp_path, "going_on", SDPO)
    assert asked == [0, START.tune.epochs]


def test_a_head_that_the_start_trained_is_carried_along(tiny_llama: Path, tmp_path: Path) -> None:
    """Its read-out of slots stays behind, as it does where an adapter is loaded to answer: only its own loss needs it."""
    start = system_config(tune={"mixture": 0.5, "ranking_weight": 1.0})
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
