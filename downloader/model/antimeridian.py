"""Longitudes repeat: geometries that cross the antimeridian or go around a pole, on grids that begin anywhere.

GeoJSON cuts a geometry at the antimeridian (RFC 7946, 3.1.9); others write longitudes beyond 180; images count from
-180, from 0, or from wherever they begin. Here each part is brought to the turn of the globe at which it meets the
image, and what could be meant in two ways is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from downloader.errors import JobError
from downloader.model.grid import EDGE_TOLERANCE, PixelGrid, Window

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry


_TURNS: Final = (0, -1, 1, -2, 2)
"""Times around the globe: a geometry from -360 to 360 meets an image from -180 to 360."""

_HALF: Final = 180 + 1e-9
_POLE: Final = 90 - 1e-9


def check_degrees(geometry: BaseGeometry, key: str) -> None:
    """Refuse coordinates that are no longitudes and latitudes, and edges that could go either way around the globe.

    An edge of more than 180 degrees of longitude is ambiguous: someone may mean the short way, across the antimeridian.
    Along a pole it has no length, and means nothing else.

    Raises:
        JobError: saying which, and what to write.
    """
    import shapely

    west, south, east, north = geometry.bounds
    if south < -90 or north > 90 or west < -360 or east > 360:
        raise JobError(
            f"reaches from {west:g}, {south:g} to {east:g}, {north:g}, which are no longitudes and latitudes; "
            "longitude stands first; for another CRS set region.crs",
            key=key,
        )
    for line in _lines(geometry):
        points = shapely.get_coordinates(line)
        first, last = points[:-1], points[1:]
        off_the_pole = np.minimum(np.abs(first[:, 1]), np.abs(last[:, 1])) < _POLE
        span = (np.abs(last[:, 0] - first[:, 0]) * off_the_pole).max(initial=0)
        if span > _HALF:
            raise JobError(
                f"has an edge that spans {span:g} degrees of longitude; where it crosses the "
                "antimeridian, write the part beyond it with longitudes over 180, or cut it there into two parts of "
                "a MultiPolygon; around a pole, give the edge a point every 90 degrees or so",
                key=key,
            )


def _lines(geometry: BaseGeometry) -> list[BaseGeometry]:
    """Return every ring, line and point of a geometry."""
    if hasattr(geometry, "geoms"):
        return [line for part in geometry.geoms for line in _lines(part)]
    return [geometry.exterior, *geometry.interiors] if geometry.geom_type == "Polygon" else [geometry]


def brought_to(
    geometry: BaseGeometry, grid: PixelGrid, reach: Window, key: str, *, free: bool
) -> BaseGeometry:
    """Return a geometry on a grid in degrees, each part where it meets the image.

    Args:
        geometry: in fractional pixels of `grid`.
        grid: its CRS and transform; others than in degrees have each place once, and nothing is done.
        reach: the pixels of `grid` that there are.
        key: key of the job file that gave the geometry.
        free: whether the region goes beyond `reach`; then a part may meet it at one turn only, since its pixels would
            lie on both ends of the globe, with all that is between.

    Raises:
        JobError: a part that goes beyond `reach` meets it at both ends.
    """
    import shapely
    from shapely.affinity import translate

    if not grid.crs.to_pyproj().is_geographic or grid.crs.unit != "deg":
        return geometry
    t = float(EDGE_TOLERANCE)
    box = shapely.box(reach.column + t, reach.row + t, reach.column_end - t, reach.row_end - t)
    origin, turned = grid.transform.locate(0, 0), grid.transform.locate(360, 0)
    step = np.array([float(turned[0] - origin[0]), float(turned[1] - origin[1])])
    outline = shapely.box(*geometry.bounds)
    if not any(translate(outline, *(turn * step)).intersects(box) for turn in _TURNS[1:]):
        return geometry  # as nearly all are
    found, moved = [], False
    for part in shapely.get_parts(geometry):
        copies = [(turn, translate(part, *(turn * step))) for turn in _TURNS]
        met = [(turn, copy) for turn, copy in copies if copy.intersects(box)]
        if free and len(met) > 1:
            raise JobError(
                "crosses the meridian where the images' grid begins and ends; cut it there into two parts of a "
                "MultiPolygon",
                key=key,
            )
        moved = moved or any(turn for turn, _ in met)
        found += [copy for _, copy in met or copies[:1]]
    return shapely.union_all(found) if moved else geometry


def cut_at_180(geometry: BaseGeometry) -> BaseGeometry:
    """Return a geometry in longitude and latitude as GeoJSON has it: from -180 to 180, cut in two at the antimeridian."""
    import shapely
    from shapely.affinity import translate

    west, _, east, _ = geometry.bounds
    if west >= -180 and east <= 180:
        return geometry
    world = shapely.box(-180, -90, 180, 90)
    return shapely.union_all([world.intersection(translate(geometry, 360 * turn)) for turn in _TURNS])


def shorter_way(geometry: BaseGeometry) -> BaseGeometry:
    """Return a geometry in longitude and latitude in one piece: if it was cut at 180°, its western part continues beyond 180."""
    if not hasattr(geometry, "geoms") or geometry.bounds[2] - geometry.bounds[0] <= 180:
        return geometry
    return min(geometry, eastward(geometry), key=lambda one: one.bounds[2] - one.bounds[0])


def eastward(geometry: BaseGeometry) -> BaseGeometry:
    """Return a geometry with its longitudes from 0 to 360."""
    import shapely

    return shapely.transform(geometry, lambda points: np.column_stack((points[:, 0] % 360, points[:, 1])))
