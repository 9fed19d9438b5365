"""Tuning runs and answers of the tiny model, in as many processes as a launcher starts: ``-m tests.helpers.several JOBS.json``.

The file lists ``{"folder": ..., "config": changes of system_config, "kill_at": null or a row of the plan at whose reading the
last process dies}``; every job writes the adapter's folder ``cell`` and, by the rank, the rows that each process has read.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from llara_core.config import ParallelConfig
from llara_core.objectives.base import EncodedRow
from llara_core.runtime import processes
from llara_core.tuning.rows import PlanDataset
from llara_core.tuning.tune import tune
from tests.helpers.llm import D_REC, LLM, item_vectors, system_config, training_data

ONE = ParallelConfig(processes=1, weights="replicated")


def run_job(tiny_llama: Path, job: dict[str, Any]) -> None:
    """Tune as the job says."""
    folder, kill_at, read = Path(job["folder"]), job.get("kill_at"), []
    encode = PlanDataset.__getitem__

    def noted(self: PlanDataset, index: int) -> EncodedRow:
        if index == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        read.append(index)
        return encode(self, index)

    PlanDataset.__getitem__ = noted  # type: ignore[method-assign]
    try:
        config = system_config(**job["config"])
        tune(
            config,
            LLM,
            training_data(),
            item_vectors() if config.shows_behavior else None,
            cell=("tiny", "llara", "sasrec", 0),
            hashes={"data": "data-hash", "item_embeddings": "vectors-hash"},
            head_dim=D_REC,
            llm_folder=tiny_llama,
            adapter_folder=folder / "cell",
            curves_folder=folder / "curves",
            scratch=folder / "scratch",
            weights=job.get("weights", "replicated"),
        )
    finally:
        PlanDataset.__getitem__ = encode  # type: ignore[method-assign]
    folder.mkdir(exist_ok=True)
    (folder / f"read-{processes.rank()}.json").write_text(json.dumps(read))


if __name__ == "__main__":
    assert not processes.start(ONE)
    for each in json.loads(Path(sys.argv[2]).read_text()):
        run_job(Path(sys.argv[1]), each)
    processes.leave()
