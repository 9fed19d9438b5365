"""Report section on the effect of shuffling the histories of the test sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llara_core.evaluation.comparison import ComparedSystem
from llara_core.evaluation.paired import Difference, paired_differences
from llara_core.report.comparisons import Comparisons
from llara_core.report.layout import Column, ReportSection, Table
from llara_core.report.system_columns import OF_ROW, mark_in_words, marked_of, number_column
from llara_core.report.verdict import no_claim
from llara_core.report.wording import AFTER_HOLM, count, difference, joined, listed, probability, signed


@dataclass(frozen=True)
class OrderEffect:
    """Hit ratio@1 of a system in its primary mode with shuffled histories minus that with ordered ones."""

    row: ComparedSystem
    change: Difference


HIT_RATIOS: list[Column[OrderEffect]] = [
    number_column("HR@1", "", "change.reference_hit_ratio"),
    number_column("HR@1, shuffled", "", "change.hit_ratio"),
]
CHANGES: list[Column[OrderEffect]] = [
    Column("Change", "", lambda effect: difference(effect.change)),
    Column("p", "", lambda effect: probability(effect.change)),
    number_column("Detectable", "", "change.detectable"),
]


def section(comparisons: Comparisons) -> ReportSection | None:
    """Compares ordered with shuffled histories; None where no system answered both."""
    effects = order_effects(comparisons)
    if not effects:
        return None
    caption = joined(
        "Every system answered the test sets a second time with each history in a random order, the same for all systems. "
        "Change: shuffled minus ordered, with its interval; p is Holm-adjusted over all tests in this table.",
        mark_in_words([effect.row for effect in effects]),
    )
    columns = [*OF_ROW, *marked_of(lambda effect: effect.row, effects, *HIT_RATIOS), *CHANGES]
    verdict = _verdict(effects, comparisons.level)
    return ReportSection("Order of the history", verdict, tables=[Table(columns, [("", effects)], caption)])


def order_effects(comparisons: Comparisons) -> list[OrderEffect]:
    """Computes the effect of shuffling for every system that answered both ways; the tests form one family."""
    shuffled = {(each.system.name, each.mode): each for each in comparisons.last if each.is_shuffled}
    both = [(shuffled[key], row) for row in comparisons.primary_rows if (key := (row.name, row.mode)) in shuffled]
    changes = paired_differences([(other, row.results) for other, row in both], comparisons.config)
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
            f"{count(len(tested), 'system')} tested; significant changes (p < {level:.2g} {AFTER_HOLM}): {listed(changed)}."
        )
    untested = [effect.change for effect in effects if effect.change.p_value is None]
    if untested:
        sentences.append(no_claim(untested, "the change of a trained system exceeds chance"))
    return joined(*sentences)
