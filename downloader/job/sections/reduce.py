"""`source.reduce`: reducer that makes one image of several."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, WithJsonSchema

from downloader.expressions.reducers import REDUCERS, parse_reducer


def _reducer(value: Any) -> Any:
    if value is not None:
        parse_reducer(value, "source.reduce")
    return value


Reduce = Annotated[
    str | dict[str, str] | None,
    AfterValidator(_reducer),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": list(REDUCERS)},
                {"type": "string", "pattern": "^p([0-9]{1,2}|100)$"},
                {
                    "type": "object",
                    "propertyNames": {"enum": ["least", "most"]},
                    "additionalProperties": {"type": "string"},
                    "minProperties": 1,
                    "maxProperties": 1,
                },
            ]
        }
    ),
]
"""Value of `source.reduce`."""
