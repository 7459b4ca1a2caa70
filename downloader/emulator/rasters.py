"""Local rasters as images: GeoTIFF, or whatever else rasterio reads."""

from __future__ import annotations

import hashlib
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from . import crs
from .catalogue import Catalogue
from .model import PIXEL_TYPES, Band, Container, Image, Lattice, Pixels, PixelType, Valid

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

KINDS: Final = {
    "uint8": "u1",
    "int8": "i1",
    "uint16": "u2",
    "int16": "i2",
    "uint32": "u4",
    "int32": "i4",
    "int64": "i8",
    "uint64": "i8",
    "float32": "f4",
    "float64": "f8",
}
_UPDATED_AFTER: Final = datetime(2020, 1, 1, tzinfo=UTC)
_UPDATED_WITHIN_S: Final = 5 * 365 * 86_400


class RasterError(Exception):
    """A file that cannot be served as an image; the message says why."""


class File:
    """Pixels of an open raster; reads are serialised, as GDAL's datasets ask."""

    def __init__(self, dataset: DatasetReader, types: tuple[PixelType, ...]) -> None:
        self._dataset = dataset
        self._types = types
        self._lock = Lock()

    def read(self, band: int, column: int, row: int, width: int, height: int) -> tuple[Pixels, Valid | None]:
        """Pixels (height, width) of a window and where they are valid; `band` counts from 0."""
        window = ((row, row + height), (column, column + width))
        with self._lock:
            values = self._dataset.read(band + 1, window=window)
            valid: Valid = self._dataset.read_masks(band + 1, window=window) != 0
        delivered = np.asarray(values).astype(self._types[band].dtype, copy=False)
        return delivered, None if valid.all() else valid


def add(catalogue: Catalogue, name: str, path: Path) -> None:
    """Put a raster into the catalogue, with the folders above it.

    Raises:
        RasterError: rasterio is missing, or the file cannot be an image.
    """
    digest = _digest(path)
    catalogue.add(image(name, path, digest), digest)
    parts = name.split("/")
    for depth in range(4, len(parts)):
        folder = "/".join(parts[:depth])
        if catalogue.get(folder) is None:
            catalogue.add(Container(folder, "FOLDER"))


def image(name: str, path: Path, digest: str) -> Image:
    """The image of a file; its updateTime is a function of the contents, so that it changes when they do."""
    try:
        import rasterio
        from rasterio.errors import RasterioIOError
    except ImportError as error:
        raise RasterError(
            "serving rasters needs rasterio: pip install 'earthengine-downloader[rasters]'"
        ) from error
    try:
        dataset = rasterio.open(path)
    except RasterioIOError as error:
        raise RasterError(f"{path}: {error}") from error
    lattice = _lattice(path, dataset)
    bands: list[Band] = []
    for i, dtype in enumerate(dataset.dtypes):
        if dtype not in KINDS:
            raise RasterError(f"{path}: band {i + 1} is {dtype}, which Earth Engine has no type for")
        label = (dataset.descriptions[i] or "").strip()
        nodata = dataset.nodatavals[i]
        missing = float(nodata) if nodata is not None and math.isfinite(nodata) else None
        policy = "MODE" if _has_colours(dataset, i + 1) else "MEAN"
        bands.append(Band(_band_id(label, i, bands), PIXEL_TYPES[KINDS[dtype]], lattice, policy, missing))
    seconds = int(digest[:12], 16) % _UPDATED_WITHIN_S
    micros = int(digest[12:20], 16) % 1_000_000
    updated = _UPDATED_AFTER + timedelta(seconds=seconds, microseconds=micros)
    return Image(
        name=name,
        bands=tuple(bands),
        source=File(dataset, tuple(band.type for band in bands)),
        update_time=updated.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        properties={"system:index": name.rsplit("/", 1)[1]},
        geometry=_outline(lattice),
        size_bytes=path.stat().st_size,
    )


def _band_id(label: str, index: int, before: list[Band]) -> str:
    """The file's own name for a band where it can be an id and is not yet taken, else B1, B2 and so on."""
    usable = label.replace("_", "").replace("-", "").isalnum() and label not in [b.id for b in before]
    return label if usable else f"B{index + 1}"


def _has_colours(dataset: DatasetReader, band: int) -> bool:
    """Whether a band's values are classes with a colour table."""
    try:
        dataset.colormap(band)
    except ValueError:
        return False
    return True


def _lattice(path: Path, dataset: DatasetReader) -> Lattice:
    if dataset.crs is None:
        raise RasterError(f"{path} has no coordinate system")
    t = dataset.transform
    affine = (t.a, t.b, t.c, t.d, t.e, t.f)
    if t.is_identity:
        raise RasterError(f"{path} has no geotransform")
    code = dataset.crs.to_epsg()
    text = f"EPSG:{code}" if code is not None else dataset.crs.to_wkt()
    return Lattice(text, dataset.width, dataset.height, affine)


def _outline(lattice: Lattice) -> dict[str, Any]:
    """The image's corners in longitude and latitude."""
    a, b, c, d, e, f = lattice.affine
    column = np.array([0, 0, 1, 1, 0]) * lattice.width
    row = np.array([0, 1, 1, 0, 0]) * lattice.height
    lon, lat = crs.convert(lattice.crs, "EPSG:4326", c + a * column + b * row, f + d * column + e * row)
    return {
        "type": "Polygon",
        "coordinates": [[list(p) for p in zip(lon.tolist(), lat.tolist(), strict=True)]],
    }


def _digest(path: Path) -> str:
    """SHA-256 of the file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RasterError(f"{path}: {error}") from error
