"""Metrics, intervals and tests, and what the report shows."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator
from pydantic_core import PydanticCustomError

from llara_core.config.sections import Name, PositiveInt, Section, Seed


def _positions(value: Any) -> Any:
    """One message for all that it may be, where a union would give one for each."""
    if value in ("last", "all") or (type(value) is int and value >= 1):
        return value
    raise PydanticCustomError("positions", "Input should be last, all or a number of at least 1")


Positions = Annotated[Literal["last", "all"] | int, PlainValidator(_positions)]


class EvaluationConfig(Section):
    bootstrap_samples: PositiveInt = Field(description="resamples of the users behind an interval over users")
    permutation_samples: PositiveInt = Field(description="random sign flips of a paired test with too many users to enumerate")
    confidence: Annotated[float, Field(gt=0, lt=1)] = Field(description="coverage of the intervals")
    seed: Seed
    positions: Positions = Field(
        description="items of each held-out user that are asked for in a comparison of its own, beside the paper's, which asks "
        "for the last one. last: only that; all: every item with one before it; a number: so many per user at most, "
        "drawn at random"
    )


class ComparisonConfig(Section):
    """Systems that differ in one respect, for a table of their own."""

    title: str = Field(min_length=1, description="heading of the table")
    reference: Name = Field(description="the system that the others are tested against")
    systems: list[Name] = Field(min_length=1, description="the others; those that are on no axis are left out")


class CaseStudyConfig(Section):
    """Which systems' answers are set against each other, to find users that show what each kind of knowledge brings."""

    hybrid: Name = Field(description="system on run.systems; its recommender is the third of the comparison")
    text: Name = Field(description="system that reads titles alone")


class ReportConfig(Section):
    ablations: dict[Name, ComparisonConfig]
    case_studies: list[CaseStudyConfig] = Field(description="those with a system on no axis are left out")
    n_cases: Annotated[int, Field(ge=0)] = Field(description="users per kind of case that are shown with their histories")
