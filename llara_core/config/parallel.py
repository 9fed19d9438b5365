"""Section ``parallel``: processes of the language model, on which no result depends."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PlainValidator
from pydantic_core import PydanticCustomError

from llara_core.config.sections import Section

Weights = Literal["replicated", "sharded"]


def _number(value: object) -> object:
    """Checks the value with one error message; a union would give one per alternative."""
    if value == "auto" or (type(value) is int and 1 <= value <= 1024):
        return value
    raise PydanticCustomError("processes", "should be auto or a number from 1 to 1024")


class ParallelConfig(Section):
    """Options on which no stage depends: with other values no stage runs again, and an interrupted run can be resumed."""

    processes: Annotated[int | Literal["auto"], PlainValidator(_number)] = Field(
        description="processes that share the tuning of one system and its held-out questions. auto: one per visible GPU, one "
        "on a CPU. A launcher of the stage (torchrun) takes precedence"
    )
    weights: Weights = Field(
        description="weights of the language model. replicated: each process holds all of them (DDP); sharded: each holds a "
        "part of every layer (FSDP2), for models that do not fit one card"
    )
