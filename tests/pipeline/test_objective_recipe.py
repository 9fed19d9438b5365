"""CONTRIBUTING's recipe for an objective, followed to the letter: one module and one line, up to evaluated metrics."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import tiny_world

pytestmark = pytest.mark.timeout(300)

MODULE = '''
"""The last item of a chunk alone, from those before it."""

from dataclasses import replace

from llara_core.objectives.base import IGNORE, Objective
from llara_core.objectives.next_item import NextItem


class LastItem(NextItem):
    def encode(self, row, *context):
        encoded = super().encode(row, *context)
        last = max(place for place, label in enumerate(encoded.labels) if label != IGNORE)
        labels = [label if place == last else IGNORE for place, label in enumerate(encoded.labels)]
        return replace(encoded, labels=labels)


OBJECTIVE: Objective = LastItem()
'''
TABLE = "OBJECTIVES: dict[str, ObjectiveTraits] = {\n"
LINE = '    "last_item": ObjectiveTraits(partner="generative", unit="chunks", reads_slot_after_title=True, needs_head=True),\n'


def test_an_objective_is_one_module_and_one_line(tmp_path: Path) -> None:
    tiny_world.write_tiny_llama(tmp_path / "llm")
    world = tiny_world.create(tmp_path / "world", tmp_path / "llm")
    (world.root / "llara_core" / "objectives" / "last_item.py").write_text(MODULE)
    table = world.root / "llara_core" / "config" / "objectives.py"
    code = table.read_text()
    assert code.count(TABLE) == 1
    table.write_text(code.replace(TABLE, TABLE + LINE))
    # A mixture, so that the batches of two objectives meet.
    toy = {"recommender": "sasrec", "tune": {"objective": "last_item", "mixture": 0.4, "max_examples": 40}}
    world.change_params({"run": {"baselines": [], "systems": ["toy"]}, "systems": {"toy": toy}})

    world.dvc("repro")
    metrics = json.loads((world.root / "metrics/tiny/systems/toy-0/score.json").read_text())
    assert metrics["objective"] == "last_item"
    assert metrics["test"]["n_examples"] > 0
    assert 0 <= metrics["test"]["hit_ratio@1"] <= 1
    curves = world.root / "metrics/curves/tiny/toy-0/plots/metrics/train"
    steps = {name: len((curves / f"loss_{name}.tsv").read_text().splitlines()) - 1 for name in ("last_item", "generative")}
    assert sum(steps.values()) == 40 // 8
    assert min(steps.values()) > 0

    world.change_params({"systems": {"toy": {"tune": {"objective": "first_item"}}}})
    answer = world.run(sys.executable, "-m", "pipeline.resolve")
    assert answer.returncode == 1
    assert "unknown objective 'first_item'; choose last_item or generative or next_item" in answer.stdout
