"""What each table of the report shows, in sentences made from its rows: who leads, what was tested, what cannot be claimed."""

from __future__ import annotations

from collections.abc import Sequence

from llara_core.evaluation.comparison import Pairs, SystemResult
from llara_core.evaluation.paired import MIN_RUNS, Difference
from llara_core.evaluation.systems import Answers
from llara_core.report.cases import BEHAVIOR_DECIDES, WORLD_KNOWLEDGE_DECIDES, CaseStudy
from llara_core.report.changes import Change
from llara_core.report.order import OrderEffect
from llara_core.report.tables import (
    PaperRow,
    chosen_weights,
    difference,
    interval,
    number,
    probability,
    runs,
    signed,
    sizes_in_words,
)

AFTER_HOLM = "after Holm's correction"


def systems(rows: Sequence[SystemResult], idle: Sequence[Answers], level: float) -> str:
    """Of the main table: who is best on validation, whether an LLM differs from the reference, and what fusions chose.

    Args:
        rows: one per system.
        idle: fusions that left the LLM out and so are not among the rows.
        level: of the tests.
    """
    llms = [row for row in rows if row.answers.system.is_llm and row.answers.system.kind != "fused"]
    fused = [row for row in rows if row.answers.system.kind == "fused"]
    return _joined(_leader(rows), _compared(llms, "LLM system", level), _fusions(fused, idle))


def ablation(rows: Sequence[SystemResult], level: float) -> str:
    """Of one table of systems that differ in one respect."""
    return _joined(_leader(rows), _compared(rows, "system", level))


def table_2(rows: Sequence[PaperRow]) -> str:
    """Of the paper's table beside ours."""
    published = {row.system for row, _ in rows}
    repeated = {row.system for row, ours in rows if ours is not None}
    return (
        f"{len(repeated)} of the paper's {len(published)} rows have a counterpart in this run. The columns that say so count "
        "answers as the paper's code does; the paper's figures rest on other candidate sets and cannot be tested against ours."
    )


def pairs(found: Pairs, level: float) -> str:
    """Of the differences between any two systems."""
    tested = [each for each in found.values() if each.p_value is not None]
    below = [each for each in tested if each.is_below(level)]
    sentences = [f"{_count(len(found), 'pair')}."]
    if tested:
        sentences.append(
            f"{len(tested)} {_are(tested)} tested, and {len(below)} of these {_differ(below)} significantly "
            f"(p < {level:.2g} {AFTER_HOLM} over the pairs tested)."
        )
    if len(tested) < len(found):
        untested = [each for each in found.values() if each.p_value is None]
        sentences.append(_no_claim(untested, f"{'the others' if tested else 'any two systems'} differ"))
    return _joined(*sentences)


def order(effects: Sequence[OrderEffect], level: float) -> str:
    """Of the table of shuffled histories."""
    by_change = sorted(effects, key=lambda effect: effect.change.mean)
    low, high = by_change[0], by_change[-1]
    tested = [effect for effect in effects if effect.change.p_value is not None]
    changed = [effect for effect in tested if effect.change.is_below(level)]
    sentences = [
        f"Shuffling the histories changes HR@1 by {signed(low.change.mean)} ({low.answers.system.name})"
        + (f" to {signed(high.change.mean)} ({high.answers.system.name})." if high is not low else ".")
    ]
    if tested:
        names = _names([effect.answers.system.name for effect in changed])
        sentences.append(
            f"{_count(len(tested), 'system')} tested, significantly changed (p < {level:.2g} {AFTER_HOLM}): {names}."
        )
    untested = [effect.change for effect in effects if effect.change.p_value is None]
    if untested:
        sentences.append(_no_claim(untested, "a change of a trained system is more than chance"))
    return _joined(*sentences)


def changes(rows: Sequence[Change]) -> str:
    """Of the table of what an LLM changes in its recommender's first choices, about the one that is best on validation."""
    best = max(rows, key=lambda row: row.result.lead if row.result.lead is not None else row.result.validation["hit_ratio@1"])
    system = best.result.answers.system
    which = ", the best of these on validation," if len(rows) > 1 else ""
    return (
        f"{system.name}{which} departs from the first choice of {system.recommender} on "
        f"{best.departs:.0%} of the sets: on {best.right:.1%} it is right where {system.recommender} is wrong, on "
        f"{best.wrong:.1%} the other way round."
    )


def cases(study: CaseStudy) -> str:
    """Of the count of who is right."""
    behavior, knowledge = (
        next(count for count in study.counts if count.right == right) for right in (BEHAVIOR_DECIDES, WORLD_KNOWLEDGE_DECIDES)
    )
    return (
        f"On the {study.n_sets} candidate sets that all three answer (first seed), behaviour decides on {behavior.n_sets} "
        f"({behavior.expected_sets:.1f} if the three were right independently of each other) and world knowledge on "
        f"{knowledge.n_sets} ({knowledge.expected_sets:.1f})."
    )


def modes(rows: Sequence[SystemResult]) -> str:
    """Of the table with all ways of answering."""
    judged = [row for row in rows if row.is_headline]
    best = next(row for row in judged if row.is_best)
    return (
        f"{_count(len(judged), 'system')} in {_count(len(rows), 'row')}: the first row of a system is the way of answering "
        f"that it is judged by. {best.name} is best on validation."
    )


def fusion_notes(idle: Sequence[Answers]) -> list[str]:
    """Why fusions that left the LLM out are not shown, a sentence for each recommender."""
    by_recommender: dict[str, list[str]] = {}
    for answers in idle:
        by_recommender.setdefault(str(answers.system.recommender), []).append(answers.system.key)
    return [
        f"The {'fusion' if len(keys) == 1 else 'fusions'} of {_names(keys)} with {recommender} chose weight 0 for the LLM: "
        f"{'it is' if len(keys) == 1 else 'they are'} the recommender, and not shown."
        for recommender, keys in by_recommender.items()
    ]


def _leader(rows: Sequence[SystemResult]) -> str:
    best = next(row for row in rows if row.is_best)
    reference = next((row for row in rows if row.is_reference), best)
    on_test = f"{number(best.test['hit_ratio@1'])} {interval(best)} on test ({sizes_in_words(best)})"
    on_validation = f"HR@1 {number(best.validation['hit_ratio@1'])}"
    if best is reference or best.lead is None:
        return f"{best.name} is best on validation ({on_validation}) and has {on_test}."
    return (
        f"{best.name} is best on validation ({on_validation}, {signed(best.lead)} against {reference.name} on the same sets) "
        f"and has {on_test}; {reference.name}, which others are compared with, has "
        f"{number(reference.test['hit_ratio@1'])} {interval(reference)} ({sizes_in_words(reference)})."
    )


def _compared(rows: Sequence[SystemResult], noun: str, level: float) -> str:
    """Which of ``rows`` differ from what they are compared with, which is one system for all of them."""
    compared = [(row, row.difference) for row in rows if row.difference is not None]
    if not compared:
        return ""
    reference = compared[0][0].versus
    tested = [(row, found) for row, found in compared if found.p_value is not None]
    untested = [(row, found) for row, found in compared if found.p_value is None]
    sentences = []
    if tested:
        above = [row.name for row, found in tested if found.is_below(level) and found.mean > 0]
        below = [row.name for row, found in tested if found.is_below(level) and found.mean < 0]
        rest = [row.name for row, _ in tested if row.name not in (*above, *below)]
        sentences.append(
            f"{_count(len(tested), noun)} tested against {reference} (p < {level:.2g} {AFTER_HOLM}): significantly above it "
            f"{_names(above)}; below it {_names(below)}; not distinguishable {_names(rest)}."
        )
    if untested:
        row, found = max(untested, key=lambda each: each[0].lead or 0.0)
        sentences += [
            _no_claim([each for _, each in untested], f"any {noun} differs from {reference}"),
            f"{row.name}{', the best of these on validation,' if len(untested) > 1 else ''} has {difference(found)} against "
            f"{reference} on test.",
        ]
    return _joined(*sentences)


def _fusions(fused: Sequence[SystemResult], idle: Sequence[Answers]) -> str:
    parts = []
    for row in fused:
        system, found = row.answers.system, row.difference
        on_test = ""
        if found is not None:
            both = f"{number(found.system)} against {number(found.reference)}"
            on_test = f" ({both} on the same test sets, {'' if found.p_value is None else 'p '}{probability(found)})"
        parts.append(f"{system.key} with {system.recommender} {chosen_weights(row)}{on_test}")
    sentences = [f"LLM weights of the fusions: {'; '.join(parts)}."] if parts else []
    return _joined(*sentences, *fusion_notes(idle))


def _no_claim(untested: Sequence[Difference], claim: str) -> str:
    fewest = min(found.n_runs or 0 for found in untested)
    return f"No claim that {claim}: {runs(fewest)} of training, and a test takes {MIN_RUNS}."


def _names(names: Sequence[str]) -> str:
    if not names:
        return "none"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _count(number_of: int, noun: str) -> str:
    return f"{number_of:,} {noun}{'' if number_of == 1 else 's'}"


def _are(things: Sequence[object]) -> str:
    return "is" if len(things) == 1 else "are"


def _differ(things: Sequence[object]) -> str:
    return "differs" if len(things) == 1 else "differ"


def _joined(*sentences: str) -> str:
    return " ".join(sentence for sentence in sentences if sentence)
