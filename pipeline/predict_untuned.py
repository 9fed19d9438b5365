"""Answer the held-out candidate sets with the base LLM as it is: ``python -m pipeline.predict_untuned movielens zero_shot``."""

from __future__ import annotations

from llara_core import compute, paths, provenance, tables
from llara_core.config import PromptConfig, load_params
from llara_core.prompts.rendering import ItemWording
from pipeline.stage import run


def main(dataset: str, system: str) -> None:
    """Predict validation and test of DATASET with the untuned SYSTEM of params.yaml, of which only the prompt counts."""
    from llara_core.held_out import read_held_out
    from llara_core.llm_systems import load_system
    from llara_core.predictions import answer_held_out

    params = load_params()
    compute.use_threads(params.llm.threads)
    prompt = PromptConfig.model_validate(tables.read_json(paths.system(system))["prompt"])
    held_out = read_held_out(dataset)
    wording = ItemWording.of(params.dataset(dataset))
    answer_held_out(
        load_system(prompt, paths.LLM, params.llm, params.inference, wording, len(held_out.labels)),
        held_out,
        paths.predictions(dataset, system),
        system=system,
        seed=0,
        shuffled_histories=params.inference.shuffled_histories,
        hardware=provenance.hardware(),
    )


if __name__ == "__main__":
    run(main)
