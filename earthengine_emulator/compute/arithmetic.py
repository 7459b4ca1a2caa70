# ruff: noqa: N803 - parameters are named as the API's arguments are
"""Arithmetic of images: functions of two, functions of one, casts (docs/contract.md §4.7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from earthengine_emulator.api.errors import invalid_argument
from earthengine_emulator.catalogue.model import PIXEL_TYPES, Image
from earthengine_emulator.compute import computed
from earthengine_emulator.compute.computed import both
from earthengine_emulator.compute.expression import Function, Library
from earthengine_emulator.compute.images import select
from earthengine_emulator.compute.operand import (
    anonymous,
    as_double,
    described,
    each_band,
    image,
    pairs_of,
    result_kind,
    retyped,
)
from earthengine_emulator.compute.operand import image as as_image
from earthengine_emulator.pixels.sampling import Part

FLOATS: Final = ("f4", "f8", "i8")

_BINARY: Final[Mapping[str, tuple[Callable[[Any, Any], Any], str]]] = {
    "add": (np.add, "sum"),
    "subtract": (np.subtract, "sum"),
    "multiply": (np.multiply, "sum"),
    "divide": (lambda a, b: np.divide(a, b, out=np.zeros(np.broadcast(a, b).shape), where=b != 0), "float"),
    "mod": (np.fmod, "sum"),
    "pow": (np.power, "float"),
    "min": (np.minimum, "same"),
    "max": (np.maximum, "same"),
    "eq": (np.equal, "truth"),
    "neq": (np.not_equal, "truth"),
    "lt": (np.less, "truth"),
    "lte": (np.less_equal, "truth"),
    "gt": (np.greater, "truth"),
    "gte": (np.greater_equal, "truth"),
    "and": (lambda a, b: (a != 0) & (b != 0), "truth"),
    "or": (lambda a, b: (a != 0) | (b != 0), "truth"),
    "bitwiseAnd": (lambda a, b: a.astype(np.int64) & b.astype(np.int64), "sum"),
    "bitwiseOr": (lambda a, b: a.astype(np.int64) | b.astype(np.int64), "sum"),
    "bitwiseXor": (lambda a, b: a.astype(np.int64) ^ b.astype(np.int64), "sum"),
    "leftShift": (lambda a, b: a.astype(np.int64) << b.astype(np.int64), "sum"),
    "rightShift": (lambda a, b: a.astype(np.int64) >> b.astype(np.int64), "sum"),
}
"""Function of two images → arithmetic in float64, and the rule for the result's type."""

_UNARY: Final[Mapping[str, tuple[Callable[[Any], Any], str]]] = {
    "abs": (np.abs, "same"),
    "sqrt": (np.sqrt, "float"),
    "log": (np.log, "float"),
    "exp": (np.exp, "float"),
    "not": (lambda a: a == 0, "truth"),
    "bitwiseNot": (lambda a: ~a.astype(np.int64), "sum"),
    "log10": (np.log10, "float"),
}
_TYPES: Final = {
    "Byte": "u1",
    "Uint8": "u1",
    "Int8": "i1",
    "Uint16": "u2",
    "Int16": "i2",
    "Short": "i2",
    "Uint32": "u4",
    "Int32": "i4",
    "Int": "i4",
    "Int64": "i8",
    "Long": "i8",
    "Float": "f4",
    "Double": "f8",
}
_CASTS: Final = {f"to{name}": kind for name, kind in _TYPES.items()} | {
    name.lower(): kind for name, kind in _TYPES.items()
}


def _binary(operation: Callable[[Any, Any], Any], rule: str) -> Function:
    def apply(parts: Sequence[Part]) -> Part:
        with np.errstate(all="ignore"):
            values = np.asarray(operation(as_double(parts[0]), as_double(parts[1])))
        if values.dtype.kind == "b":
            return values, both(parts[0][1], parts[1][1])
        finite = np.isfinite(values)
        return values, both(parts[0][1], parts[1][1], None if finite.all() else finite)

    def function(image1: object, image2: object) -> Image:
        one, other = image(image1), image(image2)
        bands, planes = [], []
        for i, j in pairs_of(one, other):
            kinds = [computed.kind_of(one.bands[i].type), computed.kind_of(other.bands[j].type)]
            kind = result_kind(rule, kinds)
            # A constant has no grid worth keeping; the other operand's is the result's.
            grid = other.bands[j] if one.bands[i].lattice is computed.DEGREE else one.bands[i]
            name = one.bands[i].id if len(one.bands) >= len(other.bands) else other.bands[j].id
            bands.append(retyped(grid, kind, name))
            planes.append(
                computed.combine([computed.plane_of(one, i), computed.plane_of(other, j)], apply, kind)
            )
        return anonymous(computed.image_of(bands, planes, described(one, other)))

    return function


def _unary(operation: Callable[[Any], Any], rule: str) -> Function:
    def apply(part: Part) -> Part:
        with np.errstate(all="ignore"):
            values = np.asarray(operation(as_double(part)))
        finite = np.isfinite(values)
        return values, both(part[1], None if finite.all() else finite)

    return lambda value: each_band(
        image(value), lambda band: result_kind(rule, [computed.kind_of(band.type)]), apply
    )


def _cast(kind: str) -> Function:
    def apply(part: Part) -> Part:
        limits = PIXEL_TYPES[kind].range
        if limits is None or kind in FLOATS or np.can_cast(part[0].dtype, PIXEL_TYPES[kind].dtype):
            return part
        values = as_double(part)
        # What is no float is a whole number already.
        whole = np.trunc(np.nan_to_num(values)) if part[0].dtype.kind == "f" else values
        return np.clip(whole, *limits), part[1]

    return lambda value: each_band(image(value), lambda _: kind, apply)


def _cast_bands(image: object, bandTypes: Mapping[str, str], bandOrder: Sequence[str] | None = None) -> Image:
    """Image.cast: named bands in other types, which are named as the functions are."""
    target, parts = as_image(image), []
    for name in bandOrder or [band.id for band in target.bands]:
        one = select(target, [name])
        if name in bandTypes:
            kind = _CASTS.get(str(bandTypes[name]))
            if kind is None:
                raise invalid_argument(f"Image.cast: Unknown type '{bandTypes[name]}'.")
            one = as_image(_cast(kind)(one))
        parts.append(one)
    bands = [one.bands[0] for one in parts]
    return computed.image_of(bands, [computed.plane_of(one, 0) for one in parts], target)


LIBRARY: Final[Library] = {
    "Image.cast": _cast_bands,
    **{f"Image.{name}": _binary(*how) for name, how in _BINARY.items()},
    **{f"Image.{name}": _unary(*how) for name, how in _UNARY.items()},
    **{f"Image.{name}": _cast(kind) for name, kind in _CASTS.items()},
}
