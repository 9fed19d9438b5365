"""The section on what systems choose, right or wrong: how many different items, how popular, and like which other system."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.evaluation.calibration import N_BINS
from llara_core.evaluation.comparison import ComparedSystem
from llara_core.evaluation.results import training_counts
from llara_core.report.comparisons import Comparisons
from llara_core.report.layout import MISSING, Column, Section, Table
from llara_core.report.wording import described, joined, listed, number, sizes

_KEYS = [c.EXAMPLE, c.DRAW]
_MEANS = ("log_likelihood", "calibrated_log_likelihood", "calibration_error", "calibrated_calibration_error")


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


@dataclass(frozen=True)
class Shares:
    """The calibration of a system that scores candidates, mean over its runs."""

    row: ComparedSystem
    temperatures: tuple[float | None, ...]  # of the runs; None: infinite
    log_likelihood: float
    calibrated_log_likelihood: float
    calibration_error: float
    calibrated_calibration_error: float


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


CALIBRATION_COLUMNS: list[Column[Shares]] = [
    Column("System", "", lambda each: described(each.row), is_prose=True),
    Column("Answers by", "", lambda each: each.row.mode, is_prose=True),
    Column(
        "Log-likelihood",
        "mean log share of the test targets, in nats; higher is better",
        lambda each: number(each.log_likelihood),
    ),
    Column(
        "Temperature",
        "divides the scores; fitted on validation, where it makes the targets most likely; above 1: over-confident; none: no "
        "use of the scores is better than equal shares",
        lambda each: ", ".join(dict.fromkeys(map(_temperature, each.temperatures))),
    ),
    Column("Log-likelihood, scaled", "with the temperature", lambda each: number(each.calibrated_log_likelihood)),
    Column(
        "Calibration error",
        f"distance between the share of first choices and how often they are right, in {N_BINS} bins of the share",
        lambda each: number(each.calibration_error),
    ),
    Column("Calibration error, scaled", "with the temperature", lambda each: number(each.calibrated_calibration_error)),
    Column("Users x sets", "", lambda each: sizes(each.row)),
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
    calibration = []
    if scored := shares(found):
        uniform = -math.log(found.params.candidates.n_candidates)
        about = (
            "Scores as probabilities: the share of a candidate is the softmax of the scores over its set. Equal shares have a "
            f"log-likelihood of {number(uniform)}; a system below that misleads whoever takes its scores at their word, "
            "however well it ranks. The scores of baselines are counts, similarities or a random order, and mean no "
            "probabilities before they are scaled. A temperature changes no ranking and no hit ratio."
        )
        table = Table(CALIBRATION_COLUMNS, [("", scored)], about)
        calibration = [Section("Calibration", _calibration_verdict(scored, uniform), tables=[table], is_folded=True)]
    return Section("Beyond accuracy", _verdict(rows, target), tables=[Table(COLUMNS, [("", rows)], caption)], parts=calibration)


def shares(found: Comparisons) -> list[Shares]:
    """The calibration of every system in every mode with scores, in the order of the report."""
    return [
        Shares(
            row,
            tuple(1 / each.inverse_temperature if each.inverse_temperature else None for each in runs),
            *(float(np.mean([getattr(each, name) for each in runs])) for name in _MEANS),
        )
        for row in found.rows
        if (runs := [run.calibration for run in row.results.runs if run.calibration is not None])
    ]


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


def _temperature(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def _calibration_verdict(scored: Sequence[Shares], uniform: float) -> str:
    meant = [each for each in scored if each.row.system.kind != "baseline"]
    below = [f"{each.row.name} ({each.row.mode})" for each in meant if each.log_likelihood < uniform]
    best = max(scored, key=lambda each: each.calibrated_log_likelihood)
    return joined(
        f"Taken as probabilities, the scores of {listed(below)} are worse than equal shares." if below else "",
        f"With temperatures, {best.row.name} ({best.row.mode}) makes the targets most likely "
        f"({number(best.calibrated_log_likelihood)} nats against {number(uniform)} for equal shares).",
    )
