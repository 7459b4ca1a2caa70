"""The identity of a mosaic as JSON: the document `.downloader/mosaic.json`, and the statement at the Zarr root.

The statement lets a mosaic be recognised that lost its folder `.downloader`. It is the same document as text in the
attribute `downloader`, unless there is an image list, which every reader would have to parse: then it names an object
beside the array `image_id` that holds the document.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from downloader._version import __version__
from downloader.errors import JobError, RefusedError
from downloader.model.crs import Crs
from downloader.model.grid import AffineTransform, PixelGrid, Window
from downloader.model.image import Band, Image
from downloader.mosaic.format.axis import AxisProperty
from downloader.mosaic.format.hierarchy import EARLIER, OURS, STATEMENT
from downloader.mosaic.format.layout import GroupLayout
from downloader.mosaic.format.sample_axis import (
    lattices_from_text,
    lattices_to_text,
    samples_from_text,
    samples_to_text,
)
from downloader.mosaic.record.identity import Identity, arrays_along
from downloader.mosaic.record.paths import MARKER
from downloader.planning import Group, ImageList, Tiling, slices_of
from downloader.planning.polygon import Shape

FORMAT: Final = 2
"""Version of the mosaic's format; another one is refused."""

_KIND: Final = "earthengine-downloader mosaic"
_ID: Final = re.compile(r"[0-9a-f]{32}")
_COPY: Final = re.compile(r"([A-Za-z0-9_.-]+/)?image_id/mosaic-[0-9a-f]{16}\.json")

_NAME: Final = re.compile(r"(?!\.|__)[A-Za-z0-9_.-]+")


def identity_to_document(identity: Identity) -> dict[str, Any]:
    """Return the identity as plain values, but for the attributes and what does not make two of them differ."""
    document: dict[str, Any] = {
        "kind": _KIND,
        "format": FORMAT,
        "id": identity.id,
        "service": identity.service,
        "source": dict(identity.source),
        "profile": identity.layouts[0].profile,
        "compressor": identity.layouts[0].compressor,
        "groups": [group_to_document(layout) for layout in identity.layouts],
    }
    if identity.listed is not None:
        document["images"] = list_to_document(identity.listed)
        document["properties"] = [[one.name, one.array, one.kind] for one in identity.properties]
    if identity.samples is not None:
        document["samples"] = samples_to_text(identity.samples)
    if identity.kept:
        document["kept"] = list(identity.kept)
    if identity.refetching:
        document["refetching"] = True
    if identity.job:
        document["job"] = identity.job
    return document


def identity_to_bytes(identity: Identity) -> bytes:
    """Return the file `.downloader/mosaic.json`."""
    document = identity_to_document(identity) | {
        "version": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "attributes": dict(identity.attributes),
    }
    return json.dumps(document, indent=1, allow_nan=False).encode()


@dataclass(frozen=True, slots=True)
class Statement:
    """What the Zarr root says of the mosaic's identity."""

    attributes: Mapping[str, Any]
    """Attributes of the root, the statement among them."""
    copy: tuple[str, bytes] | None
    """(key, content) of the object that holds the document where the statement names one."""


def statement_of(identity: Identity) -> Statement:
    """Return the attributes of the Zarr root, and the object that they name."""
    attributes = dict(identity.attributes)
    if identity.kept:
        attributes[EARLIER] = list(identity.kept)
    document = identity_to_document(identity)
    copy = None
    if identity.listed is not None:
        data = _text(document).encode()
        key = f"{identity.layouts[0].prefix}image_id/mosaic-{hashlib.sha256(data).hexdigest()[:16]}.json"
        copy = (key, data)
        document = {"kind": _KIND, "format": FORMAT, "id": identity.id, "document": key}
    attributes[STATEMENT] = _text(document)
    return Statement(attributes, copy)


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":"), allow_nan=False)


def identity_from_root(
    attributes: Mapping[str, Any], where: str, read: Callable[[str], bytes | None]
) -> Identity | None:
    """Return the identity that the attributes of a Zarr root state; None where they hold no statement of ours.

    Args:
        attributes: of the root.
        where: path or URL of the mosaic, for messages.
        read: key → content of an object of the mosaic; None for one that does not exist.

    Raises:
        RefusedError: it is of another version of the format, or damaged.
    """
    document = _parsed(attributes.get(STATEMENT))
    key = None if document is None else document.get("document")
    if isinstance(key, str):
        data = read(key) if _COPY.fullmatch(key) else None
        if data is None or f"-{hashlib.sha256(data).hexdigest()[:16]}.json" not in key:
            raise RefusedError(
                f"{where}: {MARKER} is missing, and so is {key}, which holds the image list; restore one of them, or move"
                " the folder away and start again"
            )
        document = _parsed(data)
    if document is None:
        return None
    facts = {name: value for name, value in attributes.items() if name not in OURS}
    source = document.get("source")
    if isinstance(source, dict) and source.get("updateTime"):
        facts["update_time"] = source["updateTime"]
    return identity_from_bytes(json.dumps(document | {"attributes": facts}).encode(), where)


def _parsed(text: object) -> dict[str, Any] | None:
    """Return a statement; None for whatever is none of ours."""
    try:
        document = json.loads(text) if isinstance(text, str | bytes) else None
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) and document.get("kind") == _KIND else None


def identity_from_bytes(data: bytes, where: str) -> Identity:
    """Return the identity of a document.

    Args:
        data: the document.
        where: path or URL of the mosaic, for messages.

    Raises:
        RefusedError: it is not ours, damaged, or of another version of the format.
    """
    try:
        document = json.loads(data)
        kind, version = document["kind"], document["format"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RefusedError(
            f"{where}: {MARKER} cannot be read ({error}); move the folder away and start again"
        ) from error
    if kind != _KIND or not isinstance(version, int):
        raise RefusedError(f"{where}: {MARKER} was not made by this downloader; choose another mosaic.path")
    if version != FORMAT:
        raise RefusedError(
            f"{where}: the mosaic is of format {version}, written by version {document.get('version', 'unknown')};"
            f" this is {__version__} and reads format {FORMAT}: use the one that wrote it, or choose another"
            " mosaic.path and fetch it again"
        )
    try:
        if not _ID.fullmatch(document["id"]):
            raise ValueError("its id is damaged")
        listed = list_from_document(document["images"]) if "images" in document else None
        kept = tuple(
            AxisProperty(str(name), checked_name(array), kind)
            for name, array, kind in document.get("properties", ())
        )
        samples = samples_from_text(document["samples"]) if "samples" in document else None
        slices = slices_of(listed.named, listed.properties) if listed and samples is None else ()
        found = [
            group_from_document(group, document["profile"], document["compressor"], document["id"])
            for group in document["groups"]
        ]
        layouts = tuple(
            replace(layout, along=arrays_along(layout.group, listed, samples, slices, kept))
            for layout in found
        )
        return Identity(
            document["service"],
            document["source"],
            layouts,
            document["id"],
            tuple(map(str, document.get("kept", ()))),
            document.get("refetching") is True,
            dict(document.get("attributes", {})),
            str(document.get("job", "")),
            listed,
            kept,
            samples,
        )
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, JobError) as error:
        raise RefusedError(
            f"{where}: {MARKER} is damaged ({error}); move the folder away and start again"
        ) from error


def checked_name(name: Any) -> str:  # noqa: ANN401 - JSON
    """Return a name that becomes a path. Raises ValueError for one that the writer would not have written."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a group or an array")
    return name


def group_to_document(layout: GroupLayout) -> dict[str, Any]:
    """Return a group as plain values."""
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
        holes["region"] = {"wkb": wkb, "all_touched": group.region.all_touched}
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
        "shard_slices": t.shard_slices,
        **({"axis": group.axis} if group.axis else {}),
        **holes,
        "bands": [
            {"id": band.id, "array": array, "dtype": band.dtype.str, "nodata": _number_json(nodata)}
            | ({"mask_of": list(band.mask_of)} if band.mask_of else {})
            | ({"pyramiding": band.pyramiding} if band.pyramiding != "MEAN" else {})
            for band, array, nodata in zip(group.bands, layout.arrays, layout.nodata, strict=True)
        ],
    }


def group_from_document(document: dict[str, Any], profile: Any, compressor: Any, mosaic: str) -> GroupLayout:  # noqa: ANN401 - JSON
    """Return the group of `group_to_document`. Raises KeyError, TypeError, ValueError or JobError for anything else."""
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
        document["shard_slices"],
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
            mask_of=tuple(map(str, member.get("mask_of", ()))),
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
        mosaic=mosaic,
        origin=group.name,
    )


def _region(document: Any) -> Shape | None:  # noqa: ANN401 - JSON
    if document is None:
        return None
    return Shape(zlib.decompress(base64.b64decode(document["wkb"])), document["all_touched"] is True)


def _number_json(value: float | None) -> float | str | None:
    return value if value is None or math.isfinite(value) else str(float(value))


def list_to_document(listed: ImageList) -> dict[str, Any]:
    """Return the list as plain values."""
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
        "band_lists": [[_band(band, grids) for band in bands] for bands in band_lists],
        "prefix": prefix,
        # What stands before the same rest in their ids; all of them where that differs.
        "ids": ids.pop() if alike and len(ids) == 1 else [image.id for image in images],
        "images": rows,
        "slices": slices,
    }


def list_from_document(document: Mapping[str, Any]) -> ImageList:
    """Return the list of `list_to_document`. Raises KeyError, TypeError, ValueError or JobError for anything else."""
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
        for bands in document["band_lists"]
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
