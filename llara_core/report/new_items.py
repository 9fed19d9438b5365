"""The sections on new items: targets without training interactions, beside the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from llara_core import columns as c
from llara_core.evaluation.comparison import ComparedSystem
from llara_core.evaluation.intervals import user_interval
from llara_core.evaluation.metrics import Interval
from llara_core.evaluation.results import SystemResults
from llara_core.report import at_positions, system_columns
from llara_core.report.comparisons import Comparisons
from llara_core.report.layout import Column, Section, Table
from llara_core.report.wording import joined, number, signed

MIN_TARGETS = 20  # new ones on test, below which there is no section


@dataclass(frozen=True)
class NewItems:
    """What a system answers on one split, over all seeds: means over users of means over a user's candidate sets.

    Attributes:
        known: hit ratio@1 where the target has training interactions; None where there is no such set, as for the others.
        new: where it has none.
        low, high: ends of the interval of ``new`` over users.
        all: on all sets.
        picked: share of sets in which the answer is a new item.
        asked: share of sets in which the target is one.
        among_new: hit ratio@1 among the new candidates alone, where the target is new; None where nothing is ranked.
        auc: share of the other new candidates that rank behind the target, in such sets with at least one of them.
    """

    known: float | None
    new: float | None
    low: float | None
    high: float | None
    all: float
    picked: float
    asked: float
    among_new: float | None
    auc: float | None


Figures = Mapping[tuple[str, str], NewItems]  # by system and split


def section(found: Comparisons) -> Section | None:
    """Every system on the last items of users; None where fewer than :data:`MIN_TARGETS` test targets are new."""
    return _section(found, "New items", found.headlines, "test users with a new target")


def section_at_positions(found: Comparisons) -> Section | None:
    """The same at further positions; None also where none were asked."""
    rows = [row for row in found.at_positions if row.is_headline]
    if not rows:
        return None
    heading = f"New items: {at_positions.heading(found).lower()}"
    return _section(found, heading, rows, "test questions with a new target", [at_positions.WARNING])


def new_items(results: SystemResults, split: str, interval: Interval) -> NewItems:
    """The figures of a system on one split.

    Args:
        results: of the system.
        split: validation or test.
        interval: of the users' hit ratios on new targets.
    """
    sets = results.split(split)
    asked = sets[c.TARGET_IS_NEW] == 1
    new = sets[asked]
    by_user = _by_user(new, new[c.HIT])
    low, high = interval(by_user, by_user.index) if len(by_user) else (None, None)
    others = new[c.N_NEW] - 1
    behind = (new[c.N_NEW] - new[c.NEW_RANK]) / others.where(others > 0)
    is_ranked = new[c.NEW_RANK].notna().all()
    return NewItems(
        known=_mean(sets[~asked], sets.loc[~asked, c.HIT]),
        new=_mean(new, new[c.HIT]),
        low=low,
        high=high,
        all=float(_by_user(sets, sets[c.HIT]).mean()),
        picked=float(_by_user(sets, sets[c.PICKED_NEW]).mean()),
        asked=float(_by_user(sets, asked).mean()),
        among_new=_mean(new, new[c.NEW_RANK] == 1) if is_ranked else None,
        auc=_mean(new, behind) if is_ranked else None,
    )


def _section(
    found: Comparisons,
    heading: str,
    rows: Sequence[ComparedSystem],
    noun: str,
    notes: Sequence[str] = (),
) -> Section | None:
    n_new = max(_new_targets(row.results) for row in rows)
    if n_new < MIN_TARGETS:
        return None
    intervals = {split: user_interval(found.params.evaluation, found.dataset, split) for split in c.HELD_OUT}
    figures = {(row.name, split): new_items(row.results, split, intervals[split]) for row in rows for split in c.HELD_OUT}
    caption = joined(
        f"New: without training interactions; {n_new:,} {noun}. Figures are means over users. Among new: where the target is "
        "new, with the known candidates left out; AUC: the share of the other new candidates that rank behind it, .5 by "
        "chance.",
        system_columns.mark_in_words(rows),
    )
    return Section(
        heading,
        _verdict(rows, figures),
        notes=notes,
        tables=[Table(_columns(rows, figures, c.TEST), system_columns.by_kind(rows), f"On test. {caption}")],
        parts=[
            Section(
                "The same on validation",
                tables=[Table(_columns(rows, figures, c.VALIDATION), system_columns.by_kind(rows))],
                is_folded=True,
            )
        ],
    )


def _new_targets(results: SystemResults) -> int:
    """How many test questions of a system ask for a new item."""
    sets = results.runs[0].split(c.TEST)
    return int(sets.loc[sets[c.TARGET_IS_NEW] == 1, c.EXAMPLE].nunique())


def _columns(rows: Sequence[ComparedSystem], figures: Figures, split: str) -> list[Column[ComparedSystem]]:
    def column(heading: str, meaning: str, name: str) -> Column[ComparedSystem]:
        return Column(heading, meaning, lambda row: number(getattr(figures[row.name, split], name)))

    def with_interval(row: ComparedSystem) -> str:
        found = figures[row.name, split]
        return number(found.new) + (f" [{found.low:.3f}, {found.high:.3f}]" if found.low is not None else "")

    return [
        system_columns.SYSTEM,
        system_columns.mode(rows),
        *system_columns.marked(
            rows,
            column("HR@1", "on all sets", "all"),
            column("Known", "HR@1 where the target is known", "known"),
            Column("New", "HR@1 where the target is new, with its interval over users", with_interval),
            column("Picks new", "share of sets in which the answer is a new item", "picked"),
            column("Asks new", "share of sets in which the target is one", "asked"),
            column("Among new", "HR@1 among the new candidates", "among_new"),
            column("AUC", "of the target among the new candidates", "auc"),
        ),
        *(system_columns.versus(rows) if split == c.TEST else []),
    ]


def _verdict(rows: Sequence[ComparedSystem], figures: Figures) -> str:
    """What is best on new targets, chosen on validation, and what that costs on known ones."""
    best = max(rows, key=lambda row: (figures[row.name, c.VALIDATION].new or 0.0, row.validation["hit_ratio@1"]))
    chosen, tested = figures[best.name, c.VALIDATION], figures[best.name, c.TEST]
    if not chosen.new:
        return "No system ever answers with a new target on validation."
    said = (
        f"{best.name} is best on the new targets of validation (HR@1 {number(chosen.new)}); on test it reaches "
        f"{number(tested.new)} on new targets and {number(tested.known)} on known ones"
    )
    other = figures.get((str(best.versus), c.TEST))
    if other is None or None in (other.new, other.known, tested.new, tested.known):
        return f"{said}."
    gain, cost = (getattr(tested, name) - getattr(other, name) for name in ("new", "known"))
    return joined(
        f"{said}: {signed(gain)} and {signed(cost)} against {best.versus}.",
        f"It answers with a new item in {tested.picked:.0%} of the sets, where {tested.asked:.0%} of the targets are new.",
    )


def _by_user(sets: pd.DataFrame, values: pd.Series) -> pd.Series:
    means: pd.Series = values.astype(float).groupby(sets[c.USER]).mean()
    return means


def _mean(sets: pd.DataFrame, values: pd.Series) -> float | None:
    """Mean over users; None where there is no value."""
    means = _by_user(sets, values).dropna()
    return float(means.mean()) if len(means) else None
