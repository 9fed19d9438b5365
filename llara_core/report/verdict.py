"""What a table of systems shows, in sentences made from its rows: who leads, what was tested, what cannot be claimed."""

from __future__ import annotations

from collections.abc import Sequence

from llara_core.evaluation.comparison import ComparedSystem
from llara_core.evaluation.paired import MIN_RUNS, Difference
from llara_core.evaluation.results import SystemResults
from llara_core.report.wording import (
    AFTER_HOLM,
    both_sides,
    chosen_weights,
    count,
    difference,
    interval,
    joined,
    listed,
    number,
    probability,
    runs,
    signed,
    sizes_in_words,
)


def leader(rows: Sequence[ComparedSystem]) -> str:
    """Which system is best on validation, and what it has on test beside the reference."""
    best = next(row for row in rows if row.is_best)
    reference = next((row for row in rows if row.is_reference), best)
    on_test = f"{number(best.test['hit_ratio@1'])} {interval(best)} on test ({sizes_in_words(best)})"
    on_validation = f"HR@1 {number(best.validation['hit_ratio@1'])}"
    if best is reference or best.lead is None:
        return joined(f"{best.name} is best on validation ({on_validation}) and reaches {on_test}.", fusions_ahead(rows))
    return joined(
        f"{best.name} is best on validation ({on_validation}, {signed(best.lead)} against {reference.name} on the same sets) "
        f"and reaches {on_test}; {reference.name}, the reference, reaches {number(reference.test['hit_ratio@1'])} "
        f"{interval(reference)} ({sizes_in_words(reference)}).",
        fusions_ahead(rows),
    )


def fusions_ahead(rows: Sequence[ComparedSystem]) -> str:
    """Which fusions have more on validation than the best, but not enough to be told apart from their recommenders."""
    best = next(row for row in rows if row.is_best)
    names = [row.name for row in rows if row.lead is not None and best.lead is not None and row.lead > best.lead]
    if not names:
        return ""
    has, its = ("has", "its recommender") if len(names) == 1 else ("have", "their recommenders")
    return f"{listed(names)} {has} more there, but cannot be told apart from {its}."


def compared(rows: Sequence[ComparedSystem], noun: str, level: float) -> str:
    """Which of ``rows`` differ from the one system that all of them are compared with."""
    differing = [(row, row.difference) for row in rows if row.difference is not None]
    if not differing:
        return ""
    reference = differing[0][0].versus
    tested = [(row, found) for row, found in differing if found.p_value is not None]
    untested = [(row, found) for row, found in differing if found.p_value is None]
    sentences = []
    if tested:
        above = [row.name for row, found in tested if found.is_below(level) and found.mean > 0]
        below = [row.name for row, found in tested if found.is_below(level) and found.mean < 0]
        rest = [row.name for row, _ in tested if row.name not in (*above, *below)]
        sentences.append(
            f"{count(len(tested), noun)} tested against {reference} (p < {level:.2g} {AFTER_HOLM}). Significantly better: "
            f"{listed(above)}; significantly worse: {listed(below)}; no significant difference: {listed(rest)}."
        )
    if untested:
        row, found = max(untested, key=lambda each: each[0].lead or 0.0)
        best = f", the best on validation of these {count(len(untested), noun)}," if len(untested) > 1 else ""
        sentences += [
            no_claim([each for _, each in untested], f"any {noun} differs from {reference}"),
            f"The test difference of {row.name}{best} to {reference} is {difference(found)}.",
        ]
    return joined(*sentences)


def fusions(fused: Sequence[ComparedSystem], idle: Sequence[SystemResults]) -> str:
    """What weights the fusions chose, and how they do beside their recommenders.

    Args:
        fused: the fusions among the rows.
        idle: those that left the LLM out, and so are not among the rows.
    """
    parts = []
    for row in fused:
        found, on_test = row.difference, ""
        if found is not None:
            p = probability(found) if found.p_value is None else f"p {probability(found)}"
            on_test = f" ({both_sides(found)} on the same test sets, {p})"
        parts.append(f"{row.name} {chosen_weights(row)}{on_test}")
    names = [each.system.name for each in idle]
    one = len(names) == 1
    return joined(
        f"LLM weights of the fusions: {'; '.join(parts)}." if parts else "",
        f"{listed(names)} gave the LLM weight 0, so {'it is' if one else 'they are'} the recommender alone and "
        f"{'is' if one else 'are'} not shown."
        if names
        else "",
    )


def no_claim(untested: Sequence[Difference], claim: str) -> str:
    """That too few runs stand behind differences for a test."""
    fewest = min(found.n_runs or 0 for found in untested)
    return f"No claim is made that {claim}: there {'is' if fewest == 1 else 'are'} {runs(fewest)}, and a test needs {MIN_RUNS}."
