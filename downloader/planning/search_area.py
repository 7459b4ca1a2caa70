"""Places in longitude and latitude: the job's region as the catalogue's listings take it, the middle of a grid."""

from __future__ import annotations

import json
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from downloader.errors import JobError
from downloader.model.antimeridian import cut_at_180, eastward, shorter_way
from downloader.model.crs import LONLAT, Crs, transformer
from downloader.model.grid import PixelGrid
from downloader.planning.inputs import JobFiles
from downloader.planning.polygon import read_geojson

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

    from downloader.job import Job


_POINTS: Final = 16
"""Points that an edge is given at least when it goes to another CRS; footprints are no more exact than that."""

_HALF: Final = 180

_SIMPLE: Final = 200
"""Points above which a geometry is replaced by its hull: a listing's query has limits, and footprints are boxes."""


def region_geojson(job: Job, files: JobFiles) -> dict[str, Any]:
    """Return GeoJSON in longitude and latitude that the footprint of an image must meet. Raises as `region_lonlat`."""
    import shapely

    geometry = region_lonlat(job, files)
    if shapely.get_num_coordinates(geometry) > _SIMPLE:
        geometry = geometry.convex_hull
    document: dict[str, Any] = json.loads(shapely.to_geojson(geometry))
    return document


def region_lonlat(job: Job, files: JobFiles) -> BaseGeometry:
    """Return the job's region in longitude and latitude, cut at 180°.

    Raises:
        JobError: the region cannot be shown in longitude and latitude.
    """
    geometry, crs, _ = region_shape(job, files)
    return cut_at_180(in_lonlat(geometry, crs))


def in_lonlat(geometry: BaseGeometry, crs: Crs) -> BaseGeometry:
    """Return a geometry in longitude and latitude, beyond 180 where it crosses the antimeridian; edges are bent.

    Raises:
        JobError: it has points that cannot be shown in longitude and latitude.
    """
    import shapely

    if crs == LONLAT:
        return geometry
    project = transformer(crs, LONLAT).transform
    length = max(geometry.bounds[2] - geometry.bounds[0], geometry.bounds[3] - geometry.bounds[1])
    if length > 0:
        geometry = shapely.segmentize(geometry, length / _POINTS)
    poles = [pole for pole in (-90, 90) if _holds(geometry, project(0, pole, direction="INVERSE"))]
    geometry = shapely.transform(
        geometry, lambda points: np.column_stack(project(points[:, 0], points[:, 1]))
    )
    if not np.isfinite(geometry.bounds).all():
        raise JobError(f"has points that have no longitude and latitude in {crs}", key="region")
    west, south, east, north = geometry.bounds
    if poles:
        return shapely.box(-180, -90 if -90 in poles else south, 180, 90 if 90 in poles else north)
    if east - west > _HALF:
        # PROJ's longitudes jump at the antimeridian; a region that small lies across it.
        return eastward(geometry)
    return geometry


@lru_cache(maxsize=1 << 12)
def middle_of(grid: PixelGrid) -> tuple[float, float] | None:
    """Return longitude, in [-180, 180), and latitude of a grid's middle; None where its CRS cannot show it."""
    x, y = grid.transform.exact(Fraction(grid.width, 2), Fraction(grid.height, 2))
    longitude, latitude = transformer(grid.crs, LONLAT).transform(float(x), float(y))
    return ((longitude + 180) % 360 - 180, latitude) if np.isfinite(longitude) else None


def region_middle(job: Job, files: JobFiles) -> tuple[float, float]:
    """Return longitude and latitude of the middle of the region's bounds. Raises as `region_lonlat`."""
    west, south, east, north = shorter_way(region_lonlat(job, files)).bounds
    return (west + east) / 2, (south + north) / 2


def _holds(geometry: BaseGeometry, point: tuple[float, float]) -> bool:
    import shapely

    return bool(np.isfinite(point).all()) and bool(shapely.intersects_xy(geometry, *point))


def region_shape(job: Job, files: JobFiles) -> tuple[BaseGeometry, Crs, str]:
    """Return the job's region as it was given, its CRS, and the key that gave it. Only for a region that is a place."""
    import shapely

    if files.points is not None:
        points = [(row.lon, row.lat) for row in files.points.rows]
        return shapely.multipoints(points), LONLAT, job.region.samples_key
    if files.geometry is not None:
        return files.geometry, files.crs or LONLAT, "region.file"
    if job.region.geometry is not None:
        key = "region.geometry"
        return read_geojson(job.region.geometry, key), Crs.parse(job.region.crs), key
    box = job.region.box()
    return shapely.box(*box.edges), box.crs, "region.bbox"
