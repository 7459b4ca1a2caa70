"""An image that changed under a mosaic: refused, kept or fetched again (`source.on_update`).

The catalogue's `updateTime` is the only sign of a change. To keep records the new time as accepted beside the old;
to fetch again forgets what the ledger knew, after `coverage` called it missing, and leaves the old objects where they
are until each is replaced whole: no reader sees a hole that `coverage` calls stored.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from downloader.mosaic.coverage import write_coverage
from downloader.mosaic.identity import Comparison, Identity
from downloader.mosaic.ledger import LEDGER
from downloader.mosaic.state import GroupState
from downloader.mosaic.store import Store

__all__ = ["OnUpdate", "Settled", "accepted", "forget_pixels", "settle"]

OnUpdate = Literal["refuse", "keep", "refetch"]
"""What to do with an image whose `updateTime` is not the one that its pixels were stored under."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What a mosaic is from now on."""

    identity: Identity
    is_extended: bool
    """Whether it is new, or has bands or groups that it had not."""
    starts_refetching: bool = False
    """Whether all that is stored is to be forgotten first."""
    notices: tuple[str, ...] = ()


def settle(known: Identity | None, new: Identity, where: str, on_update: OnUpdate) -> Settled:
    """What the mosaic becomes that is `known` and is opened for a job that means `new`.

    Raises:
        DriftError: the job means something else.
    """
    if known is None:
        return Settled(new, is_extended=True)
    before, now = known.source.get("updateTime", ""), new.source.get("updateTime", "")
    changed = before != now and on_update != "refuse"
    same_time = replace(known, source={**known.source, "updateTime": now}) if changed else known
    extended = same_time.compare(new, where) is Comparison.EXTENSION
    identity = replace(
        new,
        kept=known.kept,
        refetching=known.refetching,
        attributes=new.attributes if changed or not known.attributes else known.attributes,
        job=new.job if extended or not known.job else known.job,
    )
    if not changed:
        return Settled(identity, extended)
    what = f"{new.source.get('asset', 'the image')} changed since its pixels were stored ({_shown(before)} → {_shown(now)})"
    if on_update == "keep":
        notice = f"{what}: what is stored stays, what is missing is fetched as it is now (keep)"
        return Settled(replace(identity, kept=_with(known.kept, before)), extended, notices=(notice,))
    notice = f"{what}: all of it is fetched again (refetch)"
    identity = replace(identity, kept=(), refetching=True)
    return Settled(identity, extended, starts_refetching=True, notices=(notice,))


def accepted(identity: Identity, update_time: str) -> Identity:
    """The same mosaic, whose image changed to `update_time` while it was fetched, and was accepted so."""
    return replace(
        identity,
        source={**identity.source, "updateTime": update_time},
        kept=_with(identity.kept, identity.source.get("updateTime", "")),
        attributes={**identity.attributes, "update_time": update_time},
    )


def forget_pixels(store: Store, known: Identity) -> None:
    """Call everything missing: first to readers, then to ourselves. The objects stay. Raises OSError."""
    for layout in known.layouts:
        write_coverage(store, layout, GroupState(layout.group))
    # Whole files of lines rather than further ones: an old line that outlived a damaged newer one would be believed.
    store.delete_folder(LEDGER)


def _with(kept: tuple[str, ...], time: str) -> tuple[str, ...]:
    return (*(t for t in kept if t != time), time)


def _shown(time: str) -> str:
    return time or "no time stated"
