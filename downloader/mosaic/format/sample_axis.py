"""Samples in the mosaic: the arrays along their axis, and their form in the identity's document.

Thousands of points would make the document long, so they are packed as text.
"""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from downloader.model.crs import Crs
from downloader.model.grid import AffineTransform, PixelGrid, Window
from downloader.model.image import Image
from downloader.model.time import instant_us
from downloader.mosaic.format.axis import NO_TIME, AxisArray, AxisProperty
from downloader.planning import Group, ImageList
from downloader.planning.samples import Column, Point, Sample, SampleList

SAMPLE_ARRAYS: Final = frozenset(
    {"sample_id", "image_id", "time", "crs", "transform", "lon", "lat", "centre_x", "centre_y", "affine"}
)
"""Names along the axis of samples, which no band and no column may have."""


def sample_arrays(
    group: Group, samples: SampleList, listed: ImageList, kept: Sequence[AxisProperty]
) -> tuple[AxisArray, ...]:
    """Return the arrays along the axis: the sample, its image and time, and its place."""
    images = {image.name: image for image in listed.images}
    of = [images.get(one.image) for one in samples.samples]
    times = tuple(_time(image) for image in of)
    about: dict[str, Any] = {
        "standard_name": "time",
        "long_name": "beginning of the image, UTC",
        "units": "microseconds since 1970-01-01",
        "calendar": "proleptic_gregorian",
    }
    if NO_TIME in times:
        about["_FillValue"] = NO_TIME
    points = [one.point for one in samples.samples]
    return (
        AxisArray("sample_id", "string", tuple(p.id for p in points), {"long_name": "sample", "cf_role": "timeseries_id"}),
        AxisArray("image_id", "string", tuple(image.id if image else "" for image in of), {"long_name": "image"}),
        AxisArray("time", "int64", times, about),
        AxisArray("lon", "float64", tuple(p.lon for p in points), _degrees("longitude", "east")),
        AxisArray("lat", "float64", tuple(p.lat for p in points), _degrees("latitude", "north")),
        *_places(group),
        *_columns(samples, kept),
    )  # fmt: skip


def _time(image: Image | None) -> int:
    time = None if image is None else instant_us(image.start_time)
    return NO_TIME if time is None else time


def _degrees(name: str, towards: str) -> dict[str, Any]:
    return {"standard_name": name, "long_name": f"{name} of the point", "units": f"degrees_{towards}"}


def _places(group: Group) -> tuple[AxisArray, ...]:
    """Return the arrays of the chips' places; empty text and NaN for a sample that has none."""
    codes: list[str] = []
    transforms: list[float] = []
    xs: list[float] = []
    ys: list[float] = []
    for grid in group.lattices:
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
    return (
        AxisArray("crs", "string", tuple(codes), {"long_name": "coordinate reference system of the chip"}),
        AxisArray("transform", "float64", tuple(transforms), affine, across=6),
        AxisArray("centre_x", "float64", tuple(xs), {"long_name": "x of the middle of the pixel that holds the point"}),
        AxisArray("centre_y", "float64", tuple(ys), {"long_name": "y of the middle of the pixel that holds the point"}),
    )  # fmt: skip


def _columns(samples: SampleList, kept: Sequence[AxisProperty]) -> list[AxisArray]:
    index = {column.name: number for number, column in enumerate(samples.columns)}
    return [
        AxisArray(
            one.array,
            one.kind,
            tuple(sample.point.values[index[one.name]] for sample in samples.samples),
            {"column": one.name},
        )
        for one in kept
        if one.name in index
    ]


def samples_to_text(samples: SampleList) -> str:
    """Return the samples as packed text."""
    images = {name: number for number, name in enumerate(dict.fromkeys(s.image for s in samples.samples))}
    return _packed(
        {
            "crs": samples.crs.to_json(),
            "columns": [[column.name, column.kind] for column in samples.columns],
            "images": list(images),
            "rows": [
                [p.id, p.x, p.y, p.lon, p.lat, p.where, p.image, p.date, images[one.image], one.problem, list(p.values)]
                for one in samples.samples
                for p in (one.point,)
            ],
        }
    )  # fmt: skip


def samples_from_text(text: str) -> SampleList:
    """Return the samples of `samples_to_text`. Raises KeyError, TypeError, ValueError or JobError for anything else."""
    document = _unpacked(text)
    columns = tuple(Column(str(name), _checked_kind(kind)) for name, kind in document["columns"])
    found = []
    for id_, x, y, lon, lat, where, image, date, number, problem, values in document["rows"]:
        if len(values) != len(columns):
            raise ValueError("a sample lacks a column")
        point = Point(str(id_), x, y, lon, lat, str(where), str(image), str(date), tuple(values))
        found.append(Sample(point, str(document["images"][number]), str(problem)))
    return SampleList(_crs(document["crs"]), columns, tuple(found))


def lattices_to_text(lattices: Sequence[PixelGrid | None]) -> str:
    """Return the chips' grids as packed text; only the origin differs from chip to chip."""
    kinds: dict[tuple[Crs, float, float, float, float], int] = {}
    rows: list[list[float] | None] = []
    for grid in lattices:
        if grid is None:
            rows.append(None)
            continue
        t = grid.transform
        kind = (grid.crs, t.scale_x, t.shear_x, t.shear_y, t.scale_y)
        rows.append([kinds.setdefault(kind, len(kinds)), t.translate_x, t.translate_y])
    return _packed({"kinds": [[crs.to_json(), *numbers] for crs, *numbers in kinds], "rows": rows})


def lattices_from_text(text: str, window: Window) -> tuple[PixelGrid | None, ...]:
    """Return the grids of `lattices_to_text`, of chips as large as `window`. Raises as `samples_from_text`."""
    document = _unpacked(text)
    kinds = [(_crs(crs), *numbers) for crs, *numbers in document["kinds"]]
    found: list[PixelGrid | None] = []
    for row in document["rows"]:
        if row is None:
            found.append(None)
            continue
        crs, scale_x, shear_x, shear_y, scale_y = kinds[row[0]]
        transform = AffineTransform(scale_x, shear_x, row[1], shear_y, scale_y, row[2])
        found.append(PixelGrid(crs, transform, window.width, window.height))
    return tuple(found)


def _crs(document: Mapping[str, str]) -> Crs:
    return Crs(code=document.get("crsCode"), wkt=document.get("crsWkt"))


def _checked_kind(kind: Any) -> Any:  # noqa: ANN401 - JSON
    if kind not in {"int64", "float64", "string"}:
        raise ValueError(f"{kind!r} is no kind of a column")
    return kind


def _packed(document: Mapping[str, Any]) -> str:
    return base64.b64encode(zlib.compress(json.dumps(document, separators=(",", ":")).encode(), 6)).decode()


def _unpacked(text: str) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(zlib.decompress(base64.b64decode(text)))
    except zlib.error as error:
        raise ValueError(f"its samples cannot be unpacked ({error})") from None
