"""What the order of the history is worth: the same questions with every history shuffled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llara_core.config import EvaluationConfig
from llara_core.evaluation.paired import Difference, paired_differences
from llara_core.evaluation.systems import Answers


@dataclass(frozen=True)
class OrderEffect:
    """A system in one mode: ``change`` is its hit ratio@1 with shuffled histories minus that with ordered ones."""

    answers: Answers
    change: Difference


def order_effects(answers: Sequence[Answers], config: EvaluationConfig) -> list[OrderEffect]:
    """The effect for every system and mode that answered both ways; the family of tests is all of them.

    Args:
        answers: as of :func:`systems.read_answers`.
        config: of intervals and tests.
    """
    ordered = {(each.system.name, each.mode): each for each in answers if not each.shuffled}
    shuffled = {(each.system.name, each.mode): each for each in answers if each.shuffled}
    both = [key for key in ordered if key in shuffled]
    changes = paired_differences([(shuffled[key], ordered[key]) for key in both], config)
    return [OrderEffect(ordered[key], change) for key, change in zip(both, changes, strict=True)]
