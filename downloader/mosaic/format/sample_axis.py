"""Samples in the mosaic: the arrays along their axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from downloader.datasets.clouds import CLOUD_PROPERTIES
from downloader.model.grid import AffineTransform
from downloader.model.image import Image
from downloader.model.time import instant_us
from downloader.mosaic.format.axis import AxisArray, AxisProperty, time_array
from downloader.planning import Group, ImageList
from downloader.planning.samples import SampleList

SAMPLE_ARRAYS: Final = frozenset(
    {
        "sample_id", "image_id", "time", "cloud_share", "step", "crs", "transform", "lon", "lat", "centre_x", "centre_y",
        "affine", "inside",
    }
)  # fmt: skip
"""Names along the axis of samples, which no band and no column may have."""


def sample_arrays(
    group: Group, samples: SampleList, listed: ImageList, kept: Sequence[AxisProperty]
) -> tuple[AxisArray, ...]:
    """Return the arrays along the axis: the sample, its image and time, and its place."""
    images = {image.name: image for image in listed.images}
    of = [images.get(one.image) for one in samples.samples]
    points = [one.point for one in samples.firsts]
    ids = AxisArray(
        "image_id", "string", tuple(image.id if image else "" for image in of), {"long_name": "image"}
    )
    moments = time_array([instant_us(image.start_time) if image else None for image in of])
    along = [ids, moments]
    if samples.steps:
        shares = tuple(math.nan if image is None else _cloud_share(image) for image in of)
        about = {"long_name": "share of the image that is cloud, by the catalogue", "units": "1"}
        along.append(AxisArray("cloud_share", "float64", shares, about))
        along = [
            replace(one, across=samples.steps, dimension="step", wide=group.tiling.shard_steps)
            for one in along
        ]
    return (
        AxisArray("sample_id", "string", tuple(p.id for p in points), {"long_name": "sample", "cf_role": "timeseries_id"}),
        *along,
        AxisArray("lon", "float64", tuple(p.lon for p in points), _degrees("longitude", "east", group)),
        AxisArray("lat", "float64", tuple(p.lat for p in points), _degrees("latitude", "north", group)),
        *_places(group),
        *_columns(samples, kept),
    )  # fmt: skip


def _cloud_share(image: Image) -> float:
    """Return the share of an image that is cloud; NaN where the catalogue does not say."""
    for name in CLOUD_PROPERTIES:
        value = image.properties.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 100:
            return value / 100
    return math.nan


def _degrees(name: str, towards: str, group: Group) -> dict[str, Any]:
    what = "a point in the field" if group.shapes else "the point"
    return {"standard_name": name, "long_name": f"{name} of {what}", "units": f"degrees_{towards}"}


def _places(group: Group) -> tuple[AxisArray, ...]:
    """Return the arrays of the chips' places; empty text and NaN for a sample that has none."""
    steps = group.tiling.steps or 1
    starts = range(0, len(group.lattices), steps)
    grids = [next((one for one in group.lattices[k : k + steps] if one is not None), None) for k in starts]
    codes = tuple(grid.crs.code or grid.crs.wkt or "" if grid else "" for grid in grids)
    ts = [grid.transform if grid else None for grid in grids]
    members = "scale_x shear_x translate_x shear_y scale_y translate_y"
    transforms = tuple(getattr(t, name) if t else math.nan for t in ts for name in members.split())
    middles = [_middle(t, group.window.width // 2) if t else (math.nan, math.nan) for t in ts]
    affine = {
        "long_name": "affine transform of the chip's pixel corners to CRS units",
        "members": members,
    }
    places = (
        AxisArray("crs", "string", codes, {"long_name": "coordinate reference system of the chip"}),
        AxisArray("transform", "float64", transforms, affine, across=6),
    )
    if group.shapes:
        return places
    return (
        *places,
        AxisArray("centre_x", "float64", tuple(x for x, _ in middles), {"long_name": "x of the middle of the pixel that holds the point"}),
        AxisArray("centre_y", "float64", tuple(y for _, y in middles), {"long_name": "y of the middle of the pixel that holds the point"}),
    )  # fmt: skip


def _middle(t: AffineTransform, pixel: int) -> tuple[float, float]:
    """Return the middle of a pixel on the diagonal, computed exactly in halves of pixels."""
    x, y = t.exact(0, 0)
    half_x, half_y = t.exact(2 * pixel + 1, 2 * pixel + 1)
    return float((x + half_x) / 2), float((y + half_y) / 2)


def _columns(samples: SampleList, kept: Sequence[AxisProperty]) -> list[AxisArray]:
    index = {column.name: number for number, column in enumerate(samples.columns)}
    return [
        AxisArray(
            one.array,
            one.kind,
            tuple(sample.point.values[index[one.name]] for sample in samples.firsts),
            {"column": one.name},
        )
        for one in kept
        if one.name in index
    ]
