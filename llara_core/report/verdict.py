"""Sentences generated from a table of systems: which leads, what the tests show, and what cannot be claimed."""

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

_CATALOGUE = "hit_ratio@10_catalogue"


def leader(rows: Sequence[ComparedSystem]) -> str:
    """Names the system that is best on validation, with its test result and that of the reference."""
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
    """Names the fusions with a higher validation result than the best that do not differ significantly from their
    recommenders."""
    best = next(row for row in rows if row.is_best)
    names = [row.name for row in rows if row.lead is not None and best.lead is not None and row.lead > best.lead]
    if not names:
        return ""
    has, its = ("has", "its recommender") if len(names) == 1 else ("have", "their recommenders")
    return f"{listed(names)} {has} a higher value there, but cannot be told apart from {its}."


def best_of(row: ComparedSystem, n_systems: int, noun: str) -> str:
    """Says by what ``row`` was chosen from ``n_systems``, as an insertion between commas; empty for one system."""
    criterion = "on validation" if row.lead is None else "by validation difference to the reference"
    return f", the best of these {count(n_systems, noun)} {criterion}," if n_systems > 1 else ""


def compared(rows: Sequence[ComparedSystem], noun: str, level: float) -> str:
    """Says which of ``rows`` differ from their opponents: their recommenders, or one common system."""
    differing = [(row, row.difference) for row in rows if row.difference is not None]
    if not differing:
        return ""
    against = _opponents([row for row, _ in differing])
    each = ", each" if any(row.is_versus_recommender for row, _ in differing) else ""
    tested = [(row, paired) for row, paired in differing if paired.p_value is not None]
    untested = [(row, paired) for row, paired in differing if paired.p_value is None]
    sentences = []
    if tested:
        above = [row.name for row, paired in tested if paired.is_below(level) and paired.mean > 0]
        below = [row.name for row, paired in tested if paired.is_below(level) and paired.mean < 0]
        rest = [f"{row.name} ({number(paired.detectable)})" for row, paired in tested if row.name not in (*above, *below)]
        sentences.append(
            f"{count(len(tested), noun)} tested{each} against {against} (p < {level:.2g} {AFTER_HOLM}). Significantly better: "
            f"{listed(above)}; significantly worse: {listed(below)}; no significant difference"
            f"{' (in parentheses, the smallest detectable difference)' if rest else ''}: {listed(rest)}."
        )
    if untested:
        row, paired = max(untested, key=lambda pair: pair[0].selection_value)
        sentences += [
            no_claim([paired for _, paired in untested], f"any {noun} differs from {against}"),
            f"The test difference of {row.name}{best_of(row, len(untested), noun)} to {row.versus} is {difference(paired)}, "
            f"{both_sides(paired)} on the same sets.",
        ]
    return joined(*sentences)


def _opponents(rows: Sequence[ComparedSystem]) -> str:
    others = listed(list(dict.fromkeys(str(row.versus) for row in rows if not row.is_versus_recommender)))
    if not any(row.is_versus_recommender for row in rows):
        return others
    return "its recommender" if others == "none" else f"its recommender ({others} where it has none)"


def fusions(fused: Sequence[ComparedSystem], zero_weight_fusions: Sequence[SystemResults]) -> str:
    """States the chosen weights of the fusions and their differences to their recommenders.

    Args:
        zero_weight_fusions: fusions that chose LLM weight 0 and are not among the rows.
    """
    parts = []
    for row in fused:
        paired, on_test = row.difference, ""
        if paired is not None:
            p = probability(paired) if paired.p_value is None else f"p {probability(paired)}"
            on_test = f" ({both_sides(paired)} on the same test sets, {p})"
        parts.append(f"{row.name} {chosen_weights(row)}{on_test}")
    names = [each.system.name for each in zero_weight_fusions]
    one = len(names) == 1
    return joined(
        f"LLM weights of the fusions: {'; '.join(parts)}." if parts else "",
        f"{listed(names)} gave the LLM weight 0, so {'it equals' if one else 'they equal'} the recommender and "
        f"{'is' if one else 'are'} not shown."
        if names
        else "",
    )


def among_all_items(rows: Sequence[ComparedSystem]) -> str:
    """States HR@10 among all items of the best conventional system and of the best LLM system, chosen on validation."""
    ranking = [row for row in rows if _CATALOGUE in row.validation and _CATALOGUE in row.test]
    kinds = ([row for row in ranking if row.system.is_llm is is_llm] for is_llm in (False, True))
    best = [max(each, key=lambda row: row.validation[_CATALOGUE]) for each in kinds if each]
    if not best:
        return ""
    values = " and ".join(f"{number(row.test[_CATALOGUE])} for {row.name}" for row in best)
    chosen = ", the best on validation without and with a language model" if len(best) > 1 else ", the best on validation"
    return f"Among all items, as in production, HR@10 on test is {values}{chosen}."


def no_claim(untested: Sequence[Difference], claim: str) -> str:
    """Says that too few runs were made to test these differences."""
    fewest = min(paired.n_runs or 0 for paired in untested)
    return f"No claim is made that {claim}: there {'is' if fewest == 1 else 'are'} {runs(fewest)}, and a test needs {MIN_RUNS}."
