"""The recipes of CONTRIBUTING.md, applied literally to a copy of the repository, which then runs to its report."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import tiny_world
from tiny_world import REPOSITORY, World

pytestmark = pytest.mark.timeout(600)  # the first test waits for the whole pipeline

# A block of code whose first line names a new file, or a line of a file before or after which it is inserted.
BLOCK = re.compile(
    r"^```(?:python|yaml)\n# (?P<file>\S+)(?:, (?P<where>before|after): (?P<line>.+))?\n(?P<text>(?:.*\n)*?)```$", re.MULTILINE
)
N_ITEMS, N_STEPS = 50, 12


def follow_recipes(root: Path) -> None:
    """Applies every edit of the recipes."""
    recipes = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for block in BLOCK.finditer(recipes):
        path = root / block["file"]
        if block["where"] is None:
            assert not path.exists(), f"{path} is to be a new file"
            path.write_text(block["text"], encoding="utf-8")
        else:
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            places = [place for place, line in enumerate(lines) if line.strip() == block["line"]]
            assert len(places) == 1, f"{block['file']} has the line {block['line']!r} {len(places)} times"
            place = places[0] + (block["where"] == "after")
            lines.insert(place, block["text"])
            path.write_text("".join(lines), encoding="utf-8")


def write_toys(folder: Path) -> None:
    """Writes a log of fifty users who play with twelve toys each in the order of one cycle, from different first toys."""
    folder.mkdir()
    rows = [
        f"{user},{(user + step) % N_ITEMS},Toy {(user + step) % N_ITEMS},{1_000_000 * user + step}"
        for user in range(N_ITEMS)
        for step in range(N_STEPS)
    ]
    (folder / "toys.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("recipes")
    tiny_world.write_tiny_llama(folder / "llama")
    write_toys(folder / "mirror")
    world = tiny_world.create(folder / "world", folder / "llama")
    follow_recipes(world.root)
    world.change_params(
        {
            "run": {"datasets": ["toys"], "baselines": ["follower"], "recommenders": ["last_item"], "systems": ["llara"]},
            "systems": {"llara": {"recommender": "last_item"}},
            "download": {"mirror": str(folder / "mirror")},
        }
    )
    world.dvc("repro")
    return world


def test_the_recipes_edit_only_the_named_files(world: World) -> None:
    changed = {
        line.split()[-1]
        for line in world.succeed("git", "status", "--porcelain", "llara_core", "pipeline", "dvc.yaml").splitlines()
    }
    assert changed == {
        "llara_core/recommenders/last_item.py",
        "llara_core/recommenders/models.py",
        "llara_core/readers/registry.py",
        "llara_core/readers/toys.py",
        "llara_core/fetching/datasets.py",
        "llara_core/config/recommenders.py",
        "llara_core/config/datasets.py",
        "llara_core/baselines/fitting.py",
        "llara_core/baselines/follower.py",
        "llara_core/evaluation/metrics.py",
    }


def test_every_system_is_measured_by_the_new_metric(world: World) -> None:
    records = {
        path.parent.name: json.loads(path.read_text())
        for path in (world.root / "metrics" / "toys" / "systems").glob("*/score.json")
    }
    assert set(records) == {"follower", "last_item-0", "llara-0"}
    assert all(record["test"]["mean_rank"] >= 1 for record in records.values())
    # The cycle determines the next toy, and training users cover all of it.
    assert records["follower"]["test"]["hit_ratio@1"] == records["follower"]["test"]["mean_rank"] == 1


def test_the_report_shows_all_additions(world: World) -> None:
    report = (world.root / "metrics" / "report.md").read_text(encoding="utf-8")
    headers = [line for line in report.splitlines() if line.startswith("| System |") and "Mean rank" in line]
    assert len(headers) == 1
    assert "- **Mean rank**: of the target among the candidates" in report
    for name in ("follower", "last_item", "llara", "On toys"):
        assert name in report


def test_dvc_yaml_names_all_code_of_the_recipes(world: World) -> None:
    (world.root / "tests" / "pipeline").mkdir(parents=True)
    for name in ("conftest.py", "imports.py", "test_structure.py"):
        shutil.copy(REPOSITORY / "tests" / "pipeline" / name, world.root / "tests" / "pipeline" / name)
    world.succeed(
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/pipeline/test_structure.py", "-k", "deps"
    )
