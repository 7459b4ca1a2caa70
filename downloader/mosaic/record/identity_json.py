"""A group as JSON: its lattice, its part of it, how it is cut, its bands, and what is not wanted of it."""

from __future__ import annotations

import base64
import math
import re
import zlib
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from downloader.model.crs import Crs
from downloader.model.grid import AffineTransform, PixelGrid, Window
from downloader.model.image import Band, Image
from downloader.mosaic.format.layout import GroupLayout
from downloader.mosaic.format.sample_axis import lattices_from_text, lattices_to_text
from downloader.planning import Group, ImageList, Tiling
from downloader.planning.polygon import Shape

__all__ = ["checked_name", "from_document", "group_from_document", "group_to_document", "to_document"]

_NAME: Final = re.compile(r"(?!\.|__)[A-Za-z0-9_.-]+")


def checked_name(name: Any) -> str:  # noqa: ANN401 - JSON
    """A name that becomes a path: what the writer would not have written is not read either. Raises ValueError."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a group or an array")
    return name


def group_to_document(layout: GroupLayout) -> dict[str, Any]:
    """A group as plain values."""
    group = layout.group
    t, w = group.tiling, group.window
    windows = {extent: number for number, extent in enumerate(dict.fromkeys(group.extents))}
    absent = {
        band.id: lacking
        for index, band in enumerate(group.bands)
        if (lacking := [k for k, bands in enumerate(group.absent) if index in bands])
    }
    holes: dict[str, Any] = {}
    if group.extents:
        # Windows stand once: images of one kind cover the same.
        shown = [None if e is None else [e.column, e.row, e.width, e.height] for e in windows]
        holes["extents"] = [shown, [windows[extent] for extent in group.extents]]
    if absent:
        holes["absent"] = absent
    if isinstance(group.region, Shape):
        wkb = base64.b64encode(zlib.compress(group.region.wkb, 9)).decode()
        holes["region"] = {"wkb": wkb, "allTouched": group.region.all_touched}
    if group.lattices:
        holes["lattices"] = lattices_to_text(group.lattices)
    if group.outside:
        holes["outside"] = [_number_json(value) for value in group.outside]
    return {
        "name": group.name,
        **group.lattice.to_json(),
        "window": [w.column, w.row, w.width, w.height],
        "tile": t.tile,
        "shard": t.shard,
        "slices": t.slices,
        "shardSlices": t.shard_slices,
        **({"axis": group.axis} if group.axis else {}),
        **holes,
        "bands": [
            {"id": band.id, "array": array, "dtype": band.dtype.str, "nodata": _number_json(nodata)}
            | ({"maskOf": list(band.mask_of)} if band.mask_of else {})
            | ({"pyramiding": band.pyramiding} if band.pyramiding != "MEAN" else {})
            for band, array, nodata in zip(group.bands, layout.arrays, layout.nodata, strict=True)
        ],
    }


def group_from_document(document: dict[str, Any], profile: Any, compressor: Any) -> GroupLayout:  # noqa: ANN401 - JSON
    """The group of `group_to_document`. Raises KeyError, TypeError, ValueError or JobError for anything else."""
    size = document["dimensions"]
    lattice = PixelGrid(
        Crs(code=document.get("crsCode"), wkt=document.get("crsWkt")),
        AffineTransform.from_json(document["affineTransform"]),
        size["width"],
        size["height"],
    )
    window = Window(*document["window"])
    tiling = Tiling(
        window.width,
        window.height,
        document["slices"],
        document["tile"],
        document["shard"],
        document["shardSlices"],
    )
    members = document["bands"]
    for name in (document["name"] or "root", *(member["array"] for member in members)):
        checked_name(name)
    if profile not in {"sharded", "plain"} or compressor not in {"lz4", "zstd", "none"}:
        raise ValueError(f"{profile!r} with {compressor!r} is no way to store pixels")
    bands = tuple(
        Band(
            member["id"],
            np.dtype(member["dtype"]),
            lattice,
            pyramiding=str(member.get("pyramiding", "MEAN")),
            mask_of=tuple(map(str, member.get("maskOf", ()))),
        )
        for member in members
    )
    windows, numbers = document.get("extents", ((), ()))
    extents = [None if e is None else Window(*e) for e in windows]
    lacking = {name: frozenset(numbers) for name, numbers in document.get("absent", {}).items()}
    absent = [
        frozenset(k for k, band in enumerate(bands) if index in lacking.get(band.id, ()))
        for index in range(tiling.slices if lacking else 0)
    ]
    group = Group(
        document["name"],
        lattice,
        window,
        bands,
        tiling,
        (1, 1),
        region=_region(document.get("region")),
        outside=tuple(float(value) for value in document.get("outside", ())),
        extents=tuple(extents[number] for number in numbers),
        lattices=lattices_from_text(document["lattices"], window) if "lattices" in document else (),
        axis=document.get("axis", ""),
        absent=tuple(absent),
    )
    return GroupLayout(
        group,
        tuple(member["array"] for member in members),
        tuple(None if member["nodata"] is None else float(member["nodata"]) for member in members),
        profile,
        compressor,
    )


def _region(document: Any) -> Shape | None:  # noqa: ANN401 - JSON
    if document is None:
        return None
    return Shape(zlib.decompress(base64.b64decode(document["wkb"])), document["allTouched"] is True)


def _number_json(value: float | None) -> float | str | None:
    return value if value is None or math.isfinite(value) else str(float(value))


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
