"""The job's region on a lattice: its window, its shape, and the parts that images cover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from downloader.errors import JobError
from downloader.model.antimeridian import brought_to
from downloader.model.bbox import cover_box, cover_box_anywhere, cover_window
from downloader.model.crs import Crs
from downloader.model.grid import PixelGrid, Window
from downloader.planning.cover import Cover, clipped, cover_of
from downloader.planning.inputs import JobFiles
from downloader.planning.lattice import Lattice
from downloader.planning.polygon import Shape, place, window_of
from downloader.planning.search_area import region_shape

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

    from downloader.job import Job
    from downloader.job.sections.region import WindowSpec


@dataclass(frozen=True, slots=True)
class Extent:
    """A region on one lattice."""

    window: Window
    """In pixels of the lattice."""
    shape: Shape | None = None
    """In pixels of the window; None if the region is the whole window."""
    covered: tuple[Cover, ...] = ()
    """By slice, the pixels of the window that its images cover; empty if images cover all of it."""
    chips: tuple[PixelGrid | None, ...] = ()
    """By slice, the grid of a sample's chip, None for a sample without pixels; empty unless the slices are samples."""
    shapes: tuple[Shape | None, ...] = ()
    """Of fields, each by sample in pixels of its chip, None for one without pixels; else empty."""


def extents_of(job: Job, lattices: Sequence[Lattice], files: JobFiles) -> list[Extent]:
    """Return the job's region on each lattice.

    Args:
        job: whose region.
        lattices: finest first. The edges of a time series' images cut nothing off: its region stays what it is.
        files: contents of files.

    Raises:
        JobError: the region lies outside the image, or cannot be shown in the lattice's CRS.
    """
    region = region_shape(job, files) if job.region.is_place else None
    found = []
    for lattice in lattices:
        if job.region.window is not None:
            extent = _of_window(job.region.window, lattice, lattices[0])
        elif region is not None and (job.region.is_shaped or lattice.zone is not None):
            extent = _of_geometry(job, lattice, *region)
        else:
            extent = _of_box(job, lattice)
        found.append(_covered(extent, lattice))
    if all(extent.covered and not any(extent.covered) for extent in found):
        raise JobError(
            f"lies beyond all images: none of {len(found[0].covered):,} slices has a pixel there; take images that meet it",
            key="region",
        )
    return found


def _is_free(lattice: Lattice) -> bool:
    """Return whether the region may reach beyond what images cover."""
    return lattice.is_endless or bool(lattice.extents)


def _reach(lattice: Lattice) -> Window | None:
    """Return the pixels that images cover; None for a computed image without an edge, or if images cover none."""
    if lattice.extents:
        return lattice.hull
    if not lattice.is_endless:
        return lattice.grid.bounds
    return _footprint(lattice) if lattice.is_bounded else None


def _footprint(lattice: Lattice) -> Window | None:
    """Return the pixels of a lattice that its bands' own grids touch."""
    grids = {band.grid for band in lattice.bands}
    return Window.hull(cover_window(lattice.grid, grid.bounds, grid) for grid in grids)


def _of_window(asked: WindowSpec, lattice: Lattice, finest: Lattice) -> Extent:
    """Return the pixels of `region.window`, which counts in those of the finest lattice."""
    window = Window(asked.column, asked.row, asked.width, asked.height)
    if finest.is_endless:
        return Extent(window)
    clipped = window.clip(finest.grid.bounds)
    if clipped is None:
        raise JobError(
            f"{window} lies outside the image, which has {finest.grid.width} columns and {finest.grid.height} rows",
            key="region.window",
        )
    if lattice is not finest:
        clipped = cover_window(lattice.grid, clipped, finest.grid).clip(lattice.grid.bounds)
    if clipped is None:
        raise JobError(f"covers no pixel of {', '.join(band.id for band in lattice.bands)}", key="region")
    return Extent(clipped)


def _of_box(job: Job, lattice: Lattice) -> Extent:
    """Return the region of `region.bbox`; without one all of the image."""
    if job.region.bbox is None:
        reach = _reach(lattice) if lattice.is_bounded else None
        if reach is None:
            raise JobError(
                "is needed, since what is computed has no edge of its own; give region.bbox", key="region"
            )
        return Extent(reach)
    if _is_free(lattice):
        return Extent(cover_box_anywhere(lattice.grid, job.region.box(), _reach(lattice)))
    return Extent(cover_box(lattice.grid, job.region.box()))


def _of_geometry(job: Job, lattice: Lattice, geometry: BaseGeometry, crs: Crs, key: str) -> Extent:
    free, reach = _is_free(lattice), _reach(lattice)
    placed = place(geometry, crs, lattice.grid, buffer=job.region.buffer, key=key)
    if lattice.zone is not None:
        placed = placed.intersection(lattice.zone.outline(lattice.grid))
        if placed.is_empty:
            raise JobError(
                f"lies outside the places of {lattice.zone.crs}, which the mosaic has a group of", key=key
            )
    elif reach is not None:
        placed = brought_to(placed, lattice.grid, reach, key, free=free)
    window = window_of(placed)
    clipped = window if free else window.clip(lattice.grid.bounds)
    if clipped is None:
        raise JobError(
            f"lies outside the image, whose pixels ({lattice.grid}) it would meet at {window}", key=key
        )
    is_box = lattice.zone is not None and not job.region.is_shaped
    shape = None if is_box else Shape.of(placed, clipped, all_touched=job.region.all_touched)
    return Extent(clipped, shape)


def _covered(extent: Extent, lattice: Lattice) -> Extent:
    """Return the extent with the parts that images cover, if images end inside it."""
    window = extent.window
    if lattice.extents:
        return Extent(
            window, extent.shape, tuple(cover_of(clipped(cover, window)) for cover in lattice.extents)
        )
    if not lattice.is_endless or not lattice.is_bounded:
        return extent
    footprint = _footprint(lattice)
    covered = clipped([footprint] if footprint else [], window)
    if not covered:
        raise JobError(
            f"lies outside the image, of which {lattice.grid.crs} shows nothing there", key="region"
        )
    whole = Window(0, 0, window.width, window.height)
    return extent if covered == (whole,) else Extent(window, extent.shape, (covered,))
