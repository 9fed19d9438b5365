"""Candidate sets."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from llara_core.config.sections import Draws, Section, Seed


class DrawsConfig(Section):
    train: Draws = Field(description="candidate sets per training example; epoch e uses set e modulo this")
    validation: Draws
    test: Draws


class CandidatesConfig(Section):
    seed: Seed
    n_candidates: Annotated[int, Field(ge=2)] = Field(description="target included")
    draws: DrawsConfig
    exclude: Literal["all_interactions", "last_interactions"] = Field(
        description="items never drawn as negatives: all that the user interacted with until the end of the example's split "
        "(the paper), or only the history of the example (the released code)"
    )
