"""What an LLM changes in the first choices of the recommender under it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from llara_core import columns as c
from llara_core.evaluation import metrics
from llara_core.evaluation.comparison import SystemResult

_KEYS = [c.EXAMPLE, c.DRAW]


@dataclass(frozen=True)
class Change:
    """A system beside the recommender that it builds on, on the test candidate sets that both answer, over all seeds.

    Attributes:
        result: the system.
        n_draws: candidate sets per example that both answer.
        recommender: hit ratio@1 of the recommender.
        system: hit ratio@1 of the system, which is ``recommender + right - wrong``.
        departs: share of sets with another answer than the recommender's, or with no valid one.
        right: share of sets where only the system is right.
        wrong: share of sets where only the recommender is right.
    """

    result: SystemResult
    n_draws: int
    recommender: float
    system: float
    departs: float
    right: float
    wrong: float


def changes(results: Sequence[SystemResult]) -> list[Change]:
    """What every LLM system on a recommender changes, in the order of ``results``; runs of the same seed are set side by side.

    Args:
        results: headline rows of one dataset.
    """
    recommenders = {row.name: row for row in results if row.answers.system.kind == "recommender"}
    pairs = [(row, recommenders.get(str(row.answers.system.recommender))) for row in results if row.answers.system.is_llm]
    return [_change(row, recommender) for row, recommender in pairs if recommender is not None]


def _change(result: SystemResult, recommender: SystemResult) -> Change:
    runs = zip(result.answers.seeds, recommender.answers.seeds, strict=True)
    both = pd.concat(
        [system.split(c.TEST).merge(other.split(c.TEST), on=_KEYS, suffixes=("", "_recommender")) for system, other in runs]
    )
    own, other = both[metrics.HIT] == 1, both[f"{metrics.HIT}_recommender"] == 1
    same = (both[c.VALID] == 1) & (both[c.PREDICTED] == both[f"{c.PREDICTED}_recommender"]).fillna(False)
    return Change(
        result=result,
        n_draws=int(both[c.DRAW].nunique()),
        recommender=float(other.mean()),
        system=float(own.mean()),
        departs=float((~same.astype(bool)).mean()),
        right=float((own & ~other).mean()),
        wrong=float((other & ~own).mean()),
    )
