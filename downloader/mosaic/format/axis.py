"""The arrays along the leading axis: times, ids and properties, one value for each slice.

They grow in place: a chunk holds more places than values, and a reader sees as many as the metadata's shape says. So
values are written first, and become visible with the metadata.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np

from downloader.mosaic.format.codec import CRC_BYTES, crc32c
from downloader.planning import Slice

CHUNK: Final = 1024
"""Values in one chunk; the last one is padded."""

NO_TIME: Final = -(2**63)
"""The value for no time: numpy's NaT."""

Kind = Literal["int64", "float64", "string"]
"""Zarr's data types of such arrays."""

_Value = int | float | str


@dataclass(frozen=True, slots=True)
class AxisProperty:
    """A property of the images that is stored along the axis."""

    name: str
    """As the catalogue spells it."""
    array: str
    """Name of its array."""
    kind: Kind
    """Chosen when the array is created: `float64` where all values are numbers, else `string`; of samples as in the file."""


@dataclass(frozen=True, slots=True)
class AxisArray:
    """One array along the leading axis."""

    name: str
    kind: Kind
    values: tuple[_Value, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict, hash=False)
    across: int = 0
    """Values at each index, stored one after the other; 0 for a single one."""
    dimension: str = "affine"
    """What lies across."""
    wide: int = 0
    """Values across that a chunk has place for; 0 for as many as there are."""

    @property
    def length(self) -> int:
        """Number of values."""
        return len(self.values) // max(1, self.across)

    def document(self, dimension: str, *, checksum: bool) -> dict[str, Any]:
        """Return its `zarr.json`, as zarr-python writes it."""
        wide = [self.across] if self.across else []
        chunk = [CHUNK, *([self.wide or self.across] if wide else [])]
        codecs: list[dict[str, Any]] = [{"name": "bytes", "configuration": {"endian": "little"}}]
        if self.kind == "string":
            codecs = [{"name": "vlen-utf8", "configuration": {}}]
        if checksum:
            codecs.append({"name": "crc32c"})
        return {
            "shape": [self.length, *wide],
            "data_type": self.kind,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": {"int64": 0, "float64": "NaN", "string": ""}[self.kind],
            "codecs": codecs,
            "attributes": dict(self.attributes),
            "dimension_names": [dimension, *([self.dimension] if wide else [])],
            "zarr_format": 3,
            "node_type": "array",
            "storage_transformers": [],
        }

    def chunks(self, prefix: str, *, checksum: bool) -> Iterator[tuple[str, bytes]]:
        """Yield (key, bytes) of every chunk, each at full length; equal values give equal bytes."""
        across = max(1, self.across)
        wide = self.wide or across
        fill: _Value = "" if self.kind == "string" else 0 if self.kind == "int64" else math.nan
        for number, first in enumerate(range(0, self.length, CHUNK)):
            rows = range(first, min(first + CHUNK, self.length))
            for place, begin in enumerate(range(0, across, wide)):
                values: Sequence[_Value]
                if wide == across:
                    values = self.values[first * across : rows.stop * across]
                else:
                    ends = [(row * across + begin, row * across + min(begin + wide, across)) for row in rows]
                    padding = [fill] * (wide - (min(begin + wide, across) - begin))
                    values = [value for start, end in ends for value in (*self.values[start:end], *padding)]
                data = self._encoded(values, CHUNK * wide)
                if checksum:
                    data += crc32c(data).to_bytes(CRC_BYTES, "little")
                yield f"{prefix}{self.name}/c/{number}{f'/{place}' if self.across else ''}", data

    def _encoded(self, values: Sequence[_Value], length: int) -> bytes:
        if self.kind != "string":
            fill = 0 if self.kind == "int64" else math.nan
            padded = [*values, *[fill] * (length - len(values))]
            return np.array(padded, {"int64": "<i8", "float64": "<f8"}[self.kind]).tobytes()
        # vlen-utf8: how many, then each text behind its length in bytes, all as uint32.
        texts = [str(value).encode() for value in values] + [b""] * (length - len(values))
        parts = [len(texts).to_bytes(4, "little")]
        for text in texts:
            parts += (len(text).to_bytes(4, "little"), text)
        return b"".join(parts)


def axis_arrays(slices: Sequence[Slice], kept: Iterable[AxisProperty]) -> tuple[AxisArray, ...]:
    """Return the arrays of a time axis: `time`, `image_id` and the properties."""
    ids = tuple(part.id for part in slices)
    found = [
        time_array([part.time_us for part in slices], axis="T"),
        AxisArray("image_id", "string", ids, {"long_name": "image, or what the images of a slice share"}),
    ]
    for one in kept:
        values = tuple(_as(one.kind, part.properties.get(one.name)) for part in slices)
        found.append(AxisArray(one.array, one.kind, values, {"property": one.name}))
    return tuple(found)


def time_array(times_us: Sequence[int | None], **further: str) -> AxisArray:
    """Return the array `time` of microseconds since 1970, UTC; None stands for no time.

    Args:
        times_us: a value for each index of the axis.
        further: attributes beside those of any time.
    """
    about: dict[str, Any] = {
        "standard_name": "time",
        "long_name": "beginning of the image, UTC",
        "units": "microseconds since 1970-01-01",
        "calendar": "proleptic_gregorian",
        **further,
    }
    if None in times_us:
        about["_FillValue"] = NO_TIME
    return AxisArray("time", "int64", tuple(NO_TIME if t is None else t for t in times_us), about)


def kind_of(values: Iterable[object]) -> Kind:
    """Return the data type for a property's values, of which None stands for an image that lacks it."""
    stated = [value for value in values if value is not None]
    return "float64" if stated and all(map(_is_number, stated)) else "string"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _as(kind: Kind, value: object) -> float | str:
    if kind == "float64":
        return float(value) if isinstance(value, int | float) and _is_number(value) else math.nan
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, default=str)
