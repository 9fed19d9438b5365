"""Report section on the differences between any two systems, and the table of all pairs beside the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from llara_core.config import EvaluationConfig
from llara_core.evaluation import significance
from llara_core.evaluation.comparison import Pairs
from llara_core.evaluation.paired import Difference, level
from llara_core.report.comparisons import Comparisons
from llara_core.report.layout import Column, Mark, ReportSection, Table
from llara_core.report.verdict import no_claim
from llara_core.report.wording import AFTER_HOLM, count, difference, joined, number, points, probability


def section(comparisons: Comparisons) -> ReportSection | None:
    """Compares all pairs of systems; None for a single system."""
    if not comparisons.pairs:
        return None
    config, names = comparisons.config, [row.name for row in comparisons.primary_rows]
    test = joined(
        "The unit of the test is the user: a user's candidate sets share history and target, so a test per set, such as "
        "McNemar's on each draw, would count one user several times. The signs of the users' mean differences are flipped, "
        f"in all patterns where at most {significance.MAX_ENUMERATED} users differ (an exact permutation test), otherwise in "
        f"{config.permutation_samples:,} random patterns, the same for all pairs. For trained systems, a t test over users "
        "and training runs must also reject.",
        resolution(comparisons.pairs, config),
        "All pairs are in plots/pairs.tsv beside this page.",
    )
    better = [(name, better_than(comparisons.pairs, name, names, comparisons.level)) for name in names]
    return ReportSection(
        "Any two systems",
        _verdict(comparisons.pairs, comparisons.level),
        notes=[test],
        tables=[_matrix(comparisons, names)],
        points=[f"{name} is better than {', '.join(others)}" for name, others in better if others],
    )


def oriented(pairs: Pairs, row: str, column: str) -> Difference | None:
    """Returns the difference ``row`` minus ``column``, whichever direction was computed; None on the diagonal."""
    if (column, row) not in pairs:
        return pairs.get((row, column))
    other = pairs[column, row]
    first, second = other.reference_hit_ratio, other.hit_ratio
    return replace(other, hit_ratio=first, reference_hit_ratio=second, low=-other.high, high=-other.low)


def better_than(pairs: Pairs, name: str, names: Sequence[str], level: float) -> list[str]:
    """Returns those of ``names`` that ``name`` beats with an adjusted p-value below ``level``."""
    differences = [(other, oriented(pairs, name, other)) for other in names]
    return [other for other, each in differences if each is not None and each.mean > 0 and each.is_below(level)]


def resolution(pairs: Pairs, config: EvaluationConfig) -> str:
    """Warns if the sign patterns drawn are too few for any tested pair to become significant; otherwise empty."""
    needed = math.ceil(sum(each.p_value is not None for each in pairs.values()) / level(config))
    if config.permutation_samples >= needed:
        return ""
    return (
        f"With {config.permutation_samples:,} sign patterns, no p-value of a pair in which more than "
        f"{significance.MAX_ENUMERATED} users differ can fall below the significance level: raise "
        f"evaluation.permutation_samples to {needed:,} or more."
    )


def pairs_table(reports: Sequence[Comparisons]) -> pd.DataFrame:
    """Builds the table of all pairs, first minus second; where too few training runs were made for a p-value, their number."""

    def rounded(value: float) -> float:
        return round(value, 6) + 0.0

    rows = [
        (
            comparisons.dataset,
            *names,
            *map(rounded, (each.mean, each.low, each.high)),
            probability(each) if each.p_value is None else rounded(each.p_value),
        )
        for comparisons in reports
        for names, each in comparisons.pairs.items()
    ]
    return pd.DataFrame(rows, columns=["dataset", "first", "second", "difference", "low", "high", "adjusted p"])


def _matrix(comparisons: Comparisons, names: Sequence[str]) -> Table[str]:
    """Builds the matrix of row minus column in whole percentage points."""

    def cell(row: str, name: str) -> tuple[str, Mark, str]:
        """Returns text, mark and tooltip."""
        each = oriented(comparisons.pairs, row, name)
        if each is None:
            return "", "", ""
        mark: Mark = "" if not each.is_below(comparisons.level) else "better" if each.mean > 0 else "worse"
        p = "" if each.p_value is None else "p "
        seen = "" if each.detectable is None else f" (detectable: {number(each.detectable)})"
        both = f"{row} {number(each.hit_ratio)}, {name} {number(each.reference_hit_ratio)}"
        return points(each.mean), mark, f"{both}: {difference(each)}, {p}{probability(each)}{seen}"

    def column(place: int, name: str) -> Column[str]:
        cells = {row: cell(row, name) for row in names}
        return Column(
            str(place), "", lambda row: cells[row][0], mark=lambda row: cells[row][1], title=lambda row: cells[row][2]
        )

    first = Column[str]("System", "", lambda row: f"{names.index(row) + 1}\u00a0 {row}", is_prose=True)
    tested = any(each.p_value is not None for each in comparisons.pairs.values())
    caption = joined(
        "Row minus column: difference of HR@1 in whole percentage points, on the candidate sets that both answer.",
        "Coloured and bold: significant; blue: the row is better, orange: it is worse." if tested else "",
        "The tooltip of a cell has both hit ratios, the interval and p, or the reason why there is none.",
    )
    columns = [first, *(column(place, name) for place, name in enumerate(names, 1))]
    return Table(columns, [("", names)], caption, is_wide=True)


def _verdict(pairs: Pairs, level: float) -> str:
    tested = [each for each in pairs.values() if each.p_value is not None]
    untested = [each for each in pairs.values() if each.p_value is None]
    below = [each for each in tested if each.is_below(level)]
    sentences = [f"{count(len(pairs), 'pair')}."]
    if tested:
        sentences.append(
            f"{len(tested)} {'is' if len(tested) == 1 else 'are'} tested, and {len(below)} of these "
            f"{'differs' if len(below) == 1 else 'differ'} significantly (p < {level:.2g} {AFTER_HOLM} for the pairs tested)."
        )
    if untested:
        sentences.append(no_claim(untested, f"{'the others' if tested else 'any two systems'} differ"))
    return joined(*sentences)
