"""The identity of a mosaic as JSON: the document `.downloader/mosaic.json`, and its copy.

The copy lets a mosaic be recognised that lost its folder `.downloader`: it lies beside the chunks of the first band, its name has
a digest of its content, and the attribute `downloader` of the Zarr root names it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeGuard

from downloader._version import __version__
from downloader.errors import JobError, RefusedError
from downloader.model.crs import Crs
from downloader.mosaic.format.axis import AxisProperty
from downloader.mosaic.format.hierarchy import EARLIER, STATEMENT
from downloader.mosaic.format.layout import GroupLayout
from downloader.mosaic.format.naming import is_safe
from downloader.mosaic.record.identity import Identity, arrays_along
from downloader.mosaic.record.packed import pack, unpack
from downloader.mosaic.record.paths import MARKER
from downloader.planning import ImageList, slices_of
from downloader.planning.polygon import Shape
from downloader.planning.samples import Column, Point, Sample, SampleList

FORMAT: Final = 6
"""Version of the mosaic's format; another one is refused."""

_KIND: Final = "earthengine-downloader mosaic"
_ID: Final = re.compile(r"[0-9a-f]{32}")
_COPY: Final = re.compile(r"mosaic-[0-9a-f]{16}\.json")


@dataclass(frozen=True, slots=True)
class _NumberedSamples:
    """A list of samples with numbers in place of images' names."""

    crs: Crs
    columns: tuple[Column, ...]
    points: tuple[Point, ...]
    images: tuple[int, ...]
    """By sample, or step of one, the number of its image in the image list; -1 where it has none."""
    problems: Mapping[str, str]
    """Number of a sample, or step → reason why it has no pixels."""
    steps: int
    window: str

    @classmethod
    def of(cls, samples: SampleList, listed: ImageList | None) -> _NumberedSamples:
        numbers = {image.name: number for number, image in enumerate(listed.images if listed else ())}
        return cls(
            samples.crs,
            samples.columns,
            tuple(one.point for one in samples.firsts),
            tuple(numbers.get(one.image, -1) for one in samples.samples),
            {str(number): one.problem for number, one in enumerate(samples.samples) if one.problem},
            samples.steps,
            samples.window,
        )

    def samples(self, listed: ImageList | None) -> SampleList:
        names = [image.name for image in listed.images] if listed else []
        found = tuple(
            Sample(
                self.points[number // (self.steps or 1)],
                "" if image < 0 else names[image],
                self.problems.get(str(number), ""),
            )
            for number, image in enumerate(self.images)
        )
        return SampleList(self.crs, self.columns, found, self.steps, self.window)


@dataclass(frozen=True, slots=True)
class _Content:
    """Stored form of a mosaic's groups, images and samples."""

    layouts: tuple[GroupLayout, ...]
    listed: ImageList | None
    properties: tuple[AxisProperty, ...]
    samples: _NumberedSamples | None


def identity_to_bytes(identity: Identity) -> bytes:
    """Return the file `.downloader/mosaic.json`; the same identity gives the same bytes."""
    listed = None if identity.listed is None else stored_list(identity.listed)
    layouts = tuple(_stored_layout(layout) for layout in identity.layouts)
    samples = None if identity.samples is None else _NumberedSamples.of(identity.samples, listed)
    document = {
        "kind": _KIND,
        "format": FORMAT,
        "id": identity.id,
        "service": identity.service,
        "source": dict(identity.source),
        "kept": list(identity.kept),
        "refetching": identity.refetching,
        "job": identity.job,
        "attributes": dict(identity.attributes),
        "content": pack(_Content(layouts, listed, identity.properties, samples)),
    }
    return json.dumps(document).encode()


def statement_of(identity: Identity) -> tuple[dict[str, Any], tuple[str, bytes]]:
    """Return the attributes of the Zarr root, and (key, content) of the copy that they name."""
    data, layout = identity_to_bytes(identity), identity.layouts[0]
    key = f"{layout.prefix}{layout.arrays[0]}/mosaic-{_digest(data)}.json"
    earlier = {EARLIER: list(identity.kept)} if identity.kept else {}
    return {**identity.attributes, **earlier, STATEMENT: key}, (key, data)


def is_copy(key: object) -> TypeGuard[str]:
    """Return whether an attribute `downloader`, which may be anything where it is foreign, is the key of a copy."""
    if not isinstance(key, str):
        return False
    *folders, name = key.split("/")
    return all(map(is_safe, folders)) and _COPY.fullmatch(name) is not None


def read_copy(key: str, read: Callable[[str], bytes | None]) -> bytes:
    """Return a copy's content.

    Raises:
        RefusedError: it is missing or damaged.
    """
    data = read(key)
    if data is None or not key.endswith(f"-{_digest(data)}.json"):
        raise RefusedError(
            f"{MARKER} is missing, and so is {key}, its copy; restore one of them, or move the folder away and start again"
        )
    return data


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _stored_layout(layout: GroupLayout) -> GroupLayout:
    """Return a layout without facts that follow from the rest of the identity or from the job."""
    group = layout.group
    bands = tuple(replace(band, grid=group.lattice, missing=(), is_bounded=True) for band in group.bands)
    region = group.region if isinstance(group.region, Shape) else None
    stored = replace(group, bands=bands, region=region, shape=(1, 1), is_computed=False, parts=())
    return replace(layout, group=stored, along=())


def stored_list(listed: ImageList) -> ImageList:
    """Return a list of images without the properties and facts that a mosaic does not store."""
    named = tuple(
        (
            label,
            tuple(
                replace(
                    image,
                    end_time="",
                    properties={
                        name: image.properties[name] for name in listed.properties if name in image.properties
                    },
                    footprint=None,
                    longitude=None,
                )
                for image in members
            ),
        )
        for label, members in listed.named
    )
    return replace(listed, named=named)


def identity_from_document(document: Mapping[str, Any]) -> Identity:
    """Return the identity of a document.

    Raises:
        RefusedError: it is not ours, damaged, or of another version of the format.
    """
    version = document.get("format")
    if document.get("kind") != _KIND or not isinstance(version, int):
        raise RefusedError(f"{MARKER} was not made by this downloader; choose another mosaic.path")
    if version != FORMAT:
        raise RefusedError(
            f"the mosaic is of format {version}; this is version {__version__} and reads format {FORMAT}: use the one that"
            " wrote it, or choose another mosaic.path and fetch it again"
        )
    try:
        if not _ID.fullmatch(document["id"]):
            raise ValueError("its id is damaged")
        content = unpack(_Content, document["content"])
        listed, properties = content.listed, content.properties
        samples = None if content.samples is None else content.samples.samples(listed)
        slices = (
            ()
            if listed is None or samples is not None
            else slices_of(listed.named, listed.properties, listed.every)
        )
        for name in (one.array for one in properties):
            _check_name(name)
        layouts = []
        for layout in content.layouts:
            _check_layout(layout, document["id"])
            along = arrays_along(layout.group, listed, samples, slices, properties)
            layouts.append(replace(layout, along=along))
        return Identity(
            document["service"],
            document["source"],
            tuple(layouts),
            document["id"],
            tuple(map(str, document["kept"])),
            document["refetching"] is True,
            dict(document["attributes"]),
            str(document["job"]),
            listed,
            properties,
            samples,
        )
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, JobError) as error:
        raise RefusedError(f"{MARKER} is damaged ({error}); move the folder away and start again") from error


def _check_layout(layout: GroupLayout, mosaic: str) -> None:
    """Raise ValueError for a layout that the writer would not have written."""
    group = layout.group
    for name in (group.name or "root", *layout.arrays):
        _check_name(name)
    if not len(group.bands) == len(layout.arrays) == len(layout.nodata):
        raise ValueError("a group's bands, arrays and nodata values are not as many")
    if len(layout.described) not in {0, len(group.bands)}:
        raise ValueError("a group's bands and their descriptions are not as many")
    if (group.tiling.width, group.tiling.height) != (group.window.width, group.window.height):
        raise ValueError("a group's tiling is not that of its window")
    if any(
        len(by_slice) not in {0, group.tiling.slices}
        for by_slice in (group.extents, group.lattices, group.absent)
    ):
        raise ValueError("a group's slices are not as many as its tiling has")
    if len(group.shapes) not in {0, group.tiling.slices // (group.tiling.steps or 1)}:
        raise ValueError("a group's fields are not as many as its samples")
    if (layout.mosaic, layout.level, layout.origin) != (mosaic, 1, group.name):
        raise ValueError("a group is not one of this mosaic")


def _check_name(name: str) -> None:
    """Raise ValueError for a name of a group or an array, which becomes a path, that the writer would not have written."""
    if not is_safe(name):
        raise ValueError(f"{name!r} is no name of a group or an array")
