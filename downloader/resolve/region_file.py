"""Read regions from vector files, and pixel grids from rasters and mosaics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from downloader.errors import JobError, MissingExtraError
from downloader.job.files import read_text
from downloader.model.crs import LONLAT, Crs
from downloader.model.grid import AffineTransform, PixelGrid
from downloader.mosaic.record.ownership import read_identity
from downloader.planning.polygon import read_geojson
from downloader.text import cut

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry


_MAX_GEOJSON = 512 * 2**20
_ADVICE = "name a vector file such as region.geojson"


def read_geometry(path: Path, key: str) -> tuple[BaseGeometry, Crs]:
    """Return the union of a vector file's features, x before y, and their CRS.

    GeoJSON is read as it is (RFC 7946: longitude, latitude; an older file's own `crs` counts); every other format by
    pyogrio, the extra `vector`.

    Raises:
        JobError: the file cannot be read, holds nothing, or says no CRS.
        MissingExtraError: pyogrio is not installed.
    """
    if path.suffix.lower() in {".geojson", ".json"}:
        document, crs = read_features(path, key)
        try:
            return read_geojson(document, key), crs
        except JobError as error:
            raise JobError(f"{path} {error.message}", key=key) from None
    if not path.exists() or not (path.is_file() or path.is_dir()):
        raise JobError(f"{cut(path)} is no file; {_ADVICE}", key=key)
    try:
        import pyogrio
    except ImportError:
        raise MissingExtraError(f"{key}: reading {path.suffix or 'this'} files", "vector") from None
    import shapely

    try:
        meta, _, wkb, _ = pyogrio.raw.read(path, columns=[])
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, ValueError, OSError) as error:
        raise JobError(f"{path} cannot be read: {' '.join(str(error).split())[:200]}", key=key) from None
    parts = [part for part in shapely.from_wkb(wkb) if part is not None and not part.is_empty]
    if not parts:
        raise JobError(f"{path} holds no geometry", key=key)
    if not meta["crs"]:
        raise JobError(f"{path} says no CRS; a shapefile needs its .prj beside it", key=key)
    union = shapely.union_all([part if part.is_valid else shapely.make_valid(part) for part in parts])
    return shapely.force_2d(union), Crs.parse(str(meta["crs"]))


def read_features(path: Path, key: str) -> tuple[dict[str, Any], Crs]:
    """Return the object of a GeoJSON file, and its CRS. Raises JobError where it cannot be read."""
    text = read_text(path, _MAX_GEOJSON, _ADVICE, key)
    try:
        document: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise JobError(f"{path} cannot be read as GeoJSON: {error}", key=key) from None
    if not isinstance(document, dict):
        raise JobError(f"{path} holds no GeoJSON object", key=key)
    crs = LONLAT
    told = document.get("crs")
    if isinstance(told, dict):
        name = str(told.get("properties", {}).get("name", ""))
        if name and not name.endswith("CRS84"):
            crs = Crs.parse(name.replace("urn:ogc:def:crs:", "").replace("::", ":"))
    return document, crs


def read_grid(path: Path, key: str) -> PixelGrid:
    """Return the pixel grid of a mosaic of this package, or of a raster by rasterio, the extra `rasters`.

    Raises:
        JobError: the file is none of them, or has no CRS or transform.
        MissingExtraError: rasterio is not installed.
    """
    if path.is_dir():
        identity = read_identity(path)
        if identity is not None:
            return identity.layouts[0].group.grid
    try:
        import rasterio
        from rasterio.errors import RasterioError
    except ImportError:
        raise MissingExtraError(f"{key}: reading the grid of {path}", "rasters") from None
    try:
        with rasterio.open(path) as raster:
            crs, t = raster.crs, raster.transform
            width, height = raster.width, raster.height
    except RasterioError as error:
        raise JobError(f"{path} cannot be read: {' '.join(str(error).split())[:200]}", key=key) from None
    if crs is None or t.is_identity:
        raise JobError(f"{path} says no CRS or no transform", key=key)
    code = crs.to_authority()
    return PixelGrid(
        Crs(code=":".join(code)) if code else Crs(wkt=crs.to_wkt()),
        AffineTransform(t.a, t.b, t.c, t.d, t.e, t.f),
        width,
        height,
    )
