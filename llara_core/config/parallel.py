"""On how many processes the language model is tuned and asked: a matter of the machine, which no result depends on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PlainValidator
from pydantic_core import PydanticCustomError

from llara_core.config.sections import Section

Weights = Literal["replicated", "sharded"]


def _number(value: object) -> object:
    """Checked here, since of a union pydantic would complain twice."""
    if value == "auto" or (type(value) is int and 1 <= value <= 1024):
        return value
    raise PydanticCustomError("processes", "should be auto or a number from 1 to 1024")


class ParallelConfig(Section):
    """What no stage of ``dvc.yaml`` depends on: another value runs nothing again, and a killed run goes on under it."""

    processes: Annotated[int | Literal["auto"], PlainValidator(_number)] = Field(
        description="that tune one system together and share its held-out questions. auto: one per visible GPU, one on a CPU. "
        "A launcher around the stage (torchrun) decides instead of it"
    )
    weights: Weights = Field(
        description="of the language model. replicated: each process holds all of them (DDP); sharded: each holds a part of "
        "every layer (FSDP2), for models beyond one card"
    )
