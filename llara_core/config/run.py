"""The axes of a run."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from llara_core.config.recommenders import Baseline, Recommender
from llara_core.config.sections import Name, Section, Seed


class RunConfig(Section):
    """The axes that ``dvc.yaml`` multiplies out; an empty list yields no stage."""

    datasets: list[Name] = Field(min_length=1, description="keys of `datasets`")
    baselines: list[Baseline] = Field(description="systems that need no training stage")
    recommenders: list[Recommender] = Field(description="conventional recommenders to train and compare")
    llm_recommenders: list[Recommender] = Field(description="whose item embeddings `systems` use")
    systems: list[Name] = Field(description="LLM systems tuned on each of llm_recommenders; keys of `systems`")
    text_systems: list[Name] = Field(description="LLM systems tuned without a recommender; keys of `systems`")
    untuned_systems: list[Name] = Field(description="LLM systems that are not tuned (zero-shot); keys of `systems`")
    chat_models: list[Name] = Field(description="remote chat models, asked zero-shot; keys of `chat_models`")
    seeds: list[Seed] = Field(min_length=1, description="one training run of everything per seed")

    @model_validator(mode="after")
    def _axes_agree(self) -> Self:
        for axis, values in self:
            if len(set(values)) != len(values):
                raise ValueError(f"run.{axis} lists a value twice: {values}")
        if not any(
            (self.baselines, self.recommenders, self.systems, self.text_systems, self.untuned_systems, self.chat_models)
        ):
            raise ValueError("all axes of systems are empty: name at least one, for example in run.baselines")
        if self.systems and not self.llm_recommenders:
            raise ValueError("run.llm_recommenders is empty, but run.systems is not: name at least one recommender")
        missing = [name for name in self.llm_recommenders if name not in self.recommenders]
        if missing:
            raise ValueError(
                f"run.llm_recommenders names {missing}, which run.recommenders does not train; "
                "add it there or take it from run.llm_recommenders"
            )
        return self
