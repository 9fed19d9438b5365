"""Tuning that continues from another system's adapter."""

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
    """Tunes ``start``, and then a system that continues from it."""
    setting = tuning_setting(tiny_llama, root)
    tuned = tuned_start(start, setting, root)
    return tune.tune(name, config, setting, start=tuned, adapter_folder=root / name, curves_folder=root / f"{name}-curves")


def test_the_same_start_gives_the_same_bytes_and_does_not_change(tiny_llama: Path, tmp_path: Path) -> None:
    first, again = (_tune(tiny_llama, tmp_path / name, "further", SDPO) for name in ("first", "again"))
    start = folder_hashes(tmp_path / "first" / "llara")
    second = _tune(tiny_llama, tmp_path / "first", "once_more", SDPO)
    assert first == again == second
    assert folder_hashes(tmp_path / "first" / "further") == folder_hashes(tmp_path / "again" / "further")
    assert folder_hashes(tmp_path / "first" / "llara") == start
    assert not list((tmp_path / "first" / "scratch" / "tune").iterdir())


def test_an_adapter_names_the_one_it_continues_from(tiny_llama: Path, tmp_path: Path) -> None:
    _tune(tiny_llama, tmp_path, "further", SDPO)
    metadata = adapters.read_metadata(tmp_path / "further")
    assert metadata.start == adapters.StartAdapter(system="llara", sha256=adapters.adapter_sha256(tmp_path / "llara"))
    assert (metadata.system, metadata.objective, metadata.rows) == ("further", "preference", 24)
    assert adapters.read_metadata(tmp_path / "llara").start is None
    assert adapters.adapter_sha256(tmp_path / "further") != metadata.start.sha256


@pytest.mark.parametrize("objective", ["preference", "generative"])
def test_tuning_continues_from_the_weights_of_the_start(tiny_llama: Path, tmp_path: Path, objective: str) -> None:
    """Without a learning rate no weight changes, with one every weight does."""
    for name, rate in (("still", 1e-30), ("moved", 1e-2)):
        config = system_config(start="llara", tune={"objective": objective, "learning_rate": rate, "max_examples": 96})
        curves = _tune(tiny_llama, tmp_path, name, config)
        if objective == "preference":
            assert curves["train/loss_preference"][0] == pytest.approx(math.log(4), rel=1e-5)  # the loss of guessing among four
    for file in (adapters.LORA_FILE, adapters.MODULES_FILE):
        start, still, moved = (load_file(tmp_path / name / file) for name in ("llara", "still", "moved"))
        assert set(start) == set(still) == set(moved)
        assert all(start[name].equal(still[name]) for name in start)
        fixed = {name for name in start if start[name].equal(moved[name])}
        assert fixed <= {"projector.input_scale"}


def test_epochs_are_counted_on(tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the first prompts of the system it continues from would be repeated."""
    asked = []
    real = tune.make_plan
    monkeypatch.setattr(
        tune,
        "make_plan",
        lambda *args, first_epoch, **named: asked.append(first_epoch) or real(*args, first_epoch=first_epoch, **named),
    )
    _tune(tiny_llama, tmp_path, "further", SDPO)
    assert asked == [0, START.tune.epochs]


def test_the_head_of_the_start_is_kept(tiny_llama: Path, tmp_path: Path) -> None:
    """The readout of slots is not, because only the loss that trained it needs it."""
    start = system_config(tune={"mixture": 0.5, "ranking_weight": 1.0})
    _tune(tiny_llama, tmp_path, "further", SDPO, start=start)
    before, after = (load_file(tmp_path / name / adapters.MODULES_FILE) for name in ("llara", "further"))
    assert adapters.read_metadata(tmp_path / "further").has_head
    assert set(before) - set(after) == {name for name in before if name.startswith("readout.")} != set()
    assert set(after) <= set(before)
    head = {name for name in after if name.startswith("head.")}
    assert head
    assert all(after[name].equal(before[name]) for name in head)


def test_gradient_checkpointing_changes_no_result(tiny_llama: Path, tmp_path: Path) -> None:
    """It forbids caches, which are not needed because prompt and titles are one sequence."""
    losses = []
    for on in (False, True):
        config = system_config(start="llara", tune={"objective": "preference", "gradient_checkpointing": on})
        losses.append(_tune(tiny_llama, tmp_path, str(on), config)["train/loss_preference"])
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


@pytest.mark.parametrize("loss", ["sdpo", "softmax"])
def test_preference_tuning_lowers_the_loss(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: str
) -> None:
    """Users follow a cycle of items; the tied embeddings must allow confident answers."""
    monkeypatch.setattr(tune.loading, "load_base_model", lambda folder, config, **_: make_base(folder))
    values = {"objective": "preference", "preference_loss": loss, "epochs": 80, "max_examples": 480, "checkpoint_every": 1000}
    curves = _tune(tiny_llama, tmp_path, "further", system_config(start="llara", tune=values))
    losses = list(curves["train/loss_preference"].values())
    assert len(losses) == 120
    assert sum(losses[-20:]) < 0.7 * sum(losses[:20])
