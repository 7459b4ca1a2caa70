"""The base class of the job file's sections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo, WithJsonSchema, field_validator


def checked(is_right: Callable[[Any], bool], message: str) -> BeforeValidator:
    """Return a validator that raises ValueError with a message for a value that is not right; None passes."""

    def check(value: Any) -> Any:
        if value is not None and not is_right(value):
            raise ValueError(message)
        return value

    return BeforeValidator(check)


def is_list(value: Any, length: int) -> bool:
    """Return whether a value is a list of so many items."""
    return isinstance(value, (list, tuple)) and len(value) == length


CRS_TEXT: Final = (
    BeforeValidator(lambda value: f"EPSG:{value}" if isinstance(value, int) else value),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}]}),
)
"""Annotations of a CRS, which may be the number of an EPSG code."""


class Section(BaseModel):
    """A mapping of the job file: immutable, unknown keys refused.

    A validator is built where one is used first: those of a job's sections are within the job's own. Defaults are therefore
    made by `model_construct`, which needs none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_number_is_true(cls, value: Any, info: ValidationInfo) -> Any:
        # Python takes true for 1; a user who wrote `retries: true` meant something else.
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError("true and false mean nothing here")
        return value
