"""Sections ``candidates``, ``evaluation`` and ``report``: candidate sets, intervals and tests, and the tables of the report."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from llara_core.config.sections import Draws, Name, PositiveInt, Section, Seed, alternatives

Positions = Annotated[
    Literal["last", "all"] | int,
    alternatives(
        lambda value: value in ("last", "all") or (type(value) is int and value >= 1),
        "Input should be last, all or a number of at least 1",
    ),
]


class EvaluationConfig(Section):
    """Intervals, tests and further positions."""

    bootstrap_samples: PositiveInt = Field(description="bootstrap resamples of the users for an interval")
    permutation_samples: PositiveInt = Field(description="random sign flips of a paired test, if all sign flips are too many")
    confidence: Annotated[float, Field(gt=0, lt=1)] = Field(description="coverage of the intervals")
    seed: Seed
    positions: Positions = Field(
        description="positions of each held-out user at which systems predict the next item in a second comparison; the paper "
        "uses only the last one. last: no second comparison; all: every item with an earlier one; a number: at most this "
        "many per user, drawn at random"
    )


class ComparisonConfig(Section):
    """A table of systems that differ in one respect."""

    title: str = Field(min_length=1, description="heading of the table")
    reference: Name = Field(description="system with which the others are compared")
    systems: list[Name] = Field(min_length=1, description="other systems; those not in the run are omitted")


class CaseStudyConfig(Section):
    """Systems whose answers are compared to find users for whom one kind of knowledge helps."""

    hybrid: Name = Field(description="hybrid system; its recommender is also compared")
    text: Name = Field(description="system that reads only titles")


class ReportConfig(Section):
    """Optional tables of the report."""

    ablations: dict[Name, ComparisonConfig]
    case_studies: list[CaseStudyConfig] = Field(description="comparisons; those with a system not in the run are omitted")
    n_cases: Annotated[int, Field(ge=0)] = Field(description="users shown per kind of case, with their histories")


class DrawsConfig(Section):
    """Number of candidate sets per example, by split."""

    train: Draws = Field(description="candidate sets per training example; epoch e uses set number e modulo this")
    validation: Draws
    test: Draws


class CandidatesConfig(Section):
    """Candidate sets, which are drawn once per data set."""

    seed: Seed
    n_candidates: Annotated[int, Field(ge=2)] = Field(description="candidates per set, target included")
    draws: DrawsConfig
    exclude: Literal["all_interactions", "last_interactions"] = Field(
        description="items never drawn as negatives. all_interactions: all items of the user until the end of the example's "
        "split (the paper); last_interactions: items of the example's history (the released code)"
    )
