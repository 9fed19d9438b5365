"""Write what every LLM system is, and what is needed of the recommenders: ``python -m pipeline.resolve``.

Later stages depend on these files, not on the sections they come from, so a default that a system overrides can change
without tuning that system again.
"""

from __future__ import annotations

import logging

from llara_core import paths, tables
from llara_core.config import load_params
from pipeline.stage import run


def main() -> None:
    """Fill in ``extends`` and the global sections for the systems of run.systems, and write them to data/resolved/."""
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
