"""All systems of one dataset side by side, each tested against the best conventional recommender."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pandas as pd

from llara_core import columns as c
from llara_core import paths
from llara_core.config import EvaluationConfig, RunConfig
from llara_core.errors import ConfigError, DataError
from llara_core.evaluation import metrics, significance
from llara_core.evaluation.results import CellResults, Ground, read_cell, short_hash, user_interval
from llara_core.seeding import numpy_stream

Kind = Literal["recommender", "llm", "fused"]


@dataclass(frozen=True)
class System:
    """One system of the axes in ``params.yaml`` and its cells, one per seed."""

    kind: Kind
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Difference:
    """Hit ratio@1 of a system minus that of the reference, mean over users on the test candidate sets that both answer.

    Attributes:
        mean: of the users' differences.
        low: lower end of its interval.
        high: upper end of its interval.
        p_value: of the paired sign-flip test, adjusted for all systems of the table (Holm).
    """

    mean: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True)
class SystemResult:
    """One row of the report: a system in one mode, over all its seeds.

    Attributes:
        kind: what it is.
        system: its name.
        mode: how it answers.
        objective: tuning objective, ``none`` for recommenders.
        note: e.g. the weight of a fusion.
        n_seeds: trained and averaged.
        seed_deviation: standard deviation of the test hit ratio@1 over the seeds, None for one seed.
        test: means of :func:`metrics.aggregate` on test.
        validation: the same on validation.
        difference: to the reference; None for the reference itself or where there is none.
        is_reference: whether it is the best recommender on validation.
    """

    kind: Kind
    system: str
    mode: str
    objective: str
    note: str
    n_seeds: int
    seed_deviation: float | None
    test: dict[str, float]
    validation: dict[str, float]
    difference: Difference | None = None
    is_reference: bool = False


def systems_of(run: RunConfig) -> list[System]:
    """The systems that the axes define, in the order of the report."""
    baselines = [System("recommender", (baseline,)) for baseline in run.baselines]
    recommenders = [
        System("recommender", tuple(paths.recommender_cell(name, seed) for seed in run.seeds)) for name in run.recommenders
    ]
    llm = [
        System("llm", tuple(paths.llm_cell(name, recommender, seed) for seed in run.seeds))
        for name in run.systems
        for recommender in run.llm_recommenders
    ]
    fused = [System("fused", tuple(paths.fused_cell(cell) for cell in system.cells)) for system in llm]
    return baselines + recommenders + llm + fused


def compare(ground: Ground, run: RunConfig, config: EvaluationConfig) -> list[SystemResult]:
    """Measure every system of the axes on ``ground`` and test each against the best recommender.

    The best recommender is the one with the highest hit ratio@1 on validation, so the choice does not profit from test.

    Raises:
        ConfigError: the axes name no system.
        DataError: predictions are missing, incomplete, or answer other candidate sets.
    """
    if not systems_of(run):
        raise ConfigError(
            f"{paths.PARAMS}: run.baselines, run.recommenders and run.systems are all empty, so there is nothing to compare; "
            "name at least one system"
        )
    answers = [(system.kind, seeds) for system in systems_of(run) for seeds in _by_mode(ground, system)]
    require_same_candidates([cell for _, seeds in answers for cell in seeds])
    rows = [_summarise(kind, seeds, config) for kind, seeds in answers]
    recommenders = [index for index, row in enumerate(rows) if row.kind == "recommender"]
    if not recommenders:
        return rows
    best = max(recommenders, key=lambda index: rows[index].validation["hit_ratio@1"])
    others = [index for index in range(len(rows)) if index != best]
    differences = [_difference(answers[index][1], answers[best][1], config) for index in others]
    adjusted = significance.holm([difference.p_value for difference in differences])
    rows[best] = replace(rows[best], is_reference=True)
    for index, difference, p_value in zip(others, differences, adjusted, strict=True):
        rows[index] = replace(rows[index], difference=replace(difference, p_value=float(p_value)))
    return rows


def require_same_candidates(cells: Sequence[CellResults]) -> None:
    """Refuse to compare systems that answered different candidate sets.

    Raises:
        DataError: two candidate-set hashes differ; names both systems.
    """
    for cell in cells[1:]:
        first = cells[0].facts
        if cell.facts.candidates_hash != first.candidates_hash:
            raise DataError(
                f"{first.system} ({first.mode}) answers the candidate sets {short_hash(first.candidates_hash)}, but "
                f"{cell.facts.system} ({cell.facts.mode}) those of {short_hash(cell.facts.candidates_hash)}; they must not be "
                "compared: run `dvc repro` to predict again"
            )


def user_differences(system: pd.DataFrame, reference: pd.DataFrame) -> pd.Series:
    """Per user, mean hit of ``system`` minus mean hit of ``reference`` over the candidate sets that both answer.

    Args:
        system: rows of :func:`metrics.per_set_results`; several seeds of one set are averaged first.
        reference: the same of the reference.
    """
    keys = [c.USER, c.EXAMPLE, c.DRAW]
    hits = [rows.groupby(keys)[metrics.HIT].mean() for rows in (system, reference)]
    common = pd.concat(hits, axis=1, join="inner", keys=["system", "reference"])
    differences: pd.Series = (common["system"] - common["reference"]).groupby(level=c.USER).mean()
    return differences


def _by_mode(ground: Ground, system: System) -> list[list[CellResults]]:
    """The system's answers grouped by mode, each with all seeds; every seed must have the same modes."""
    per_seed = [{answers.facts.mode: answers for answers in read_cell(ground, cell)} for cell in system.cells]
    for cell, modes in zip(system.cells, per_seed, strict=True):
        if modes.keys() != per_seed[0].keys():
            raise DataError(
                f"{cell} answers by {sorted(modes)}, but {system.cells[0]} by {sorted(per_seed[0])}; run `dvc repro` to "
                "predict all seeds alike"
            )
    return [[modes[mode] for modes in per_seed] for mode in per_seed[0]]


def _summarise(kind: Kind, seeds: list[CellResults], config: EvaluationConfig) -> SystemResult:
    facts = seeds[0].facts
    test, validation = (
        metrics.aggregate(pd.concat([seed.split(split) for seed in seeds]), user_interval(config, facts.dataset, split))
        for split in (c.TEST, c.VALIDATION)
    )
    per_seed = pd.Series([seed.split(c.TEST)[metrics.HIT].mean() for seed in seeds])
    return SystemResult(
        kind=kind,
        system=facts.system,
        mode=facts.mode,
        objective=facts.objective,
        note="; ".join(dict.fromkeys(seed.facts.note for seed in seeds if seed.facts.note)),
        n_seeds=len(seeds),
        seed_deviation=float(per_seed.std()) if len(seeds) > 1 else None,
        test=test,
        validation=validation,
    )


def _difference(system: list[CellResults], reference: list[CellResults], config: EvaluationConfig) -> Difference:
    rows = [pd.concat([seed.split(c.TEST) for seed in seeds]) for seeds in (system, reference)]
    per_user = user_differences(*rows)
    facts = system[0].facts
    low, high = user_interval(config, facts.dataset, c.TEST)(per_user, per_user.index)
    stream = numpy_stream(config.seed, "sign flips", facts.dataset, facts.system, facts.mode)
    p_value = significance.sign_flip_p_value(per_user, config.permutation_samples, stream)
    return Difference(float(per_user.mean()), low, high, p_value)
