"""Choose the group, bands and slice that a preview shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from downloader.errors import JobError
from downloader.mosaic.flat import flat
from downloader.mosaic.storage.location import SOURCES

if TYPE_CHECKING:
    import zarr


_NATURAL: Final = (
    ("red", "green", "blue"),
    ("Red", "Green", "Blue"),
    ("R", "G", "B"),
    ("B4", "B3", "B2"),
    ("SR_B4", "SR_B3", "SR_B2"),
    ("sur_refl_b01", "sur_refl_b04", "sur_refl_b03"),
)
"""Names of red, green and blue: by their words, of Sentinel-2 and Landsat 8 and 9, of MODIS."""


def choose_group(root: zarr.Group, wanted: str | None, bands: tuple[str, ...] | None) -> tuple[str, Any]:
    """Return (name, node) of the group wanted, or of the finest that has the bands. Raises JobError."""
    groups = {name: node for name, node in root.groups() if bands_of(node)}
    if bands_of(root):
        groups = {"": root}  # groups below it are overviews
    for source, own in root.groups() if root.attrs.get(SOURCES) else ():
        if source not in groups:
            groups |= {f"{source}/{name}": node for name, node in own.groups() if bands_of(node)}
    if not groups:
        raise JobError("the mosaic has no bands")
    if wanted is not None:
        if wanted not in groups:
            raise JobError(
                f"group: the mosaic has no group {wanted!r}; its groups are {', '.join(sorted(groups)) or '(root)'}"
            )
        return wanted, groups[wanted]
    fitting = {
        name: node for name, node in groups.items() if bands is None or set(bands) <= set(bands_of(node))
    }
    if not fitting:
        if len(groups) == 1:
            raise JobError(_unknown(bands or (), bands_of(next(iter(groups.values())))))
        raise JobError(f"bands: no group has all of {', '.join(bands or ())}")
    return max(fitting.items(), key=lambda item: next(iter(bands_of(item[1]).values())).shape[-1])


def coarser(root: zarr.Group, name: str, node: Any, step: int) -> tuple[int, Any]:  # noqa: ANN401  # as below
    """Return (factor, node) of the coarsest overview that has every `step`-th pixel, else 1 and the group."""
    found, factor = node, 1
    while 2 * factor <= step:
        level = root.get(f"overviews/{name}/{2 * factor}" if name else f"overviews/{2 * factor}")
        if level is None or set(bands_of(level)) != set(bands_of(node)):
            break
        found, factor = level, 2 * factor
    return factor, found


def choose_bands(arrays: dict[str, Any], wanted: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return one or three bands: those wanted, else red, green and blue, else the first three, else the first.

    Raises:
        JobError: the number of bands is neither one nor three, or there is no such band.
    """
    pixels = tuple(name for name, array in arrays.items() if not array.attrs.get("mask_of"))
    natural = next((names for names in _NATURAL if set(names) <= set(pixels)), None)
    names = wanted or natural or pixels[: 3 if len(pixels) >= 3 else 1]
    if len(names) not in (1, 3):
        raise JobError(f"bands: a picture takes one or three bands, got {len(names)}")
    if set(names) - set(arrays):
        raise JobError(_unknown(names, arrays))
    return names


def _unknown(names: tuple[str, ...], arrays: dict[str, Any]) -> str:
    unknown = next(band for band in names if band not in arrays)
    return f"bands: the mosaic has no band {unknown!r}; its bands are {', '.join(arrays)}"


def bands_of(node: Any) -> dict[str, Any]:  # noqa: ANN401  # zarr's groups and arrays are loosely typed
    """Return band name in the catalogue → array, in the order of the mosaic."""
    found = [flat(array) for _, array in node.arrays() if array.ndim >= 2 and array.attrs.get("band")]
    order = list(node.attrs.get("bands", []))
    by_name = {str(array.attrs.get("band", array.basename)): array for array in found}
    return {name: by_name[name] for name in [*order, *sorted(set(by_name) - set(order))] if name in by_name}


def is_of_samples(array: Any) -> bool:  # noqa: ANN401  # as above
    """Return whether the leading axis of an array is that of samples."""
    return array.ndim == 3 and tuple(array.metadata.dimension_names or ())[:1] == ("sample",)


def choose_slice(node: Any, array: Any, time: str, number: int | None) -> tuple[int, str]:  # noqa: ANN401  # as above
    """Return (index along the leading axis, its description); 0 and "" if there is no such axis.

    Args:
        node: the group.
        array: one of its bands.
        time: `latest`, a number in the order of time, or the beginning of a time.
        number: index as stored; None if the time decides.

    Raises:
        JobError: there is no such slice.
    """
    length = array.shape[0] if array.ndim == 3 else 0
    if number is not None:
        if time != "latest":
            raise JobError("slice and time: take one of them")
        if not length:
            raise JobError(f"slice {number}: the mosaic has no leading axis; leave it out")
        if not -length <= number < length:
            raise JobError(f"slice {number}: the mosaic has {length:,} slices, 0 to {length - 1:,}")
        number %= length
    if "time" not in node or is_of_samples(array):
        if time != "latest":
            what = "holds samples" if length else "is not a time series"
            raise JobError(f"time {time}: the mosaic {what}; leave it out")
        return number or 0, f"sample {number:,}, " if number is not None else ""
    times = np.asarray(node["time"][:]).astype("datetime64[us]")
    if number is not None:
        return number, _named(node, times, number)
    return _at_time(node, times, time)


def _at_time(node: Any, times: np.ndarray[Any, Any], wanted: str) -> tuple[int, str]:  # noqa: ANN401  # as above
    order = np.argsort(times, kind="stable").tolist()
    texts = [np.datetime_as_string(time, unit="auto") for time in times]
    if wanted == "latest":
        found = order[-1:]
    elif wanted.removeprefix("-").isdecimal() and -len(order) <= int(wanted) < len(order):
        found = [order[int(wanted)]]
    else:
        found = [k for k in order if texts[k].startswith(wanted.removesuffix("Z").replace(" ", "T"))]
    if not found:
        raise JobError(
            f"time {wanted}: the mosaic has no such time; it has {len(order):,}, from {texts[order[0]]} to "
            f"{texts[order[-1]]}. Write a number from 0, the beginning of a time, or latest"
        )
    more = f" (the first of {len(found)})" if len(found) > 1 else ""
    return found[0], _named(node, times, found[0], more)


def _named(node: Any, times: np.ndarray[Any, Any], number: int, more: str = "") -> str:  # noqa: ANN401  # as above
    return f"{np.datetime_as_string(times[number], unit='auto')}{more}, {node['image_id'][number]}, "
