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

SYSTEMS = ["llara_guided_sdpo", "llara_guided_softmax"]
SMALL = {"tune": {"max_examples": 16}}


def test_a_system_that_goes_on_from_another(tmp_path: Path) -> None:
    tiny_world.write_tiny_llama(tmp_path / "llm")
    world = tiny_world.create(tmp_path / "world", tmp_path / "llm")
    # The start itself is not on the axis.
    world.change_params({"run": {"baselines": [], "systems": SYSTEMS}, "systems": {SYSTEMS[0]: SMALL}})
    world.dvc("repro")

    adapters = {system: world.root / "data/systems/tiny/adapters" / f"{system}-0" for system in SYSTEMS}
    metadata = [json.loads((adapters[system] / "adapter.json").read_text()) for system in SYSTEMS]
    assert [found["objective"] for found in metadata] == ["preference", "preference"]
    # One start under both, kept by the first and found by the second.
    assert metadata[0]["start"] == metadata[1]["start"]
    assert metadata[0]["start"]["system"] == "llara_guided"
    assert len(list((world.root / ".scratch/adapters/tiny/llara_guided-0").iterdir())) == 1
    for system in SYSTEMS:
        for mode in ("generate", "constrained", "score"):
            found = json.loads((world.root / f"metrics/tiny/systems/{system}-0/{mode}.json").read_text())
            assert found["objective"] == "preference"
            assert found["test"]["n_examples"] > 0
        curve = world.root / f"metrics/curves/tiny/{system}-0/plots/metrics/train/loss_preference.tsv"
        assert len(curve.read_text().splitlines()) == 1 + 16 // 8
    report = (world.root / "metrics/report.md").read_text()
    assert "16 prompts after those of llara_guided" in report
    assert {path.name for path in (world.root / "data/resolved/starts").iterdir()} == {"llara_guided.json"}

    # Kept or tuned anew, the start is the same, and so is all that comes of it.
    before = {system: folder_hashes(folder) for system, folder in adapters.items()}
    shutil.rmtree(world.root / ".scratch")
    output = world.succeed(sys.executable, "-m", "pipeline.tune", "tiny", SYSTEMS[0], "0")
    assert "so it is tuned first" in output
    output = world.succeed(sys.executable, "-m", "pipeline.tune", "tiny", SYSTEMS[1], "0")
    assert "that an earlier run kept" in output
    assert {system: folder_hashes(folder) for system, folder in adapters.items()} == before

    recommend = ("pipeline.recommend", "tiny", SYSTEMS[0], "0", "--all-users", "--top", "2", "--out", "ranked.csv")
    world.succeed(sys.executable, "-m", *recommend)
    assert len((world.root / "ranked.csv").read_text().splitlines()) > 2

    world.change_params({"systems": {SYSTEMS[0]: {"prompt": {"slot": "after"}}}})
    answer = world.run(sys.executable, "-m", "pipeline.resolve")
    assert answer.returncode == 1
    assert "systems.llara_guided_sdpo.prompt.slot is after, but that of its start llara_guided is before" in answer.stdout
    assert "Traceback" not in answer.stdout
