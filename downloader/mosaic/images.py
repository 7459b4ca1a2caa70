"""The image list as JSON: thousands of images share a few grids and band lists, which stand there once.

Beside `grids` and `bandLists`, `images` holds for each [name behind the prefix, updateTime, startTime, number of its
band list, properties kept], and `slices` holds [name, first image, how many].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from downloader.crs import Crs
from downloader.grid import AffineTransform, PixelGrid
from downloader.image import Band, Image
from downloader.planning import ImageList

__all__ = ["from_document", "to_document"]


def to_document(listed: ImageList) -> dict[str, Any]:
    """The list as plain values."""
    images = list(listed.images)
    folders = {image.name[: image.name.rfind("/") + 1] for image in images}
    prefix = folders.pop() if len(folders) == 1 else ""
    tails = [image.name.removeprefix(prefix) for image in images]
    alike = all(image.id.endswith(tail) for image, tail in zip(images, tails, strict=True))
    ids = {image.id.removesuffix(tail) for image, tail in zip(images, tails, strict=True)}
    grids: dict[PixelGrid, int] = {}
    band_lists: dict[tuple[Band, ...], int] = {}
    rows: list[list[Any]] = []
    for image, tail in zip(images, tails, strict=True):
        for band in image.bands:
            grids.setdefault(band.grid, len(grids))
        number = band_lists.setdefault(image.bands, len(band_lists))
        row = [tail, image.update_time, image.start_time, number]
        kept = {name: image.properties[name] for name in listed.properties if name in image.properties}
        rows.append([*row, kept] if kept else row)
    slices, first = [], 0
    for label, members in listed.named:
        slices.append([label, first, len(members)])
        first += len(members)
    return {
        **({} if listed.period is None else {"start": listed.period[0], "end": listed.period[1]}),
        "facts": dict(listed.facts),
        "properties": list(listed.properties),
        "grids": [grid.to_json() for grid in grids],
        "bandLists": [[_band(band, grids) for band in bands] for bands in band_lists],
        "prefix": prefix,
        # What stands before the same rest in their ids; all of them where that differs.
        "ids": ids.pop() if alike and len(ids) == 1 else [image.id for image in images],
        "images": rows,
        "slices": slices,
    }


def from_document(document: Mapping[str, Any]) -> ImageList:
    """The list of `to_document`. Raises KeyError, TypeError, ValueError or JobError for anything else."""
    grids = [_grid(grid) for grid in document["grids"]]
    band_lists = [
        tuple(
            Band(
                str(band["id"]),
                np.dtype(band["dtype"]),
                grids[band["grid"]],
                str(band.get("pyramiding", "MEAN")),
                tuple(map(float, band.get("missing", ()))),
            )
            for band in bands
        )
        for bands in document["bandLists"]
    ]
    prefix = str(document["prefix"])
    ids = document["ids"]
    images = [
        Image(
            name=prefix + name,
            id=ids + name if isinstance(ids, str) else str(ids[index]),
            bands=band_lists[number],
            update_time=str(update_time),
            start_time=str(start_time),
            properties=dict(kept[0]) if kept else {},
        )
        for index, (name, update_time, start_time, number, *kept) in enumerate(document["images"])
    ]
    period = (int(document["start"]), int(document["end"])) if "start" in document else None
    return ImageList(
        tuple(
            (str(label), tuple(images[first : first + count])) for label, first, count in document["slices"]
        ),
        period,
        {str(name): str(value) for name, value in document["facts"].items()},
        tuple(map(str, document["properties"])),
    )


def _band(band: Band, grids: Mapping[PixelGrid, int]) -> dict[str, Any]:
    about: dict[str, Any] = {"id": band.id, "dtype": band.dtype.str, "grid": grids[band.grid]}
    if band.pyramiding != "MEAN":
        about["pyramiding"] = band.pyramiding
    if band.missing:
        # As texts: JSON has no word for NaN and the infinities.
        about["missing"] = [repr(value) for value in band.missing]
    return about


def _grid(document: Mapping[str, Any]) -> PixelGrid:
    size = document["dimensions"]
    crs = Crs(code=document.get("crsCode"), wkt=document.get("crsWkt"))
    return PixelGrid(
        crs, AffineTransform.from_json(document["affineTransform"]), size["width"], size["height"]
    )
