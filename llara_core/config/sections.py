"""Base class and common types of all sections, and of metadata that are stored beside artifacts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator
from pydantic_core import PydanticCustomError

# Names become DVC stage names and paths, so they contain only characters that need no quoting in either.
NAME_PATTERN = r"^[a-z0-9_]+$"
Name = Annotated[str, Field(pattern=NAME_PATTERN, description="lower-case letters, digits and underscores")]
Share = Annotated[float, Field(ge=0, le=1)]
PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0)]
Draws = Annotated[int, Field(ge=1, le=100_000)]


class Section(BaseModel):
    """A frozen mapping with known keys and finite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def alternatives(holds: Callable[[Any], bool], expected: str) -> PlainValidator:
    """Returns a check with one error message, ``expected``; a union of types would give one per alternative."""

    def check(value: Any) -> Any:
        if holds(value):
            return value
        raise PydanticCustomError("alternatives", "{expected}", {"expected": expected})

    return PlainValidator(check)


def one_of(names: Iterable[str], kind: str) -> AfterValidator:
    """Returns a check that a text is one of ``names``, which may still grow; ``kind`` is what they name, for the message."""

    def check(name: str) -> str:
        if name not in names:
            raise ValueError(unknown(name, kind, names))
        return name

    return AfterValidator(check)


def unknown(name: str, kind: str, names: Iterable[str]) -> str:
    """Returns the error message for a name that is not one of ``names``."""
    return f"unknown {kind} {name!r}; choose from {sorted(names)}"
