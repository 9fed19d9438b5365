"""The section on what the order of the history is worth: the test sets answered again with every history shuffled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llara_core.config import EvaluationConfig
from llara_core.evaluation.comparison import ComparedSystem
from llara_core.evaluation.paired import Difference, paired_differences
from llara_core.evaluation.results import SystemResults
from llara_core.report.comparisons import Comparisons
from llara_core.report.layout import Column, Section, Table
from llara_core.report.verdict import no_claim
from llara_core.report.wording import AFTER_HOLM, count, difference, joined, listed, number, probability, signed


@dataclass(frozen=True)
class OrderEffect:
    """A system in its headline mode: ``change`` is its hit ratio@1 with shuffled histories minus that with ordered ones."""

    row: ComparedSystem
    change: Difference


COLUMNS: list[Column[OrderEffect]] = [
    Column("System", "", lambda effect: effect.row.name, is_prose=True),
    Column("Answers by", "", lambda effect: effect.row.mode, is_prose=True),
    Column("HR@1", "", lambda effect: number(effect.change.reference)),
    Column("HR@1, shuffled", "", lambda effect: number(effect.change.system)),
    Column("Change", "", lambda effect: difference(effect.change)),
    Column("p", "", lambda effect: probability(effect.change)),
    Column("Detectable", "", lambda effect: number(effect.change.detectable)),
]


def section(found: Comparisons) -> Section | None:
    """The effects of shuffling; None where no system answered both ways."""
    effects = order_effects(found.headlines, found.shuffled, found.params.evaluation)
    if not effects:
        return None
    caption = (
        "Every system answered the test sets a second time with each history in a random order, the same for all systems. "
        "Change: shuffled minus ordered, with its interval; p is adjusted for all tests in this table (Holm)."
    )
    verdict = _verdict(effects, found.level)
    return Section("Order of the history", verdict, tables=[Table(COLUMNS, [("", effects)], caption)])


def order_effects(
    rows: Sequence[ComparedSystem], shuffled: Sequence[SystemResults], config: EvaluationConfig
) -> list[OrderEffect]:
    """The effect for every system that answered both ways; they are one family of tests.

    Args:
        rows: headlines of one data set.
        shuffled: results with shuffled histories.
        config: of intervals and tests.
    """
    by_mode = {(each.system.name, each.mode): each for each in shuffled}
    both = [(by_mode[key], row) for row in rows if (key := (row.name, row.mode)) in by_mode]
    changes = paired_differences([(other, row.results) for other, row in both], config)
    return [OrderEffect(row, change) for (_, row), change in zip(both, changes, strict=True)]


def _verdict(effects: Sequence[OrderEffect], level: float) -> str:
    by_change = sorted(effects, key=lambda effect: effect.change.mean)
    low, high = by_change[0], by_change[-1]
    tested = [effect for effect in effects if effect.change.p_value is not None]
    changed = [effect.row.name for effect in tested if effect.change.is_below(level)]
    sentences = [
        f"Shuffling the histories changes HR@1 by {signed(low.change.mean)} ({low.row.name})"
        + (f" to {signed(high.change.mean)} ({high.row.name})." if high is not low else ".")
    ]
    if tested:
        sentences.append(
            f"{count(len(tested), 'system')} tested, significantly changed (p < {level:.2g} {AFTER_HOLM}): {listed(changed)}."
        )
    untested = [effect.change for effect in effects if effect.change.p_value is None]
    if untested:
        sentences.append(no_claim(untested, "the change of a trained system is more than chance"))
    return joined(*sentences)
