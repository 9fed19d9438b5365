"""On how many processes the language model is tuned and asked: a matter of the machine, which no result depends on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from llara_core.config.sections import Section

Weights = Literal["replicated", "sharded"]


class ParallelConfig(Section):
    """What no stage of ``dvc.yaml`` depends on: another value runs nothing again, and a killed run goes on under it."""

    processes: Literal["auto"] | Annotated[int, Field(ge=1, le=1024)] = Field(
        description="that tune one system together and share its held-out questions. auto: one per visible GPU, one on a CPU. "
        "A launcher around the stage (torchrun) decides instead of it"
    )
    weights: Weights = Field(
        description="of the language model in tuning. replicated: each process holds all of them (DDP); sharded: each holds a "
        "part (FSDP2), for models beyond one card"
    )
