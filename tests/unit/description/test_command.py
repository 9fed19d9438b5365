"""``python -m pipeline.describe``: what is printed, written, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from .conftest import REPOSITORY, Room, items_csv, log_csv


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "NO_COLOR": "1", "COLUMNS": "200"}
    command = [sys.executable, "-m", "pipeline.describe", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_page_and_a_file(room: Room) -> None:
    room.put(log_csv=log_csv(), items_csv=items_csv())
    answer = call("data/own/shop/", "--json", "facts.json")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("shop: data/own/shop, format log\n")
    assert answer.stdout.endswith("    noun: item\n    verb: chose\n")
    facts = json.loads((room.root / "facts.json").read_text())
    assert facts["sizes"]["interactions"] == 48
    assert facts["guess"]["section"] in answer.stdout
    assert facts["costs"][0]["stage"] == "prepare"
    assert "train_recommender" in answer.stdout


def test_refused_files_show_the_page_and_fail(room: Room) -> None:
    room.put(log_csv=log_csv() + "u99,i1,soon\n", items_csv=items_csv())
    answer = call("shop")
    assert answer.returncode == 1
    assert "time_format: seconds (likely)" in answer.stdout
    assert "describe: error: data/own/shop/log.csv:50: column 'time': 'soon' does not fit" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_an_unknown_name_is_one_message(room: Room) -> None:
    answer = call("shap")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert "describe: error: 'shap' is neither a data set of params.yaml" in answer.stderr
