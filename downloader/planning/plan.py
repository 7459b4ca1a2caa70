"""The plan of what is fetched, as arithmetic: it holds no list of tiles and costs the same for 10 and for 10⁹."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from downloader.expressions.stack import pinned_expression, stacked_expression
from downloader.model.grid import PixelGrid, Window
from downloader.model.image import Band, Image, asset_id
from downloader.planning.group import FILLED_PER_BYTE, Group
from downloader.planning.request_size import ServiceModel
from downloader.planning.requests import BandType, PixelRequest, Request, ShardKey
from downloader.planning.samples import SampleList
from downloader.planning.slices import Axis, ImageList, Slice
from downloader.planning.steps import Steps
from downloader.text import counted, size

_HEADER_BYTES = 256
"""About what an NPY header and the HTTP headers add to an answer."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """The cost of a whole plan, before anything is fetched; what a rerun has already is counted too."""

    images: int
    groups: int
    shards: int
    tiles: int
    requests: int
    wire_bytes: int
    """Bytes of the answers, uncompressed as the service sends NPY."""
    disk_bytes: int
    """Bytes of pixels before compression: the most that the mosaic takes."""
    seconds: float
    """At the configured concurrency and rate, with the latency assumed in `ServiceModel`."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Groups, slices and requests of a job, settled against the catalogue."""

    image: Image
    """The one image; of several the first, whose bands and types the others share."""
    groups: tuple[Group, ...]
    """Finest pixels first."""
    model: ServiceModel
    axis: Axis = ""
    """The arrays' leading axis."""
    slices: tuple[Slice, ...] = ()
    """Slices along the axis; without an axis the one image."""
    listed: ImageList | None = None
    """The image list of a time series; of samples the images that they are cut from, one by one."""
    samples: SampleList | None = None
    """The samples; None where there are none."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What is done to one image before it is fetched, by key of the job file."""
    composites: Steps | None = field(default=None, repr=False)
    """What computes parts of slices of several images; None where the slices' own expressions do."""

    def __repr__(self) -> str:
        estimate = self.estimate()
        return (
            f"<Plan: {counted(estimate.images, 'image')}, {counted(estimate.tiles, 'tile')} in "
            f"{counted(estimate.requests, 'request')}, {size(estimate.wire_bytes)}>"
        )

    def group(self, name: str) -> Group:
        """Return the group of this name. Raises KeyError."""
        for group in self.groups:
            if group.name == name:
                return group
        raise KeyError(name)

    def shards(self) -> Iterator[ShardKey]:
        """Yield every shard of every group."""
        for group in self.groups:
            yield from group.shards()

    def pixel_request(self, request: Request) -> PixelRequest:
        """Return the call that brings `request`: absolute, in terms of the service."""
        group, block = self.group(request.shard.group), request.block
        grid = group.request_grid(request.window, block.slice)
        if block.slices == 1:
            return self.call(group, block.slice, grid, request.bands)
        images = [self._expression(group, slice_, grid) for slice_ in block.numbers]
        return stacked([group.bands[band] for band in request.bands], grid, images)

    def first_pixel(self, group: Group, slice_: int, bands: Sequence[int]) -> PixelRequest:
        """Return the call that brings one pixel: the first that the images of a slice have in the region."""
        cover = group.extents[slice_] if group.extents else ()
        corner = Window(cover[0].column, cover[0].row, 1, 1) if cover else Window(0, 0, 1, 1)
        return self.call(group, slice_, group.request_grid(corner, slice_), bands)

    def call(self, group: Group, slice_: int, grid: PixelGrid, bands: Sequence[int]) -> PixelRequest:
        """Return the call that brings bands of one slice on `grid`; masks come by an expression together with the pixels.

        Args:
            group: whose bands.
            slice_: index along the leading axis.
            grid: CRS, full affine and size.
            bands: indices into the group's bands.
        """
        asset = (group.parts or self.slices)[slice_].asset
        expression = self._expression(group, slice_, grid)
        return pixel_request(
            [group.bands[band] for band in bands], grid, "" if expression else asset, expression
        )

    def _expression(self, group: Group, slice_: int, grid: PixelGrid) -> str:
        """Return the expression of a slice on `grid`; empty where an asset is read."""
        part = (group.parts or self.slices)[slice_]
        if part.members and self.composites is not None:
            return self.composites.part_expression(part.members, group.lattice, grid)
        if part.asset and group.stack:
            return pinned_expression(asset_id(part.asset), dict(part.images).get(part.asset, ""))
        return part.expression

    @property
    def parts(self) -> tuple[Slice, ...]:
        """Slices that are fetched; with groups of UTM zones the part of each slice in each zone."""
        zones = {group.lattice.crs: group.parts for group in self.groups if group.parts}
        return tuple(part for parts in zones.values() for part in parts if part.images) or self.slices

    @property
    def images(self) -> int:
        """Images that are read."""
        return len({name for part in self.slices for name, _ in part.images}) or 1

    def count_tiles(self) -> int:
        """Return the number of tiles that are fetched: all but those outside the region or the images."""
        return sum(group.count_tiles() for group in self.groups)

    def estimate(self) -> Estimate:
        """Return the plan's cost in closed form; in proportion to the tiles where only some of a group are fetched."""
        requests, pixels = 0.0, 0.0
        for group in self.groups:
            share = group.count_tiles() / group.tiling.tiles
            requests += share * group.count_requests()
            cells = share * group.grid.width * group.grid.height * group.tiling.slices
            if group.shapes:
                cells = sum(box.pixels for cover in group.extents for box in cover)
            pixels += cells * group.itemsize
        wire = pixels + requests * _HEADER_BYTES
        work = requests * self.model.base_s + wire / 1e6 * self.model.per_mb_s
        return Estimate(
            images=self.images,
            groups=len(self.groups),
            shards=sum(group.tiling.shards for group in self.groups),
            tiles=self.count_tiles(),
            requests=math.ceil(requests),
            wire_bytes=math.ceil(wire),
            disk_bytes=math.ceil(pixels),
            seconds=max(work / self.model.concurrency, requests / self.model.starts_per_s),
        )


def stacked(bands: Sequence[Band], grid: PixelGrid, expressions: Sequence[str]) -> PixelRequest:
    """Return the call that computes bands of images on one grid, image by image; of several under names such as `s0b1`.

    Args:
        bands: of each image, bands and masks.
        grid: CRS, full affine and size.
        expressions: what computes each image.
    """
    own = tuple(dict.fromkeys(name for band in bands for name in band.mask_of or (band.id,)))
    filled = [band.id for band in bands if band.is_filled]
    images, pixels, masks, validity, types = [], [], [], [], []
    for number, expression in enumerate(expressions):
        stack = f"s{number}" if len(expressions) > 1 else ""
        names = {name: f"{stack}b{place}" if stack else name for place, name in enumerate(own)}
        images.append((expression, own, tuple(names.values())))
        for place, band in enumerate(bands):
            name = f"{stack}m{place}" if stack and band.mask_of else names.get(band.id, band.id)
            types.append(BandType(name, band.dtype))
            if band.mask_of:
                masks.append((name, tuple(names[of] for of in band.mask_of)))
            else:
                pixels.append(name)
        for first in range(0, len(filled), FILLED_PER_BYTE):
            told = tuple(names[of] for of in filled[first : first + FILLED_PER_BYTE])
            validity.append((f"{stack or 'validity_'}v{first // FILLED_PER_BYTE}", told))
    expression = stacked_expression(tuple(images), tuple(pixels), tuple(masks), tuple(validity))
    return PixelRequest("", grid, tuple(types), expression, tuple(validity))


def pixel_request(bands: Sequence[Band], grid: PixelGrid, asset: str, expression: str = "") -> PixelRequest:
    """Return the call that brings bands of one image; masks come by an expression together with the pixels.

    Args:
        bands: bands and masks, in the order of the answer.
        grid: CRS, full affine and size.
        asset: full name of the image; empty where `expression` computes it.
        expression: serialised; empty where the asset is read.
    """
    if any(band.mask_of or band.is_filled for band in bands):
        return stacked(bands, grid, [expression or pinned_expression(asset_id(asset), "")])
    return PixelRequest(asset, grid, tuple(BandType(band.id, band.dtype) for band in bands), expression)
