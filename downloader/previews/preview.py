"""Draw a preview: decimated planes, stretched, joined to a picture whose holes are transparent."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from downloader.arguments import check_names, check_number, path_text, writing
from downloader.errors import JobError
from downloader.mosaic.storage.location import locate
from downloader.previews.colormaps import lookup
from downloader.previews.contact_sheet import Sheet
from downloader.previews.decimate import Layered, Thinning
from downloader.previews.select import (
    bands_of,
    choose_bands,
    choose_group,
    choose_slice,
    coarser,
    is_of_samples,
)
from downloader.previews.stretch import Limits, limits_of, per_band, stretch
from downloader.progress.late import late

if TYPE_CHECKING:
    from PIL.Image import Image


_Thin = Callable[[Any], NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Preview:
    """A picture of a mosaic, and what it shows."""

    image: Image
    """RGBA, or LA of one band in grey; transparent where nothing is stored or valid."""
    width: int
    """Columns of the group, in pixels."""
    height: int
    """Rows of the group, in pixels."""
    group: str
    """Name of the group; empty where it fills the mosaic's root."""
    bands: tuple[str, ...]
    limits: tuple[Limits, ...]
    """By band, the values shown darkest and brightest."""
    what: str = ""
    """Which slice, or how many samples; ends with a comma and a space unless it is empty."""

    def __str__(self) -> str:
        where = f"group {self.group}, " if self.group else ""
        spans = ", ".join(f"{low:.6g} to {high:.6g}" for low, high in dict.fromkeys(self.limits))
        return (
            f"{self.image.width}×{self.image.height} of {self.width}×{self.height} pixels, {where}{self.what}"
            f"bands {', '.join(self.bands)}, stretched from {spans}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The arguments of `preview`."""

    bands: tuple[str, ...] | None = None
    group: str | None = None
    size: int = 1024
    min: float | Sequence[float] | None = None
    max: float | Sequence[float] | None = None
    percentiles: tuple[float, float] = (2, 98)
    palette: str | Sequence[str] | None = None
    time: str = "latest"
    slice: int | None = None
    most_tiles: int | None = None
    """Maximum number of tiles to read, over all bands: a larger mosaic is shown coarser. None for no limit."""


@late("reading the mosaic")
def preview(
    mosaic: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    bands: tuple[str, ...] | None = None,
    group: str | None = None,
    size: int = 1024,
    min: float | Sequence[float] | None = None,  # noqa: A002  # as the command's option
    max: float | Sequence[float] | None = None,  # noqa: A002  # as above
    percentiles: tuple[float, float] = (2, 98),
    palette: str | Sequence[str] | None = None,
    time: str = "latest",
    slice: int | None = None,  # noqa: A002  # as above
) -> str:
    """Write a PNG of `mosaic` and return one line on what it shows.

    Args:
        mosaic: path of the mosaic.
        output: PNG file to write.
        bands: one or three band names; by default red, green and blue where bands are named so (of Sentinel-2 B4, B3,
            B2), else the first three, else the first.
        group: name of the group; by default the finest that has the bands.
        size: maximum number of pixels along the longer side.
        min: value shown darkest, one for all bands or one for each; by default the lower percentile of what is shown.
        max: value shown brightest; by default the upper percentile.
        percentiles: percentiles of what is shown, used where `min` or `max` are not given.
        palette: colours of one band: `viridis`, `magma`, `inferno`, `cividis`, `greens`, `red-blue`, `grey`, with `-r`
            behind it reversed, or colours at equal distances such as `white,1a9850`.
        time: slice of a time series: `latest`, its number in order of time (from 0; -1 is the last), or the beginning
            of its time, such as 2017-04-20.
        slice: index along the time or sample axis as stored; of samples, that one alone.

    Raises:
        JobError: there is no such mosaic, group, band, slice or palette, the number of bands is neither one nor three,
            the limits are not in order, or the file cannot be written.
        StoppedError: the disk is full.
    """
    check_names(bands, "bands")
    check_number(size, "size", 1)
    if Path(path_text(output, "output", "name a .png file")).suffix.lower() != ".png":
        raise JobError(f"{output}: a preview is a PNG file; name one that ends in .png")
    look = Look(
        bands=bands, group=group, size=size, min=min, max=max, percentiles=percentiles, palette=palette, time=time,
        slice=slice,
    )  # fmt: skip
    picture = draw(mosaic, look)
    with writing(output):
        picture.image.save(output, format="PNG")
    return str(picture)


def draw(mosaic: str | os.PathLike[str], look: Look | None = None) -> Preview:
    """Return the picture that `preview` writes; errors are those of `preview`."""
    import zarr

    look = look or Look()
    location = locate(mosaic)
    try:
        root = zarr.open_group(location.readable(), mode="r")
    except (FileNotFoundError, ValueError) as error:
        raise JobError(f"{location.name}: is not a Zarr mosaic; run a job that makes one first") from error
    name, node = choose_group(root, look.group, look.bands)
    arrays = bands_of(node)
    names = choose_bands(arrays, look.bands)
    if look.palette is not None and len(names) != 1:
        raise JobError(f"palette: colours one band, got {len(names)}; name one with bands")
    first = arrays[names[0]]
    thin: _Thin
    if is_of_samples(first) and look.slice is None and look.time == "latest":
        sheet = Sheet.of(first, look.size)
        what = f"the first {sheet.count:,} of {first.shape[0]:,} samples, "
        thin, seen = sheet.lay, sheet.stored(node)
    else:
        number, what = choose_slice(node, first, look.time, look.slice)
        source = _source(root, name, node, names, number, look)
        thin, seen = source.plane, source.stored(first)
    planes = [thin(arrays[band]) for band in names]
    for valid in _valid(arrays, names, planes, thin):
        seen &= valid
    lows, highs = per_band(look.min, "min", len(names)), per_band(look.max, "max", len(names))
    limits = tuple(
        limits_of(plane, seen, look.percentiles, bottom, top)
        for plane, bottom, top in zip(planes, lows, highs, strict=True)
    )
    levels = [stretch(plane, ends) for plane, ends in zip(planes, limits, strict=True)]
    return Preview(
        _joined(levels, seen, look.palette), first.shape[-1], first.shape[-2], name, names, limits, what
    )


def _source(
    root: Any,  # noqa: ANN401  # zarr's groups and arrays are loosely typed
    name: str,
    node: Any,  # noqa: ANN401  # as above
    bands: Sequence[str],
    number: int,
    look: Look,
) -> Thinning | Layered:
    """Return what the picture is read from: an overview if one is fine enough, else the pixels themselves."""
    first = bands_of(node)[bands[0]]
    factor, level = coarser(root, name, node, max(1, max(first.shape[-2:]) // look.size))
    if factor == 1:
        budget = None if look.most_tiles is None else max(1, look.most_tiles // len(bands))
        return Thinning.of(node, first, look.size, number, budget)
    arrays = bands_of(level)
    coarse = arrays[bands[0]]
    overview = Thinning.of(level, coarse, look.size, number)
    base = Thinning(node, factor * overview.step, number)
    return Layered(base, overview, arrays, base.stored(first) & ~overview.stored(coarse))


def _joined(
    levels: Sequence[NDArray[np.uint8]], seen: NDArray[np.bool_], palette: str | Sequence[str] | None
) -> Image:
    from PIL import Image as Images

    alpha = np.where(seen, 255, 0).astype("u1")[..., None]
    # Transparent pixels are black, for viewers that ignore alpha.
    if palette is not None:
        colours = np.where(seen[..., None], lookup(palette)[levels[0]], 0).astype("u1")
        return Images.fromarray(np.concatenate([colours, alpha], axis=-1), "RGBA")
    stacked = np.stack([np.where(seen, level, 0).astype("u1") for level in levels], axis=-1)
    return Images.fromarray(np.concatenate([stacked, alpha], axis=-1), "LA" if len(levels) == 1 else "RGBA")


def _valid(
    arrays: Mapping[str, Any], names: Sequence[str], planes: Sequence[NDArray[np.generic]], thin: _Thin
) -> Iterator[NDArray[np.bool_]]:
    """Yield where bands have pixels: by stored masks, by nodata, by being finite."""
    for mask in arrays.values():
        if set(mask.attrs.get("mask_of") or ()) & set(names):
            yield thin(mask) == 1
    for band, plane in zip(names, planes, strict=True):
        nodata = arrays[band].attrs.get("_FillValue")
        if plane.dtype.kind == "f":
            yield np.isfinite(plane)
        if isinstance(nodata, int | float) and not math.isnan(nodata):
            yield plane != nodata
