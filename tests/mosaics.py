"""Plans and pixels for the mosaic's tests: each pixel spells its place, so that a shifted or swapped tile cannot pass."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import zarr

from downloader.errors import Action, Cause, FetchProblem
from downloader.model.crs import Crs
from downloader.model.grid import AffineTransform, PixelGrid, Window
from downloader.model.image import Band, Image
from downloader.mosaic.writer import ZarrMosaic
from downloader.planning import Group, ImageList, Plan, Request, ServiceModel, Tiling
from downloader.planning.cover import clipped
from downloader.planning.series import arrange

UTM = PixelGrid(Crs("EPSG:32610"), AffineTransform(10.0, 0.0, 499980.0, 0.0, -10.0, 4200000.0), 10980, 10980)
WINDOW = Window(100, 200, 700, 600)
PROBLEM = FetchProblem(Action.FAIL_TILE, Cause.BAD_REQUEST, "the service has no such pixels", 400)


def one_group(
    bands: Iterable[str] = ("B2", "B3"),
    *,
    dtype: str = "<u2",
    window: Window = WINDOW,
    shard: int = 2,
    lattice: PixelGrid = UTM,
    name: str = "",
    tile: int = 256,
    slices: int = 1,
    update_time: str = "2020-01-01T00:00:00Z",
) -> Plan:
    """A plan of one group; by default 3×3 tiles in 2×2 shards, the last ones clipped."""
    members = tuple(Band(band, np.dtype(dtype), lattice) for band in bands)
    tiling = Tiling(window.width, window.height, slices, tile, shard)
    group = Group(name, lattice, window, members, tiling, (1, 1), axis="time" if slices > 1 else "")
    return Plan(image_of(members, update_time), (group,), ServiceModel())


def series(
    images: Iterable[Image],
    *,
    names: Iterable[str] | None = None,
    bands: tuple[str, ...] = ("B2", "B3"),
    window: Window = WINDOW,
    shard: int = 2,
    period: tuple[int, int] | None = None,
    properties: tuple[str, ...] = ("CLOUDY",),
    tile: int = 256,
    depth: int = 1,
    shard_slices: int = 1,
) -> Plan:
    """A plan of a time series, a slice for each image."""
    members = tuple(images)
    labels = tuple(names or (image.id for image in members))
    named = tuple((label, (image,)) for label, image in zip(labels, members, strict=True))
    arranged = arrange(named, bands, properties=properties, anchors=[UTM])
    (lattice,) = arranged.lattices
    extents = (clipped(cover, window) for cover in lattice.extents)
    group = Group(
        "",
        lattice.grid,
        window,
        lattice.bands,
        Tiling(window.width, window.height, len(named), tile, shard, max(depth, shard_slices), depth),
        (1, 1),
        extents=tuple(extents),
        axis="time",
        absent=tuple(frozenset(bands.index(band) for band in lacks) for lacks in lattice.absent),
    )
    listed = ImageList(named, period, {"collection": "TEST", "every": "image"}, properties)
    return Plan(members[0], (group,), ServiceModel(), "time", arranged.slices, listed)


def day(
    number: int,
    *,
    bands: tuple[str, ...] = ("B2", "B3"),
    grid: PixelGrid = UTM,
    update_time: str = "2020-01-01T00:00:00Z",
    cloudy: object = 0.5,
) -> Image:
    """The image of a day of April 2017."""
    return Image(
        f"projects/earthengine-public/assets/TEST/{number:02d}",
        f"TEST/{number:02d}",
        tuple(Band(band, np.dtype("<u2"), grid) for band in bands),
        update_time=update_time,
        start_time=f"2017-04-{number:02d}T19:03:51Z",
        properties={} if cloudy is None else {"CLOUDY": cloudy},
    )


def image_of(bands: tuple[Band, ...], update_time: str = "2020-01-01T00:00:00Z") -> Image:
    return Image(
        "projects/earthengine-public/assets/TEST/IMAGE",
        "TEST/IMAGE",
        bands,
        update_time=update_time,
        start_time="2017-04-30T19:03:51Z",
        end_time="2017-04-30T19:03:51Z",
        properties={"CLOUDY": 0.5, "NAMES": ["a", "b"]},
    )


def band_pixels(group: Group, band: int, window: Window | None = None, slice_: int = 0) -> np.ndarray:
    """(height, width) of `window` (default: all of the group): what the band holds there."""
    rows, columns = np.mgrid[(window or Window(0, 0, group.window.width, group.window.height)).slices]
    dtype = group.bands[band].dtype
    values = rows * 7 + columns * 3 + band * 1009 + slice_ * 501
    if dtype.kind == "f":
        return (values / 8).astype(dtype)
    limits = np.iinfo(dtype)
    span = min(limits.max - limits.min + 1, 2**31)
    return (values % span + limits.min).astype(dtype)


def coverage_of(mosaic: Path | str, group: str = "") -> np.ndarray:
    """(slice, row, column) or (row, column): the state of each tile, read by zarr alone."""
    return zarr.open_array(str(mosaic), path=f"{group}/coverage/tiles".lstrip("/"), mode="r")[...]


def pixels(group: Group, request: Request) -> np.ndarray:
    """The structured answer to a request, as NPY delivers it."""
    fields = [(group.bands[band].id, group.bands[band].dtype) for band in request.bands]
    answer = np.zeros(request.window.shape, fields)
    for band in request.bands:
        answer[group.bands[band].id] = band_pixels(group, band, request.window, request.block.slice)
    return answer


async def fill(mosaic: ZarrMosaic, plan: Plan, *, most: int | None = None, finish: bool = True) -> int:
    """Fetch, place and commit what is missing, `most` requests at most; how many requests were made."""
    made = 0
    for group in plan.groups:
        for key in group.shards():
            for request in group.requests(key, mosaic.missing(key)):
                if most is not None and made >= most:
                    break
                await mosaic.place(request, pixels(group, request))
                made += 1
            await mosaic.commit(key)
    if finish:
        await mosaic.finish()
    return made
