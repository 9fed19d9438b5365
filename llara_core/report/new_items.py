"""Report sections on new items, that is, targets without training interactions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from llara_core import columns as c
from llara_core.answers.held_out import Scope
from llara_core.evaluation.comparison import ComparedSystem
from llara_core.evaluation.means import user_interval
from llara_core.evaluation.metrics import Interval
from llara_core.evaluation.results import SystemResults
from llara_core.report import at_positions, system_columns
from llara_core.report.comparisons import Comparisons
from llara_core.report.layout import Column, ReportSection, Table
from llara_core.report.wording import joined, number, signed

# Number and share of new test targets below which the section is left out: the few that a split leaves by chance show nothing.
MIN_TARGETS, MIN_SHARE = 20, 0.01


@dataclass(frozen=True)
class NewItemMetrics:
    """Metrics of a system on one split over all seeds: means over users of means over a user's candidate sets."""

    known: float | None  # hit ratio@1 on targets with training interactions; None without such targets
    new: float | None  # hit ratio@1 on targets without training interactions; None without such targets
    # ends of the interval of ``new`` over users
    low: float | None
    high: float | None
    all: float  # hit ratio@1 on all sets
    picked: float  # share of sets on which the answer is a new item
    asked: float  # share of sets on which the target is a new item
    among_new: float | None  # hit ratio@1 among the new candidates alone, on new targets; None for a system that does not rank
    # share of the other new candidates ranked behind the target, over sets with a new target and at least one of them
    auc: float | None


MetricsBySystem = Mapping[tuple[str, str], NewItemMetrics]  # metrics by system and split


def new_items(results: SystemResults, split: str, interval: Interval) -> NewItemMetrics:
    """Computes the metrics of a system on one split.

    Args:
        interval: computes the interval of the users' hit ratios on new targets.
    """
    sets = results.split(split)
    asked = sets[c.TARGET_IS_NEW] == 1
    new = sets[asked]
    by_user = _by_user(new, new[c.HIT])
    low, high = interval(by_user, by_user.index) if len(by_user) else (None, None)
    others = new[c.N_NEW] - 1
    behind = (new[c.N_NEW] - new[c.NEW_RANK]) / others.where(others > 0)
    is_ranked = new[c.NEW_RANK].notna().all()
    return NewItemMetrics(
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


def section(comparisons: Comparisons, scope: Scope = "last") -> ReportSection | None:
    """Compares systems on new targets; None where too few test targets are new (:data:`MIN_TARGETS`, :data:`MIN_SHARE`)."""
    rows = comparisons.primary_rows if scope == "last" else comparisons.primary_rows_at_positions
    n_new, share = max((_new_targets(row.results) for row in rows), default=(0, 0.0))
    if n_new < MIN_TARGETS or share < MIN_SHARE:
        return None
    intervals = {split: user_interval(comparisons.config, comparisons.dataset, split) for split in c.HELD_OUT}
    figures = {(row.name, split): new_items(row.results, split, intervals[split]) for row in rows for split in c.HELD_OUT}
    asked = "test users" if scope == "last" else "test questions"
    caption = joined(
        f"New: without training interactions; {n_new:,} {asked} with a new target. Figures are means over users. Among "
        "new: on new targets, without the known candidates. AUC: share of the other new candidates that rank behind the "
        "target; .5 by chance.",
        system_columns.mark_in_words(rows),
    )

    def table(split: str, caption: str = "") -> Table[ComparedSystem]:
        return Table(_columns(rows, figures, split), system_columns.by_kind(rows), caption)

    heading, notes = at_positions.heading_and_notes("New items", comparisons, scope)
    return ReportSection(
        heading,
        _verdict(rows, figures),
        notes=notes,
        tables=[table(c.TEST, f"On test. {caption}")],
        parts=[ReportSection("The same on validation", tables=[table(c.VALIDATION)], is_folded=True)],
    )


def _new_targets(results: SystemResults) -> tuple[int, float]:
    """Returns the number of a system's test questions whose target is a new item, and their share."""
    sets = results.runs[0].split(c.TEST)
    n_new = sets.loc[sets[c.TARGET_IS_NEW] == 1, c.EXAMPLE].nunique()
    return int(n_new), n_new / sets[c.EXAMPLE].nunique()


def _columns(rows: Sequence[ComparedSystem], figures: MetricsBySystem, split: str) -> list[Column[ComparedSystem]]:
    def column(heading: str, meaning: str, name: str) -> Column[ComparedSystem]:
        return Column(heading, meaning, lambda row: number(getattr(figures[row.name, split], name)))

    def with_interval(row: ComparedSystem) -> str:
        metrics = figures[row.name, split]
        return number(metrics.new) + (f" [{metrics.low:.3f}, {metrics.high:.3f}]" if metrics.low is not None else "")

    return [
        system_columns.SYSTEM,
        system_columns.mode(rows),
        *system_columns.marked(
            rows,
            column("HR@1", "on all sets", "all"),
            column("Known", "HR@1 on known targets", "known"),
            Column("New", "HR@1 on new targets, with its interval over users", with_interval),
            column("Picks new", "share of sets on which the answer is a new item", "picked"),
            column("Asks new", "share of sets on which the target is a new item", "asked"),
            column("Among new", "HR@1 among the new candidates", "among_new"),
            column("AUC", "AUC of the target among the new candidates", "auc"),
        ),
        *(system_columns.versus(rows) if split == c.TEST else []),
    ]


def _verdict(rows: Sequence[ComparedSystem], figures: MetricsBySystem) -> str:
    """Names the system that is best on new validation targets, and compares its test results with those of its reference."""
    best = max(rows, key=lambda row: (figures[row.name, c.VALIDATION].new or 0.0, row.validation["hit_ratio@1"]))
    chosen, tested = figures[best.name, c.VALIDATION], figures[best.name, c.TEST]
    if not chosen.new:
        return "No system ever answers with a new target on validation."
    lead = (
        f"{best.name} is best on the new targets of validation (HR@1 {number(chosen.new)}); on test it reaches "
        f"{number(tested.new)} on new targets and {number(tested.known)} on known ones"
    )
    other = figures.get((str(best.versus), c.TEST))
    if other is None or None in (other.new, other.known, tested.new, tested.known):
        return f"{lead}."
    gain, cost = (getattr(tested, name) - getattr(other, name) for name in ("new", "known"))
    return joined(
        f"{lead}: {signed(gain)} and {signed(cost)} against {best.versus}.",
        f"It answers with a new item on {tested.picked:.0%} of the sets; {tested.asked:.0%} of the targets are new.",
    )


def _by_user(sets: pd.DataFrame, values: pd.Series) -> pd.Series:
    means: pd.Series = values.astype(float).groupby(sets[c.USER]).mean()
    return means


def _mean(sets: pd.DataFrame, values: pd.Series) -> float | None:
    """Returns the mean over users; None where there is no value."""
    means = _by_user(sets, values).dropna()
    return float(means.mean()) if len(means) else None
