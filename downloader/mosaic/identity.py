"""What a mosaic is: which service, source, grids and bands, frozen at its creation in `.downloader/mosaic.json`.

A rerun means the same, or more (further bands or grids: an extension), or something else (drift, refused with the
differences). How fast, with which credentials and where the store lies is no part of it. The same document stands, as
text, in the attribute `downloader` of the Zarr root, from where it is read when the folder `.downloader` was lost.
"""

from __future__ import annotations

import enum
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from downloader._version import __version__
from downloader.crs import Crs
from downloader.errors import DriftError, JobError, RefusedError
from downloader.grid import AffineTransform, PixelGrid, Window
from downloader.image import Band
from downloader.mosaic.attributes import EARLIER, OURS, STATEMENT, image_attributes
from downloader.mosaic.layout import GroupLayout
from downloader.mosaic.naming import array_names
from downloader.mosaic.settings import MosaicSettings
from downloader.planning import Group, Plan, Tiling

__all__ = ["FORMAT", "MARKER", "Comparison", "Identity"]

FORMAT: Final = 1
"""Version of the mosaic's format; a newer one is refused."""

MARKER: Final = ".downloader/mosaic.json"
"""The file that says a folder is ours."""

_WAYS_OF_UPDATES: Final = (
    "The image changed in the catalogue since its pixels were stored. Keep what is stored with --accept updates"
    " (always: source.on_update: keep), or fetch all of it again with --set source.on_update=refetch. "
)

_KIND: Final = "earthengine-downloader mosaic"
_NAME = re.compile(r"(?!\.|__)[A-Za-z0-9_.-]+")


class Comparison(enum.Enum):
    """What a job is to a mosaic that exists."""

    SAME = "same"
    EXTENSION = "extension"


@dataclass(frozen=True, slots=True)
class Identity:
    """The frozen document."""

    service: str
    """`earth-engine`, or an emulator's data set."""
    source: Mapping[str, str]
    """What is fetched: the asset's name and `updateTime`."""
    layouts: tuple[GroupLayout, ...]
    kept: tuple[str, ...] = ()
    """Earlier `updateTime`s of the image, of which pixels are stored and were accepted as they are."""
    refetching: bool = False
    """Whether pixels of an earlier `updateTime` are being replaced: objects that the ledger does not name hold such."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """What the catalogue said of the image, as it stands in the attributes of the groups."""
    job: str = ""
    """YAML of the job's sections that say what the mosaic is, as written; for a mosaic that lost its job file."""

    @classmethod
    def of(
        cls,
        plan: Plan,
        settings: MosaicSettings,
        service: str,
        known: Identity | None = None,
        job: str = "",
    ) -> Identity:
        """The identity of a plan; `known` is that of the mosaic that exists, whose array names stay."""
        before = {layout.group.name: layout for layout in known.layouts} if known else {}
        layouts = []
        for group in plan.groups:
            old = before.get(group.name)
            given = dict(zip((b.id for b in old.group.bands), old.arrays, strict=True)) if old else {}
            names = array_names((band.id for band in group.bands), given)
            layouts.append(GroupLayout.make(group, names, settings))
        source = {"asset": plan.image.name, "updateTime": plan.image.update_time}
        return cls(service, source, tuple(layouts), attributes=image_attributes(plan), job=job)

    def compare(self, new: Identity, where: str) -> Comparison:
        """What `new` is to this one.

        Raises:
            DriftError: it means something else; the message holds a line for each difference.
        """
        old_facts, new_facts = dict(self._facts()), dict(new._facts())
        lines, extended = [], False
        for name in [*old_facts, *(name for name in new_facts if name not in old_facts)]:
            old, wanted = old_facts.get(name), new_facts.get(name)
            if old is None:
                # Whatever is only in the new one belongs to a band or a group that is not there yet.
                extended = True
            elif wanted is None:
                lines.append(f"  {name}: {old} → not in this job")
            elif old != wanted:
                lines.append(f"  {name}: {old} → {wanted}")
        if lines:
            update = "  source.updateTime:"
            ways = _WAYS_OF_UPDATES if all(line.startswith(update) for line in lines) else ""
            raise DriftError(
                "\n".join(
                    [
                        f"{where} was made by a job that means something else (mosaic → this job):",
                        *lines,
                        f"{ways}Choose another mosaic.path, or replace the mosaic with --overwrite.",
                    ]
                )
            )
        return Comparison.EXTENSION if extended else Comparison.SAME

    def _facts(self) -> Iterator[tuple[str, str]]:
        yield "service", self.service
        for name, value in self.source.items():
            yield f"source.{name}", value or "not stated"
        for layout in self.layouts:
            group = layout.group
            here = f"groups.{group.name or '/'}"
            # The profile belongs to the mosaic; told once for each group it would only repeat itself.
            yield "mosaic.profile", layout.profile
            yield "mosaic.compressor", layout.compressor
            yield f"{here}.crs", group.lattice.crs.code or group.lattice.crs.wkt or ""
            yield f"{here}.transform", str(list(group.lattice.transform.to_gdal()))
            yield f"{here}.size", f"{group.lattice.width}×{group.lattice.height}"
            yield f"{here}.window", str(group.window)
            t = group.tiling
            yield f"{here}.tiles", f"{t.tile} pixels, {t.shard} along a shard's side"
            yield f"{here}.slices", f"{t.slices}, {t.shard_slices} in a shard"
            for band, nodata in zip(group.bands, layout.nodata, strict=True):
                told = "none" if nodata is None else repr(nodata)
                yield f"{here}.bands.{band.id}", f"{band.dtype.name}, nodata {told}"

    def document(self) -> dict[str, Any]:
        """The document, but for what does not make two of them differ: who wrote it and when."""
        document: dict[str, Any] = {
            "kind": _KIND,
            "format": FORMAT,
            "service": self.service,
            "source": dict(self.source),
            "profile": self.layouts[0].profile,
            "compressor": self.layouts[0].compressor,
            "groups": [_group_json(layout) for layout in self.layouts],
        }
        if self.kept:
            document["kept"] = list(self.kept)
        if self.refetching:
            document["refetching"] = True
        if self.job:
            document["job"] = self.job
        return document

    def to_bytes(self) -> bytes:
        """The file `.downloader/mosaic.json`."""
        document = self.document() | {
            "version": __version__,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "attributes": dict(self.attributes),
        }
        return json.dumps(document, indent=1, allow_nan=False).encode()

    def root_attributes(self) -> dict[str, Any]:
        """Attributes of the Zarr root, the statement of identity among them."""
        attributes = dict(self.attributes)
        if self.kept:
            attributes[EARLIER] = list(self.kept)
        attributes[STATEMENT] = json.dumps(self.document(), separators=(",", ":"), allow_nan=False)
        return attributes

    @classmethod
    def from_root(cls, attributes: Mapping[str, Any], where: str) -> Identity | None:
        """From the attributes of a Zarr root; None where they hold no statement of ours.

        Raises:
            RefusedError: of a newer version.
        """
        text = attributes.get(STATEMENT)
        try:
            document = json.loads(text) if isinstance(text, str) else None
        except ValueError:
            return None
        if not isinstance(document, dict) or document.get("kind") != _KIND:
            return None
        facts = {name: value for name, value in attributes.items() if name not in OURS | {"coordinates"}}
        if document.get("source", {}).get("updateTime"):
            facts["update_time"] = document["source"]["updateTime"]
        return cls.from_bytes(json.dumps(document | {"attributes": facts}).encode(), where)

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> Identity:
        """From the document.

        Raises:
            RefusedError: it is not ours, damaged, or of a newer version.
        """
        try:
            document = json.loads(data)
            kind, version = document["kind"], document["format"]
        except (ValueError, KeyError, TypeError) as error:
            raise RefusedError(
                f"{where}: {MARKER} cannot be read ({error}); move the folder away and start anew"
            ) from error
        if kind != _KIND or not isinstance(version, int):
            raise RefusedError(f"{where}: {MARKER} is none of this downloader's; choose another mosaic.path")
        if version > FORMAT:
            raise RefusedError(
                f"{where}: the mosaic is of format {version}, written by version {document.get('version', 'unknown')};"
                f" this is {__version__} and reads up to format {FORMAT}: use the newer one"
            )
        try:
            layouts = tuple(
                _group_layout(group, document["profile"], document["compressor"])
                for group in document["groups"]
            )
            return cls(
                document["service"],
                document["source"],
                layouts,
                tuple(map(str, document.get("kept", ()))),
                document.get("refetching") is True,
                dict(document.get("attributes", {})),
                str(document.get("job", "")),
            )
        except (ValueError, KeyError, TypeError, AttributeError, JobError) as error:
            raise RefusedError(
                f"{where}: {MARKER} is damaged ({error}); move the folder away and start anew"
            ) from error


def _group_json(layout: GroupLayout) -> dict[str, Any]:
    group = layout.group
    t, w = group.tiling, group.window
    return {
        "name": group.name,
        **group.lattice.to_json(),
        "window": [w.column, w.row, w.width, w.height],
        "tile": t.tile,
        "shard": t.shard,
        "slices": t.slices,
        "shardSlices": t.shard_slices,
        "bands": [
            {"id": band.id, "array": array, "dtype": band.dtype.str, "nodata": _number_json(nodata)}
            for band, array, nodata in zip(group.bands, layout.arrays, layout.nodata, strict=True)
        ],
    }


def _group_layout(document: dict[str, Any], profile: Any, compressor: Any) -> GroupLayout:  # noqa: ANN401 - JSON
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
    # These names become paths: what the writer would not have written is not read either.
    for name in (document["name"] or "root", *(member["array"] for member in members)):
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a group or an array")
    if profile not in {"sharded", "plain"} or compressor not in {"lz4", "zstd", "none"}:
        raise ValueError(f"{profile!r} with {compressor!r} is no way to store pixels")
    bands = tuple(Band(member["id"], np.dtype(member["dtype"]), lattice) for member in members)
    return GroupLayout(
        Group(document["name"], lattice, window, bands, tiling, (1, 1)),
        tuple(member["array"] for member in members),
        tuple(None if member["nodata"] is None else float(member["nodata"]) for member in members),
        profile,
        compressor,
    )


def _number_json(value: float | None) -> float | str | None:
    return value if value is None or math.isfinite(value) else str(float(value))
