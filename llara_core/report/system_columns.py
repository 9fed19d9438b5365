"""Columns of tables with one system per row."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any

from llara_core import columns as c
from llara_core.answers.predictions import NOT_TUNED
from llara_core.evaluation.comparison import ComparedSystem
from llara_core.evaluation.metrics import METRICS
from llara_core.evaluation.paired import MIN_RUNS
from llara_core.evaluation.results import MODES
from llara_core.evaluation.significance import POWER
from llara_core.report.layout import MISSING, Column, Row
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

SystemRows = Sequence[ComparedSystem]

FEWER = "†"  # marks figures that rest on fewer candidate sets than others in their column

_MODE_MEANINGS = {
    "generate": "free text, as in the paper",
    "score": "the candidate with the highest score",
    "constrained": "text limited to the candidates",
    "fused": "the combined scores of language model and recommender",
}

SYSTEM = Column("System", "in parentheses: its recommender and other defining settings", described, is_prose=True)
# First columns of tables whose rows hold a system in the attribute ``row``.
OF_ROW: list[Column[Any]] = [
    Column("System", "", lambda each: described(each.row), is_prose=True),
    Column("Answers by", "", lambda each: each.row.mode, is_prose=True),
]


def number_column(heading: str, meaning: str, attribute: str) -> Column[Any]:
    """Defines a column of a number: an attribute of the row or, with dots, of one of its attributes."""
    value = attrgetter(attribute)
    return Column(heading, meaning, lambda row: number(value(row)))


HIT_RATIO = Column(
    "HR@1",
    "hit ratio on test with its interval; an invalid answer is a miss; ±: standard deviation over seeds",
    hit_ratio,
)
VALIDATION = Column[ComparedSystem](
    "Validation HR@1",
    "hit ratio on validation, on which all choices are made; a system with fewer sets is compared on those sets only",
    lambda row: number(row.validation["hit_ratio@1"]),
)


def metric(name: str) -> Column[ComparedSystem]:
    """Defines the column of a test metric."""
    return Column(METRICS[name].heading, METRICS[name].meaning, measure(name))


VALID = metric("valid_ratio")
SIZES = Column("Users x sets", "test users times candidate sets per user (times seeds)", sizes)
CATALOGUE = metric("hit_ratio@10_catalogue")
DETECTABLE = Column[ComparedSystem](
    "Detectable",
    f"smallest true difference that the test would detect in {POWER:.0%} of cases, before adjustment",
    lambda row: number(row.difference.detectable if row.difference else None),
)
P_VALUE = Column(
    "p",
    "p-value of the difference, Holm-adjusted over all tests in this table; a trained system with fewer than "
    f"{MIN_RUNS} runs is not tested, since the spread between its runs is unknown",
    p_value,
)
OBJECTIVE = Column[ComparedSystem](
    "Objective",
    "tuning task of the language model; generative: the paper's, next_item: ours, preference: continues from another system's "
    "adapter",
    lambda row: MISSING if row.objective == NOT_TUNED else row.objective,
    is_prose=True,
)


def mode(rows: SystemRows) -> Column[ComparedSystem]:
    """Defines the column of the modes, which explains those in ``rows``."""
    used = {row.mode for row in rows}
    meaning = "; ".join(f"{name}: {_MODE_MEANINGS[name]}" for name in MODES if name in used)
    return Column("Answers by", meaning, lambda row: row.mode, is_prose=True)


def marked(rows: SystemRows, *columns: Column[ComparedSystem]) -> list[Column[ComparedSystem]]:
    """Adds :data:`FEWER` to the figures of systems that answer fewer test sets than others of ``rows``."""
    return marked_of(lambda row: row, rows, *columns)


def marked_of(system: Callable[[Row], ComparedSystem | None], rows: Sequence[Row], *columns: Column[Row]) -> list[Column[Row]]:
    """Adds :data:`FEWER` as :func:`marked` does; ``system`` returns the system of a row, or None if it has none."""
    fewer = answer_fewer([own for row in rows if (own := system(row)) is not None])
    if not fewer:
        return [*columns]

    def with_mark(column: Column[Row]) -> Column[Row]:
        def text(row: Row) -> str:
            own, figure = system(row), column.text(row)
            return f"{figure} {FEWER}" if own is not None and own.name in fewer and figure not in ("", MISSING) else figure

        return replace(column, text=text)

    return [with_mark(column) for column in columns]


def mark_in_words(rows: SystemRows) -> str:
    """Explains :data:`FEWER` below a table of ``rows``; empty if no figure is marked."""
    return f"{FEWER}: on fewer candidate sets, not comparable with unmarked figures." if answer_fewer(rows) else ""


def answer_fewer(rows: SystemRows) -> set[str]:
    """Returns the names of the systems that answer fewer test sets than others of ``rows``."""
    n_sets = {row.name: len(row.results.runs[0].split(c.TEST)) for row in rows}
    most = max(n_sets.values(), default=0)
    return {name for name, n in n_sets.items() if n < most}


def by_score(all_rows: SystemRows, rows: SystemRows) -> list[Column[ComparedSystem]]:
    """Returns a column with the hit ratio by score of systems that are compared by their text, if there are any.

    Args:
        all_rows: rows of all modes.
    """
    scored = {row.name: row for row in all_rows if row.mode == "score"}
    if not any(row.mode == "generate" and row.name in scored for row in rows):
        return []
    meaning = "of a system that writes text, on the same sets: the answer is the title with the highest likelihood"
    column = Column[ComparedSystem](
        "HR@1 by score",
        meaning,
        lambda row: number(scored[row.name].test["hit_ratio@1"]) if row.mode == "generate" and row.name in scored else MISSING,
    )
    return marked(rows, column)


def differences(rows: SystemRows) -> list[Column[ComparedSystem]]:
    """Returns the columns of the differences of ``rows``; none if nothing is compared."""
    if not any(row.difference is not None for row in rows):
        return []
    meaning = joined("of HR@1 with its interval, on the sets that both answer", _hit_ratios_not_shown(rows))
    reference = next((row.name for row in rows if row.is_reference), None)
    if reference is not None and not any(row.is_versus_recommender for row in rows):
        vs_reference = Column[ComparedSystem](
            f"vs {reference}", f"difference {meaning}", lambda row: "reference" if row.is_reference else _difference(row)
        )
        return [vs_reference]
    others = "for a language model its own recommender, for others the reference, which is the best on validation"
    return [
        Column("Compared with", others, lambda row: "reference" if row.is_reference else row.versus or MISSING, is_prose=True),
        Column("Difference", meaning, _difference),
    ]


def versus(rows: SystemRows) -> list[Column[ComparedSystem]]:
    """Returns the columns of the differences of ``rows`` with their tests; none if nothing is compared."""
    columns = differences(rows)
    tested = any(row.difference is not None and row.difference.detectable is not None for row in rows)
    return [*columns, *([P_VALUE] if columns else []), *([DETECTABLE] if tested else [])]


def tuned_on(budgets: Mapping[str, str]) -> Column[ComparedSystem]:
    """Defines the column of the tuning budgets, by key of the system."""
    meaning = "prompts, or chunks of training sequences"
    return Column("Tuned on", meaning, lambda row: budgets.get(row.system.key, MISSING), is_prose=True)


def details(rows: SystemRows) -> list[Column[ComparedSystem]]:
    """Returns the columns of all metrics that at least one of ``rows`` has."""
    names = (name for name, each in METRICS.items() if each.heading and any(name in row.test for row in rows))
    columns = [VALIDATION, *(HIT_RATIO if name == "hit_ratio@1" else metric(name) for name in names)]
    return marked(rows, *columns)


def by_kind(rows: SystemRows) -> list[tuple[str, SystemRows]]:
    """Groups consecutive rows of one kind under its name."""
    return [(KIND_NAMES[kind], list(group)) for kind, group in itertools.groupby(rows, lambda row: row.system.kind)]


def leading(rows: SystemRows, limit: int) -> list[ComparedSystem]:
    """Selects ``limit`` rows, in order: the best row, the reference and those with the highest validation hit ratio@1."""
    kept = sorted(rows, key=lambda row: (row.is_best or row.is_reference, row.validation["hit_ratio@1"]), reverse=True)
    return [row for row in rows if any(row is other for other in kept[:limit])]


def _difference(row: ComparedSystem) -> str:
    return MISSING if row.difference is None else difference(row.difference)


def _hit_ratios_not_shown(rows: SystemRows) -> str:
    """States both hit ratios of every difference that rests on other sets than the hit ratios in the table."""
    shown = {row.name: number(row.test["hit_ratio@1"]) for row in rows}
    pairs = [
        f"{row.name} {both_sides(row.difference)}"
        for row in rows
        if row.difference is not None
        and (shown[row.name], shown.get(str(row.versus)))
        != (number(row.difference.hit_ratio), number(row.difference.reference_hit_ratio))
    ]
    return f"(HR@1 on these sets where the table shows another: {'; '.join(pairs)})" if pairs else ""
