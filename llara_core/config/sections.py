"""Base class and common types of all sections, and of metadata that are stored beside artifacts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainValidator
from pydantic_core import PydanticCustomError

# Names become DVC stage names and paths, so they contain only characters that need no quoting in either.
Name = Annotated[str, Field(pattern=r"^[a-z0-9_]+$", description="lower-case letters, digits and underscores")]
Share = Annotated[float, Field(ge=0, le=1)]
PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0)]
Draws = Annotated[int, Field(ge=1, le=100_000)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def alternatives(holds: Callable[[Any], bool], expected: str) -> PlainValidator:
    """Returns a check with one error message, ``expected``; a union of types would give one per alternative."""

    def check(value: Any) -> Any:
        if holds(value):
            return value
        raise PydanticCustomError("alternatives", "{expected}", {"expected": expected})

    return PlainValidator(check)
