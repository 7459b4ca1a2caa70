"""JSON documents of values: one rule for all of them, snake_case as the fields are named."""

from __future__ import annotations

import enum
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from typing import Any

import numpy as np


def to_document(value: object) -> Any:  # noqa: ANN401  # whatever JSON writes
    """Return `value` as dicts, lists, texts, numbers, truth values and None, which `json.dumps` writes as they are.

    Dataclasses become dicts by field name, enums their value, paths and dtypes text, times RFC 3339 text; numbers that
    JSON lacks become `"NaN"`, `"Infinity"` and `"-Infinity"`, as in Zarr's metadata.

    Raises:
        TypeError: it holds an object of another type.
    """
    match value:
        case None | bool() | str():
            return value
        case enum.Enum():
            return to_document(value.value)
        case int() | np.integer():
            return int(value)
        case float() | np.floating():
            number = float(value)
            return number if math.isfinite(number) else _UNWRITTEN.get(number, "NaN")
        case date():
            return value.isoformat().replace("+00:00", "Z")
        case np.dtype():
            return str(value)
        case os.PathLike():
            return os.fspath(value)
        case Mapping():
            return {str(to_document(key)): to_document(item) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: to_document(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Iterable):
        return [to_document(item) for item in value]
    raise TypeError(f"a {type(value).__name__} has no place in a JSON document")


_UNWRITTEN = {math.inf: "Infinity", -math.inf: "-Infinity"}
