"""Report section on questions at further positions of held-out users, a protocol of its own."""

from __future__ import annotations

from collections.abc import Sequence

from llara_core.answers.held_out import Scope
from llara_core.data.positions import MAX_QUESTIONS
from llara_core.evaluation.comparison import ComparedSystem
from llara_core.report import system_columns, verdict, wording
from llara_core.report.comparisons import Comparisons
from llara_core.report.layout import Column, ReportSection, Table
from llara_core.report.wording import count, joined, measure

WARNING = (
    "This protocol differs from that of all other tables: its questions and candidate sets are others, so its figures must "
    "not be compared with theirs."
)


def section(comparisons: Comparisons) -> ReportSection | None:
    """Compares the systems that were asked at further positions; None where none was."""
    rows = comparisons.primary_rows_at_positions
    if not rows:
        return None
    positions, level = comparisons.config.positions, comparisons.config.confidence
    asked = "Every item" if positions == "all" else f"Up to {count(int(positions), 'item')}, drawn at random,"
    note = (
        f"{WARNING} {asked} with at least one earlier item serves as the target for each held-out user, with one candidate "
        f"set each; beyond {MAX_QUESTIONS:,} questions per split, every user has equally fewer. Figures are means over users "
        "of the mean over a user's positions."
    )
    caption = joined(
        "Bold: best on the validation questions of this protocol, which also determine the reference. Intervals cover "
        f"{level:.0%}; users are resampled with all their positions, and tests compare users. p is Holm-adjusted over the "
        "tests in this table.",
        system_columns.mark_in_words(rows),
    )
    llms = [row for row in rows if row.system.is_llm and row.system.kind != "fused"]
    compared = verdict.compared(llms, "LLM system", comparisons.level)
    table = Table(_columns(rows), system_columns.by_kind(rows), caption)
    return ReportSection(heading(comparisons), _leader(rows), notes=[*([compared] if compared else []), note], tables=[table])


def heading(comparisons: Comparisons) -> str:
    """Returns the heading, with the number of positions per user."""
    positions = comparisons.config.positions
    return "At every position" if positions == "all" else f"At {count(int(positions), 'position')} per user"


def heading_and_notes(title: str, comparisons: Comparisons, scope: Scope) -> tuple[str, list[str]]:
    """Returns the heading and the notes of a section that covers either protocol."""
    return (title, []) if scope == "last" else (f"{title}: {heading(comparisons).lower()}", [WARNING])


def _columns(rows: Sequence[ComparedSystem]) -> list[Column[ComparedSystem]]:
    return [
        system_columns.SYSTEM,
        system_columns.mode(rows),
        *system_columns.marked(
            rows,
            Column("Validation HR@1", "on the validation questions of this protocol", system_columns.VALIDATION.text),
            Column(
                "HR@1", "mean over users, with its interval; an invalid answer counts as a miss", system_columns.HIT_RATIO.text
            ),
        ),
        *system_columns.versus(rows),
        *system_columns.marked(rows, Column("NDCG@10", "mean over users", measure("ndcg@10"))),
        Column("Users x positions", "test users times positions per user on average (times seeds)", sizes),
    ]


def sizes(row: ComparedSystem) -> str:
    """Formats test users x questions per user on average, x runs where there are several."""
    return wording.sizes(row, round(row.test["n_questions"] / row.test["n_users"], 1))


def _leader(rows: Sequence[ComparedSystem]) -> str:
    best = next(row for row in rows if row.is_best)
    return joined(
        f"{best.name} is best on the validation questions here and reaches {system_columns.HIT_RATIO.text(best)} on test "
        f"({sizes(best)} users x positions).",
        verdict.fusions_ahead(rows),
    )
