"""Tunes one LLM system from another's adapter: ``python -m pipeline.tune_further movielens llara_guided_sdpo 0``."""

from __future__ import annotations

import logging

from llara_core import paths, tables
from llara_core.config import load_params
from llara_core.llm.prompts.rendering import ItemWording
from llara_core.runtime import compute, processes, progress
from pipeline.stage import Dataset, Seed, System, run


def main(dataset: Dataset, system: System, seed: Seed) -> None:
    """Tunes SYSTEM on DATASET with SEED from the adapter of its `start`; for a system without one, only notes this."""
    from llara_core.llm.inputs import NO_START, read_start

    params = load_params()
    run_name = paths.run_name(system, seed)
    start_inputs = read_start(dataset, run_name)
    if start_inputs is None:
        if processes.is_first():
            tables.write_json(paths.further(dataset, run_name) / NO_START, {"start": None})
        return

    from llara_core.tuning.setting import read_setting
    from llara_core.tuning.tune import tune

    compute.use_threads(params.llm.threads)
    if processes.start(params.parallel):
        return
    inputs, config, start = start_inputs
    setting = read_setting(
        dataset,
        config,
        seed,
        inputs,
        wording=ItemWording.of(params.dataset(dataset)),
        llm=params.llm,
        head_dim=params.recommenders.embedding_dim,
        weights=params.parallel.weights,
    )
    folder, curves = paths.further_adapter(dataset, run_name), paths.further_curves(dataset, run_name)
    with progress.stage():
        tune(system, config, setting, start=start, adapter_folder=folder, curves_folder=curves)
    logging.info("adapter in %s, from that of %s", folder, start.name)


if __name__ == "__main__":
    run(main)
