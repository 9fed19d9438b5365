"""What the order of the history is worth: the same questions with every history shuffled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llara_core.config import EvaluationConfig
from llara_core.evaluation.comparison import SystemResult
from llara_core.evaluation.paired import Difference, paired_differences
from llara_core.evaluation.systems import Answers


@dataclass(frozen=True)
class OrderEffect:
    """A system as it is judged: ``change`` is its hit ratio@1 with shuffled histories minus that with ordered ones."""

    answers: Answers
    change: Difference


def order_effects(results: Sequence[SystemResult], answers: Sequence[Answers], config: EvaluationConfig) -> list[OrderEffect]:
    """The effect for every system that answered both ways; the family of tests is all of them.

    Args:
        results: headline rows of one dataset.
        answers: as of :func:`systems.read_answers`.
        config: of intervals and tests.
    """
    shuffled = {(each.system.name, each.mode): each for each in answers if each.shuffled}
    both = [(shuffled[key], row.answers) for row in results if (key := (row.name, row.mode)) in shuffled]
    changes = paired_differences(both, config)
    return [OrderEffect(ordered, change) for (_, ordered), change in zip(both, changes, strict=True)]
