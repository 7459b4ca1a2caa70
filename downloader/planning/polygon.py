"""Geometries on a pixel grid: the tiles that they touch, and the pixels inside.

Its coordinates are (column, row) in fractional pixels of the group's grid, so that tiles and pixels are boxes along
the axes whatever the CRS. Edges are bent as the projection bends them before a single tile is judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from downloader.errors import JobError
from downloader.model.antimeridian import check_degrees
from downloader.model.crs import Crs, transformer
from downloader.model.grid import EDGE_TOLERANCE, MAX_SIDE, PixelGrid, Window, around
from downloader.planning.tiling import Tiling

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry


_BEND: Final = 0.001
"""Pixels that the middle of an edge may lie off its chord before the edge is halved."""

_ROUNDS: Final = 20
"""Halvings after which an edge that is still not straight is a cut."""

_MAX_POINTS: Final = 2_000_000

_TILES: Final = Lock()
_PIXELS: Final = Lock()
"""Two threads that use one prepared geometry of GEOS together crash it. The event loop asks for tiles, threads that
store tiles for pixels, which takes longer: each side has a geometry and a lock of its own, so neither waits for the other."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A geometry in pixels of one group's grid; picklable."""

    wkb: bytes
    """Well-known binary."""
    all_touched: bool = False
    """Whether a pixel that is only touched belongs to the region; else its centre decides."""

    @classmethod
    def of(cls, geometry: BaseGeometry, window: Window, *, all_touched: bool) -> Shape:
        """Return the shape of a geometry in pixels of a lattice, counted from the corner of a window."""
        import shapely

        shifted = shapely.transform(geometry, lambda points: points - (window.column, window.row))
        return cls(shapely.to_wkb(shifted), all_touched)

    @property
    def fingerprint(self) -> str:
        """Digest of the geometry, the same for releases of PROJ that differ in a last digit."""
        import hashlib

        import shapely

        rounded = shapely.transform(shapely.from_wkb(self.wkb), lambda points: np.round(points, 3) + 0.0)
        digest = hashlib.sha256(shapely.to_wkb(rounded)).hexdigest()[:16]
        return f"{digest}, all touched" if self.all_touched else digest

    def mask(self, tiling: Tiling, layer: int, row: int, column: int) -> int:
        """Return the bits of the tiles of one shard that the geometry touches, in every slice of the shard."""
        return _touched(self.wkb, tiling, row, column) & tiling.full_mask(layer, row, column)

    def count(self, tiling: Tiling) -> int:
        """Return the number of tiles of one slice that the geometry touches; the effort grows with its outline."""
        with _TILES:
            return _count(_for_tiles(self.wkb), tiling, (0, 0, tiling.tile_rows, tiling.tile_columns))

    def inside(self, window: Window) -> NDArray[np.bool_] | None:
        """Return which pixels of `window` belong to the geometry, (height, width); None where all do."""
        import shapely

        columns = np.arange(window.column, window.column_end)
        rows = np.arange(window.row, window.row_end)
        x, y = np.meshgrid(columns, rows)
        t = float(EDGE_TOLERANCE)
        with _PIXELS:
            geometry = _for_pixels(self.wkb)
            if geometry.contains(shapely.box(window.column, window.row, window.column_end, window.row_end)):
                return None
            inside: NDArray[np.bool_] = (
                shapely.intersects(geometry, shapely.box(x + t, y + t, x + 1 - t, y + 1 - t))
                if self.all_touched
                else shapely.contains_xy(geometry, x + 0.5, y + 0.5)
            )
        return inside


@lru_cache(maxsize=1 << 14)
def _touched(wkb: bytes, tiling: Tiling, row: int, column: int) -> int:
    """Return the bits of the tiles that the geometry touches, in every slice of a shard at (row, column)."""
    import shapely

    rows = np.arange(row * tiling.shard, min((row + 1) * tiling.shard, tiling.tile_rows))[:, None]
    columns = np.arange(column * tiling.shard, min((column + 1) * tiling.shard, tiling.tile_columns))
    whole = _box(tiling, rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)[0]
    cells = np.zeros((tiling.shard_slices, tiling.shard, tiling.shard), np.bool_)
    inside = cells[:, : len(rows), : len(columns)]
    with _TILES:
        geometry = _for_tiles(wkb)
        if geometry.contains(whole):
            inside[:] = True
        elif geometry.intersects(whole):
            inside[:] = shapely.intersects(geometry, _box(tiling, rows, columns, rows + 1, columns + 1))
    return tiling.mask(cells)


def read_geojson(document: Mapping[str, Any], key: str) -> BaseGeometry:
    """Return the geometry of a GeoJSON object: a geometry, a feature, or the union of several.

    Args:
        document: the object.
        key: key of the job file that gave it.

    Raises:
        JobError: it is no GeoJSON, or holds nothing.
    """
    import shapely
    from shapely.errors import ShapelyError
    from shapely.geometry import shape

    kind = document.get("type")
    try:
        if kind == "FeatureCollection":
            parts = [
                shape(feature["geometry"]) for feature in document["features"] if feature.get("geometry")
            ]
        elif kind == "Feature":
            parts = [shape(document["geometry"])]
        else:
            parts = [shape(document)]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ShapelyError):
        raise JobError(
            "is no GeoJSON geometry, feature or collection of features, or its coordinates are none", key=key
        ) from None
    # Edges that cross are read by the even-odd rule, as every map shows them.
    geometry = shapely.union_all([part if part.is_valid else shapely.make_valid(part) for part in parts])
    if geometry.is_empty:
        raise JobError("holds no geometry", key=key)
    if not np.isfinite(geometry.bounds).all():
        raise JobError("has coordinates that are no numbers", key=key)
    return geometry


def place(geometry: BaseGeometry, crs: Crs, grid: PixelGrid, *, buffer: float, key: str) -> BaseGeometry:
    """Return a geometry in fractional pixels of `grid`.

    Args:
        geometry: in `crs`, x before y.
        crs: of the geometry.
        grid: whose pixels; its size does not matter.
        buffer: distance to widen it by, in units of the grid's CRS; negative to narrow it.
        key: key of the job file that gave it.

    Raises:
        JobError: it comes apart in the grid's CRS, has points it cannot show, or nothing is left of it.
    """
    import shapely

    if crs.to_pyproj().is_geographic:
        check_degrees(geometry, key)
    bender = _Bender(crs, grid, key)
    projected = shapely.transform(geometry, bender.bend) if crs == grid.crs else _bent(geometry, bender)
    if buffer:
        size_x, size_y = grid.transform.pixel_size
        if not np.isclose(size_x, size_y, rtol=1e-3) or grid.transform.is_sheared:
            raise JobError(
                "needs square pixels along the CRS axes; widen the geometry itself instead",
                key="region.buffer",
            )
        if abs(buffer) > MAX_SIDE * size_x:
            raise JobError(
                f"{buffer:g} {grid.crs.unit} are more than {MAX_SIDE:,} pixels", key="region.buffer"
            )
        projected = projected.buffer(buffer / size_x)
    if not projected.is_valid:
        projected = shapely.make_valid(projected)
    if projected.is_empty:
        raise JobError(
            "nothing is left of it" + (f" after a buffer of {buffer:g}" if buffer else ""), key=key
        )
    if max(map(abs, projected.bounds)) > MAX_SIDE:
        raise JobError(
            f"reaches more than {MAX_SIDE:,} pixels of {grid.transform.pixel_size[0]:g} {grid.crs.unit} away from the "
            "grid's origin; take a smaller region, or larger pixels",
            key="region.buffer" if buffer else key,
        )
    return projected


def window_of(geometry: BaseGeometry) -> Window:
    """Return the pixels around a geometry in fractional pixels."""
    left, top, right, bottom = geometry.bounds
    return around([left, right], [top, bottom])


class _Bender:
    """Transformer of a geometry's points to pixels of a grid."""

    def __init__(self, crs: Crs, grid: PixelGrid, key: str) -> None:
        self._key = key
        self._grid = grid
        self._transformer = None if crs == grid.crs else transformer(crs, grid.crs)

    def bend(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return coordinates (n, 2) as pixels (n, 2)."""
        x, y = points[:, 0], points[:, 1]
        if self._transformer is not None:
            x, y = self._transformer.transform(x, y)
            if not (np.isfinite(x).all() and np.isfinite(y).all()):
                raise JobError(
                    f"has points that {self._grid.crs} cannot show; take a smaller region", key=self._key
                )
        return np.column_stack(self._grid.transform.to_pixels(x, y))

    def line(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a line of points as pixels, with points added wherever it bends."""
        pixels = self.bend(points)
        for _ in range(_ROUNDS):
            middles = (points[:-1] + points[1:]) / 2
            bent = self.bend(middles)
            off = np.hypot(*(bent - (pixels[:-1] + pixels[1:]) / 2).T) > _BEND
            if not off.any():
                return pixels
            at = np.flatnonzero(off) + 1
            points, pixels = (
                np.insert(points, at, middles[off], axis=0),
                np.insert(pixels, at, bent[off], axis=0),
            )
            if len(points) > _MAX_POINTS:
                break
        raise JobError(
            f"comes apart in {self._grid.crs}, at the antimeridian or a pole: make a job for each part, "
            "or give the region in the image's own CRS",
            key=self._key,
        )


def _bent(geometry: BaseGeometry, bender: _Bender) -> BaseGeometry:
    """Return the geometry in pixels, its edges bent."""
    import shapely
    from shapely.geometry import LinearRing, LineString, MultiPoint, Point, Polygon

    if isinstance(geometry, Polygon):
        rings = [
            bender.line(np.asarray(ring.coords)[:, :2]) for ring in (geometry.exterior, *geometry.interiors)
        ]
        return Polygon(rings[0], rings[1:])
    if isinstance(geometry, LinearRing | LineString):
        return LineString(bender.line(np.asarray(geometry.coords)[:, :2]))
    if isinstance(geometry, Point | MultiPoint):
        return shapely.transform(shapely.force_2d(geometry), bender.bend)
    return shapely.union_all([_bent(part, bender) for part in geometry.geoms])


def _count(geometry: BaseGeometry, tiling: Tiling, block: tuple[int, int, int, int]) -> int:
    top, left, bottom, right = block
    box = _box(tiling, top, left, bottom, right)
    if not geometry.intersects(box):
        return 0
    if (bottom - top, right - left) == (1, 1) or geometry.contains(box):
        return (bottom - top) * (right - left)
    middle_row, middle_column = (top + bottom + 1) // 2, (left + right + 1) // 2
    total = 0
    for first, last in ((top, middle_row), (middle_row, bottom)):
        for begin, end in ((left, middle_column), (middle_column, right)):
            if first < last and begin < end:
                total += _count(geometry, tiling, (first, begin, last, end))
    return total


def _box(tiling: Tiling, top: Any, left: Any, bottom: Any, right: Any) -> Any:  # noqa: ANN401  # ints or arrays
    """Return the pixels of a rectangle of tiles, less the sliver that does not count as touched."""
    import shapely

    t = float(EDGE_TOLERANCE)
    return shapely.box(
        left * tiling.tile + t,
        top * tiling.tile + t,
        np.minimum(right * tiling.tile, tiling.width) - t,
        np.minimum(bottom * tiling.tile, tiling.height) - t,
    )


def _prepared(wkb: bytes) -> BaseGeometry:
    import shapely

    geometry = shapely.from_wkb(wkb)
    shapely.prepare(geometry)
    return geometry


_for_tiles = lru_cache(maxsize=64)(_prepared)
_for_pixels = lru_cache(maxsize=64)(_prepared)
