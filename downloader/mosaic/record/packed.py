"""Conversion of frozen values to JSON and back: a dataclass is a list of its fields; shared values are stored once."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType
from typing import Any, Final, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

import numpy as np

from downloader.model.crs import Crs
from downloader.model.grid import PixelGrid
from downloader.model.image import Band
from downloader.planning.samples import Point

T = TypeVar("T")

_SHARED: Final = (Crs, PixelGrid, Band, Point)
"""Classes whose values are stored once, in a table, and referred to by number."""


def pack(value: object) -> dict[str, Any]:
    """Return a value as what `json.dumps` writes: dataclasses, tuples, frozen sets, mappings, dtypes, bytes, scalars."""
    rows: list[list[Any]] = []
    numbers: dict[object, int] = {}

    def write(one: Any) -> Any:  # noqa: ANN401 - JSON
        match one:
            case None | bool() | int() | float() | str():
                return one
            case bytes():
                return base64.b64encode(one).decode()
            case np.dtype():
                return one.str
            case Mapping():
                return {str(name): write(item) for name, item in one.items()}
            case frozenset():
                return sorted(one)
        if not is_dataclass(one):
            return [write(item) for item in one]
        if one.__class__ not in _SHARED:
            return [write(getattr(one, field.name)) for field in fields(one)]
        if one not in numbers:
            row = [write(getattr(one, field.name)) for field in fields(one)]
            numbers[one] = len(rows)
            rows.append(row)
        return numbers[one]

    return {"value": write(value), "shared": rows}


def unpack(kind: type[T], document: Mapping[str, Any]) -> T:
    """Return the value of `pack`. Raises KeyError, IndexError, TypeError, ValueError or JobError for anything else."""
    read: _Read = _reader(cast("Any", kind))
    return cast("T", read(document["value"], _Table(document["shared"])))


class _Table:
    """Rows of shared values, each read when it is first asked for."""

    def __init__(self, rows: list[Any]) -> None:
        self._rows = rows
        self._read: dict[tuple[type, int], Any] = {}

    def get(self, kind: type, number: int, read: _Read) -> Any:  # noqa: ANN401 - of the kind
        found = self._read.get((kind, number))
        if found is None:
            # A row that names itself finds nothing.
            row, self._rows[number] = self._rows[number], None
            found = self._read[kind, number] = read(row, self)
        return found


_Read = Callable[[Any, _Table], Any]


@cache
def _reader(kind: Any) -> _Read:  # noqa: ANN401 - a type
    """Return the function that makes a value of a type of its JSON and the table."""
    origin, args = get_origin(kind) or kind, get_args(kind)
    if is_dataclass(kind):
        return _dataclass_reader(kind)
    if origin is tuple and args[-1] is not Ellipsis:
        return _row_reader(tuple, [_reader(one) for one in args])
    if origin in {tuple, frozenset}:
        of = _reader(args[0])
        return lambda found, table: origin([of(item, table) for item in _checked(found, list)])
    if origin is Mapping:
        of = _reader(args[1])
        return lambda found, table: {name: of(item, table) for name, item in _checked(found, dict).items()}
    if NoneType in args:
        (some,) = (one for one in args if one is not NoneType)
        of = _reader(some)
        return lambda found, table: None if found is None else of(found, table)
    if origin is Literal:
        return lambda found, _: args[args.index(found)]
    if origin is np.dtype:
        return lambda found, _: np.dtype(_checked(found, str))
    if kind is bytes:
        return lambda found, _: base64.b64decode(found, validate=True)
    if kind is float:
        return lambda found, _: float(_checked(found, int, float))
    if kind in {Any, object}:
        return lambda found, _: found
    return lambda found, _: _checked(found, *(args or (kind,)))


def _dataclass_reader(kind: Any) -> _Read:  # noqa: ANN401 - a type
    hints = get_type_hints(kind)
    read = _row_reader(lambda values: kind(*values), [_reader(hints[field.name]) for field in fields(kind)])
    return (lambda found, table: table.get(kind, found, read)) if kind in _SHARED else read


def _row_reader(make: Callable[[list[Any]], Any], of: list[_Read]) -> _Read:
    return lambda found, table: make([read(one, table) for read, one in zip(of, found, strict=True)])


def _checked(found: Any, *kinds: type) -> Any:  # noqa: ANN401 - of one of the kinds
    if type(found) not in kinds:
        raise ValueError(f"{found!r:.100} is no {' or '.join(kind.__name__ for kind in kinds)}")
    return found
