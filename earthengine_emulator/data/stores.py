"""Zarr stores as assets: a group's two-dimensional arrays are bands, those with a time axis a collection of images.

Read are arrays whose last two dimensions are rows and columns, with the georeferencing that CF and GDAL write: an
attribute `grid_mapping` that names an array with `crs_wkt` (or `spatial_ref`) and `GeoTransform`. Arrays may lie in the
root and, one resolution each, in the groups below it. `_FillValue` is the missing value, `pyramidingPolicy` an
attribute of the array (else MODE where there are `flag_values`, else MEAN).
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from earthengine_emulator.catalogue.catalogue import Catalogue
from earthengine_emulator.catalogue.model import PIXEL_TYPES, Band, Container, Image, Lattice, Pixels, Valid
from earthengine_emulator.data import sidecars
from earthengine_emulator.data.rasters import KINDS, RasterError, add_folders, outline, update_time

if TYPE_CHECKING:
    import zarr

_UNITS: Final = {
    "days": 86_400e3,
    "hours": 3_600e3,
    "minutes": 60e3,
    "seconds": 1e3,
    "milliseconds": 1.0,
    "microseconds": 1e-3,
    "nanoseconds": 1e-6,
}


class Arrays:
    """Pixels of one image: an array for each band, and the place of the image along the time axis."""

    def __init__(
        self, arrays: tuple[zarr.Array[Any], ...], bands: tuple[Band, ...], index: int | None
    ) -> None:
        self._arrays = arrays
        self._bands = bands
        self._index = index

    def read(self, band: int, column: int, row: int, width: int, height: int) -> tuple[Pixels, Valid | None]:
        """Return pixels (height, width) of a window and where they are valid."""
        window = (slice(row, row + height), slice(column, column + width))
        stored = self._arrays[band][window if self._index is None else (self._index, *window)]
        values = np.asarray(stored)
        wanted, missing = self._bands[band].type.dtype, self._bands[band].missing
        valid: Valid = ~np.isnan(values) if values.dtype.kind == "f" else np.ones(values.shape, np.bool_)
        if missing is not None:
            valid &= values != np.asarray(missing, values.dtype)
        delivered = np.where(valid, values, np.zeros((), values.dtype)).astype(wanted, copy=False)
        return delivered, None if valid.all() else valid


def is_store(path: Path) -> bool:
    """Return whether a folder is a Zarr store."""
    return path.is_dir() and any((path / name).exists() for name in ("zarr.json", ".zgroup", ".zmetadata"))


def add(catalogue: Catalogue, name: str, path: Path) -> None:
    """Put a store into the catalogue: an image, or a collection where its arrays have a time axis.

    Raises:
        RasterError: zarr is missing, or the store cannot be an image.
    """
    import zarr

    try:
        root = zarr.open_group(str(path), mode="r")
    except (ValueError, KeyError, OSError) as error:
        raise RasterError(f"{path}: {error}") from error
    found = list(_arrays(root))
    if not found:
        raise RasterError(f"{path}: no array with a grid_mapping that has crs_wkt and GeoTransform")
    depths = {array.ndim for _, array, _, _ in found}
    if len(depths) > 1:
        raise RasterError(f"{path}: some arrays have a time axis, some have none")
    digest = _digest(path)
    updated = update_time(digest)
    bands = tuple(_band(path, id_, array, lattice) for id_, array, lattice, _ in found)
    arrays = tuple(array for _, array, _, _ in found)
    if depths == {2}:
        catalogue.add(_image(name, bands, Arrays(arrays, bands, None), updated, None), digest)
    else:
        times = _times(path, found[0][3], arrays[0])
        catalogue.add(Container(name, "IMAGE_COLLECTION", updated), digest)
        for i, when in enumerate(times):
            stamp = datetime.fromtimestamp(when / 1000, UTC)
            index = f"{stamp:%Y%m%dT%H%M%S}_{i:04}" if times.count(when) > 1 else f"{stamp:%Y%m%dT%H%M%S}"
            image = _image(
                f"{name}/{index}", bands, Arrays(arrays, bands, i), updated, sidecars.written(stamp)
            )
            catalogue.add(image)
    add_folders(catalogue, name)


Found = tuple[str, "zarr.Array[Any]", Lattice, "zarr.Group"]


def _arrays(root: zarr.Group) -> Iterator[Found]:
    """Yield band id, array, lattice and group of every georeferenced array."""
    taken: set[str] = set()
    for group in (root, *(one for _, one in sorted(root.groups()))):
        for key, array in sorted(group.arrays()):
            mapping = array.attrs.get("grid_mapping")
            if array.ndim not in (2, 3) or not isinstance(mapping, str) or str(array.dtype) not in KINDS:
                continue
            reference = group.get(mapping)
            lattice = None if reference is None else _lattice(dict(reference.attrs), array.shape)
            band = str(array.attrs.get("band", key))
            if lattice is not None and band not in taken:
                taken.add(band)
                yield band, array, lattice, group


def _lattice(attributes: Mapping[str, Any], shape: tuple[int, ...]) -> Lattice | None:
    text = attributes.get("crs_wkt") or attributes.get("spatial_ref")
    numbers = attributes.get("GeoTransform")
    if not isinstance(text, str) or not isinstance(numbers, str):
        return None
    from pyproj import CRS

    code = CRS.from_user_input(text).to_authority()
    c, a, b, f, d, e = (float(v) for v in numbers.split())
    return Lattice(":".join(code) if code else text, shape[-1], shape[-2], (a, b, c, d, e, f))


def _band(path: Path, id_: str, array: zarr.Array[Any], lattice: Lattice) -> Band:
    attributes = dict(array.attrs)
    missing = _missing(attributes.get("_FillValue"), array.dtype)
    policy = str(
        attributes.get("pyramidingPolicy", "MODE" if "flag_values" in attributes else "MEAN")
    ).upper()
    if policy not in sidecars.POLICIES:
        raise RasterError(f"{path}: {id_} has an unknown pyramidingPolicy, {policy}")
    return Band(id_, PIXEL_TYPES[KINDS[str(array.dtype)]], lattice, policy, missing)


def _missing(given: object, dtype: np.dtype[Any]) -> float | None:
    """Return `_FillValue` as a number: as it is, or as xarray writes it for floats, in base64."""
    if isinstance(given, str) and dtype.kind == "f":
        text = given
        try:
            given = float(text)
        except ValueError:
            given = float(np.frombuffer(base64.b64decode(text), "<f8")[0])
    if isinstance(given, (int, float)) and not isinstance(given, bool) and math.isfinite(given):
        return float(given)
    return None


def _times(path: Path, group: zarr.Group, array: zarr.Array[Any]) -> list[float]:
    """Return milliseconds since 1970 of each place along the first axis."""
    dimensions: Any = getattr(array.metadata, "dimension_names", None) or array.attrs.get(
        "_ARRAY_DIMENSIONS", ["time"]
    )
    axis: Any = group.get(str(dimensions[0]))
    unit, _, since = str({} if axis is None else dict(axis.attrs).get("units", "")).partition(" since ")
    if axis is None or unit not in _UNITS:
        raise RasterError(f"{path}: the axis {dimensions[0]} has no units such as 'seconds since 1970-01-01'")
    start = datetime.fromisoformat(since.strip())
    origin = (start if start.tzinfo else start.replace(tzinfo=UTC)).timestamp() * 1000
    return [origin + float(value) * _UNITS[unit] for value in np.asarray(axis[:])]


def _image(name: str, bands: tuple[Band, ...], source: Arrays, updated: str, start: str | None) -> Image:
    return Image(
        name=name,
        bands=bands,
        source=source,
        update_time=updated,
        start_time=start,
        end_time=start,
        properties={"system:index": name.rsplit("/", 1)[1]},
        geometry=outline(bands[0].lattice),
        size_bytes=sum(b.lattice.width * b.lattice.height * b.type.dtype.itemsize for b in bands),
    )


def _digest(path: Path) -> str:
    """Return the SHA-256 over the names and contents of all files, those of hidden folders left out."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        inner = file.relative_to(path)
        if file.is_file() and not any(part.startswith(".") and part[1:2] != "z" for part in inner.parts):
            digest.update(str(inner).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
