"""Tunes one LLM system from the language model: ``python -m pipeline.tune movielens llara 0``."""

from __future__ import annotations

import logging

from llara_core import paths, tables
from llara_core.config import SystemConfig, load_params
from llara_core.llm.prompts.rendering import ItemWording
from llara_core.runtime import compute, processes, progress
from pipeline.stage import Dataset, Seed, System, run


def main(dataset: Dataset, system: System, seed: Seed) -> None:
    """Tunes SYSTEM on DATASET with SEED; for a system that is untuned or continues from another's adapter, only notes this."""
    from llara_core.llm.inputs import read_inputs

    params = load_params()
    run_name = paths.run_name(system, seed)
    folder, curves = paths.adapter(dataset, run_name), paths.curves(dataset, run_name)
    inputs = read_inputs(dataset, run_name)
    config = inputs.system
    if not isinstance(config, SystemConfig) or config.start is not None:
        name, content = ("untuned", {"tuned": False}) if config.start is None else ("further", {"start": config.start})
        for each in (folder, curves) if processes.is_first() else ():
            with tables.atomic_path(each) as staged:
                staged.mkdir()
                tables.write_json(staged / f"{name}.json", content)
        return

    from llara_core.tuning.setting import read_setting
    from llara_core.tuning.tune import tune

    compute.use_threads(params.llm.threads)
    if processes.start(params.parallel):
        return
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
    with progress.stage():
        tune(system, config, setting, adapter_folder=folder, curves_folder=curves)
    logging.info("adapter in %s", folder)


if __name__ == "__main__":
    run(main)
