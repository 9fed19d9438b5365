"""The section on the questions at further positions of held-out users: another protocol, with a table of its own."""

from __future__ import annotations

from collections.abc import Sequence

from llara_core.data.positions import MAX_QUESTIONS
from llara_core.evaluation.comparison import ComparedSystem
from llara_core.report import system_columns, verdict
from llara_core.report.comparisons import Comparisons
from llara_core.report.layout import Column, Section, Table
from llara_core.report.wording import count, joined, measure

WARNING = (
    "This is another protocol than that of all other tables, with other questions and other candidate sets: never compare "
    "their figures with those here."
)


def section(found: Comparisons) -> Section | None:
    """One row per system that was asked there; None where none was."""
    rows = [row for row in found.at_positions if row.is_headline]
    if not rows:
        return None
    positions, level = found.params.evaluation.positions, found.params.evaluation.confidence
    asked = "Every item" if positions == "all" else f"Up to {count(int(positions), 'item')}, drawn at random,"
    note = (
        f"{WARNING} {asked} of each held-out user with at least one item before it is asked for, with one candidate set each; "
        f"beyond {MAX_QUESTIONS:,} questions per split, fewer of every user alike. A user's figure is the mean over the user's "
        "positions, and the figures are means over users."
    )
    caption = joined(
        "Bold: best on the validation questions of this protocol, which also choose the reference. Intervals cover "
        f"{level:.0%}; users are resampled with all their positions, and tests compare users. p is adjusted for the tests in "
        "this table (Holm).",
        system_columns.mark_in_words(rows),
    )
    llms = [row for row in rows if row.system.is_llm and row.system.kind != "fused"]
    compared = verdict.compared(llms, "LLM system", found.level)
    table = Table(_columns(rows), system_columns.by_kind(rows), caption)
    return Section(heading(found), _leader(rows), notes=[*([compared] if compared else []), note], tables=[table])


def heading(found: Comparisons) -> str:
    """By what was asked."""
    positions = found.params.evaluation.positions
    return "At every position" if positions == "all" else f"At {count(int(positions), 'position')} per user"


def _columns(rows: Sequence[ComparedSystem]) -> list[Column[ComparedSystem]]:
    return [
        system_columns.SYSTEM,
        system_columns.mode(rows),
        *system_columns.marked(
            rows,
            Column("Validation HR@1", "on the validation questions of this protocol", system_columns.VALIDATION.text),
            Column("HR@1", "mean over users, with its interval; an invalid answer is a miss", system_columns.HIT_RATIO.text),
        ),
        *system_columns.versus(rows),
        *system_columns.marked(rows, Column("NDCG@10", "mean over users", measure("ndcg@10"))),
        Column("Users x positions", "test users times positions per user on average (times seeds)", sizes),
    ]


def sizes(row: ComparedSystem) -> str:
    """Test users, questions per user on average, and runs where there are several."""
    n_users, n_questions, n_runs = row.test["n_users"], row.test["n_questions"], len(row.results.runs)
    return f"{n_users} x {n_questions / n_users:.1f}{f' x {n_runs}' if n_runs > 1 else ''}"


def _leader(rows: Sequence[ComparedSystem]) -> str:
    best = next(row for row in rows if row.is_best)
    return joined(
        f"{best.name} is best on the validation questions here and reaches {system_columns.HIT_RATIO.text(best)} on test "
        f"({sizes(best)} users x positions).",
        verdict.fusions_ahead(rows),
    )
