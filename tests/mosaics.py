"""Plans and pixels for the mosaic's tests: each pixel spells its place, so that a shifted or swapped tile cannot pass."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import zarr

from downloader.datasets.clouds import CLOUD_PROPERTIES
from downloader.errors import Action, Cause, FetchProblem
from downloader.model.crs import Crs
from downloader.model.grid import AffineTransform, PixelGrid, Window
from downloader.model.image import Band, Image
from downloader.model.time import instant_us
from downloader.mosaic.writer import ZarrMosaic
from downloader.planning import Group, ImageList, Plan, Request, ServiceModel, Slice, Tiling
from downloader.planning.cover import clipped
from downloader.planning.samples import Point, Sample, SampleList
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
    depth: int = 1,
    shard_slices: int = 1,
    update_time: str = "2020-01-01T00:00:00Z",
) -> Plan:
    """A plan of one group; by default 3×3 tiles in 2×2 shards, the last ones clipped."""
    members = tuple(Band(band, np.dtype(dtype), lattice) for band in bands)
    tiling = Tiling(window.width, window.height, slices, tile, shard, max(depth, shard_slices), depth)
    group = Group(name, lattice, window, members, tiling, (1, 1), axis="time" if slices > 1 else "")
    image = image_of(members, update_time)
    parts = tuple(Slice(str(number), image.name) for number in range(slices))
    return Plan(image, (group,), ServiceModel(), slices=parts)


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
    stack: int = 0,
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
        stack=stack,
    )
    listed = ImageList(named, period, {"collection": "TEST", "every": "image"}, properties)
    return Plan(members[0], (group,), ServiceModel(), "time", arranged.slices, listed)


def places(
    counts: Sequence[int],
    *,
    chip: int = 6,
    depth: int = 1,
    samples: int = 1,
    shard_steps: int = 1,
    stack: int = 0,
) -> Plan:
    """A plan of samples of which each has so many images: those of the first days of April 2017."""
    steps, window = max(1, *counts), Window(0, 0, chip, chip)
    images = [day(number + 1) for number in range(steps)]
    found, lattices, slices = [], [], []
    for number, count in enumerate(counts):
        point = Point(
            str(number), float(number), float(number), -123.0, 37.0, f"points.csv, line {number + 2}"
        )
        grid = UTM.window(Window(10 * number, 20, chip, chip))
        for image in (images[step] if step < count else None for step in range(steps)):
            found.append(Sample(point, image.name if image else ""))
            lattices.append(grid if image else None)
            slices.append(Slice(str(number), image.name if image else ""))
    tiling = Tiling(
        chip, chip, len(found), chip, 1, samples * shard_steps, depth, steps=steps, shard_steps=shard_steps
    )
    group = Group(
        "",
        UTM.window(Window(0, 20, chip, chip)),
        window,
        images[0].bands,
        tiling,
        (1, 1),
        extents=tuple((window,) if grid else () for grid in lattices),
        lattices=tuple(lattices),
        axis="sample",
        stack=stack,
    )
    period = (0, instant_us(f"2017-04-{steps + 1:02d}") or 0)
    listed = ImageList(
        tuple((image.id, (image,)) for image in images), period, {"collection": "TEST"}, CLOUD_PROPERTIES
    )
    kept = SampleList(Crs("EPSG:4326"), (), tuple(found), steps, "from source.start to end")
    return Plan(images[0], (group,), ServiceModel(), "sample", tuple(slices), listed, kept)


def day(
    number: int,
    *,
    bands: tuple[str, ...] = ("B2", "B3"),
    grid: PixelGrid = UTM,
    update_time: str = "2020-01-01T00:00:00Z",
    cloudy: object = 0.5,
    dtype: str = "<u2",
) -> Image:
    """The image of a day of April 2017."""
    return Image(
        f"projects/earthengine-public/assets/TEST/{number:02d}",
        f"TEST/{number:02d}",
        tuple(Band(band, np.dtype(dtype), grid) for band in bands),
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
    block = request.block
    single = block.slices == 1
    fields = {
        group.bands[band].id if single else f"s{slice_}b{band}": (band, slice_)
        for slice_ in block.numbers
        for band in request.bands
    }
    answer = np.zeros(
        request.window.shape, [(name, group.bands[band].dtype) for name, (band, _) in fields.items()]
    )
    for name, (band, slice_) in fields.items():
        # What a sample's step holds stays as steps are added.
        told = (
            slice_
            if not group.tiling.steps
            else sum(divmod(slice_, group.tiling.steps)[k] * (31, 1)[k] for k in (0, 1))
        )
        answer[name] = band_pixels(group, band, request.window, told)
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
