"""The catalogue's value types: lattices, bands, assets, and their JSON (docs/contract.md §3.1, §3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[Any]
Valid = npt.NDArray[np.bool_]

PUBLIC: Final = "projects/earthengine-public/assets/"
LEGACY: Final = "projects/earthengine-legacy/assets/"


@dataclass(frozen=True, slots=True)
class Lattice:
    """A pixel grid: CRS, affine and size."""

    crs: str
    """`AUTHORITY:CODE`, or WKT."""
    width: int
    """Columns."""
    height: int
    """Rows."""
    affine: tuple[float, float, float, float, float, float]
    """scaleX, shearX, translateX, shearY, scaleY, translateY; maps pixel corners (column, row) to CRS units."""

    @property
    def crs_is_code(self) -> bool:
        """True: `crs` belongs in `crsCode` rather than `crsWkt`."""
        return "[" not in self.crs

    def document(self) -> dict[str, Any]:
        """Return the `grid` of an ImageBand; zero members are omitted, as proto3 JSON does."""
        names = ("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY")
        return {
            "crsCode" if self.crs_is_code else "crsWkt": self.crs,
            "dimensions": {"width": self.width, "height": self.height},
            "affineTransform": {n: plain(v) for n, v in zip(names, self.affine, strict=True) if v != 0},
        }


@dataclass(frozen=True, slots=True)
class PixelType:
    """A band's type, in the metadata and as delivered."""

    precision: str
    """INT, FLOAT or DOUBLE."""
    dtype: np.dtype[Any]
    """Element type of the delivered pixels, little-endian."""
    range: tuple[float, float] | None
    """Least and greatest value in the metadata; None leaves `range` out."""

    def document(self) -> dict[str, Any]:
        """Return the `dataType` of an ImageBand."""
        document: dict[str, Any] = {"precision": self.precision}
        if self.range is not None:
            low, high = self.range
            document["range"] = {k: plain(v) for k, v in (("min", low), ("max", high)) if v != 0}
        return document


PIXEL_TYPES: Final[Mapping[str, PixelType]] = {
    "u1": PixelType("INT", np.dtype("u1"), (0, 255)),
    "i1": PixelType("INT", np.dtype("i1"), (-128, 127)),
    "u2": PixelType("INT", np.dtype("<u2"), (0, 65535)),
    "i2": PixelType("INT", np.dtype("<i2"), (-32768, 32767)),
    "u4": PixelType("INT", np.dtype("<u4"), (0, 4294967295)),
    "i4": PixelType("INT", np.dtype("<i4"), (-2147483648, 2147483647)),
    "i8": PixelType("INT", np.dtype("<f8"), (-(2**63), 2**63 - 1)),
    "f4": PixelType("FLOAT", np.dtype("<f4"), None),
    "f8": PixelType("DOUBLE", np.dtype("<f8"), None),
}
"""The table of docs/contract.md §3.2; `i8` is delivered as float64."""


def plain(value: float) -> float | int:
    """Return `value` as an integer when it is one, as JSON from the service shows it."""
    return int(value) if isinstance(value, int) or (abs(value) < 2**53 and value == int(value)) else value


@dataclass(frozen=True, slots=True)
class Band:
    """One band of an image."""

    id: str
    type: PixelType
    lattice: Lattice
    pyramid: str = "MEAN"
    """pyramidingPolicy: MEAN, SAMPLE, MIN, MAX, MODE or MEDIAN."""
    missing: float | None = None
    """The one value of `missingData`, if the band has it."""
    transform: tuple[float, float, float, float, float, float] | None = None
    """The transform of the band's projection, where the band does not begin at its origin; computed bands only."""
    unbounded: bool = False
    """True: the lattice has no edges of its own; computed bands only."""

    @property
    def projection(self) -> tuple[float, float, float, float, float, float]:
        """The transform of the band's projection."""
        return self.lattice.affine if self.transform is None else self.transform

    @property
    def origin(self) -> tuple[int, int]:
        """Column and row of the band's first pixel, in pixels of its projection."""
        a, b, c, d, e, f = self.projection
        x, y, det = self.lattice.affine[2] - c, self.lattice.affine[5] - f, a * e - b * d
        return round((e * x - b * y) / det), round((a * y - d * x) / det)

    def document(self) -> dict[str, Any]:
        """Return the ImageBand."""
        document: dict[str, Any] = {
            "id": self.id,
            "dataType": self.type.document(),
            "grid": self.lattice.document(),
            "pyramidingPolicy": self.pyramid,
        }
        if self.missing is not None:
            document["missingData"] = {"values": [plain(self.missing)]}
        return document


class PixelSource(Protocol):
    """A source of an image's native pixels; safe to call from several threads."""

    def read(self, band: int, column: int, row: int, width: int, height: int) -> tuple[Pixels, Valid | None]:
        """Return pixels (height, width) of a window inside the band, in its delivered dtype, and where they are valid.

        `band` counts from 0 in asset order. The mask is True where valid; None means everywhere.
        """
        ...


class InterleavedSource(PixelSource, Protocol):
    """A source that can write several bands of one lattice and dtype at once, pixel by pixel."""

    def interleaves(self, bands: tuple[int, ...]) -> bool:
        """Return whether `write` can serve these bands."""
        ...

    def prepare(self, bands: tuple[int, ...], column: int, row: int, width: int, height: int) -> RowWriter:
        """Return a writer of the rows of a window inside the bands' lattice."""
        ...


class RowWriter(Protocol):
    """Writes rows of one prepared window."""

    def write(self, first: int, out: Pixels) -> None:
        """Fill `out` (rows, width · bands), in the delivered dtype, with rows `first`… of the window."""
        ...


@dataclass(frozen=True, slots=True)
class Image:
    """An IMAGE asset."""

    name: str
    bands: tuple[Band, ...]
    source: PixelSource
    update_time: str
    start_time: str | None = None
    end_time: str | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)
    geometry: Mapping[str, Any] | None = None
    """GeoJSON in longitude and latitude."""
    size_bytes: int = 0

    type = "IMAGE"

    def document(self) -> dict[str, Any]:
        """Return the EarthEngineAsset, default-valued fields omitted."""
        document: dict[str, Any] = {
            "type": "IMAGE",
            "name": self.name,
            "id": display_id(self.name),
            "updateTime": self.update_time,
        }
        if self.start_time is not None:
            document["startTime"] = self.start_time
        if self.end_time is not None:
            document["endTime"] = self.end_time
        if self.properties:
            document["properties"] = dict(self.properties)
        if self.geometry is not None:
            document["geometry"] = self.geometry
        document["bands"] = [band.document() for band in self.bands]
        if self.size_bytes:
            document["sizeBytes"] = str(self.size_bytes)
        return document


@dataclass(frozen=True, slots=True)
class Container:
    """A FOLDER or an IMAGE_COLLECTION."""

    name: str
    type: str
    update_time: str | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return the EarthEngineAsset; a folder has nothing but type, name and id (docs/contract.md §3.3)."""
        document: dict[str, Any] = {"type": self.type, "name": self.name, "id": display_id(self.name)}
        if self.update_time is not None:
            document["updateTime"] = self.update_time
        if self.properties:
            document["properties"] = dict(self.properties)
        return document


Asset = Image | Container


def display_id(name: str) -> str:
    """Return the `id` of a response: short for public and legacy assets, the full name otherwise (docs/contract.md §1.3)."""
    for prefix in (PUBLIC, LEGACY):
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name


def version_of(asset: Asset) -> int:
    """Return an asset's version: its update time in microseconds since 1970 (docs/contract.md §4.2); -1 without one."""
    if not asset.update_time:
        return -1
    return round(datetime.fromisoformat(asset.update_time).timestamp() * 1_000_000)
