"""The examples of ``docs/datasets.md`` work."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import tiny_world
from ruamel.yaml import YAML
from tiny_world import REPOSITORY, stages_run

from llara_core.config import load_params
from tests.helpers.params import raw_params, write_params

PAGE = (REPOSITORY / "docs" / "datasets.md").read_text(encoding="utf-8")
EXAMPLE = PAGE.partition("### From two files to a report")[2].partition("\n### ")[0]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.timeout(600)
def test_the_example_from_two_files_to_a_report(tmp_path: Path) -> None:
    tiny_world.write_tiny_llama(tmp_path / "llm")
    world = tiny_world.create(tmp_path / "world", tmp_path / "llm")
    make_files, run = blocks(EXAMPLE, "sh")
    (section,) = blocks(EXAMPLE, "yaml")
    world.succeed("bash", "-euc", make_files)
    world.change_params(YAML(typ="safe", pure=True).load(section))
    world.commit("My shop")
    output = world.succeed("bash", "-euc", run)
    assert {"download", "prepare", "sample_candidates", "train_recommender", "evaluate"} <= stages_run(output)

    statistics = json.loads((world.root / "metrics/my_shop/statistics.json").read_text())
    assert (statistics["sequences"], statistics["items"], statistics["interactions"]) == (12, 12, 48)
    assert statistics["users_per_split"] == {"train": 9, "validation": 1, "test": 2}
    assert statistics["left_after"]["raw"] == {"users": 12, "items": 12, "interactions": 48}
    assert all(count == 0 for count in statistics["dropped"].values())
    report = (world.root / "metrics/report.md").read_text(encoding="utf-8")
    assert "my_shop" in report
    assert "sasrec" in report.lower()

    (world.root / "data/own/my_shop/items.csv").unlink()
    failed = world.run("bash", "-euc", run)
    assert failed.returncode != 0
    assert "data/own/my_shop/items.csv does not exist; put the file there" in failed.stdout
    assert "Traceback" not in failed.stdout


@pytest.mark.timeout(600)
def test_files_that_dvc_adds_are_checked_out_also_in_copies(tmp_path: Path) -> None:
    world = tiny_world.create(tmp_path / "world", tmp_path / "no-llm")
    make_files, _ = blocks(EXAMPLE, "sh")
    (section,) = blocks(EXAMPLE, "yaml")
    world.succeed("bash", "-euc", make_files)
    world.change_params({**YAML(typ="safe", pure=True).load(section), "run": {"datasets": ["my_shop"]}})
    world.dvc("add", "data/own/my_shop")
    world.commit("My shop")
    assert "data/own/my_shop.dvc" in world.succeed("git", "ls-files").splitlines()

    shutil.rmtree(world.root / "data/own/my_shop")
    world.dvc("checkout", "--recursive", "data/own")
    assert (world.root / "data/own/my_shop/items.csv").is_file()

    output = world.dvc("exp", "run", "--temp", "--set-param", "download.retries=1", "download@my_shop")
    assert stages_run(output) == {"download"}
    assert not (world.root / "data/raw").exists()  # it ran elsewhere


@pytest.mark.parametrize("block", [block for block in blocks(PAGE, "yaml") if block.startswith("datasets:")])
def test_every_section_on_the_page_is_valid(block: str, tmp_path: Path) -> None:
    params, sections = raw_params(), YAML(typ="safe", pure=True).load(block)["datasets"]
    params["datasets"].update(sections)
    assert set(sections) <= set(load_params(write_params(params, tmp_path)).datasets)
