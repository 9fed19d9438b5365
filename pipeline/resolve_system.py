"""Write one LLM system with its defaults filled in: ``python -m pipeline.resolve_system llara``.

Tuning depends on this file instead of on the sections it comes from. So a default that a system overrides can change
without tuning that system again.
"""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from llara_core import paths, tables
from llara_core.config import load_params
from pipeline.stage import run


def main(
    system: str,
    untuned: Annotated[bool, typer.Option("--untuned", help="Write the prompt alone, all that counts without tuning.")] = False,
) -> None:
    """Lay the values of SYSTEM over the defaults in params.yaml and write them to data/systems/."""
    config = load_params().system(system)
    tables.write_json(paths.system(system), config.model_dump(include={"prompt"} if untuned else None))
    logging.info("%s: %s with %s prompts", system, config.tune.objective, config.prompt.representation)


if __name__ == "__main__":
    run(main)
