"""The identity of a mosaic: which service, source, grids and bands, fixed when it is created.

A rerun means the same, or more (further bands, grids or times: an extension), or something else, which is refused with
the differences. Speed, credentials and the place of the store are no part of it. `identity_json` writes and reads it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from downloader.errors import DriftError
from downloader.model.time import from_us, rfc3339
from downloader.mosaic.format.axis import AxisArray, AxisProperty, axis_arrays, kind_of
from downloader.mosaic.format.hierarchy import image_attributes
from downloader.mosaic.format.layout import GroupLayout, MosaicSettings
from downloader.mosaic.format.naming import array_names
from downloader.mosaic.format.sample_axis import SAMPLE_ARRAYS, sample_arrays
from downloader.planning import Existing, Group, ImageList, Plan, Slice
from downloader.planning.polygon import Shape
from downloader.planning.samples import SampleList, facts_of
from downloader.text import first_lines

_WAYS_OF_UPDATES: Final = (
    "The image changed in the catalogue since its pixels were stored. Keep what is stored with --accept updates"
    " (always: source.on_update: keep), or fetch all of it again with --set source.on_update=refetch. "
)

_FILLED: Final = "masked pixels NaN"

_NO_LATER_MASKS: Final = "Its images came in stacks, of which masked pixels are NaN: mosaic.mask is not added later; leave it out. "

_NOT_MEANT: Final = " → not in this job"

_SHOWN: Final = 20
"""Differences that a refusal lists."""

_CHOICE: Final = frozenset(
    {"source.filter", "source.months", "source.min_cover", "source.min_clear", "source.pick"}
)
"""Conditions on images: one that a mosaic was made without is a difference, not an extension."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Identity of a mosaic, fixed when it is created."""

    service: str
    """`earth-engine`, or an emulator's data set."""
    source: Mapping[str, str]
    """What is fetched: the asset's name and `updateTime`, or the keys that determine the image list."""
    layouts: tuple[GroupLayout, ...]
    id: str
    """32 hexadecimal digits drawn at the creation; they stand in every shard's header."""
    kept: tuple[str, ...] = ()
    """Earlier `updateTime`s of the image whose pixels are stored and were accepted; of a series after the image's id."""
    refetching: bool = False
    """Whether pixels of an earlier `updateTime` are being replaced, so that objects unknown to the ledger are not used."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Attributes of the groups: what the catalogue said of the image."""
    job: str = ""
    """YAML of the job's sections that determine the mosaic; read where the job file was lost."""
    listed: ImageList | None = None
    """The fixed image list of a time series."""
    properties: tuple[AxisProperty, ...] = ()
    """Properties stored along the axis; of samples the file's columns."""
    samples: SampleList | None = None
    """The fixed samples; `listed` then holds the images that they are cut from."""

    @classmethod
    def of(
        cls, plan: Plan, settings: MosaicSettings, service: str, known: Identity | None = None, job: str = ""
    ) -> Identity:
        """Return the identity of a plan.

        Args:
            plan: what is fetched.
            settings: how pixels are stored.
            service: whose pixels they are.
            known: identity of the mosaic that exists; its id and its arrays' names stay.
            job: YAML of the job's sections that determine the mosaic.
        """
        id_ = known.id if known else secrets.token_hex(16)
        before = {layout.group.name: layout for layout in known.layouts} if known else {}
        kept = _properties(plan, before.values(), known.properties if known else ())
        layouts = []
        own = {one.array for one in kept} | (SAMPLE_ARRAYS if plan.samples is not None else frozenset())
        for group in plan.groups:
            old = before.get(group.name)
            given = dict(zip((b.id for b in old.group.bands), old.arrays, strict=True)) if old else {}
            names = array_names((band.id for band in group.bands), given, own)
            along = arrays_along(group, plan.listed, plan.samples, plan.slices, kept)
            layouts.append(GroupLayout.make(group, names, settings, along, id_))
        source = {"asset": plan.image.name, "updateTime": plan.image.update_time, **plan.facts}
        return cls(
            service,
            source if plan.listed is None else dict(plan.listed.facts),
            tuple(layouts),
            id_,
            attributes=image_attributes(plan),
            job=job,
            listed=plan.listed,
            properties=kept,
            samples=plan.samples,
        )

    @property
    def existing(self) -> Existing:
        """Facts that a plan for the mosaic must keep."""
        groups = [layout.group for layout in self.layouts]
        return Existing(
            {group.name: group.tiling for group in groups},
            tuple(group.lattice for group in groups),
            self.listed,
            self.samples,
            {band.id: band.dtype for group in groups for band in group.bands if not band.mask_of},
            frozenset(group.name for group in groups if group.stack),
        )

    def is_extended_by(self, new: Identity, where: str) -> bool:
        """Return whether `new` has further bands, groups or times.

        Raises:
            DriftError: `new` means something else; the message has a line for each difference.
        """
        old_facts, new_facts = dict(self._facts()), dict(new._facts())
        lines, extended = [], False
        for name in [*old_facts, *(name for name in new_facts if name not in old_facts)]:
            old, wanted = old_facts.get(name), new_facts.get(name)
            if old is None and name in _CHOICE:
                lines.append(f"{name}: none → {wanted}")
            elif old is None:
                # Whatever is only in the new one belongs to a band or a group that is not there yet.
                extended = True
            elif wanted is None:
                lines.append(f"{name}: {old}{_NOT_MEANT}")
            elif old != wanted:
                lines.append(f"{name}: {old} → {wanted}")
        old_period = self.listed.period if self.listed else None
        period = new.listed.period if new.listed else None
        if old_period and period and old_period != period:
            if old_period[0] < period[0] or period[1] < old_period[1]:
                told = f"{_period(old_period)} → {_period(period)}"
                lines.append(f"source.start and end: {told}, which is not all of it")
            extended = True
        if lines:
            updates = (".updateTime: " in line and not line.endswith(_NOT_MEANT) for line in lines)
            ways = _WAYS_OF_UPDATES if all(updates) else ""
            was_filled = any(_FILLED in line.partition(" → ")[0] for line in lines)
            if was_filled and new._has_masks and not self._has_masks:
                ways = _NO_LATER_MASKS
            shown = [
                f"{where} was made by a job that means something else (mosaic → this job):",
                *first_lines(lines, _SHOWN),
            ]
            raise DriftError(
                "\n  ".join(shown)
                + f"\n{ways}Choose another mosaic.path, or replace the mosaic with --overwrite."
            )
        return extended

    @property
    def _has_masks(self) -> bool:
        return any(band.mask_of for layout in self.layouts for band in layout.group.bands)

    def _facts(self) -> Iterator[tuple[str, str]]:
        yield "service", self.service
        for name, value in self.source.items():
            yield f"source.{name}", value or "not stated"
        for image in self.listed.inputs() if self.listed else ():
            yield f"image {image.id}.updateTime", image.update_time or "not stated"
        if self.samples is not None:
            yield from facts_of(self.samples).items()
        for one in self.properties:
            yield f"{'source.properties' if self.samples is None else 'points.columns'}.{one.name}", one.kind
        for layout in self.layouts:
            yield from _group_facts(layout)


def _group_facts(layout: GroupLayout) -> Iterator[tuple[str, str]]:
    """Yield (name, value) of the facts of a group that must not change."""
    group = layout.group
    here = f" of group {group.name}" if group.name else ""
    # The profile belongs to the mosaic: the same name for each group makes it one fact.
    yield "mosaic.profile", layout.profile
    yield "mosaic.compressor", layout.compressor
    if group.lattices:
        samples = "fields" if group.shapes else "points"
        yield f"region.{samples}.chip{here}", f"{group.window.width} pixels"
        steps = group.tiling.steps or 1
        for first in range(0, len(group.lattices), steps):
            # All steps of a point lie on one grid.
            lattice = next((one for one in group.lattices[first : first + steps] if one is not None), None)
            if lattice is not None:
                number = first // steps
                shape = group.shapes[number] if group.shapes else None
                polygon = f", polygon {shape.fingerprint}" if isinstance(shape, Shape) else ""
                yield (
                    f"{'field' if group.shapes else 'point'} {number + 1}{here}",
                    f"pixels from {lattice.transform.to_gdal()} in {lattice.crs}{polygon}",
                )
    else:
        yield f"grid.crs{here}", group.lattice.crs.code or group.lattice.crs.wkt or ""
        yield f"grid.transform{here}", str([float(number) for number in group.lattice.transform.to_gdal()])
        yield f"image size{here}", f"{group.lattice.width}×{group.lattice.height}"
        yield f"region.window{here}", str(group.window)
    t = group.tiling
    yield f"tiles{here}", f"{t.tile} pixels, {t.shard} along a shard's side"
    if isinstance(group.region, Shape):
        yield f"region.geometry{here}", f"geometry {group.region.fingerprint}"
    if group.outside:
        yield f"region.mask{here}", f"{list(group.outside)} outside"
    # More times extend a mosaic; they are compared image by image.
    deep = f", {t.depth} in a chunk" if t.depth > 1 else ""
    yield f"leading axis{here}", f"{group.axis or 'none'}, {t.shard_slices} in a shard{deep}"
    for band, nodata in zip(group.bands, layout.nodata, strict=True):
        told = f"nodata {'none' if nodata is None else repr(nodata)}"
        if band.is_filled:
            told = _FILLED if nodata is None or nodata != nodata else f"{_FILLED}, {told}"
        if band.mask_of:
            told = f"mask of {', '.join(band.mask_of)}"
        if band.resampling != "nearest":
            told += f", {band.resampling}"
        yield f"source.bands: {band.id}{here}", f"{band.dtype.name}, {told}"


def arrays_along(
    group: Group,
    listed: ImageList | None,
    samples: SampleList | None,
    slices: Sequence[Slice],
    kept: tuple[AxisProperty, ...],
) -> tuple[AxisArray, ...]:
    """Return the arrays along a group's leading axis; none where it has no such axis."""
    if listed is None or not group.axis:
        return ()
    return axis_arrays(slices, kept) if samples is None else sample_arrays(group, samples, listed, kept)


def _properties(
    plan: Plan, layouts: Iterable[GroupLayout], known: tuple[AxisProperty, ...]
) -> tuple[AxisProperty, ...]:
    """Return the properties along the axis: those that the mosaic has, then those that the plan adds."""
    if plan.listed is None:
        return ()
    columns = None if plan.samples is None else {one.name: one.kind for one in plan.samples.columns}
    there = {one.name for one in known}
    new = [name for name in (plan.listed.properties if columns is None else columns) if name not in there]
    # Bands were there first, or come now; a property gives way.
    bands = {array for layout in layouts for array in layout.arrays}
    bands |= {name for group in plan.groups for name in array_names(band.id for band in group.bands).values()}
    bands |= frozenset() if columns is None else SAMPLE_ARRAYS
    names = array_names(new, taken=bands | {one.array for one in known})
    if columns is None:
        kinds = {name: kind_of(one.properties.get(name) for one in plan.slices) for name in new}
    else:
        kinds = columns
        # A column of another kind than it was stored under is told as a difference.
        known = tuple(replace(one, kind=kinds[one.name]) for one in known if one.name in kinds)
    return (*known, *(AxisProperty(name, names[name], kinds[name]) for name in new))


def _period(period: tuple[int, int]) -> str:
    return "…".join(rfc3339(from_us(time_us)) for time_us in period)
