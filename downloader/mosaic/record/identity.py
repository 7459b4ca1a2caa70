"""What a mosaic is: which service, source, grids and bands, frozen at its creation in `.downloader/mosaic.json`.

A rerun means the same, or more (further bands or grids: an extension), or something else (drift, refused with the
differences). How fast, with which credentials and where the store lies is no part of it. The same document stands, as
text, in the attribute `downloader` of the Zarr root, from where it is read when the folder `.downloader` was lost.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from downloader._version import __version__
from downloader.errors import DriftError, JobError, RefusedError
from downloader.model.time import from_us, rfc3339
from downloader.mosaic.format.axis import AxisArray, AxisProperty, axis_arrays, kind_of
from downloader.mosaic.format.hierarchy import EARLIER, OURS, STATEMENT, image_attributes
from downloader.mosaic.format.layout import GroupLayout, MosaicSettings
from downloader.mosaic.format.naming import array_names
from downloader.mosaic.format.sample_axis import (
    SAMPLE_ARRAYS,
    sample_arrays,
    samples_from_text,
    samples_to_text,
)
from downloader.mosaic.record import identity_json
from downloader.mosaic.record.identity_json import checked_name, group_from_document, group_to_document
from downloader.mosaic.record.paths import MARKER
from downloader.planning import Existing, Group, ImageList, Plan, Slice, slices_of
from downloader.planning.polygon import Shape
from downloader.planning.samples import SampleList, facts_of

__all__ = ["FORMAT", "Comparison", "Identity"]

FORMAT: Final = 1
"""Version of the mosaic's format; a newer one is refused."""

_WAYS_OF_UPDATES: Final = (
    "The image changed in the catalogue since its pixels were stored. Keep what is stored with --accept updates"
    " (always: source.on_update: keep), or fetch all of it again with --set source.on_update=refetch. "
)

_NOT_MEANT: Final = " → not in this job"

_SHOWN: Final = 20
"""Differences that a refusal lists."""

_KIND: Final = "earthengine-downloader mosaic"


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
    """What is fetched: the asset's name and `updateTime`, or what says which images there are."""
    layouts: tuple[GroupLayout, ...]
    kept: tuple[str, ...] = ()
    """Earlier `updateTime`s of the image, of which pixels are stored and were accepted as they are; of a series
    behind the image's id."""
    refetching: bool = False
    """Whether pixels of an earlier `updateTime` are being replaced: objects that the ledger does not name hold such."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """What the catalogue said of the image, as it stands in the attributes of the groups."""
    job: str = ""
    """YAML of the job's sections that say what the mosaic is, as written; for a mosaic that lost its job file."""
    listed: ImageList | None = None
    """The frozen image list of a time series."""
    properties: tuple[AxisProperty, ...] = ()
    """Properties that are kept along the axis; of samples the file's columns."""
    samples: SampleList | None = None
    """The frozen samples; `listed` then holds the images that they are cut from."""

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
        kept = _kept(plan, before.values(), known.properties if known else ())
        layouts = []
        own = {one.array for one in kept} | (SAMPLE_ARRAYS if plan.samples is not None else frozenset())
        for group in plan.groups:
            old = before.get(group.name)
            given = dict(zip((b.id for b in old.group.bands), old.arrays, strict=True)) if old else {}
            names = array_names((band.id for band in group.bands), given, own)
            along = _along(group, plan.listed, plan.samples, plan.slices, kept)
            layouts.append(GroupLayout.make(group, names, settings, along))
        source = {"asset": plan.image.name, "updateTime": plan.image.update_time}
        return cls(
            service,
            source if plan.listed is None else dict(plan.listed.facts),
            tuple(layouts),
            attributes=image_attributes(plan),
            job=job,
            listed=plan.listed,
            properties=kept,
            samples=plan.samples,
        )

    @property
    def existing(self) -> Existing:
        """What a plan for the mosaic has to keep to."""
        groups = [layout.group for layout in self.layouts]
        return Existing(
            {g.name: g.tiling.shard_slices if g.axis == "sample" else g.tiling.shard for g in groups},
            tuple(group.lattice for group in groups),
            self.listed,
            self.samples,
            {band.id: band.dtype for group in groups for band in group.bands if not band.mask_of},
        )

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
                lines.append(f"  {name}: {old}{_NOT_MEANT}")
            elif old != wanted:
                lines.append(f"  {name}: {old} → {wanted}")
        longer, line = _compare_periods(self.listed, new.listed)
        extended |= longer
        lines += [line] if line else []
        if lines:
            updates = (".updateTime: " in line and not line.endswith(_NOT_MEANT) for line in lines)
            ways = _WAYS_OF_UPDATES if all(updates) else ""
            if len(lines) > _SHOWN:
                lines[_SHOWN:] = [f"  … and {len(lines) - _SHOWN:,} more"]
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
        for image in self.listed.images if self.listed else ():
            yield f"image {image.id}.updateTime", image.update_time or "not stated"
        if self.samples is not None:
            yield from facts_of(self.samples).items()
        for one in self.properties:
            yield f"{'source.properties' if self.samples is None else 'points.columns'}.{one.name}", one.kind
        for layout in self.layouts:
            yield from _group_facts(layout)

    def document(self) -> dict[str, Any]:
        """The document, but for what does not make two of them differ: who wrote it and when."""
        document: dict[str, Any] = {
            "kind": _KIND,
            "format": FORMAT,
            "service": self.service,
            "source": dict(self.source),
            "profile": self.layouts[0].profile,
            "compressor": self.layouts[0].compressor,
            "groups": [group_to_document(layout) for layout in self.layouts],
        }
        if self.listed is not None:
            document["images"] = identity_json.to_document(self.listed)
            document["properties"] = [[one.name, one.array, one.kind] for one in self.properties]
        if self.samples is not None:
            document["samples"] = samples_to_text(self.samples)
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
        facts = {name: value for name, value in attributes.items() if name not in OURS}
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
        except (ValueError, KeyError, TypeError, RecursionError) as error:
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
            listed = identity_json.from_document(document["images"]) if "images" in document else None
            kept = tuple(
                AxisProperty(str(name), checked_name(array), kind)
                for name, array, kind in document.get("properties", ())
            )
            samples = samples_from_text(document["samples"]) if "samples" in document else None
            slices = slices_of(listed.named, listed.properties) if listed and samples is None else ()
            found = [
                group_from_document(group, document["profile"], document["compressor"])
                for group in document["groups"]
            ]
            layouts = tuple(
                replace(layout, along=_along(layout.group, listed, samples, slices, kept)) for layout in found
            )
            return cls(
                document["service"],
                document["source"],
                layouts,
                tuple(map(str, document.get("kept", ()))),
                document.get("refetching") is True,
                dict(document.get("attributes", {})),
                str(document.get("job", "")),
                listed,
                kept,
                samples,
            )
        except (ValueError, KeyError, TypeError, AttributeError, JobError) as error:
            raise RefusedError(
                f"{where}: {MARKER} is damaged ({error}); move the folder away and start anew"
            ) from error


def _group_facts(layout: GroupLayout) -> Iterator[tuple[str, str]]:
    """What must stay the same of a group, by its name."""
    group = layout.group
    here = f"groups.{group.name or '/'}"
    # The profile belongs to the mosaic; told once for each group it would only repeat itself.
    yield "mosaic.profile", layout.profile
    yield "mosaic.compressor", layout.compressor
    if group.lattices:
        yield f"{here}.chip", f"{group.window.width} pixels"
        for number, lattice in enumerate(group.lattices, 1):
            if lattice is not None:
                yield (
                    f"{here}.points[{number}]",
                    f"pixels from {lattice.transform.to_gdal()} in {lattice.crs}",
                )
    else:
        yield f"{here}.crs", group.lattice.crs.code or group.lattice.crs.wkt or ""
        yield f"{here}.transform", str(list(group.lattice.transform.to_gdal()))
        yield f"{here}.size", f"{group.lattice.width}×{group.lattice.height}"
        yield f"{here}.window", str(group.window)
    t = group.tiling
    yield f"{here}.tiles", f"{t.tile} pixels, {t.shard} along a shard's side"
    if isinstance(group.region, Shape):
        yield f"{here}.region", f"geometry {group.region.fingerprint}"
    if group.outside:
        yield f"{here}.region.mask", f"{list(group.outside)} outside"
    # More times extend a mosaic; which they are is told image by image.
    yield f"{here}.axis", f"{group.axis or 'none'}, {t.shard_slices} in a shard"
    for band, nodata in zip(group.bands, layout.nodata, strict=True):
        told = f"nodata {'none' if nodata is None else repr(nodata)}"
        if band.mask_of:
            told = f"mask of {', '.join(band.mask_of)}"
        yield f"{here}.bands.{band.id}", f"{band.dtype.name}, {told}"


def _along(
    group: Group,
    listed: ImageList | None,
    samples: SampleList | None,
    slices: Sequence[Slice],
    kept: tuple[AxisProperty, ...],
) -> tuple[AxisArray, ...]:
    """The arrays along a group's leading axis."""
    if listed is None:
        return ()
    return axis_arrays(slices, kept) if samples is None else sample_arrays(group, samples, listed, kept)


def _kept(
    plan: Plan, layouts: Iterable[GroupLayout], known: tuple[AxisProperty, ...]
) -> tuple[AxisProperty, ...]:
    """Properties along the axis: those that the mosaic has, and those that the plan adds."""
    if plan.listed is None:
        return ()
    there = {one.name for one in known}
    columns = {one.name: one.kind for one in plan.samples.columns} if plan.samples is not None else {}
    new = [name for name in (columns or plan.listed.properties) if name not in there]
    # Bands were there first, or come now; a property gives way.
    bands = {array for layout in layouts for array in layout.arrays}
    bands |= {name for group in plan.groups for name in array_names(band.id for band in group.bands).values()}
    bands |= SAMPLE_ARRAYS if plan.samples is not None else frozenset()
    names = array_names(new, taken=bands | {one.array for one in known})
    if plan.samples is not None:
        # A column of another kind than it was stored under is told as a difference.
        known = tuple(
            replace(one, kind=columns.get(one.name, one.kind)) for one in known if one.name in columns
        )
        return (*known, *(AxisProperty(name, names[name], columns[name]) for name in new))
    added = (
        AxisProperty(name, names[name], kind_of(s.properties.get(name) for s in plan.slices)) for name in new
    )
    return (*known, *added)


def _compare_periods(old: ImageList | None, new: ImageList | None) -> tuple[bool, str]:
    """Whether the new period is longer, and the line of a difference where it leaves some of the old one out."""
    if old is None or new is None or old.period is None or new.period is None or old.period == new.period:
        return False, ""
    if old.period[0] < new.period[0] or new.period[1] < old.period[1]:
        return (
            False,
            f"  source.start and end: {_period(old.period)} → {_period(new.period)}, which is not all of it",
        )
    return True, ""


def _period(period: tuple[int, int]) -> str:
    return "…".join(rfc3339(from_us(time_us)) for time_us in period)
