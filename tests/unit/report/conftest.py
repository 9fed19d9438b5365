"""A run with one system of most kinds: 7 test users, 3 draws of 5 candidates each."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from llara_core import paths
from llara_core.config import Params


def log(run_name: str, name: str, values: list[float]) -> None:
    """Writes a training curve of a run."""
    file = paths.curves("movielens", run_name) / "plots" / "metrics" / f"{name}.tsv"
    file.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame({"step": range(len(values)), Path(name).name: values}).to_csv(file, sep="\t", index=False)


@pytest.fixture
def params(world) -> Params:
    """One run of everything: sasrec and its fusion are always right, the LLM never in free text."""
    world.put("popularity", world.target_is(4))
    world.put("sasrec-0", world.target_is(1), hardware="A processor, 2 cores")
    world.put("sasrec-0", world.target_is(2), shuffled=True)
    for run_name in ("tallrec-0", "llara-0"):
        world.put(run_name, world.target_is(2), mode="generate", draws=1, objective="generative")
        world.put(run_name, world.target_is(3), draws=1, objective="generative")
        log(run_name, "train/loss_generative", [4.0, 3.0])
        log(run_name, "train/lr", [0.1, 0.05])
        log(run_name, "curriculum/p_hybrid", [0.0, 1.0])
        log(run_name, "curriculum/hybrid_share", [0.1, 0.9])
    world.put("fused-llara-0", world.target_is(1), mode="fused", draws=1, llm_weight=0.3)
    log("sasrec-0", "train/loss", [3.0, 2.0])
    log("sasrec-0", "validation/hit_ratio@1", [0.1, 0.2])
    return world.on_axes(systems=["tallrec", "llara"])


@pytest.fixture
def three_runs(params: Params, world) -> Params:
    """Three runs of everything."""
    for seed in (1, 2):
        world.put(f"sasrec-{seed}", world.target_is(1))
        world.put(f"sasrec-{seed}", world.target_is(2), shuffled=True)
        for system in ("tallrec", "llara"):
            world.put(f"{system}-{seed}", world.target_is(2), mode="generate", draws=1)
            world.put(f"{system}-{seed}", world.target_is(3), draws=1)
        world.put(f"fused-llara-{seed}", world.target_is(1), mode="fused", draws=1, llm_weight=0.2)
    return world.on_axes(systems=["tallrec", "llara"], seeds=[0, 1, 2])
