"""Writes the configuration of every LLM system, and what systems need from recommenders: ``python -m pipeline.resolve``.

Later stages depend on these files instead of the sections of the parameter files, so that a changed default does not tune
systems again that override it.
"""

from __future__ import annotations

import logging

from llara_core import paths, tables
from llara_core.config import load_params
from pipeline.stage import run


def main() -> None:
    """Fills in ``extends`` and the global sections for the systems of run.systems, and writes them to data/resolved/."""
    from llara_core.config.resolution import resolved

    params = load_params()
    systems = {name: params.system(name) for name in params.run.systems}
    with tables.atomic_path(paths.RESOLVED) as staged:
        staged.mkdir()
        for name, config in systems.items():
            tables.write_json(staged / paths.resolved_system(name).relative_to(paths.RESOLVED), resolved(config))
            kind = config.tune.objective if config.tuned else "not tuned"
            logging.info("%s: %s, %s, recommender %s", name, kind, config.prompt.representation, config.recommender or "none")
        for recommender in params.run.recommenders:
            readers = [config for config in systems.values() if config.recommender == recommender]
            needed = {"training_scores": any(config.tuned and config.prompt.recommender_scores for config in readers)}
            tables.write_json(staged / paths.resolved_recommender(recommender).relative_to(paths.RESOLVED), needed)


if __name__ == "__main__":
    run(main)
