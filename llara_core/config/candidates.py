"""Section ``candidates``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from llara_core.config.sections import Draws, Section, Seed


class DrawsConfig(Section):
    train: Draws = Field(description="candidate sets per training example; epoch e uses set number e modulo this")
    validation: Draws
    test: Draws


class CandidatesConfig(Section):
    seed: Seed
    n_candidates: Annotated[int, Field(ge=2)] = Field(description="candidates per set, target included")
    draws: DrawsConfig
    exclude: Literal["all_interactions", "last_interactions"] = Field(
        description="items never drawn as negatives. all_interactions: all items of the user until the end of the example's "
        "split (the paper); last_interactions: items of the example's history (the released code)"
    )
