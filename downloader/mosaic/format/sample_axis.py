"""Samples in the mosaic: the arrays along their axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from downloader.datasets.clouds import CLOUD_PROPERTIES
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
    codes: list[str] = []
    transforms: list[float] = []
    xs: list[float] = []
    ys: list[float] = []
    steps = group.tiling.steps or 1
    for first in range(0, len(group.lattices), steps):
        grid = next((one for one in group.lattices[first : first + steps] if one is not None), None)
        if grid is None:
            codes.append("")
            transforms += [math.nan] * 6
            xs.append(math.nan)
            ys.append(math.nan)
            continue
        t = grid.transform
        codes.append(grid.crs.code or grid.crs.wkt or "")
        transforms += (t.scale_x, t.shear_x, t.translate_x, t.shear_y, t.scale_y, t.translate_y)
        middle = group.window.width // 2
        # Twice the index and one: the middle of a pixel in halves of pixels, exactly.
        x, y = t.exact(0, 0)
        half_x, half_y = t.exact(2 * middle + 1, 2 * middle + 1)
        xs.append(float((x + half_x) / 2))
        ys.append(float((y + half_y) / 2))
    affine = {
        "long_name": "affine transform of the chip's pixel corners to CRS units",
        "members": "scale_x shear_x translate_x shear_y scale_y translate_y",
    }
    places = (
        AxisArray("crs", "string", tuple(codes), {"long_name": "coordinate reference system of the chip"}),
        AxisArray("transform", "float64", tuple(transforms), affine, across=6),
    )
    if group.shapes:
        return places
    return (
        *places,
        AxisArray("centre_x", "float64", tuple(xs), {"long_name": "x of the middle of the pixel that holds the point"}),
        AxisArray("centre_y", "float64", tuple(ys), {"long_name": "y of the middle of the pixel that holds the point"}),
    )  # fmt: skip


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
