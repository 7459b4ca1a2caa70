"""The base class of the job file's sections."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


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
