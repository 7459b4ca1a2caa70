"""A quick look at a mosaic: one band in grey or three in colour, stretched, as a PNG."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from downloader.errors import JobError

if TYPE_CHECKING:
    import xarray  # noqa: F401  # only so that readers find where mosaics are opened for data
    import zarr

__all__ = ["preview"]

_GAP = 2
"""Pixels between the chips of samples."""


def preview(
    mosaic: str | Path,
    output: str | Path,
    *,
    bands: tuple[str, ...] | None = None,
    group: str | None = None,
    size: int = 1024,
    low: float | None = None,
    high: float | None = None,
    time: str = "latest",
) -> str:
    """Write a PNG of `mosaic`; returns one line on what it shows.

    Args:
        mosaic: path of the mosaic.
        output: PNG file to write.
        bands: one or three band names; by default the first three bands, or the first.
        group: name of the group; by default the finest that has the bands.
        size: pixels along the longer side, at most.
        low: value shown black; by default the 2nd percentile of what is shown.
        high: value shown white; by default the 98th percentile.
        time: of a time series: `latest`, its number in the order of time (from 0; -1 is the last), or the beginning
            of its time, such as 2017-04-20.

    Raises:
        JobError: no such mosaic, group, band or time, or another number of bands than one or three.
    """
    import zarr
    from PIL import Image

    from downloader.mosaic.location import locate

    mosaic = (location := locate(mosaic)).name
    try:
        root = zarr.open_group(location.readable(), mode="r")
    except (FileNotFoundError, ValueError) as error:
        raise JobError(f"{mosaic}: is no Zarr mosaic; run a job that makes one first") from error
    name, node = _group(root, group, bands)
    arrays = _bands(node)
    pixels = tuple(name for name, array in arrays.items() if not array.attrs.get("mask_of"))
    names = bands or pixels[: 3 if len(pixels) >= 3 else 1]
    if len(names) not in (1, 3):
        raise JobError(f"--bands: a picture takes one or three bands, got {len(names)}")
    unknown = [band for band in names if band not in arrays]
    if unknown:
        raise JobError(f"--bands: the mosaic has no band {unknown[0]!r}; its bands are {', '.join(arrays)}")
    height, width = arrays[names[0]].shape[-2:]
    step = max(1, -(-max(height, width) // size))
    if _is_of_samples(arrays[names[0]]):
        if time != "latest":
            raise JobError(f"--time {time}: the mosaic holds samples; leave it out")
        shown = _Sheet.of(arrays[names[0]], size)
        moment = f"the first {shown.count:,} of {arrays[names[0]].shape[0]:,} samples, "
        step = 1
        thin, seen = shown.lay, shown.stored(node)
    else:
        number, moment = _moment(node, time)

        def thin(array: Any) -> NDArray[np.generic]:  # noqa: ANN401  # zarr's arrays are loosely typed
            return _thin(array, step, number)

        seen = _stored(node, thin(arrays[names[0]]).shape, step, arrays[names[0]], number)
    planes = [thin(arrays[band]) for band in names]
    for valid in _valid(arrays, names, planes, thin):
        seen &= valid
    stretched = np.stack([_stretch(plane, seen, low, high) for plane in planes], axis=-1)
    alpha = np.where(seen, 255, 0).astype("u1")[..., None]
    if len(names) == 1:
        picture = Image.fromarray(np.concatenate([stretched, alpha], axis=-1), "LA")
    else:
        picture = Image.fromarray(np.concatenate([stretched, alpha], axis=-1), "RGBA")
    try:
        picture.save(output, format="PNG")
    except OSError as error:
        raise JobError(f"-o {output}: cannot be written: {error.strerror or error}") from error
    where = f"group {name}, " if name else ""
    return f"{picture.width}×{picture.height} of {width}×{height} pixels, {where}{moment}bands {', '.join(names)}"


def _valid(
    arrays: Mapping[str, Any],
    names: Sequence[str],
    planes: Sequence[NDArray[np.generic]],
    thin: Callable[[Any], NDArray[np.generic]],
) -> Iterator[NDArray[np.bool_]]:
    """Where bands have pixels: by the mosaic's masks, by nodata, by being numbers."""
    for mask in arrays.values():
        if set(mask.attrs.get("mask_of") or ()) & set(names):
            yield thin(mask) == 1
    for band, plane in zip(names, planes, strict=True):
        nodata = arrays[band].attrs.get("_FillValue")
        if plane.dtype.kind == "f":
            yield np.isfinite(plane)
        if isinstance(nodata, (int, float)):
            yield plane != nodata


def _is_of_samples(array: Any) -> bool:  # noqa: ANN401  # zarr's arrays are loosely typed
    return array.ndim == 3 and tuple(array.metadata.dimension_names or ())[:1] == ("sample",)


@dataclass(frozen=True, slots=True)
class _Sheet:
    """Chips side by side, from the first on: a square of as many as fit."""

    count: int
    columns: int
    chip: tuple[int, int]
    """(height, width) of a chip, in pixels."""

    @classmethod
    def of(cls, array: Any, size: int) -> _Sheet:  # noqa: ANN401  # as above
        samples, height, width = array.shape
        columns = max(1, min(math.ceil(math.sqrt(samples)), size // (width + _GAP)))
        rows = max(1, min(math.ceil(samples / columns), size // (height + _GAP)))
        return cls(min(samples, rows * columns), columns, (height, width))

    def lay(self, array: Any) -> NDArray[np.generic]:  # noqa: ANN401  # as above
        """The chips of a band; 0 between them."""
        return self._laid(np.asarray(array[: self.count]))

    def stored(self, node: Any) -> NDArray[np.bool_]:  # noqa: ANN401  # as above
        """Which pixels of the sheet are those of a chip that is stored."""
        known = np.asarray(node["coverage"][: self.count, 0, 0]) == 1
        return self._laid(np.broadcast_to(known[:, None, None], (self.count, *self.chip))).astype(np.bool_)

    def _laid(self, chips: NDArray[Any]) -> NDArray[Any]:
        height, width = self.chip
        rows = math.ceil(self.count / self.columns)
        sheet = np.zeros((rows, height + _GAP, self.columns, width + _GAP), chips.dtype)
        for number, chip in enumerate(chips):
            sheet[number // self.columns, :height, number % self.columns, :width] = chip
        return sheet.reshape(rows * (height + _GAP), self.columns * (width + _GAP))


def _group(root: zarr.Group, wanted: str | None, bands: tuple[str, ...] | None) -> tuple[str, Any]:
    groups = {name: node for name, node in root.groups() if _bands(node)}
    if _bands(root):
        groups[""] = root
    if not groups:
        raise JobError("the mosaic has no bands")
    if wanted is not None:
        if wanted not in groups:
            raise JobError(
                f"--group: the mosaic has no group {wanted!r}; its groups are {', '.join(sorted(groups)) or '(root)'}"
            )
        return wanted, groups[wanted]
    fitting = {
        name: node for name, node in groups.items() if bands is None or set(bands) <= set(_bands(node))
    }
    if not fitting:
        raise JobError(f"--bands: no group has all of {', '.join(bands or ())}")
    return max(fitting.items(), key=lambda item: next(iter(_bands(item[1]).values())).shape[-1])


def _bands(node: Any) -> dict[str, Any]:  # noqa: ANN401  # zarr's groups and arrays are loosely typed
    """True band name → array, in the order of the mosaic."""
    found = [
        array
        for name, array in node.arrays()
        if array.ndim >= 2 and name not in {"coverage", "x", "y"} and array.attrs.get("band")
    ]
    order = list(node.attrs.get("bands", []))
    by_name = {str(array.attrs.get("band", array.basename)): array for array in found}
    return {name: by_name[name] for name in [*order, *sorted(set(by_name) - set(order))] if name in by_name}


def _moment(node: Any, wanted: str) -> tuple[int, str]:  # noqa: ANN401  # as above
    """Which slice is shown, and what is said of it; 0 and nothing where there is no time axis."""
    if "time" not in node:
        if wanted != "latest":
            raise JobError(f"--time {wanted}: the mosaic is no time series; leave it out")
        return 0, ""
    times = np.asarray(node["time"][:])
    order = np.argsort(times, kind="stable").tolist()
    texts = [np.datetime_as_string(times[k].astype("datetime64[us]"), unit="auto") for k in range(len(times))]
    if wanted == "latest":
        found = order[-1:]
    elif wanted.removeprefix("-").isdecimal() and -len(order) <= int(wanted) < len(order):
        found = [order[int(wanted)]]
    else:
        found = [k for k in order if texts[k].startswith(wanted.removesuffix("Z").replace(" ", "T"))]
    if not found:
        raise JobError(
            f"--time {wanted}: the mosaic has no such time; it has {len(order):,}, from {texts[order[0]]} to "
            f"{texts[order[-1]]}. Write a number from 0, the beginning of a time, or latest"
        )
    more = f" (the first of {len(found)})" if len(found) > 1 else ""
    return found[0], f"{texts[found[0]]}{more}, {node['image_id'][found[0]]}, "


def _thin(array: Any, step: int, number: int) -> NDArray[np.generic]:  # noqa: ANN401  # as above
    """Every `step`-th pixel, read a band of rows at a time so that memory stays small."""
    leading = (number,) * (array.ndim - 2)
    height = array.shape[-2]
    rows = max(step, 2048 // step * step)
    parts = [
        array[(*leading, slice(top, min(top + rows, height)))][::step, ::step]
        for top in range(0, height, rows)
    ]
    return np.concatenate(parts)


def _stored(
    node: Any,  # noqa: ANN401  # as above
    shape: tuple[int, int],
    step: int,
    array: Any,  # noqa: ANN401  # as above
    number: int,
) -> NDArray[np.bool_]:
    """Which of the thinned pixels lie in tiles that are stored."""
    if "coverage" not in node:
        return np.ones(shape, bool)
    coverage = node["coverage"]
    coverage = np.asarray(coverage[(number,) * (coverage.ndim - 2)])
    tile = array.chunks[-1]
    rows = np.arange(shape[0]) * step // tile
    columns = np.arange(shape[1]) * step // tile
    stored: NDArray[np.bool_] = coverage[np.ix_(rows, columns)] == 1
    return stored


def _stretch(
    plane: NDArray[np.generic], seen: NDArray[np.bool_], low: float | None, high: float | None
) -> NDArray[np.uint8]:
    values = plane[seen].astype("f8")
    bottom = low if low is not None else float(np.percentile(values, 2)) if values.size else 0.0
    top = high if high is not None else float(np.percentile(values, 98)) if values.size else 1.0
    scaled = (plane.astype("f8") - bottom) / ((top - bottom) or 1.0)
    return (np.nan_to_num(np.clip(scaled, 0, 1)) * 255 + 0.5).astype("u1")
