"""Report section on the diversity, popularity and agreement of the systems' choices, and on the calibration of their scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.evaluation.calibration import N_BINS, Calibration
from llara_core.evaluation.comparison import ComparedSystem
from llara_core.report.comparisons import Comparisons
from llara_core.report.layout import Column, ReportSection, Table
from llara_core.report.system_columns import OF_ROW, mark_in_words, marked_of, number_column
from llara_core.report.wording import joined, listed, number, sizes


@dataclass(frozen=True)
class Choices:
    """Choices of a system on the first test candidate set of every user, over all seeds."""

    row: ComparedSystem  # the system in its primary mode
    distinct: float  # number of different items chosen in a run per candidate set; mean over runs
    # mean share of the catalogue less popular in training than the choice; equally popular items count half, so .5 is random
    popularity: float
    # share of sets on which the system chooses the same item as the best conventional system; None for that system
    agreement: float | None


@dataclass(frozen=True)
class SystemCalibration:
    """Calibration of a system that scores candidates: one entry per run, and the mean over runs."""

    row: ComparedSystem
    runs: list[Calibration]

    def mean(self, name: str) -> float:
        """Returns the mean of an attribute of :class:`Calibration` over the runs."""
        return float(np.mean([getattr(run, name) for run in self.runs]))


COLUMNS: list[Column[Choices]] = [
    *OF_ROW,
    number_column("Distinct", "number of different items chosen, per candidate set", "distinct"),
    number_column("Popularity", "mean share of the catalogue that is less popular in training than the choice", "popularity"),
    number_column(
        "Agreement", "share of sets with the same choice as the conventional system that is best on validation", "agreement"
    ),
    Column("Users x sets", "test users times candidate sets of each (times seeds)", lambda each: sizes(each.row, 1)),
]


def _mean_column(heading: str, meaning: str, name: str) -> Column[SystemCalibration]:
    return Column(heading, meaning, lambda each: number(each.mean(name)))


CALIBRATION_FIGURES: list[Column[SystemCalibration]] = [
    _mean_column("Log-likelihood", "mean log-probability of the test targets, in nats; higher is better", "log_likelihood"),
    Column(
        "Temperature",
        "divisor of the scores that maximises the likelihood of the validation targets; above 1: over-confident; none: no "
        "scaling beats uniform probabilities",
        lambda each: ", ".join(dict.fromkeys(_temperature(run.inverse_temperature) for run in each.runs)),
    ),
    _mean_column("Log-likelihood, scaled", "with the temperature", "calibrated_log_likelihood"),
    _mean_column(
        "Calibration error",
        f"mean distance between the probability of the first choice and how often it is right, in {N_BINS} bins of that "
        "probability",
        "calibration_error",
    ),
    _mean_column("Calibration error, scaled", "with the temperature", "calibrated_calibration_error"),
]


def section(comparisons: Comparisons) -> ReportSection:
    """Describes the choices of all systems, and in a folded part the calibration of those that score candidates."""
    rows = choices(comparisons)
    target = target_popularity(comparisons)
    caption = (
        "First choices on the first candidate set of every test user; an answer that names no candidate is no choice. The "
        f"targets themselves have popularity {number(target)}. A system can be right on popular items alone, and then "
        "recommends few different items."
    )
    parts = []
    if scored := calibrations(comparisons):
        uniform = -math.log(comparisons.params.candidates.n_candidates)
        about = joined(
            "The probability of a candidate is the softmax of the scores over its set. Uniform probabilities have a "
            f"log-likelihood of {number(uniform)}; the scores of a system below that mislead when read as probabilities, "
            "however well it ranks. The scores of baselines are counts, similarities or a random order, which are no "
            "probabilities before scaling. A temperature changes no ranking and no hit ratio.",
            mark_in_words([each.row for each in scored]),
        )
        figures = marked_of(lambda each: each.row, scored, *CALIBRATION_FIGURES)
        table = Table([*OF_ROW, *figures, Column("Users x sets", "", lambda each: sizes(each.row))], [("", scored)], about)
        parts = [ReportSection("Calibration", _calibration_verdict(scored, uniform), tables=[table], is_folded=True)]
    table_of_choices = Table(COLUMNS, [("", rows)], caption)
    return ReportSection("Beyond accuracy", _verdict(rows, target), tables=[table_of_choices], parts=parts)


def calibrations(comparisons: Comparisons) -> list[SystemCalibration]:
    """Returns the calibration of every system in every mode with scores, in the order of the report."""
    return [
        SystemCalibration(row, runs)
        for row in comparisons.rows
        if (runs := [run.calibration for run in row.results.runs if run.calibration is not None])
    ]


def choices(comparisons: Comparisons) -> list[Choices]:
    """Describes the choices of every system in its primary mode, in the order of the report."""
    percentile = popularity_percentiles(comparisons.training_counts)
    reference = next((row for row in comparisons.primary_rows if row.is_reference), None)
    return [_choices(row, reference, percentile) for row in comparisons.primary_rows]


def popularity_percentiles(counts: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """Returns the share of other items that are less popular than each item, ``(n_items,)``; equally popular ones count half.

    >>> popularity_percentiles(np.array([5, 1, 1])).tolist()
    [1.0, 0.25, 0.25]
    """
    shares: npt.NDArray[np.float64] = (pd.Series(counts).rank().to_numpy() - 1) / max(len(counts) - 1, 1)
    return shares


def target_popularity(comparisons: Comparisons) -> float:
    """Returns the mean popularity of the test targets."""
    examples = tables.read_table(paths.examples(comparisons.dataset), tables.EXAMPLES)
    targets = examples.loc[examples[c.SPLIT] == c.TEST, c.TARGET].to_numpy()
    return float(popularity_percentiles(comparisons.training_counts)[targets].mean())


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
    """Returns the share of equal choices; runs are paired by seed, and a system's only run with every run of the other."""
    others = [_first_draw(run.split(c.TEST)) for run in reference.results.runs]
    n_pairs = max(len(runs), len(others))
    pairs = [(runs[place % len(runs)], others[place % len(others)]) for place in range(n_pairs)]
    both = pd.concat([own.merge(other, on=c.SET_KEYS, suffixes=("", "_other")) for own, other in pairs])
    return float((both[c.PREDICTED] == both[f"{c.PREDICTED}_other"]).fillna(False).mean())


def _first_draw(results: pd.DataFrame) -> pd.DataFrame:
    return results.loc[results[c.DRAW] == 0, [*c.SET_KEYS, c.PREDICTED]]


def _verdict(rows: Sequence[Choices], target: float) -> str:
    fewest, most = min(rows, key=lambda each: each.distinct), max(rows, key=lambda each: each.popularity)
    return (
        f"The targets are more popular than {target:.0%} of the catalogue; the choices of {most.row.name} are the most popular "
        f"({most.popularity:.0%}). {fewest.row.name} chooses the fewest different items ({fewest.distinct:.2f} per set)."
    )


def _temperature(inverse: float) -> str:
    if not inverse:
        return "none"
    return f"{1 / inverse:.2f}" if inverse > 0.01 else f"{1 / inverse:,.0f}"


def _calibration_verdict(scored: Sequence[SystemCalibration], uniform: float) -> str:
    models = [each for each in scored if each.row.system.kind != "baseline"]
    below = [f"{each.row.name} ({each.row.mode})" for each in models if each.mean("log_likelihood") < uniform]
    best = max(scored, key=lambda each: each.mean("calibrated_log_likelihood"))
    return joined(
        f"Read as probabilities, the scores of {listed(below)} are worse than uniform ones." if below else "",
        f"With temperatures, {best.row.name} ({best.row.mode}) gives the targets the highest log-likelihood "
        f"({number(best.mean('calibrated_log_likelihood'))} nats; uniform: {number(uniform)}).",
    )
