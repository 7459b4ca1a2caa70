"""The plan: what must be fetched, as arithmetic. It holds no list of tiles and costs the same for 10 and for 10⁹."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from downloader.image import Image
from downloader.planning.group import Group
from downloader.planning.keys import ShardKey, TileKey
from downloader.planning.packing import ServiceModel
from downloader.planning.request import BandType, PixelRequest, Request

__all__ = ["Estimate", "Plan"]

_HEADER_BYTES = 256
"""About what an NPY header and the HTTP headers add to an answer."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a plan costs, before anything is fetched. Of a rerun it still counts the whole plan."""

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

    def to_json(self) -> dict[str, float]:
        """Plain numbers, named as the attributes are."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a job means, settled against the catalogue."""

    image: Image
    groups: tuple[Group, ...]
    """Finest pixels first."""
    model: ServiceModel

    def group(self, name: str) -> Group:
        """The group of this name. Raises KeyError."""
        for group in self.groups:
            if group.name == name:
                return group
        raise KeyError(name)

    def shards(self) -> Iterator[ShardKey]:
        """Every shard of every group; never a list."""
        for group in self.groups:
            yield from group.shards()

    def tiles(self) -> Iterator[TileKey]:
        """Every tile of every group; never a list."""
        for group in self.groups:
            for slice_ in range(group.tiling.slices):
                for row in range(group.tiling.tile_rows):
                    for column in range(group.tiling.tile_columns):
                        yield TileKey(group.name, slice_, row, column)

    def pixel_request(self, request: Request) -> PixelRequest:
        """The call that brings `request`: absolute, in terms of the service."""
        group = self.group(request.shard.group)
        bands = tuple(BandType(group.bands[b].id, group.bands[b].dtype) for b in request.bands)
        return PixelRequest(self.image.name, group.request_grid(request.window), bands)

    def estimate(self) -> Estimate:
        """The plan's cost; closed form."""
        requests = sum(group.count_requests() for group in self.groups)
        pixels = sum(g.grid.width * g.grid.height * g.tiling.slices * g.itemsize for g in self.groups)
        wire = pixels + requests * _HEADER_BYTES
        work = requests * self.model.base_s + wire / 1e6 * self.model.per_mb_s
        return Estimate(
            images=1,
            groups=len(self.groups),
            shards=sum(group.tiling.shards for group in self.groups),
            tiles=sum(group.tiling.tiles for group in self.groups),
            requests=requests,
            wire_bytes=wire,
            disk_bytes=pixels,
            seconds=max(work / self.model.concurrency, requests / self.model.starts_per_s),
        )
