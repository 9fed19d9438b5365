"""Columns of the tables that have a system per row."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

from llara_core import columns as c
from llara_core.evaluation.comparison import ComparedSystem
from llara_core.evaluation.metrics import METRICS
from llara_core.evaluation.paired import MIN_RUNS
from llara_core.evaluation.results import MODES
from llara_core.evaluation.significance import POWER
from llara_core.report.layout import MISSING, Column
from llara_core.report.wording import (
    KIND_NAMES,
    both_sides,
    described,
    difference,
    hit_ratio,
    joined,
    measure,
    number,
    p_value,
    sizes,
)

Rows = Sequence[ComparedSystem]

FEWER = "†"  # behind figures that rest on fewer candidate sets than others in their column

_MODE_MEANINGS = {
    "generate": "free text, as in the paper",
    "score": "the candidate with the highest score",
    "constrained": "text limited to the candidates",
    "fused": "the combined scores of language model and recommender",
}

SYSTEM = Column("System", "in parentheses the recommender that it reads, and what else defines it", described, is_prose=True)
HIT_RATIO = Column(
    "HR@1",
    "hit ratio on test with its interval; an invalid answer is a miss; ±: standard deviation over seeds",
    hit_ratio,
)
VALIDATION = Column[ComparedSystem](
    "Validation HR@1",
    "hit ratio on validation, on which all choices are made; a system with fewer sets is compared on those alone",
    lambda row: number(row.validation["hit_ratio@1"]),
)


def metric(name: str) -> Column[ComparedSystem]:
    """The column of a test metric."""
    return Column(METRICS[name].heading, METRICS[name].meaning, measure(name))


VALID = metric("valid_ratio")
VALID_CONTAINED = metric("valid_ratio_contained")
SIZES = Column("Users x sets", "test users times candidate sets per user (times seeds)", sizes)
CATALOGUE = metric("hit_ratio@10_catalogue")
DETECTABLE = Column[ComparedSystem](
    "Detectable",
    f"the smallest true difference that this test finds in {POWER:.0%} of cases, before adjustment: what could have been seen",
    lambda row: number(row.difference.detectable if row.difference else None),
)
P_VALUE = Column(
    "p",
    "of the difference, adjusted for all tests in this table (Holm); a trained system with fewer than "
    f"{MIN_RUNS} runs is not tested, since nobody knows what another run would give",
    p_value,
)
OBJECTIVE = Column[ComparedSystem](
    "Objective",
    "what the language model was tuned for; generative: the paper's, next_item: ours, preference: goes on from "
    "another system's adapter",
    lambda row: MISSING if row.objective == "none" else row.objective,
    is_prose=True,
)
CONTAINED = [VALID_CONTAINED, metric("hit_ratio@1_contained")]
_SHOWN_APART = {"hit_ratio@1", "hit_ratio@1_contained", "valid_ratio_contained"}
DETAILS = [
    VALIDATION,
    HIT_RATIO,
    *(metric(name) for name, each in METRICS.items() if each.heading and name not in _SHOWN_APART),
]


def mode(rows: Rows) -> Column[ComparedSystem]:
    """The column that explains the modes of ``rows``."""
    used = {row.mode for row in rows}
    meaning = "; ".join(f"{name}: {_MODE_MEANINGS[name]}" for name in MODES if name in used)
    return Column("Answers by", meaning, lambda row: row.mode, is_prose=True)


def marked(rows: Rows, *columns: Column[ComparedSystem]) -> list[Column[ComparedSystem]]:
    """``columns`` with :data:`FEWER` behind the figures of systems that answer fewer test sets than others of ``rows``."""
    fewer = answer_fewer(rows)
    if not fewer:
        return [*columns]

    def with_mark(column: Column[ComparedSystem]) -> Column[ComparedSystem]:
        def text(row: ComparedSystem) -> str:
            figure = column.text(row)
            return f"{figure} {FEWER}" if row.name in fewer and figure != MISSING else figure

        return replace(column, text=text)

    return [with_mark(column) for column in columns]


def mark_in_words(rows: Rows) -> str:
    """The sentence on :data:`FEWER` for a table of ``rows``; empty where no figure is marked."""
    return f"{FEWER}: on fewer candidate sets, so not comparable with figures without this mark." if answer_fewer(rows) else ""


def answer_fewer(rows: Rows) -> set[str]:
    """Names of those that answer fewer test sets than others."""
    n_sets = {row.name: len(row.results.runs[0].split(c.TEST)) for row in rows}
    return {name for name, n in n_sets.items() if n < max(n_sets.values())}


def by_score(found: Rows, rows: Rows) -> list[Column[ComparedSystem]]:
    """A column with the hit ratio by scores of the systems that are compared by their text; none where there are none.

    Args:
        found: of all modes.
        rows: of the table.
    """
    scored = {row.name: row for row in found if row.mode == "score"}
    if not any(row.mode == "generate" and row.name in scored for row in rows):
        return []
    meaning = "of a system that writes text, on the same sets: its answer is the title to which it gives the highest likelihood"
    column = Column[ComparedSystem](
        "HR@1 by score",
        meaning,
        lambda row: number(scored[row.name].test["hit_ratio@1"]) if row.mode == "generate" and row.name in scored else MISSING,
    )
    return marked(rows, column)


def differences(rows: Rows) -> list[Column[ComparedSystem]]:
    """The difference of each of ``rows`` and what it is a difference to; no column where nothing is compared."""
    if not any(row.difference is not None for row in rows):
        return []
    meaning = joined("of HR@1 with its interval, on the sets that both answer", _both_where_not_shown(rows))
    reference = next((row.name for row in rows if row.is_reference), None)
    if reference is not None and not any(row.is_own for row in rows):
        vs_reference = Column[ComparedSystem](
            f"vs {reference}", f"difference {meaning}", lambda row: "reference" if row.is_reference else _difference(row)
        )
        return [vs_reference]
    others = "the recommender that a language model reads or is fused with; of others the reference, the best on validation"
    return [
        Column("Compared with", others, lambda row: "reference" if row.is_reference else row.versus or MISSING, is_prose=True),
        Column("Difference", meaning, _difference),
    ]


def versus(rows: Rows) -> list[Column[ComparedSystem]]:
    """The columns of the comparisons of ``rows``, with tests; none where nothing is compared."""
    found = differences(rows)
    tested = any(row.difference is not None and row.difference.detectable is not None for row in rows)
    return [*found, *([P_VALUE] if found else []), *([DETECTABLE] if tested else [])]


def tuned_on(budgets: Mapping[str, str]) -> Column[ComparedSystem]:
    """The column with the tuning budget of each system."""
    meaning = "prompts, or chunks of training sequences"
    return Column("Tuned on", meaning, lambda row: budgets.get(row.system.key, MISSING), is_prose=True)


def contained(rows: Rows, columns: Sequence[Column[ComparedSystem]]) -> list[Column[ComparedSystem]]:
    """``columns`` about the paper's rule of validity, where one of ``rows`` writes text."""
    return [*columns] if any("valid_ratio_contained" in row.test for row in rows) else []


def by_kind(rows: Rows) -> list[tuple[str, Rows]]:
    """Consecutive rows of one kind under its name."""
    return [(KIND_NAMES[kind], list(group)) for kind, group in itertools.groupby(rows, lambda row: row.system.kind)]


def leading(rows: Rows, limit: int) -> list[ComparedSystem]:
    """The ``limit`` rows with the highest hit ratio@1 on validation, the reference among them, in their order."""
    kept = sorted(rows, key=lambda row: (row.is_best or row.is_reference, row.validation["hit_ratio@1"]), reverse=True)
    return [row for row in rows if any(row is other for other in kept[:limit])]


def _difference(row: ComparedSystem) -> str:
    return MISSING if row.difference is None else difference(row.difference)


def _both_where_not_shown(rows: Rows) -> str:
    """Both hit ratios of every difference on other sets than those of the hit ratios in the table."""
    shown = {row.name: number(row.test["hit_ratio@1"]) for row in rows}
    found = [
        f"{row.name} {both_sides(row.difference)}"
        for row in rows
        if row.difference is not None
        and (shown[row.name], shown.get(str(row.versus))) != (number(row.difference.system), number(row.difference.reference))
    ]
    return f"(HR@1 there, where it is not that shown: {'; '.join(found)})" if found else ""
