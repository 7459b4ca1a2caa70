"""Sizes and durations as people write them: `400MB`, `1GiB`, `30s`, `15m`. Read and shown without loss."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_SIZE: Final = {
    "": 1, "B": 1,
    "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40,
}  # fmt: skip
_SECONDS: Final = {
    "ms": Fraction(1, 1000), "": Fraction(1), "s": Fraction(1), "m": Fraction(60), "min": Fraction(60),
    "h": Fraction(3600), "d": Fraction(86400),
}  # fmt: skip
_QUANTITY: Final = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([A-Za-z]*)\s*", re.ASCII)
_MAX_DIGITS: Final = 40
"""Digits of a number at most."""


def parse_size(value: Any) -> int:
    """Return the bytes of a size as people write it. Raises ValueError."""
    number, unit = _parse(value, "a size such as 400MB or 1GiB")
    if unit.upper() not in _SIZE:
        raise ValueError(f"unknown unit {unit!r}; write a size such as 400MB or 1GiB")
    return int(number * _SIZE[unit.upper()])


def _duration(value: Any) -> float:
    number, unit = _parse(value, "a duration such as 30s or 15m")
    if unit not in _SECONDS:
        raise ValueError(f"unknown unit {unit!r}; write a duration such as 500ms, 30s, 15m or 2h")
    return float(number * _SECONDS[unit])


def _parse(value: Any, wanted: str) -> tuple[Fraction, str]:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"write {wanted}")
    if isinstance(value, float) and math.isfinite(value):
        value = _plainly(value)
    match = _QUANTITY.fullmatch(str(value)) if not isinstance(value, int) or abs(value) < 10**40 else None
    if match is None or len(match[1]) > _MAX_DIGITS:
        raise ValueError(f"write {wanted}")
    return Fraction(match[1]), match[2]


def _show_size(value: int) -> str | int:
    return _whole(value, ((2**30, "GiB"), (2**20, "MiB"), (10**9, "GB"), (10**6, "MB"))) or value


def _show_duration(value: float) -> str:
    return _whole(value, ((3600, "h"), (60, "m"))) or f"{_plainly(value)}s"


def _whole(value: float, units: Sequence[tuple[int, str]]) -> str:
    """Return a value in the first unit of which it is a multiple; empty where there is none."""
    return next((f"{int(value // unit)}{name}" for unit, name in units if value and value % unit == 0), "")


def _plainly(value: float) -> str:
    """Return the shortest digits that read back as the same float, with no exponent."""
    text = format(Decimal(repr(value)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _schema(number: str, name: str, units: str) -> WithJsonSchema:
    text = {"type": "string", "format": name, "pattern": rf"^\s*[0-9.]+\s*({units})?\s*$|\$\{{"}
    return WithJsonSchema({"anyOf": [{"type": number, "minimum": 0}, text]}, mode="validation")


Size = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(_show_size, when_used="json"),
    _schema("integer", "size", "[KMGTkmgt]?[Ii]?[Bb]"),
]
"""Bytes; decimal units are powers of 1,000, binary ones of 1,024."""

Duration = Annotated[
    float,
    BeforeValidator(_duration),
    PlainSerializer(_show_duration, when_used="json"),
    _schema("number", "duration", "ms|s|m|min|h|d"),
]
"""Seconds."""
