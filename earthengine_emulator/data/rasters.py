"""Local rasters as images: GeoTIFF, or whatever else rasterio reads."""

from __future__ import annotations

import hashlib
import math
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from earthengine_emulator.catalogue import crs
from earthengine_emulator.catalogue.catalogue import Catalogue
from earthengine_emulator.catalogue.model import (
    PIXEL_TYPES,
    Band,
    Container,
    Image,
    Lattice,
    Pixels,
    PixelType,
    Valid,
)
from earthengine_emulator.data import sidecars

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
        """Return pixels (height, width) of a window and where they are valid; `band` counts from 0."""
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
    made, digest = image(name, path, sidecars.Sidecar())
    catalogue.add(made, digest)
    add_folders(catalogue, name)


def add_collection(catalogue: Catalogue, name: str, folder: Path) -> None:
    """Put a folder of GeoTIFFs into the catalogue as an image collection; `collection.json` speaks for all of them.

    Raises:
        RasterError: it holds no GeoTIFF, or one that cannot be an image.
    """
    paths = sorted(p for p in folder.glob("*") if p.suffix.lower() in (".tif", ".tiff"))
    if not paths:
        raise RasterError(f"{folder} contains no GeoTIFF")
    try:
        common = sidecars.read(folder / "collection.json")
    except sidecars.SidecarError as error:
        raise RasterError(str(error)) from error
    images = [image(f"{name}/{_index(path)}", path, common) for path in paths]
    updated = max(one.update_time for one, _ in images)
    digest = hashlib.sha256(common.text).hexdigest()
    catalogue.add(Container(name, "IMAGE_COLLECTION", updated, dict(common.properties)), digest)
    for one, own in images:
        if catalogue.get(one.name) is not None:
            raise RasterError(f"{folder}: two files would both be {one.name}")
        catalogue.add(one, own)
    add_folders(catalogue, name)


def add_folders(catalogue: Catalogue, name: str) -> None:
    """Put the folders above an asset into the catalogue."""
    parts = name.split("/")
    for depth in range(4, len(parts)):
        folder = "/".join(parts[:depth])
        if catalogue.get(folder) is None:
            catalogue.add(Container(folder, "FOLDER"))


def _index(path: Path) -> str:
    """Return a file's name as a segment of an asset name."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", path.stem)


def image(name: str, path: Path, common: sidecars.Sidecar) -> tuple[Image, str]:
    """Return the image of a file, and the hash of all it was made of.

    Times, properties and policies come from FILE.json beside it, else from its tags and its name; policies else from
    `common`. Its updateTime is a function of the contents, so that it changes when they do.
    """
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
    own = sidecars.told_by_file(path.stem, dataset.tags())
    try:
        beside = sidecars.read(path.with_suffix(".json")).over(common)
    except sidecars.SidecarError as error:
        raise RasterError(str(error)) from error
    start = beside.start_time or own.start_time
    lattice = _lattice(path, dataset)
    bands: list[Band] = []
    for i, dtype in enumerate(dataset.dtypes):
        if dtype not in KINDS:
            raise RasterError(f"{path}: band {i + 1} is {dtype}, which Earth Engine has no type for")
        label = (dataset.descriptions[i] or "").strip()
        nodata = dataset.nodatavals[i]
        missing = float(nodata) if nodata is not None and math.isfinite(nodata) else None
        id_ = _band_id(label, i, bands)
        policy = beside.policy_of(id_, "MODE" if _has_colours(dataset, i + 1) else "MEAN")
        bands.append(Band(id_, PIXEL_TYPES[KINDS[dtype]], lattice, policy, missing))
    digest = (
        hashlib.sha256(_digest(path).encode() + beside.text).hexdigest() if beside.text else _digest(path)
    )
    made = Image(
        name=name,
        bands=tuple(bands),
        source=File(dataset, tuple(band.type for band in bands)),
        update_time=update_time(digest),
        start_time=start,
        end_time=beside.end_time or own.end_time or start,
        properties={**own.properties, **beside.properties, "system:index": name.rsplit("/", 1)[1]},
        geometry=outline(lattice),
        size_bytes=path.stat().st_size,
    )
    return made, digest


def update_time(digest: str) -> str:
    """Return a time that is a function of a hash."""
    seconds = int(digest[:12], 16) % _UPDATED_WITHIN_S
    micros = int(digest[12:20], 16) % 1_000_000
    updated = _UPDATED_AFTER + timedelta(seconds=seconds, microseconds=micros)
    return updated.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _band_id(label: str, index: int, before: list[Band]) -> str:
    """Return the file's own name for a band where it can be an id and is not yet taken, else B1, B2 and so on."""
    usable = label.replace("_", "").replace("-", "").isalnum() and label not in [b.id for b in before]
    return label if usable else f"B{index + 1}"


def _has_colours(dataset: DatasetReader, band: int) -> bool:
    """Return whether a band's values are classes with a colour table."""
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


def outline(lattice: Lattice) -> dict[str, Any]:
    """Return the image's corners in longitude and latitude."""
    a, b, c, d, e, f = lattice.affine
    column = np.array([0, 0, 1, 1, 0]) * lattice.width
    row = np.array([0, 1, 1, 0, 0]) * lattice.height
    lon, lat = crs.convert(lattice.crs, "EPSG:4326", c + a * column + b * row, f + d * column + e * row)
    return {
        "type": "Polygon",
        "coordinates": [[list(p) for p in zip(lon.tolist(), lat.tolist(), strict=True)]],
    }


def _digest(path: Path) -> str:
    """Return the SHA-256 of the file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RasterError(f"{path}: {error}") from error
