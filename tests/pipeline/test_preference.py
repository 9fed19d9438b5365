"""A system that goes on from another one's adapter, through the real stages: found where it is kept, or tuned on the way."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import tiny_world

from tests.helpers.llm import folder_hashes

pytestmark = pytest.mark.timeout(600)

SYSTEM = "llara_guided_sdpo"


def test_a_system_that_goes_on_from_another(tmp_path: Path) -> None:
    tiny_world.write_tiny_llama(tmp_path / "llm")
    world = tiny_world.create(tmp_path / "world", tmp_path / "llm")
    # The start itself is not on the axis.
    world.change_params({"run": {"baselines": [], "systems": [SYSTEM]}, "systems": {SYSTEM: {"tune": {"max_examples": 16}}}})
    world.dvc("repro")

    adapter = world.root / "data/systems/tiny/adapters" / f"{SYSTEM}-0"
    metadata = json.loads((adapter / "adapter.json").read_text())
    assert metadata["objective"] == "preference"
    assert metadata["start"]["system"] == "llara_guided"
    assert len(list((world.root / ".scratch/adapters/tiny/llara_guided-0").iterdir())) == 1
    for mode in ("generate", "constrained", "score"):
        found = json.loads((world.root / f"metrics/tiny/systems/{SYSTEM}-0/{mode}.json").read_text())
        assert found["objective"] == "preference"
        assert found["test"]["n_examples"] > 0
    curve = world.root / f"metrics/curves/tiny/{SYSTEM}-0/plots/metrics/train/loss_preference.tsv"
    assert len(curve.read_text().splitlines()) == 1 + 16 // 8
    assert "16 prompts after those of llara_guided" in (world.root / "metrics/report.md").read_text()
    assert {path.name for path in (world.root / "data/resolved/starts").iterdir()} == {"llara_guided.json"}

    # Kept or tuned anew, the start is the same, and so is all that comes of it.
    before = folder_hashes(adapter)
    for said in ("that an earlier run kept", "so it is tuned first"):
        assert said in world.succeed(sys.executable, "-m", "pipeline.tune", "tiny", SYSTEM, "0")
        assert folder_hashes(adapter) == before
        shutil.rmtree(world.root / ".scratch")

    recommend = ("pipeline.recommend", "tiny", SYSTEM, "0", "--all-users", "--top", "2", "--out", "ranked.csv")
    world.succeed(sys.executable, "-m", *recommend)
    assert len((world.root / "ranked.csv").read_text().splitlines()) > 2

    world.change_params({"systems": {SYSTEM: {"prompt": {"slot": "after"}}}})
    answer = world.run(sys.executable, "-m", "pipeline.resolve")
    assert answer.returncode == 1
    assert "systems.llara_guided_sdpo.prompt.slot is after, but that of its start llara_guided is before" in answer.stdout
    assert "Traceback" not in answer.stdout
