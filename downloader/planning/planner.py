"""Plans of a job and the catalogue's metadata. Pure: no clock, file or socket; equal arguments give equal plans.

One image, a time series and samples differ in their leading axis: in what lies along it, and in what each slice has of
each lattice (`Extent`). From there on groups are made in one way.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from downloader.errors import JobError
from downloader.expressions.mask_bands import with_masks
from downloader.model.grid import MAX_SIDE
from downloader.model.image import Band, Image
from downloader.model.nodata import nodata_values
from downloader.model.time import instant_us
from downloader.planning.chips import Placement
from downloader.planning.extent import Extent, extents_of
from downloader.planning.group import Group, band_runs, validity_types
from downloader.planning.inputs import NO_FILES, JobFiles
from downloader.planning.lattice import Lattice, group_names, pixel_area
from downloader.planning.limits import MAX_REQUEST_BYTES, counted_bytes, fits
from downloader.planning.plan import Plan
from downloader.planning.request_size import ServiceModel, Stack, StackLimits, pack, stack_of
from downloader.planning.samples import Sample, SampleList
from downloader.planning.series import Series
from downloader.planning.shard_size import (
    DEEP_SHARD_SHARE,
    MAX_SHARD_BYTES,
    chunk_shape,
    deep_shard,
    shard_samples,
    shard_tiles,
    step_shape,
)
from downloader.planning.slices import Axis, Existing, Slice
from downloader.planning.steps import Steps
from downloader.planning.tiling import TILE, Tiling

if TYPE_CHECKING:
    from downloader.job import Job


_REQUEST_SHARE: Final = 0.4
"""Of the memory limit so much may be answers: those in flight, and a quarter as many that are being encoded."""

_WORTH_COMPUTING: Final = 1.25
"""Stored images of several tiles come in stacks, which are computed, where the job ends so many times sooner."""

_STACKED_IMAGES: Final = 500
"""Images that the slices of one request are computed of, at most: each is read and held, and has its place in the graph."""


def make_plan(
    job: Job,
    series: Series,
    image: Image,
    existing: Existing | None = None,
    files: JobFiles = NO_FILES,
    trusted: Collection[str] = (),
) -> Plan:
    """Return the plan of the slices of a series, also of one image, on the lattices that their images share.

    Args:
        job: what the user asks for; its region is no points or fields.
        series: the image or images, arranged.
        image: the first image, whose bands and types the others share.
        existing: what the mosaic that is there has settled.
        files: contents of the files that the job names.
        trusted: groups of which a computed answer is known to equal what is read, masked pixels included.

    Raises:
        JobError: a region outside, or one that cannot be.
    """
    lattices = sorted(series.lattices, key=lambda lattice: pixel_area(lattice.grid))
    axis: Axis = "" if job.source.every == "all" else series.axis
    maker = _Planner(job, existing, trusted, axis, series.slices, composites=series.composites)
    return maker.plan(image, lattices, extents_of(job, lattices, files))


def make_sample_plan(
    job: Job,
    kept: SampleList,
    images: Mapping[str, Image],
    expressions: Mapping[str, str],
    files: JobFiles,
    existing: Existing | None = None,
    trusted: Collection[str] = (),
) -> Plan:
    """Return the plan of samples: each chip on its image's own pixels, a group for each pixel size.

    Args:
        job: what the user asks for; its region are points or fields.
        kept: the points and the images found for them, in order.
        images: those images by full name, with the bands that are made of them.
        expressions: by image, what computes its pixels; images without one are read.
        files: contents of the files that the job names, the points among them.
        existing: what the mosaic that is there has settled.
        trusted: as of `make_plan`.

    Raises:
        JobError: no sample has an image, a band that it lacks, a grid that cannot be, chips that no request can hold.
    """
    first = next((images[sample.image] for sample in kept.samples if sample.image in images), None)
    if first is None:
        raise _hopeless(job, kept.samples)
    placement = Placement(job, first, files)
    extents, samples = placement.extents(kept, images, existing.tilings if existing else {})
    if not any(extents[0].chips):
        raise _hopeless(job, samples)
    slices = tuple(_sample_slice(sample, images, expressions) for sample in samples)
    maker = _Planner(job, existing, trusted, "sample", slices, kept.steps)
    return replace(maker.plan(first, placement.lattices, extents), samples=replace(kept, samples=samples))


def _model(job: Job) -> ServiceModel:
    return ServiceModel(concurrency=job.limits.concurrency, starts_per_s=job.limits.requests_per_second)


@dataclass(frozen=True, slots=True)
class _Planner:
    """Maker of a plan and its groups."""

    job: Job
    existing: Existing | None
    trusted: Collection[str]
    axis: Axis
    slices: tuple[Slice, ...]
    steps: int = 0
    """Slices of each sample; 0 where there is one and no such axis."""
    composites: Steps | None = None
    is_computed: bool = False
    """Whether the service computes the pixels of some slice."""
    depth: int = 1
    """Images of which a reducer holds the values of one pixel."""
    members: int = 1
    """Images that a slice is computed of, at most."""

    def plan(self, image: Image, lattices: Sequence[Lattice], extents: Sequence[Extent]) -> Plan:
        """Return the plan, with one group for each lattice."""
        parts = [lattice.parts or self.slices for lattice in lattices]
        maker = replace(self, is_computed=any(part.expression for own in parts for part in own))
        if self.composites is not None:
            depth = max(
                self.composites.depth((part.members for part in own), lattice.grid, extent.window)
                for own, lattice, extent in zip(parts, lattices, extents, strict=True)
            )
            members = max(len(part.members) for own in parts for part in own)
            maker = replace(maker, depth=depth, members=max(1, members))
        groups = tuple(map(maker.group, group_names(lattices), lattices, extents))
        self._check_depth(groups)
        return Plan(image, groups, _model(self.job), self.axis, self.slices, composites=self.composites)

    def _check_depth(self, groups: Sequence[Group]) -> None:
        """Raise JobError where several images are wanted in a request, and no chunk holds several."""
        is_plain = self.job.mosaic.profile == "plain"
        if not is_plain and self.existing is not None:
            return
        several = self.axis == "time" and (self.job.request.depth_count or 1) > 1
        if several and all(group.tiling.run == 1 for group in groups):
            where = "profile: plain has chunks of one slice, which" if is_plain else "chunks of one slice"
            more = ", and images of this size have such" if not is_plain else ""
            way = "profile: sharded" if is_plain else "mosaic.chunks: {time: N}"
            raise JobError(
                f"{where} are asked for one by one{more}; leave depth out, or write {way}",
                key="request.depth",
            )

    def group(self, name: str, lattice: Lattice, extent: Extent) -> Group:
        """Return the group of a lattice."""
        bands = with_masks(lattice.bands, self.job.mosaic.mask)
        tiling = self._tiling(name, bands, extent)
        stack = self._stack(name, bands, tiling)
        if stack and not self._computes(bands):
            # What a computed answer fills masked pixels with is not known; integers come so where it was compared.
            bands = tuple(
                replace(band, is_filled=True, missing=(math.nan,)) if band.dtype.kind == "f" else band
                for band in bands
            )
        shape = (1, 1)
        if not extent.chips:
            shape = stack.shape if stack and stack.slices > 1 else self._request_shape(tiling, bands)
        # A mask lacks where a band does that it tells of: its fill says masked.
        absent = tuple(
            frozenset(k for k, band in enumerate(bands) if missing.intersection(band.mask_of or (band.id,)))
            for missing in lattice.absent
        )
        return Group(
            name,
            next((grid for grid in extent.chips if grid is not None), lattice.grid),
            extent.window,
            bands,
            tiling,
            shape,
            region=extent.shape,
            outside=self._outside(bands) if extent.shape is not None and self.job.region.mask else (),
            extents=extent.covered,
            lattices=extent.chips,
            shapes=extent.shapes,
            axis=self.axis,
            absent=absent if any(absent) else (),
            is_computed=self._computes(bands),
            parts=lattice.parts,
            stack=stack.slices if stack else 0,
        )

    def _stack(self, name: str, bands: tuple[Band, ...], tiling: Tiling) -> Stack | None:
        """Return the boxes in which slices are asked for together; None where each is asked for by itself."""
        asked, is_computed = self.job.request.depth_count, self._computes(bands)
        known = self.existing is not None and name in self.existing.tilings
        is_stacked = self.existing is not None and name in self.existing.stacked
        if tiling.run == 1 or (self.axis == "sample" and not self.steps):
            return None
        if known and not is_stacked and not is_computed:
            return None
        filled = [replace(band, is_filled=band.dtype.kind == "f") for band in bands]
        if len(band_runs(filled, tiling.tile, tiling.tile, is_computed=True)) > 1:
            return None
        types = (*(band.dtype for band in bands), *validity_types(filled, range(len(bands))))
        limits = StackLimits(
            self._answer_bytes,
            asked,
            self.job.request.tile_count,
            self.depth,
            max(1, _STACKED_IMAGES // self.members),
        )
        found = stack_of(tiling, types, limits, _model(self.job))
        if is_computed or is_stacked:
            return found
        has_integers = any(band.dtype.kind != "f" for band in bands)
        if asked == 1 or (has_integers and name not in self.trusted):
            return None
        is_small = not has_integers and tiling.tile_rows * tiling.tile_columns == 1
        return found if asked or is_small or found.sooner >= _WORTH_COMPUTING else None

    @property
    def _answer_bytes(self) -> int:
        """Bytes of pixels that one answer may have, so that all in flight fit the memory."""
        return int(self.job.limits.memory * _REQUEST_SHARE / (1.25 * self.job.limits.concurrency))

    def _tiling(self, name: str, bands: tuple[Band, ...], extent: Extent) -> Tiling:
        width, height = extent.window.width, extent.window.height
        if max(width, height) > MAX_SIDE:
            raise JobError(
                f"covers {width:,} × {height:,} pixels, more than {MAX_SIDE:,} a side; take a smaller region, or larger "
                "pixels",
                key="region",
            )
        itemsizes = [band.dtype.itemsize for band in bands]
        widest, pixel = max(itemsizes), sum(itemsizes)
        known = self.existing.tilings.get(name) if self.existing else None
        asked, slices = self.job.mosaic.depth, len(self.slices)
        if asked is not None and self.axis != "time" and not self.steps:
            raise JobError(
                "goes with a time axis, which this job does not have; leave it out", key="mosaic.chunks"
            )
        is_deep = self.job.mosaic.profile == "sharded"
        most = min(MAX_SHARD_BYTES, self.job.limits.memory // DEEP_SHARD_SHARE)
        if extent.chips:
            _check_chip(width, bands, self.job.region.samples_key)
            depth, run = step_shape(self.steps or 1, width, widest, pixel, most, asked if is_deep else 1)
            if known and bool(known.steps) == bool(self.steps) and (asked is None or depth == known.depth):
                return replace(known, width=width, height=height, slices=slices, tile=width, steps=self.steps)
            if not self.steps:
                run = shard_samples(slices, width, pixel)
                return Tiling(width, height, slices, width, shard_slices=run)
            samples = shard_samples(slices // self.steps, width, run * pixel, most)
            return Tiling(width, height, slices, width, 1, samples * run, depth, self.steps, run)
        if self.axis != "time":
            shard = known.shard if known else shard_tiles(width, height, pixel)
            return Tiling(width, height, slices, shard=shard)
        if known is not None and asked in {None, known.depth}:
            return replace(known, width=width, height=height, slices=slices)
        side, depth = chunk_shape(width, height, widest, slices, asked) if is_deep else (TILE, 1)
        if depth == 1:
            return Tiling(width, height, slices, shard=shard_tiles(width, height, pixel))
        shard, run = deep_shard(Tiling(width, height, slices, side, 1, depth, depth), pixel, most)
        return Tiling(width, height, slices, side, shard, run, depth)

    def _computes(self, bands: tuple[Band, ...]) -> bool:
        return self.is_computed or any(band.mask_of for band in bands)

    def _request_shape(self, tiling: Tiling, bands: tuple[Band, ...]) -> tuple[int, int]:
        """Return (rows, columns) of tiles in one request."""
        model = _model(self.job)
        is_computed = self._computes(bands)
        found = band_runs(bands, tiling.tile, tiling.tile, is_computed=is_computed)
        runs = ([*(bands[b].dtype for b in run), *validity_types(bands, run)] for run in found)
        heaviest = max(runs, key=lambda dtypes: counted_bytes(1, 1, dtypes))
        max_bytes = self._answer_bytes
        depth = self.depth if is_computed else 0
        return pack(tiling, tuple(heaviest), self.job.request.tile_count, model, max_bytes, depth)

    def _outside(self, bands: tuple[Band, ...]) -> tuple[float, ...]:
        """Return by band the value of pixels outside the region's geometry: nodata, NaN, or 0 where a stored mask tells."""
        masked = {name for band in bands for name in band.mask_of}
        values = {band.id: 0.0 for band in bands if band.mask_of or band.id in masked}
        values |= {band.id: math.nan for band in bands if band.dtype.kind == "f"}
        values |= nodata_values(self.job.mosaic.nodata, bands)
        lacking = [band.id for band in bands if band.id not in values]
        if lacking:
            raise JobError(
                f"{lacking[0]} has no nodata value to write outside the geometry; give one in mosaic.nodata, "
                f"such as {{{lacking[0]}: 0}}, or write mosaic.mask: any, which stores where pixels are",
                key="region.mask",
            )
        return tuple(values[band.id] for band in bands)


def _check_chip(chip: int, bands: tuple[Band, ...], key: str) -> None:
    widest = max((band.dtype for band in bands), key=lambda dtype: dtype.itemsize)
    if not fits(chip, chip, (widest,)):
        most = math.isqrt(MAX_REQUEST_BYTES // (widest.itemsize + 1))
        raise JobError(
            f"{chip:,}×{chip:,} pixels of {widest} are more than one request may ask for; take at "
            f"most {most:,}, or a region.bbox for an area",
            key=f"{key}.chip",
        )


def _sample_slice(sample: Sample, images: Mapping[str, Image], expressions: Mapping[str, str]) -> Slice:
    image = images.get(sample.image)
    if image is None:
        return Slice(sample.point.id, problem=sample.problem)
    expression = expressions.get(image.name, "")
    return Slice(
        sample.point.id,
        asset="" if expression else image.name,
        expression=expression,
        time_us=instant_us(image.start_time),
        images=((image.name, image.update_time),),
        problem=sample.problem,
    )


def _hopeless(job: Job, samples: tuple[Sample, ...]) -> JobError:
    told = next((sample.problem for sample in samples if sample.problem), "it has no image")
    return JobError(
        f"none of the {len(samples):,} samples can be fetched; the first: {told}", key=job.region.samples_key
    )
