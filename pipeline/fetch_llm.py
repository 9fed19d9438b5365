"""Downloads or copies the base language model to ``data/llm``: ``python -m pipeline.fetch_llm``."""

from __future__ import annotations

import logging

from llara_core import paths
from llara_core.config import load_params
from pipeline.stage import run


def main() -> None:
    """Downloads or copies the model ``llm.model`` and stores it as safetensors."""
    from llara_core.fetching.llm import fetch_llm

    config = load_params().llm
    fetch_llm(config.model, config.revision, paths.LLM)
    logging.info("%s is in %s", config.model, paths.LLM)


if __name__ == "__main__":
    run(main)
