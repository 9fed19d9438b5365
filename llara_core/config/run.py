"""Section ``run``."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from llara_core.config.recommenders import Baseline, Recommender
from llara_core.config.sections import Name, Section, Seed


class RunConfig(Section):
    """Lists over whose combinations ``dvc.yaml`` repeats its stages; an empty list yields no stage."""

    datasets: list[Name] = Field(min_length=1, description="keys of `datasets`")
    baselines: list[Baseline] = Field(description="baselines to compare")
    recommenders: list[Recommender] = Field(description="conventional recommenders to train and compare")
    systems: list[Name] = Field(description="LLM systems, tuned or not; keys of `systems`")
    chat_models: list[Name] = Field(description="remote chat models that answer zero-shot; keys of `chat_models`")
    recommend: list[Name] = Field(
        description="systems, recommenders and baselines of this run that recommend items for all users"
    )
    seeds: list[Seed] = Field(min_length=1, description="training seeds; everything is trained once per seed")

    @model_validator(mode="after")
    def _lists_agree(self) -> Self:
        for axis, values in self:
            if len(set(values)) != len(values):
                raise ValueError(f"run.{axis} lists a value twice: {values}")
        answering = [*self.baselines, *self.recommenders, *self.systems]
        if unknown := [name for name in self.recommend if name not in answering]:
            raise ValueError(f"run.recommend names {unknown}, but this run has only {answering} to recommend with")
        if not any((self.baselines, self.recommenders, self.systems, self.chat_models)):
            raise ValueError("the run has no system: name at least one, for example in run.baselines")
        return self
