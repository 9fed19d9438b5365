"""Writes training curves as DVCLive plots, without wall-clock times, system metrics or a summary file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from llara_core.config import OBJECTIVES

# Names of the curves, by which the report and `dvc plots` find them.
LOSS, LEARNING_RATE = "train/loss", "train/lr"
OBJECTIVE_LOSS = {objective: f"train/loss_{objective}" for objective in OBJECTIVES}
VALIDATION_HIT_RATIO = "validation/hit_ratio@1"
P_HYBRID, HYBRID_SHARE = "curriculum/p_hybrid", "curriculum/hybrid_share"


def write_curves(folder: Path, curves: Mapping[str, Mapping[int, float]]) -> None:
    """Writes one ``plots/metrics/<name>.tsv`` per curve into ``folder``.

    The DVCLive session is never ended, because its end writes a summary file that ``dvc plots`` would take for a plot.

    Args:
        folder: destination; earlier DVCLive files in it are replaced.
        curves: name to step to value, e.g. ``{"train/loss": {0: 2.3}}``.
    """
    from dvclive.live import Live

    live = Live(dir=str(folder), dvcyaml=None, save_dvc_exp=False, report=None)
    for name, values in curves.items():
        for step, value in values.items():
            live.step = step
            live.log_metric(name, value, timestamp=False)
