"""Job + catalogue metadata → Plan. Pure: no clock, file or socket; equal arguments give equal plans."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from downloader.errors import JobError
from downloader.grid import EDGE_TOLERANCE, AffineTransform, PixelGrid, Window
from downloader.image import Band, Image
from downloader.planning.group import Group
from downloader.planning.limits import counted_bytes
from downloader.planning.packing import ServiceModel, pack
from downloader.planning.plan import Plan
from downloader.planning.series import Series
from downloader.planning.tiling import TILE, Tiling, shard_tiles
from downloader.region import cover_box, cover_box_anywhere, cover_window

if TYPE_CHECKING:
    from collections.abc import Mapping

    from downloader.job import Job

__all__ = ["make_plan", "make_series_plan"]

_REQUEST_SHARE = 4
"""The answers in flight may take one part in so many of the memory limit."""

_MAX_SIDE = 2**31
"""Pixels along a side of an image at another resolution: more is a slip of the pen."""


def make_plan(job: Job, image: Image, sides: Mapping[str, int] | None = None) -> Plan:
    """The plan of `job` for `image`.

    Args:
        job: what the user asks for.
        image: what the catalogue says, or what the canaries corrected it to.
        sides: tiles along a shard's side by group, as an existing mosaic has them.

    Raises:
        JobError: a band that does not exist, a region outside, a grid that cannot be.
    """
    model = ServiceModel(concurrency=job.limits.concurrency, starts_per_s=job.limits.requests_per_second)
    bands = image.select(job.source.bands)
    if not bands:
        raise JobError(f"source.asset: {image.id} has no bands")
    repeated = [name for name, count in Counter(band.id for band in bands).items() if count > 1]
    if repeated:
        raise JobError(f"source.bands: {', '.join(sorted(repeated))} stands there more than once")
    lattices = _lattices(job, bands)
    windows = _windows(job, list(lattices))
    groups = []
    for name, lattice in zip(_names(list(lattices)), lattices, strict=True):
        window = windows[lattice]
        if window is None:
            raise JobError(f"region: covers no pixel of {', '.join(band.id for band in lattices[lattice])}")
        groups.append(_group(job, name, lattice, window, lattices[lattice], model, sides))
    return Plan(image, tuple(groups), model)


def make_series_plan(
    job: Job,
    series: Series,
    image: Image,
    sides: Mapping[str, int] | None = None,
) -> Plan:
    """The plan of a time series: every slice on the lattices that its images share.

    Args:
        job: what the user asks for; its region is a bounding box.
        series: the collection, arranged.
        image: the first image, whose bands and types the others share.
        sides: tiles along a shard's side by group, as an existing mosaic has them.

    Raises:
        JobError: a region that cannot be.
    """
    model = ServiceModel(concurrency=job.limits.concurrency, starts_per_s=job.limits.requests_per_second)
    lattices = sorted(series.lattices, key=lambda lattice: _pixel_area(lattice.grid))
    groups = []
    for name, lattice in zip(_names([lattice.grid for lattice in lattices]), lattices, strict=True):
        window = cover_box_anywhere(lattice.grid, job.region.box())
        if job.grid.align == "image":
            window = window.aligned(TILE)
        group = _group(job, name, lattice.grid, window, lattice.bands, model, sides, len(series.slices))
        absent = tuple(
            frozenset(k for k, band in enumerate(lattice.bands) if band.id in missing)
            for missing in series.absent
        )
        groups.append(
            replace(
                group,
                axis="time",
                extents=tuple(_inside(extent, window) for extent in lattice.extents),
                absent=absent if any(absent) else (),
            )
        )
    return Plan(image, tuple(groups), model, "time", series.slices)


def _inside(extent: Window | None, window: Window) -> Window | None:
    """`extent` in pixels of the group whose region is `window`, clipped to it."""
    clipped = extent and extent.clip(window)
    return clipped and clipped.offset(-window.column, -window.row)


def _group(
    job: Job,
    name: str,
    lattice: PixelGrid,
    window: Window,
    bands: tuple[Band, ...],
    model: ServiceModel,
    sides: Mapping[str, int] | None,
    slices: int = 1,
) -> Group:
    itemsize = sum(band.dtype.itemsize for band in bands)
    shard = (sides or {}).get(name) or shard_tiles(window.width, window.height, itemsize)
    tiling = Tiling(window.width, window.height, slices, shard=shard)
    group = Group(name, lattice, window, bands, tiling, (1, 1))
    runs = ([bands[b].dtype for b in run] for run in group.band_runs(tuple(range(len(bands)))))
    heaviest = max(runs, key=lambda dtypes: counted_bytes(1, 1, dtypes))
    max_bytes = job.limits.memory // _REQUEST_SHARE // model.concurrency
    shape = pack(tiling, tuple(heaviest), job.request.tile_count, model, max_bytes)
    return replace(group, shape=shape)


def _lattices(job: Job, bands: tuple[Band, ...]) -> dict[PixelGrid, tuple[Band, ...]]:
    """Grids of the mosaic, finest first, each with its bands."""
    native: dict[PixelGrid, list[Band]] = {}
    for band in bands:
        native.setdefault(band.grid, []).append(band)
    if job.grid.pixel_size is not None:
        finest = min(native, key=_pixel_area)
        if job.grid.scale is not None and not finest.crs.is_metric:
            raise JobError(
                f"grid.scale: counts in metres, but the image's CRS {finest.crs} in {finest.crs.unit}; "
                f"write grid.resolution in {finest.crs.unit} (the image's own is {finest.transform.pixel_size[0]!r})"
            )
        return {_resampled(finest, job.grid.pixel_size): bands}
    return {grid: tuple(native[grid]) for grid in sorted(native, key=_pixel_area)}


def _pixel_area(grid: PixelGrid) -> float:
    if grid.crs.to_pyproj().is_geographic:
        # Square degrees against square metres: a degree of latitude is 111 km, near enough to sort by.
        return math.prod(grid.transform.pixel_size) * 111_000.0**2
    return math.prod(grid.transform.pixel_size)


def _resampled(grid: PixelGrid, resolution: tuple[float, float]) -> PixelGrid:
    """`grid` with another pixel size, its first corner kept; wide and high enough to hold all of it."""
    t = grid.transform
    if t.is_sheared:
        raise JobError(
            "grid.resolution: the image's grid is sheared, so one pixel size says too little; leave grid native"
        )
    scale_x, scale_y = math.copysign(resolution[0], t.scale_x), math.copysign(resolution[1], t.scale_y)
    width = math.ceil(Fraction(t.scale_x) * grid.width / Fraction(scale_x) - EDGE_TOLERANCE)
    height = math.ceil(Fraction(t.scale_y) * grid.height / Fraction(scale_y) - EDGE_TOLERANCE)
    if max(width, height) > _MAX_SIDE:
        raise JobError(
            f"grid.resolution: pixels of {resolution[0]:g}×{resolution[1]:g} {grid.crs.unit} would make the image "
            f"more than {_MAX_SIDE:,} pixels wide or high; the image's own are {grid.transform.pixel_size[0]:g}"
        )
    transform = AffineTransform(scale_x, 0.0, t.translate_x, 0.0, scale_y, t.translate_y)
    return PixelGrid(grid.crs, transform, max(width, 1), max(height, 1))


def _windows(job: Job, lattices: list[PixelGrid]) -> dict[PixelGrid, Window | None]:
    finest, region = lattices[0], job.region
    windows: dict[PixelGrid, Window | None]
    if region.window is not None:
        asked = Window(region.window.column, region.window.row, region.window.width, region.window.height)
        clipped = asked.clip(finest.bounds)
        if clipped is None:
            raise JobError(
                f"region.window: {asked} lies outside the image, which has {finest.width} columns and {finest.height} rows"
            )
        windows = {
            grid: clipped if grid == finest else cover_window(grid, clipped, finest) for grid in lattices
        }
    elif region.bbox is not None:
        box = region.box()
        windows = {grid: cover_box(grid, box) for grid in lattices}
    else:
        windows = {grid: grid.bounds for grid in lattices}
    if job.grid.align == "image":
        windows = {grid: w and w.aligned(TILE).clip(grid.bounds) for grid, w in windows.items()}
    return windows


def _names(lattices: list[PixelGrid]) -> list[str]:
    """Names of the Zarr groups: none for a single one, else the pixel size, with `_2` … on a clash."""
    if len(lattices) == 1:
        return [""]
    names: list[str] = []
    for grid in lattices:
        x, y = grid.transform.pixel_size
        size = f"{x:g}" if math.isclose(x, y) else f"{x:g}x{y:g}"
        name = re.sub(r"[^A-Za-z0-9.x-]", "-", f"{size}{grid.crs.unit}")
        clash = 2
        unique = name
        while unique in names:
            unique, clash = f"{name}_{clash}", clash + 1
        names.append(unique)
    return names
