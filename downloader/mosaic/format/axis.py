"""The arrays along the leading axis: times, ids and properties, one value for each slice.

They grow in place: a chunk holds more places than values, and a reader sees as many as the metadata's shape says. So
values are written first, and become visible with the metadata.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from downloader.mosaic.format.codec import ChunkCodec
from downloader.mosaic.format.documents import array_document
from downloader.planning import Slice

CHUNK: Final = 1024
"""Values in one chunk; the last one is padded."""

NO_TIME: Final = -(2**63)
"""The value for no time: numpy's NaT."""

Kind = Literal["int64", "float64", "string"]
"""Zarr's data types of such arrays."""

_STORED: Final[Mapping[Kind, tuple[Any, Any]]] = {
    "int64": ("<i8", 0),
    "float64": ("<f8", math.nan),
    "string": (object, ""),
}
"""Each one's type in numpy and its fill value."""


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
    values: tuple[int | float | str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict, hash=False)
    across: int = 0
    """Values at each index, stored one after the other; 0 for a single one."""
    dimension: str = "affine"
    """Name of the dimension of the values at one index."""
    wide: int = 0
    """Values at one index that a chunk holds; 0 for all of them."""

    @property
    def length(self) -> int:
        """Number of values."""
        return len(self.values) // max(1, self.across)

    def document(self, dimension: str, codec: ChunkCodec) -> dict[str, Any]:
        """Return its `zarr.json`, as zarr-python writes it. Of `codec` only the checksum is used."""
        _, fill = _STORED[self.kind]
        codecs = ChunkCodec("none", codec.checksum).to_json(np.dtype("<f8"))
        if self.kind == "string":
            codecs[0] = {"name": "vlen-utf8", "configuration": {}}
        shape, chunk, dimensions = [self.length], [CHUNK], [dimension]
        if self.across:
            shape, chunk = [*shape, self.across], [*chunk, self.wide or self.across]
            dimensions = [*dimensions, self.dimension]
        return array_document(shape, chunk, self.kind, fill, dimensions, codecs, self.attributes)

    def chunks(self, prefix: str, codec: ChunkCodec) -> Iterator[tuple[str, bytes]]:
        """Yield (key, bytes) of every chunk, each at full length; equal values give equal bytes."""
        plain = ChunkCodec("none", codec.checksum)
        across = max(1, self.across)
        wide = self.wide or across
        dtype, fill = _STORED[self.kind]
        rows, columns = -(-self.length // CHUNK), -(-across // wide)
        whole = np.full((rows * CHUNK, columns * wide), fill, dtype)
        whole[: self.length, :across] = np.array(self.values, dtype).reshape(-1, across)
        for row, column in product(range(rows), range(columns)):
            chunk = whole[row * CHUNK : (row + 1) * CHUNK, column * wide : (column + 1) * wide]
            values = _vlen_utf8(chunk.ravel()) if self.kind == "string" else np.ascontiguousarray(chunk)
            yield f"{prefix}{self.name}/c/{row}{f'/{column}' if self.across else ''}", plain.encode(values)


def _vlen_utf8(texts: Iterable[str]) -> NDArray[np.uint8]:
    """Encode texts for Zarr's codec `vlen-utf8`: their number, then each text after its length in bytes; numbers are uint32."""
    encoded = [text.encode() for text in texts]
    lengths = (part for text in encoded for part in (len(text).to_bytes(4, "little"), text))
    return np.frombuffer(b"".join([len(encoded).to_bytes(4, "little"), *lengths]), np.uint8)


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
