"""The section on what systems choose, right or wrong: how many different items, how popular, and like which other system."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.evaluation.comparison import ComparedSystem
from llara_core.report.comparisons import Comparisons, training_counts
from llara_core.report.layout import MISSING, Column, Section, Table
from llara_core.report.wording import described, number, sizes

_KEYS = [c.EXAMPLE, c.DRAW]


@dataclass(frozen=True)
class Choices:
    """What a system answers on the test candidate sets of the first draw, over all seeds.

    Attributes:
        row: the system, in its headline mode.
        distinct: different items among its choices in one run, per candidate set; mean over the runs.
        popularity: mean share of the catalogue that is less popular in training than its choice, an item as popular counting
            half; .5 for a choice at random among all items.
        agreement: share of sets on which it chooses what the best conventional system chooses; None for that system.
    """

    row: ComparedSystem
    distinct: float
    popularity: float
    agreement: float | None


COLUMNS: list[Column[Choices]] = [
    Column("System", "", lambda each: described(each.row), is_prose=True),
    Column("Answers by", "", lambda each: each.row.mode, is_prose=True),
    Column("Distinct", "different items that it chooses, per candidate set", lambda each: number(each.distinct)),
    Column(
        "Popularity",
        "mean share of the catalogue that is less popular in training than its choice",
        lambda each: number(each.popularity),
    ),
    Column(
        "Agreement",
        "share of sets on which it makes the same choice as the conventional system that is best on validation",
        lambda each: MISSING if each.agreement is None else number(each.agreement),
    ),
    Column("Users x sets", "test users times candidate sets of each (times seeds)", lambda each: sizes(each.row, 1)),
]


def section(found: Comparisons) -> Section | None:
    """The choices of all systems; None where the systems answer no common candidate set."""
    rows = choices(found)
    target = target_popularity(found)
    caption = (
        "First choices on the first candidate set of every test user; answers that name no candidate choose nothing. The "
        f"targets themselves have popularity {number(target)}. A system can be right about popular items alone, and then "
        "recommends few things to all."
    )
    return Section("Beyond accuracy", _verdict(rows, target), tables=[Table(COLUMNS, [("", rows)], caption)])


def choices(found: Comparisons) -> list[Choices]:
    """The choices of every system in its headline mode, in the order of the report."""
    percentile = popularity_percentiles(training_counts(found.dataset))
    reference = next((row for row in found.headlines if row.is_reference), None)
    return [_choices(row, reference, percentile) for row in found.headlines]


def popularity_percentiles(counts: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """Share of the other items that are less popular, an item as popular counting half, ``(n_items,)``.

    >>> popularity_percentiles(np.array([5, 1, 1])).tolist()
    [1.0, 0.25, 0.25]
    """
    ordered = np.sort(counts)
    below, upto = np.searchsorted(ordered, counts, "left"), np.searchsorted(ordered, counts, "right")
    shares: npt.NDArray[np.float64] = (below + (upto - below - 1) / 2) / max(len(counts) - 1, 1)
    return shares


def target_popularity(found: Comparisons) -> float:
    """Mean popularity of the test targets."""
    examples = tables.read_table(paths.prepared(found.dataset) / "examples.parquet", tables.EXAMPLES)
    targets = examples.loc[examples[c.SPLIT] == c.TEST, c.TARGET].to_numpy()
    return float(popularity_percentiles(training_counts(found.dataset))[targets].mean())


def _choices(row: ComparedSystem, reference: ComparedSystem | None, percentile: npt.NDArray[np.float64]) -> Choices:
    runs = [_first_draw(run.split(c.TEST)) for run in row.results.runs]
    chosen = pd.concat(runs)[c.PREDICTED].dropna().astype(int)
    return Choices(
        row=row,
        distinct=float(np.mean([run[c.PREDICTED].dropna().nunique() / len(run) for run in runs])),
        popularity=float(percentile[chosen].mean()) if len(chosen) else 0.0,
        agreement=None if reference is None or row is reference else _agreement(runs, reference),
    )


def _agreement(runs: Sequence[pd.DataFrame], reference: ComparedSystem) -> float:
    """Runs of the same seed side by side; what has one run is set beside each of the other's."""
    others = [_first_draw(run.split(c.TEST)) for run in reference.results.runs]
    n_pairs = max(len(runs), len(others))
    pairs = [(runs[place % len(runs)], others[place % len(others)]) for place in range(n_pairs)]
    both = pd.concat([own.merge(other, on=_KEYS, suffixes=("", "_other")) for own, other in pairs])
    return float((both[c.PREDICTED] == both[f"{c.PREDICTED}_other"]).fillna(False).mean())


def _first_draw(results: pd.DataFrame) -> pd.DataFrame:
    return results.loc[results[c.DRAW] == 0, [*_KEYS, c.PREDICTED]]


def _verdict(rows: Sequence[Choices], target: float) -> str:
    fewest, most = min(rows, key=lambda each: each.distinct), max(rows, key=lambda each: each.popularity)
    return (
        f"The targets are more popular than {target:.0%} of the catalogue; the choices of {most.row.name} are the most popular "
        f"({most.popularity:.0%}). {fewest.row.name} chooses the fewest different items ({fewest.distinct:.2f} per set)."
    )
