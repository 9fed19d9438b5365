"""The sections on new items: targets without training interactions, beside the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.evaluation.comparison import ComparedSystem
from llara_core.evaluation.intervals import user_interval
from llara_core.evaluation.results import training_counts
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
    examples = tables.read_table(paths.prepared(found.dataset) / "examples.parquet", tables.EXAMPLES)
    return _section(found, "New items", found.headlines, examples, "test users with a new target")


def section_at_positions(found: Comparisons) -> Section | None:
    """The same at further positions; None also where none were asked."""
    rows = [row for row in found.at_positions if row.is_headline]
    if not rows:
        return None
    questions = tables.read_table(paths.positions(found.dataset) / "questions.parquet", tables.POSITIONS)
    heading = f"New items: {at_positions.heading(found).lower()}"
    return _section(found, heading, rows, questions, "test questions with a new target", [at_positions.WARNING])


def new_items(row: ComparedSystem, split: str, is_new: np.ndarray, targets: pd.Series, found: Comparisons) -> NewItems:
    """The figures of a system on one split.

    Args:
        row: the system.
        split: validation or test.
        is_new: ``(n_items,)`` whether an item has no training interaction.
        targets: by example.
        found: of the data set.
    """
    sets = row.results.split(split)
    asked = is_new[targets.loc[sets[c.EXAMPLE]].to_numpy()]
    picked = (sets[c.VALID] == 1).to_numpy() & is_new[sets[c.PREDICTED].fillna(0).to_numpy(int)]
    new = sets[asked]
    by_user = _by_user(new, new[c.HIT])
    interval = user_interval(found.params.evaluation, found.dataset, split)
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
        picked=float(_by_user(sets, pd.Series(picked, sets.index)).mean()),
        asked=float(_by_user(sets, pd.Series(asked, sets.index)).mean()),
        among_new=_mean(new, new[c.NEW_RANK] == 1) if is_ranked else None,
        auc=_mean(new, behind) if is_ranked else None,
    )


def _section(
    found: Comparisons,
    heading: str,
    rows: Sequence[ComparedSystem],
    examples: pd.DataFrame,
    noun: str,
    notes: Sequence[str] = (),
) -> Section | None:
    is_new = training_counts(found.dataset) == 0
    n_new = int(is_new[examples.loc[examples[c.SPLIT] == c.TEST, c.TARGET].to_numpy()].sum())
    if n_new < MIN_TARGETS:
        return None
    targets = examples.set_index(c.EXAMPLE)[c.TARGET]
    figures = {(row.name, split): new_items(row, split, is_new, targets, found) for row in rows for split in c.HELD_OUT}
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
