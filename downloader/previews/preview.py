"""Drawing a quick look: thinned planes, stretched, joined to a picture whose holes are transparent."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from downloader.errors import JobError
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

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Picture", "draw", "preview"]

_Thin = Callable[[Any], NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Picture:
    """A quick look, and what it shows."""

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


def preview(
    mosaic: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    bands: tuple[str, ...] | None = None,
    group: str | None = None,
    size: int = 1024,
    low: float | Sequence[float] | None = None,
    high: float | Sequence[float] | None = None,
    percentiles: tuple[float, float] = (2, 98),
    palette: str | Sequence[str] | None = None,
    time: str = "latest",
    slice_: int | None = None,
) -> str:
    """Write a PNG of `mosaic`; returns one line on what it shows.

    Args:
        mosaic: path of the mosaic.
        output: PNG file to write.
        bands: one or three band names; by default red, green and blue where bands are named so (of Sentinel-2 B4, B3,
            B2), else the first three, else the first.
        group: name of the group; by default the finest that has the bands.
        size: pixels along the longer side, at most.
        low: value shown darkest, one for all bands or one for each; by default the lower percentile of what is shown.
        high: value shown brightest; by default the upper percentile.
        percentiles: of what is shown, where `low` or `high` are not given.
        palette: colours for one band: `viridis`, `magma`, `inferno`, `cividis`, `greens`, `red-blue`, `grey`, with `-r`
            behind it the other way round, or colours at equal distances such as `white,1a9850`.
        time: of a time series: `latest`, its number in the order of time (from 0; -1 is the last), or the beginning
            of its time, such as 2017-04-20.
        slice_: index along the time or sample axis in the mosaic's own order; of samples, that one alone.

    Raises:
        JobError: no such mosaic, group, band, slice or palette, another number of bands than one or three, or limits
            that are not in order.
    """
    picture = draw(
        mosaic, bands=bands, group=group, size=size, low=low, high=high, percentiles=percentiles, palette=palette,
        time=time, slice_=slice_,
    )  # fmt: skip
    try:
        picture.image.save(output, format="PNG")
    except OSError as error:
        raise JobError(f"-o {output}: cannot be written: {error.strerror or error}") from error
    return str(picture)


def draw(
    mosaic: str | os.PathLike[str],
    *,
    bands: tuple[str, ...] | None = None,
    group: str | None = None,
    size: int = 1024,
    low: float | Sequence[float] | None = None,
    high: float | Sequence[float] | None = None,
    percentiles: tuple[float, float] = (2, 98),
    palette: str | Sequence[str] | None = None,
    time: str = "latest",
    slice_: int | None = None,
    most_tiles: int | None = None,
) -> Picture:
    """The picture that `preview` writes; arguments and errors are those of `preview`.

    `most_tiles`: read no more tiles than that, over all bands, though the picture becomes coarser; None for no bound.
    """
    import zarr

    from downloader.mosaic.storage.location import locate

    location = locate(mosaic)
    try:
        root = zarr.open_group(location.readable(), mode="r")
    except (FileNotFoundError, ValueError) as error:
        raise JobError(f"{location.name}: is no Zarr mosaic; run a job that makes one first") from error
    name, node = choose_group(root, group, bands)
    arrays = bands_of(node)
    names = choose_bands(arrays, bands)
    if palette is not None and len(names) != 1:
        raise JobError(f"--palette: colours one band, got {len(names)}; name one with --bands")
    first = arrays[names[0]]
    thin: _Thin
    if is_of_samples(first) and slice_ is None and time == "latest":
        sheet = Sheet.of(first, size)
        what = f"the first {sheet.count:,} of {first.shape[0]:,} samples, "
        thin, seen = sheet.lay, sheet.stored(node)
    else:
        number, what = choose_slice(node, first, time, slice_)
        source = _source(root, name, node, names, size, number, most_tiles)
        thin, seen = source.plane, source.stored(first)
    planes = [thin(arrays[band]) for band in names]
    for valid in _valid(arrays, names, planes, thin):
        seen &= valid
    lows, highs = per_band(low, "--min", len(names)), per_band(high, "--max", len(names))
    limits = tuple(
        limits_of(plane, seen, percentiles, bottom, top)
        for plane, bottom, top in zip(planes, lows, highs, strict=True)
    )
    levels = [stretch(plane, ends) for plane, ends in zip(planes, limits, strict=True)]
    return Picture(
        _joined(levels, seen, palette), first.shape[-1], first.shape[-2], name, names, limits, what
    )


def _source(
    root: Any,  # noqa: ANN401  # zarr's groups and arrays are loosely typed
    name: str,
    node: Any,  # noqa: ANN401  # as above
    bands: Sequence[str],
    size: int,
    number: int,
    most_tiles: int | None,
) -> Thinning | Layered:
    """What the picture is read from: an overview where one is fine enough, else the pixels themselves."""
    first = bands_of(node)[bands[0]]
    factor, level = coarser(root, name, node, max(1, max(first.shape[-2:]) // size))
    if factor == 1:
        budget = None if most_tiles is None else max(1, most_tiles // len(bands))
        return Thinning.of(node, first, size, number, budget)
    arrays = bands_of(level)
    coarse = arrays[bands[0]]
    overview = Thinning.of(level, coarse, size, number)
    base = Thinning(node, factor * overview.step, number)
    return Layered.of(base, first, overview, arrays, coarse)


def _joined(
    levels: Sequence[NDArray[np.uint8]], seen: NDArray[np.bool_], palette: str | Sequence[str] | None
) -> Image:
    from PIL import Image as Images

    alpha = np.where(seen, 255, 0).astype("u1")[..., None]
    # Where nothing is shown nothing is said either: a viewer that ignores alpha shows black.
    if palette is not None:
        colours = np.where(seen[..., None], lookup(palette)[levels[0]], 0).astype("u1")
        return Images.fromarray(np.concatenate([colours, alpha], axis=-1), "RGBA")
    stacked = np.stack([np.where(seen, level, 0).astype("u1") for level in levels], axis=-1)
    return Images.fromarray(np.concatenate([stacked, alpha], axis=-1), "LA" if len(levels) == 1 else "RGBA")


def _valid(
    arrays: Mapping[str, Any], names: Sequence[str], planes: Sequence[NDArray[np.generic]], thin: _Thin
) -> Iterator[NDArray[np.bool_]]:
    """Where bands have pixels: by the mosaic's masks, by nodata, by being numbers."""
    for mask in arrays.values():
        if set(mask.attrs.get("mask_of") or ()) & set(names):
            yield thin(mask) == 1
    for band, plane in zip(names, planes, strict=True):
        nodata = arrays[band].attrs.get("_FillValue")
        if plane.dtype.kind == "f":
            yield np.isfinite(plane)
        if isinstance(nodata, int | float) and not math.isnan(nodata):
            yield plane != nodata
