"""Treatment of images that changed since their pixels were stored: refuse, keep or refetch (`source.on_update`).

The catalogue's `updateTime` is the only sign of a change. `keep` records the new time as accepted beside the old.
`refetch` marks the pixels missing in `coverage`, then removes their lines from the ledger, and leaves the old objects
where they are until each is replaced whole: no reader sees a hole that `coverage` calls stored. Of a series only the
slices of the images that changed are touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from downloader.model.image import Image
from downloader.mosaic.record.coverage import write_coverage
from downloader.mosaic.record.identity import Identity
from downloader.mosaic.record.ledger import LedgerEntry, LedgerWriter, Piece
from downloader.mosaic.record.paths import LEDGER
from downloader.mosaic.record.scan import LedgerClaims, scan
from downloader.mosaic.record.state import GroupState
from downloader.mosaic.storage.store import Store
from downloader.text import few

OnUpdate = Literal["refuse", "keep", "refetch"]
"""Treatment of images whose `updateTime` changed since their pixels were stored."""


@dataclass(frozen=True, slots=True)
class UpdatePlan:
    """New identity of a mosaic, and the steps to reach it."""

    identity: Identity
    is_extended: bool
    """Whether it is new, or gets further bands, groups or times."""
    starts_refetching: bool = False
    """Whether the pixels of the images that changed must first be marked missing."""
    slices: frozenset[int] | None = None
    """Of a series, the slices that are fetched again; None for all that is stored."""
    notices: tuple[str, ...] = ()


def plan_update(known: Identity | None, new: Identity, where: str, on_update: OnUpdate) -> UpdatePlan:
    """Plan the update of the mosaic `known` by a job that means `new`.

    Raises:
        DriftError: the job means something else.
    """
    if known is None:
        return UpdatePlan(new, is_extended=True)
    before, now = update_times(known), update_times(new)
    changed = {} if on_update == "refuse" else {k: v for k, v in before.items() if now.get(k, v) != v}
    grown = _grown(known, new)
    same_times = with_times(known, {name: now[name] for name in changed})
    extended = same_times.is_extended_by(new, where)
    identity = replace(
        new,
        attributes=new.attributes if changed or not known.attributes else known.attributes,
        job=new.job if extended or not known.job else known.job,
    )
    kept, notices, slices = known.kept, [], grown or None
    if changed and on_update == "keep":
        kept = _kept(known, changed)
        notices.append(
            f"{_told(known, changed, now)}: what is stored stays, what is missing is fetched as it is now (keep)"
        )
    elif changed:
        shown = {_shown_id(known, name) for name in changed}
        kept = tuple(entry for entry in kept if known.listed and entry.rpartition(" ")[0] not in shown)
        slices = _slices_of(known, changed) | grown if known.listed else None
        them = "it" if len(changed) == 1 else "them"
        notices.append(f"{_told(known, changed, now)}: all of {them} is fetched again (refetch)")
    if grown and new.listed:
        labels = few([new.listed.named[index][0] for index in sorted(grown)])
        notices.append(f"{labels}: has other images than when it was stored; computed again")
    starts = bool(grown or (changed and on_update == "refetch"))
    identity = replace(identity, kept=kept, refetching=known.refetching or starts)
    return UpdatePlan(identity, extended, starts, slices, tuple(notices))


def _slices_of(known: Identity, changed: Mapping[str, str]) -> frozenset[int]:
    """Return the slices of a series or samples that are made of images that changed."""
    if known.listed is None:
        return frozenset()
    stale = {
        one.name
        for one in known.listed.images
        if not changed.keys().isdisjoint(i.name for i in known.listed.inputs([one]))
    }
    of_slices = (
        [[one.image] for one in known.samples.samples]
        if known.samples is not None
        else [[image.name for image in members] for _, members in known.listed.named]
    )
    return frozenset(index for index, names in enumerate(of_slices) if not stale.isdisjoint(names))


def _grown(known: Identity, new: Identity) -> frozenset[int]:
    """Return the slices of which the new list has other images than are stored."""
    if known.listed is None or new.listed is None or known.samples is not None:
        return frozenset()
    pairs = zip(known.listed.named, new.listed.named, strict=False)
    return frozenset(
        index
        for index, ((_, old), (_, now)) in enumerate(pairs)
        if not {one.name for one in new.listed.inputs(now)} <= {one.name for one in known.listed.inputs(old)}
    )


def accepted(identity: Identity, times: Mapping[str, str]) -> Identity:
    """Return the identity after images changed while they were fetched, and the change was accepted.

    Args:
        identity: what it is.
        times: full name of each image that changed → its `updateTime` now.
    """
    before = update_times(identity)
    kept = _kept(identity, {name: before[name] for name in times})
    identity = replace(with_times(identity, times), kept=kept)
    if identity.listed is None:
        time = next(iter(times.values()))
        return replace(identity, attributes={**identity.attributes, "update_time": time})
    return identity


def update_times(identity: Identity) -> dict[str, str]:
    """Return full name → `updateTime` of every image of a mosaic, partners that masks look at among them."""
    if identity.listed is not None:
        return {image.name: image.update_time for image in identity.listed.inputs()}
    return {identity.source.get("asset", ""): identity.source.get("updateTime", "")}


def with_times(identity: Identity, times: Mapping[str, str]) -> Identity:
    """Return the identity with other `updateTime`s of some images."""
    if not times:
        return identity
    if identity.listed is None:
        return replace(identity, source={**identity.source, "updateTime": next(iter(times.values()))})

    def timed(images: tuple[Image, ...]) -> tuple[Image, ...]:
        return tuple(replace(one, update_time=times.get(one.name, one.update_time)) for one in images)

    named = tuple((label, timed(members)) for label, members in identity.listed.named)
    partners = {name: timed(of) for name, of in identity.listed.partners.items()}
    return replace(identity, listed=replace(identity.listed, named=named, partners=partners))


def forget_pixels(store: Store, known: Identity, slices: frozenset[int] | None = None) -> None:
    """Mark pixels as missing: first in `coverage`, then in the ledger. The objects stay. Raises OSError.

    Args:
        store: the mosaic's objects.
        known: what the mosaic is.
        slices: those of a series whose pixels are marked; None for everything.
    """
    if slices is None:
        for layout in known.layouts:
            write_coverage(store, layout, GroupState(layout.group))
        # Whole files of lines rather than further ones: an old line that outlived a damaged newer one would be believed.
        store.delete_folder(LEDGER)
        return
    states = scan(store, known.layouts).states
    lines = []
    for layout in known.layouts:
        group, state = layout.group, states[layout.group.name]
        sizes = LedgerClaims(layout).listed(store)
        for key in group.shards():
            if slices.isdisjoint(group.tiling.slices_of(key.slice, key.row)):
                continue
            index = state.index(key)
            mask = sum(
                group.tiling.slice_mask(s) for s in group.tiling.slices_of(key.slice, key.row) if s in slices
            )
            pieces = {}
            for (name, band), had in zip(state.bands.items(), state.stored(index), strict=True):
                if had & mask:
                    left = 0 if layout.profile == "plain" else had & ~mask
                    # What is left of a shard's object counts on: it is as long as its line says.
                    pieces[name] = (
                        Piece(left, int(sizes[index, band]))
                        if left
                        else Piece.without(had & mask, layout.profile)
                    )
            if pieces:
                lines.append(LedgerEntry(group.name, (key.slice, key.row, key.column), pieces))
                state.update(*lines[-1].applied(state))
        write_coverage(store, layout, state)
    if lines:
        LedgerWriter(store).append(*lines)


def _told(known: Identity, changed: Mapping[str, str], now: Mapping[str, str]) -> str:
    if len(changed) == 1:
        ((name, before),) = changed.items()
        return (
            f"{_shown_id(known, name) or 'the image'} changed since its pixels were stored"
            f" ({_shown(before)} → {_shown(now[name])})"
        )
    names = [_shown_id(known, name) for name in changed]
    return f"{len(names):,} images changed since their pixels were stored ({few(names, 'image', most=3)})"


def _kept(identity: Identity, changed: Mapping[str, str]) -> tuple[str, ...]:
    """Return the accepted earlier `updateTime`s with those of `changed` images; of a series after the image's id."""
    alone = identity.listed is None
    entries = [time if alone else f"{_shown_id(identity, name)} {time}" for name, time in changed.items()]
    return (*(entry for entry in identity.kept if entry not in entries), *entries)


def _shown_id(identity: Identity, name: str) -> str:
    if identity.listed is None:
        return name
    return next((image.id for image in identity.listed.inputs() if image.name == name), name)


def _shown(time: str) -> str:
    return time or "no time stated"
