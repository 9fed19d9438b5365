"""Pinned kernels give the bytes of ``recommenders.json`` on the processors that it names, whatever the environment says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
GOLDEN = json.loads((Path(__file__).parent / "recommenders.json").read_text(encoding="utf-8"))
OTHERS = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "AUTO", "OMP_NUM_THREADS": "2"}


def values(**environment: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.golden.make_recommenders"]
    answer = subprocess.run(
        command, cwd=REPOSITORY, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    printed: dict[str, Any] = json.loads(answer.stdout)
    return printed


@pytest.fixture(scope="module")
def here() -> dict[str, Any]:
    return values()


def test_what_is_learnt_is_what_was_confirmed(here: dict[str, Any]) -> None:
    """On a processor that is not named other bytes are no fault: nothing is promised there, but for their size."""
    if here["processor"] in GOLDEN["confirmed_on"]:
        assert here["values"] == GOLDEN["values"]
    elif here["values"] != GOLDEN["values"]:
        print(f"{here['processor']} ({here['kernels']}) gives other bytes than {GOLDEN['confirmed_on']}: see docs/protocol.md")
    for name, expected in GOLDEN["values"].items():
        assert here["values"][name]["mean_size"] == pytest.approx(expected["mean_size"], rel=1e-3)


def test_the_environment_does_not_choose_the_kernels(here: dict[str, Any]) -> None:
    if "pinned" in here["kernels"]:  # else the processor has nothing to pin
        assert values(**OTHERS) == here
    else:
        assert values() == here
