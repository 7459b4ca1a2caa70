"""Job + catalogue metadata → Plan. Pure: no clock, file or socket; equal arguments give equal plans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from downloader.errors import JobError
from downloader.model.grid import PixelGrid, Window
from downloader.model.image import Band, Image
from downloader.model.nodata import nodata_values
from downloader.planning.expressions import with_masks
from downloader.planning.extent import Extent, extents_of
from downloader.planning.group import Group
from downloader.planning.inputs import Given
from downloader.planning.lattice import Target, group_names, pixel_area, targets
from downloader.planning.limits import counted_bytes
from downloader.planning.plan import Plan
from downloader.planning.request_size import ServiceModel, pack
from downloader.planning.series import Series
from downloader.planning.tiling import Tiling, shard_tiles

if TYPE_CHECKING:
    from downloader.job import Job

__all__ = ["make_plan", "make_series_plan"]

_REQUEST_SHARE = 0.4
"""Of the memory limit so much may be answers: those in flight, and a quarter as many that are being encoded."""

_NOTHING = Given()


def make_plan(
    job: Job, image: Image, sides: Mapping[str, int] | None = None, given: Given = _NOTHING
) -> Plan:
    """The plan of `job` for `image`.

    Args:
        job: what the user asks for.
        image: what the catalogue says, or what the canaries corrected it to.
        sides: tiles along a shard's side by group, as an existing mosaic has them.
        given: contents of the files that the job names.

    Raises:
        JobError: a band that does not exist, a region outside, a grid that cannot be.
    """
    bands = image.select(job.source.bands)
    if not bands:
        raise JobError(f"{image.id} has no bands", key="source.asset")
    repeated = [name for name, count in Counter(band.id for band in bands).items() if count > 1]
    if repeated:
        raise JobError(f"{', '.join(sorted(repeated))} stands there more than once", key="source.bands")
    model = _model(job)
    lattices = targets(job, bands, given)
    groups = []
    for name, target, extent in zip(
        group_names(target.grid for target in lattices),
        lattices,
        extents_of(job, lattices, given),
        strict=True,
    ):
        bands = with_masks(target.bands, job.mosaic.mask)
        group = _group(job, name, target.grid, extent.window, bands, model, sides)
        covered = () if extent.covered is None else (extent.covered,)
        groups.append(_shaped(job, replace(group, extents=covered), extent))
    return Plan(image, tuple(groups), model)


def make_series_plan(
    job: Job,
    series: Series,
    image: Image,
    sides: Mapping[str, int] | None = None,
    given: Given = _NOTHING,
) -> Plan:
    """The plan of a time series: every slice on the lattices that its images share.

    Args:
        job: what the user asks for; its region is a bounding box or a geometry.
        series: the collection, arranged.
        image: the first image, whose bands and types the others share.
        sides: tiles along a shard's side by group, as an existing mosaic has them.
        given: contents of the files that the job names.

    Raises:
        JobError: a region that cannot be.
    """
    model = _model(job)
    lattices = sorted(series.lattices, key=lambda lattice: pixel_area(lattice.grid))
    found = [Target(lattice.grid, lattice.bands) for lattice in lattices]
    groups = []
    for name, lattice, extent in zip(
        group_names(lattice.grid for lattice in lattices),
        lattices,
        extents_of(job, found, given, [lattice.hull for lattice in lattices]),
        strict=True,
    ):
        window = extent.window
        bands = with_masks(lattice.bands, job.mosaic.mask)
        group = _group(job, name, lattice.grid, window, bands, model, sides, len(series.slices))
        # A mask lacks where a band does that it tells of: its fill says masked.
        absent = tuple(
            frozenset(k for k, band in enumerate(bands) if missing.intersection(band.mask_of or (band.id,)))
            for missing in series.absent
        )
        group = replace(
            group,
            axis="time",
            extents=tuple(_inside(covered, window) for covered in lattice.extents),
            absent=absent if any(absent) else (),
        )
        groups.append(_shaped(job, group, extent))
    return Plan(image, tuple(groups), model, "time", series.slices)


def _model(job: Job) -> ServiceModel:
    return ServiceModel(concurrency=job.limits.concurrency, starts_per_s=job.limits.requests_per_second)


def _shaped(job: Job, group: Group, extent: Extent) -> Group:
    """The group with its region's shape, and what pixels outside it become where the job masks them."""
    if extent.shape is None or not job.region.mask:
        return replace(group, region=extent.shape)
    values = nodata_values(job.mosaic.nodata, group.bands)
    values |= {band.id: 0.0 for band in group.bands if band.mask_of}
    lacking = [band.id for band in group.bands if band.id not in values]
    if lacking:
        raise JobError(
            f"{lacking[0]} has no nodata value to write outside the geometry; give one in mosaic.nodata, "
            f"such as {{{lacking[0]}: 0}}",
            key="region.mask",
        )
    return replace(group, region=extent.shape, outside=tuple(values[band.id] for band in group.bands))


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
    max_bytes = int(job.limits.memory * _REQUEST_SHARE / (1.25 * model.concurrency))
    shape = pack(tiling, tuple(heaviest), job.request.tile_count, model, max_bytes)
    return replace(group, shape=shape)
