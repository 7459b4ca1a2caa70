"""Outlines on a group's pixels: of the images, and of the region."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from downloader.grid import PixelGrid
from downloader.image import Image
from downloader.planning import Group, Plan

__all__ = ["footprints", "region_rings"]

_PER_EDGE: Final = 16
"""Points of an edge that goes to another CRS."""

_MOST_IMAGES: Final = 200
"""Different footprints that are drawn; of more the first ones."""

_MOST_POINTS: Final = 4000
"""Points of a region's outline that are drawn."""


def footprints(plan: Plan, group: Group) -> list[NDArray[np.float64]]:
    """Rings of (column, row) in pixels of the group's grid, one for each image with an outline of its own."""
    names = {band.id for band in group.bands}
    images: Iterable[Image] = (plan.image,) if plan.listed is None else plan.listed.images
    grids = dict.fromkeys(
        band.grid
        for image in images
        for band in image.bands[:64]
        if band.id in names and band.is_bounded and not band.mask_of
    )
    rings = []
    for grid in list(grids)[:_MOST_IMAGES]:
        ring = _on(group, grid)
        if np.isfinite(ring).all():
            rings.append(ring)
    return rings


def _on(group: Group, grid: PixelGrid) -> NDArray[np.float64]:
    """The edge of a grid, in pixels of the group's."""
    along = np.linspace(0, 1, _PER_EDGE + 1)[:-1]
    corners = np.array([(0, 0), (grid.width, 0), (grid.width, grid.height), (0, grid.height), (0, 0)], float)
    edges = [a + along[:, None] * (b - a) for a, b in itertools.pairwise(corners)]
    points = np.concatenate([*edges, corners[:1]])
    t = grid.transform
    x = t.translate_x + t.scale_x * points[:, 0] + t.shear_x * points[:, 1]
    y = t.translate_y + t.shear_y * points[:, 0] + t.scale_y * points[:, 1]
    if grid.crs != group.lattice.crs:
        import pyproj

        own = group.lattice.crs.to_pyproj()
        x, y = pyproj.Transformer.from_crs(grid.crs.to_pyproj(), own, always_xy=True).transform(x, y)
    u = group.lattice.transform
    determinant = u.scale_x * u.scale_y - u.shear_x * u.shear_y
    dx, dy = np.asarray(x) - u.translate_x, np.asarray(y) - u.translate_y
    columns = (dx * u.scale_y - dy * u.shear_x) / determinant - group.window.column
    rows = (dy * u.scale_x - dx * u.shear_y) / determinant - group.window.row
    return np.column_stack([columns, rows])


def region_rings(group: Group, tolerance: float) -> list[NDArray[np.float64]]:
    """Rings of the region in pixels of the group's grid; none where the region is all of it.

    Args:
        group: whose region.
        tolerance: pixels by which the outline may be simplified.
    """
    from downloader.planning.shape import Shape

    if not isinstance(group.region, Shape):
        return []
    import shapely

    outline = shapely.from_wkb(group.region.wkb)
    while True:
        drawn = outline.simplify(tolerance)
        if shapely.get_num_coordinates(drawn) <= _MOST_POINTS:
            return list(_rings(drawn))
        tolerance *= 2


def _rings(geometry: Any) -> Iterator[NDArray[np.float64]]:  # noqa: ANN401  # shapely's are loosely typed
    for part in getattr(geometry, "geoms", [geometry]):
        if hasattr(part, "geoms"):
            yield from _rings(part)
        elif part.geom_type == "Polygon":
            for ring in (part.exterior, *part.interiors):
                yield np.asarray(ring.coords)[:, :2]
        else:
            yield np.asarray(part.coords)[:, :2]
