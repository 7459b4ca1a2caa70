"""The region on a lattice: which pixels it takes, which tiles of them it touches, and where the image ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from downloader.errors import JobError
from downloader.model.antimeridian import brought_to
from downloader.model.bbox import cover_box, cover_box_anywhere, cover_window, cover_window_anywhere
from downloader.model.crs import Crs
from downloader.model.grid import PixelGrid, Window, around
from downloader.model.image import Band
from downloader.planning.inputs import Given
from downloader.planning.lattice import Target
from downloader.planning.polygon import Shape, place, read_geojson
from downloader.planning.tiling import TILE

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

    from downloader.job import Job

__all__ = ["Extent", "extents_of"]


@dataclass(frozen=True, slots=True)
class Extent:
    """A region on one lattice."""

    window: Window
    """In pixels of the lattice."""
    shape: Shape | None = None
    """In pixels of the window; None where the region is the window."""
    covered: Window | None = None
    """The pixels of the window that the image covers; None where it covers all of them."""


def extents_of(
    job: Job, targets: list[Target], given: Given, reaches: Sequence[Window | None] | None = None
) -> list[Extent]:
    """The job's region on each lattice.

    Args:
        job: whose region.
        targets: lattices, finest first.
        given: contents of files.
        reaches: of a collection, by target, the pixels that its images cover, None where they cover none. Their edges cut
            nothing off: a collection's region stays what it is.

    Raises:
        JobError: the region lies outside, or cannot be shown in the lattice's CRS.
    """
    region = job.region
    if region.window is not None:
        return _of_window(job, targets)
    geometry, crs, key = _geometry(job, given)
    found = []
    for number, target in enumerate(targets):
        free = reaches is not None or target.is_endless
        reach = _reach(target) if reaches is None else reaches[number]
        if geometry is not None:
            extent = _of_geometry(job, target, geometry, crs, key, reach, free=free)
        elif region.bbox is not None:
            window = (
                cover_box_anywhere(target.grid, region.box(), reach)
                if free
                else cover_box(target.grid, region.box())
            )
            extent = Extent(_aligned(job, window, target, free=free))
        elif not all(band.is_bounded for band in target.bands):
            raise JobError(
                "is needed, since what is computed has no edge of its own; give region.bbox", key="region"
            )
        else:
            extent = Extent(_aligned(job, _image_window(target), target, free=free))
        found.append(extent if reaches is not None else _with_image(extent, target))
    return found


def _reach(target: Target) -> Window | None:
    """The pixels of one image; None where what is computed has no edge."""
    if not target.is_endless:
        return target.grid.bounds
    return _footprint(target.grid, target.bands) if all(band.is_bounded for band in target.bands) else None


def _of_window(job: Job, targets: list[Target]) -> list[Extent]:
    asked, finest = job.region.window, targets[0].grid
    if asked is None:
        return []
    window = Window(asked.column, asked.row, asked.width, asked.height)
    if targets[0].is_endless:
        return [_with_image(Extent(_aligned(job, window, targets[0], free=True)), targets[0])]
    clipped = window.clip(finest.bounds)
    if clipped is None:
        raise JobError(
            f"{window} lies outside the image, which has {finest.width} columns and {finest.height} rows",
            key="region.window",
        )
    found = []
    for target in targets:
        part = clipped if target.grid == finest else cover_window(target.grid, clipped, finest)
        if part is None:
            raise JobError(f"covers no pixel of {', '.join(band.id for band in target.bands)}", key="region")
        found.append(Extent(_aligned(job, part, target, free=False)))
    return found


def _of_geometry(
    job: Job,
    target: Target,
    geometry: BaseGeometry,
    crs: Crs,
    key: str,
    reach: Window | None,
    *,
    free: bool,
) -> Extent:
    import shapely

    placed, window = place(geometry, crs, target.grid, buffer=job.region.buffer, key=key)
    if reach is not None:
        placed = brought_to(placed, target.grid, reach, key, free=free)
        left, top, right, bottom = placed.bounds
        window = around([left, right], [top, bottom])
    clipped = window if free else window.clip(target.grid.bounds)
    if clipped is None:
        raise JobError(
            f"lies outside the image, whose pixels ({target.grid}) it would meet at {window}", key=key
        )
    clipped = _aligned(job, clipped, target, free=free)
    shifted = shapely.transform(placed, lambda points: points - (clipped.column, clipped.row))
    return Extent(clipped, Shape(shapely.to_wkb(shifted), job.region.all_touched))


def _geometry(job: Job, given: Given) -> tuple[BaseGeometry | None, Crs, str]:
    if job.region.geometry is not None:
        key = "region.geometry"
        return read_geojson(job.region.geometry, key), Crs.parse(job.region.crs), key
    return given.geometry, given.crs or Crs(code="EPSG:4326"), f"region.file {job.region.file}"


def _image_window(target: Target) -> Window:
    if not target.is_endless:
        return target.grid.bounds
    return _footprint(target.grid, target.bands)


def _footprint(lattice: PixelGrid, bands: tuple[Band, ...]) -> Window:
    """The pixels of an endless lattice that the bands' own grids touch."""
    windows = [cover_window_anywhere(lattice, grid.bounds, grid) for grid in {band.grid for band in bands}]
    return Window.between(
        min(w.column for w in windows),
        min(w.row for w in windows),
        max(w.column_end for w in windows),
        max(w.row_end for w in windows),
    )


def _aligned(job: Job, window: Window, target: Target, *, free: bool) -> Window:
    if job.grid.align != "image":
        return window
    aligned = window.aligned(TILE)
    return aligned if free else aligned.clip(target.grid.bounds) or window


def _with_image(extent: Extent, target: Target) -> Extent:
    """The extent with the image's own edge, where the lattice has none of its own."""
    if not target.is_endless or not all(band.is_bounded for band in target.bands):
        return extent
    covered = _footprint(target.grid, target.bands).clip(extent.window)
    if covered is None:
        raise JobError(
            f"lies outside the image, of which {target.grid.crs} shows nothing there", key="region"
        )
    if covered == extent.window:
        return extent
    return Extent(extent.window, extent.shape, covered.offset(-extent.window.column, -extent.window.row))
