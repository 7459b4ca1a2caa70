"""Places and fields of samples as polygons in pixels of a grid, counted from its lower left corner."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from downloader.model.crs import transformer
from downloader.model.grid import PixelGrid
from downloader.planning import Group
from downloader.planning.polygon import Shape, place
from downloader.planning.samples import pixels_of
from downloader.tables.places import Places


def shapes_of(places: Places, grid: PixelGrid) -> NDArray[np.object_]:
    """Return the polygon of each place, of a point its pixel; empty for a place that lies elsewhere."""
    found = np.full(len(places), shapely.Polygon(), object)
    for number, shape in enumerate(places.shapes):
        if shape is None:
            continue
        x, y = shapely.get_coordinates(shape).T
        if places.crs != grid.crs:
            x, y = transformer(places.crs, grid.crs).transform(x, y)
        if shape.geom_type == "Point":
            columns, rows, inside = pixels_of(grid, x, y)
            if inside[0]:
                left, top = int(columns[0]), int(rows[0])
                found[number] = shapely.box(left, grid.height - top - 1, left + 1, grid.height - top)
        elif _may_touch(grid, x, y):
            pixels = place(shape, places.crs, grid, buffer=0.0, key=f"by: feature {number + 1}")
            found[number] = _upright(pixels, grid.height)
    return found


def _may_touch(grid: PixelGrid, x: NDArray[np.float64], y: NDArray[np.float64]) -> bool:
    """Return whether a polygon with these corners may touch a grid; one that the CRS cannot show lies elsewhere."""
    known = np.isfinite(x) & np.isfinite(y)
    columns, rows = grid.transform.to_pixels(x[known], y[known])
    if (
        not known.all()
        and not ((columns >= 0) & (columns <= grid.width) & (rows >= 0) & (rows <= grid.height)).any()
    ):
        return False
    return all(
        float(at.min()) - (slack := float(np.ptp(at))) <= side and float(at.max()) + slack >= 0
        for at, side in ((columns, grid.width), (rows, grid.height))
    )


def fields_of(group: Group) -> NDArray[np.object_] | None:
    """Return the field of each sample in pixels of its chip, empty where it has none; None for samples without fields."""
    if not group.shapes:
        return None
    wkb = [one.wkb if isinstance(one, Shape) else None for one in group.shapes]
    found = np.full(len(wkb), shapely.MultiPolygon(), object)
    for number, shape in enumerate(shapely.from_wkb(wkb)):
        if shape is not None:
            found[number] = _upright(shape, group.window.height)
    return found


def _upright(shape: BaseGeometry, height: int) -> BaseGeometry:
    """Return the polygons of a shape in pixels, whose rows count from the top, with rows from the bottom."""
    parts = shapely.get_parts(shapely.get_parts(shape))
    polygons = [part for part in parts if part.geom_type == "Polygon"]
    return shapely.transform(
        shapely.MultiPolygon(polygons), lambda at: np.column_stack([at[:, 0], height - at[:, 1]])
    )
