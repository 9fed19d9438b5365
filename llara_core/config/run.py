"""Sections ``run`` and ``parallel``: what runs, and on how many processes."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from llara_core.config.recommenders import Baseline, Recommender
from llara_core.config.sections import Name, Section, Seed, alternatives


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


Weights = Literal["replicated", "sharded"]


Processes = Annotated[
    int | Literal["auto"],
    alternatives(
        lambda value: value == "auto" or (type(value) is int and 1 <= value <= 1024),
        "should be auto or a number from 1 to 1024",
    ),
]


class ParallelConfig(Section):
    """Options on which no stage depends: with other values no stage runs again, and an interrupted run can be resumed."""

    processes: Processes = Field(
        description="processes that share the tuning of one system and its held-out questions. auto: one per visible GPU, one "
        "on a CPU. A launcher of the stage (torchrun) takes precedence"
    )
    weights: Weights = Field(
        description="weights of the language model. replicated: each process holds all of them (DDP); sharded: each holds a "
        "part of every layer (FSDP2), for models that do not fit one card"
    )
