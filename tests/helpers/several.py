"""Tunes systems and predicts with them in several processes: ``-m tests.helpers.several PROCESSES LLM JOBS.json``.

Each job in the file has a ``folder``, changes ``config`` of :func:`tests.helpers.llm.system_config`, optionally ``weights`` and
``kill_at``, the row of the plan at which the process that reads it is killed. A job writes the adapter to
``adapter``, answers to ``answers``, and the rows that each process has trained to ``rows-<rank>.json``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from llara_core import columns as c
from llara_core.answers.held_out import HeldOut
from llara_core.answers.predictions import answer_held_out
from llara_core.config import ParallelConfig
from llara_core.llm import adapters, loading
from llara_core.llm.encoding import PromptEncoder
from llara_core.objectives.base import EncodedRow
from llara_core.runtime import processes
from llara_core.tuning.rows import PlanDataset
from llara_core.tuning.tune import tune
from tests.helpers.llm import LABELS, LLM, item_vectors, llm_system, system_config, training_data, tuned_start, tuning_setting


def do(job: dict[str, Any], llm: Path) -> None:
    """Tunes a system and predicts with it."""
    folder, kill_at, weights, rows = Path(job["folder"]), job.get("kill_at"), job.get("weights", "replicated"), []
    config, read = system_config(**job["config"]), PlanDataset.__getitem__

    def noted(self: PlanDataset, index: int) -> EncodedRow:
        if index == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        rows.append(index)
        return read(self, index)

    PlanDataset.__getitem__ = noted  # type: ignore[method-assign]
    try:
        setting = tuning_setting(llm, folder, weights=weights)
        tune(
            "llara",
            config,
            setting,
            start=None if config.start is None else tuned_start(system_config(), setting, folder),
            adapter_folder=folder / "adapter",
            curves_folder=folder / "curves",
        )
    finally:
        PlanDataset.__getitem__ = read  # type: ignore[method-assign]
    (folder / f"rows-{processes.rank()}.json").write_text(json.dumps(rows))
    processes.broadcast(None)  # waits for the first process, which writes the adapter
    encoder = PromptEncoder(loading.load_tokenizer(llm), chat_template=False)
    model = adapters.load_adapter(
        folder / "adapter",
        loading.load_base_model(llm, LLM, weights=weights),
        encoder,
        item_vectors(),
        llm=loading.fingerprint(llm),
        item_embeddings="vectors-hash",
    )
    metadata = adapters.read_metadata(folder / "adapter")
    system = llm_system(model, encoder, metadata.objective, prompt=metadata.prompt)
    answer_held_out(
        system, questions(), folder / "answers", system="llara", seed=0, shuffled_histories="all", hardware="this machine"
    )


def questions() -> HeldOut:
    """Returns seven questions, which are four batches, so that two processes have equally many batches but not questions."""
    data = training_data()
    numbers = range(7)
    examples = pd.DataFrame(
        {
            c.EXAMPLE: numbers,
            c.USER: numbers,
            c.SPLIT: c.TEST,
            c.HISTORY: [data.histories[number] for number in numbers],
            c.TARGET: [data.targets[number] for number in numbers],
        }
    )
    sets = pd.DataFrame({c.EXAMPLE: numbers, c.DRAW: 0, c.CANDIDATES: [data.candidates[number, 0] for number in numbers]})
    return HeldOut("tiny", examples, sets, "hash", LABELS)


def do_together(llm: str, jobs: str) -> None:
    """Runs the part of one of the processes that a launcher has started."""
    alone = ParallelConfig(processes=1, weights="replicated")
    assert not processes.start(alone)  # joins the processes of the launcher
    for each in json.loads(Path(jobs).read_text()):
        do(each, Path(llm))
    processes.leave()


if __name__ == "__main__":
    # As torchrun launches them, but forked from this process, which has loaded the libraries.
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=int(sys.argv[1]),
        run_id="several",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        start_method="fork",
    )
    elastic_launch(config, do_together)(*sys.argv[2:])
