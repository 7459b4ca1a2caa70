"""Checks of request bodies against proto3 JSON (docs/contract.md §3.1).

Unknown fields and wrong types are refused in the service's words (E7, E8).

A message is a table from lowerCamelCase field names to kinds. `null` counts as absent, snake_case names are accepted,
doubles may be written as integers or as the strings NaN, Infinity, -Infinity, int32 as strings of digits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, cast

from earthengine_emulator.api import errors

Kind = str | tuple[str, Any]
Message = Mapping[str, Kind]

FORMATS: Final = (
    "IMAGE_FILE_FORMAT_UNSPECIFIED",
    "JPEG",
    "PNG",
    "AUTO_JPEG_PNG",
    "NPY",
    "GEO_TIFF",
    "TF_RECORD_IMAGE",
    "ZIPPED_GEO_TIFF",
    "ZIPPED_GEO_TIFF_PER_BAND",
    "MULTI_BAND_IMAGE_TILE",
)

_DIMENSIONS: Final[Message] = {"width": "int32", "height": "int32"}
AFFINE: Final[Message] = dict.fromkeys(
    ("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY"), "double"
)
GRID: Final[Message] = {
    "dimensions": ("message", _DIMENSIONS),
    "affineTransform": ("message", AFFINE),
    "crsCode": "string",
    "crsWkt": "string",
}
_VISUALIZATION: Final[Message] = {
    "ranges": ("list", ("message", {"min": "double", "max": "double"})),
    "paletteColors": ("list", "string"),
    "gamma": ("message", {"value": "double"}),
    "opacity": "double",
}
_COMMON: Final[Message] = {
    "fileFormat": ("enum", ("google.earthengine.v1.ImageFileFormat", FORMATS)),
    "bandIds": ("list", "string"),
    "grid": ("message", GRID),
    "visualizationOptions": ("message", _VISUALIZATION),
    "workloadTag": "string",
}
GET_PIXELS: Final[Message] = {**_COMMON, "region": "any"}
COMPUTE_PIXELS: Final[Message] = {**_COMMON, "expression": "any"}
COMPUTE_VALUE: Final[Message] = {"expression": "any", "workloadTag": "string"}
THUMBNAIL: Final[Message] = {**_COMMON, "expression": "any", "filenamePrefix": "string", "name": "string"}

_SNAKE: Final = re.compile(r"_([a-z0-9])")
_INT: Final = re.compile(r"^-?[0-9]+$")


def camel(name: str) -> str:
    """Return the lowerCamelCase form of a snake_case name."""
    return _SNAKE.sub(lambda match: match[1].upper(), name)


def snake(name: str) -> str:
    """Return the snake_case form of a lowerCamelCase name: how the service's messages call a field."""
    return re.sub(r"[A-Z]", lambda match: "_" + match[0].lower(), name)


def check(body: Mapping[str, Any], message: Message, at: str = "") -> dict[str, Any]:
    """Return the fields of `body` under their camel-case names, absent ones left out, values converted.

    Raises:
        ApiError: 400 for the first unknown field or value of a wrong type.
    """
    result: dict[str, Any] = {}
    for given, value in body.items():
        name = given if given in message else camel(given)
        if name not in message:
            raise errors.unknown_field(given, at)
        if value is not None:
            result[name] = _value(value, message[name], f"{at}.{snake(name)}" if at else snake(name))
    return result


def _value(value: object, kind: Kind, at: str) -> object:
    """Return one value as its kind."""
    if isinstance(kind, tuple):
        outer, inner = kind
        if outer == "list":
            if not isinstance(value, list):
                # The service takes a lone value for a list of one.
                return [_value(value, inner, at)]
            return [_value(v, inner, f"{at}[{i}]") for i, v in enumerate(value) if v is not None]
        if outer == "message":
            if not isinstance(value, dict):
                raise errors.invalid_value(at, "type.googleapis.com/google.protobuf.Message", _shown(value))
            return check(value, inner, at)
        return _enum(value, inner, at)
    if kind == "int32":
        return _int32(value, at)
    if kind == "double":
        return _double(value, at)
    if kind == "string" and not isinstance(value, str):
        raise errors.invalid_value(at, "TYPE_STRING", _shown(value))
    return value


def _enum(value: object, inner: tuple[str, tuple[str, ...]], at: str) -> str:
    name, names = inner
    if isinstance(value, str) and value in names:
        return value
    raise errors.invalid_value(at, f"type.googleapis.com/{name}", _shown(value))


def _int32(value: object, at: str) -> int:
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and float(value).is_integer()
    if number or (isinstance(value, str) and _INT.match(value)):
        whole = int(cast("int | float | str", value))
        if -(2**31) <= whole < 2**31:
            return whole
    raise errors.invalid_value(at, "TYPE_INT32", _shown(value))


def _double(value: object, at: str) -> float:
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            raise errors.invalid_value(at, "TYPE_DOUBLE", _shown(value)) from None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise errors.invalid_value(at, "TYPE_DOUBLE", _shown(value))
    return float(value)


def _shown(value: object) -> str:
    """Return a value as the messages print it: strings in double quotes, the rest bare."""
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
