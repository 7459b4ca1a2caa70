"""Making a mosaic's overviews: level by level, shard by shard, each from four of the level below.

Only what is missing or out of date is made (`freshness`), and memory holds a shard of one band for each thread. While a
level is made anew its `coverage` calls missing what is not up to date, so what it calls stored always is what the pixels
below are. A first time nothing is visible until everything is there: the root's metadata is replaced last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from downloader.errors import JobError, RefusedError, StoppedError
from downloader.mosaic.overviews.build import Making, Watch
from downloader.mosaic.overviews.downsample import POLICIES
from downloader.mosaic.overviews.levels import OVERVIEWS, policies_of
from downloader.mosaic.overviews.stale import Record
from downloader.mosaic.record.ledger import LedgerWriter
from downloader.mosaic.record.scan import scan
from downloader.mosaic.status import read_mosaic
from downloader.mosaic.storage.location import MosaicPath, locate, locked
from downloader.mosaic.storage.store import Store

if TYPE_CHECKING:
    from downloader.mosaic.record.identity import Identity
    from downloader.mosaic.record.state import GroupState
    from downloader.mosaic.storage.lock import Lock

__all__ = ["Overviews", "Watch", "build_overviews", "overviews"]


@dataclass(frozen=True, slots=True)
class Overviews:
    """What overviews a mosaic has."""

    path: str
    """The mosaic."""
    levels: Mapping[str, tuple[int, ...]]
    """By group, how many pixels lie along the side of one of each level: 2, 4, 8, …; none where the group is small."""
    policies: Mapping[str, Mapping[str, str]]
    """By group, band id → how its levels are made."""
    shards: int
    """Shards of all levels that hold something."""
    made: int
    """Of these, made or made anew by this call."""
    missing: Mapping[str, int]
    """By group, tiles of the mosaic that are not stored, and so are missing in its overviews too."""

    def to_json(self) -> dict[str, object]:
        """Plain values, for `--json`."""
        return {
            "path": self.path,
            "groups": {
                name: {
                    "levels": list(levels),
                    "policies": dict(self.policies[name]),
                    "missing": self.missing.get(name, 0),
                }
                for name, levels in self.levels.items()
            },
            "shards": self.shards,
            "made": self.made,
        }

    def __str__(self) -> str:
        told = [
            f"{f'{name}: ' if name else ''}1/{levels[0]} … 1/{levels[-1]}"
            for name, levels in self.levels.items()
            if levels
        ]
        if not told:
            return "no overviews: no group is larger than 512 pixels a side"
        holes = sum(self.missing.values())
        lacks = f"; {holes:,} tiles that are not stored are missing in them too" if holes else ""
        return f"overviews {', '.join(told)}: {self.made:,} of {self.shards:,} shards made{lacks}"


def overviews(
    path: MosaicPath, *, policies: Mapping[str, str] | None = None, watch: Watch | None = None
) -> Overviews:
    """Make the overviews of the mosaic at `path`, or what of them is missing or out of date; under its lock.

    `open(level=4)` of a report, or `downloader.mosaic.open_group(path, level=4)`, reads them.

    Args:
        path: the mosaic.
        policies: band id → `mean`, `sample`, `min`, `max`, `mode` or `median`, where it shall not be the band's own;
            kept for the next time.
        watch: told how far the work is.

    Raises:
        RefusedError: there is no mosaic of ours, it cannot be written, or another run writes it (LockedError).
        JobError: it holds samples; there is no such band or policy.
        StoppedError: the disk is full or does not work, or stored pixels are damaged.
    """
    location = locate(path)
    identity = read_mosaic(path)
    store = location.store()
    with locked(location, store) as lock:
        try:
            ledger = LedgerWriter(store, lock.epoch)
            found = scan(store, identity.layouts, ledger, adopt=not identity.refetching)
        except OSError as error:
            raise location.problem(error) from error
        return build_overviews(store, identity, found.states, lock, policies=policies, watch=watch)


def build_overviews(
    store: Store,
    identity: Identity,
    states: Mapping[str, GroupState],
    lock: Lock,
    *,
    policies: Mapping[str, str] | None = None,
    watch: Watch | None = None,
) -> Overviews:
    """`overviews` for who holds the lock, and knows by group what is stored."""
    asked = _checked(identity, policies or {})
    try:
        record = Record.read(store)
        asked = {band: one for band, one in record.policies.items() if one in POLICIES} | asked
        making = Making(store, identity, states, lock, record, asked, watch or (lambda _done, _todo: None))
        shards, made = making.run()
    except OSError as error:
        raise StoppedError(
            f"{store.name}: cannot be read or written ({error.strerror or error}); see to the disk, and make the"
            " overviews again"
        ) from error
    counts = {name: state.counts() for name, state in states.items()}
    policies_now = {}
    for layout in identity.layouts:
        own = policies_of(layout)
        policies_now[layout.group.name] = own | {band: asked[band] for band in own if band in asked}
    return Overviews(
        store.name,
        {name: tuple(level.factor for level in chain) for name, chain in making.chains.items()},
        policies_now,
        shards,
        made,
        {name: one.tiles - one.stored for name, one in counts.items() if one.tiles > one.stored},
    )


def _checked(identity: Identity, policies: Mapping[str, str]) -> dict[str, str]:
    layouts = identity.layouts
    if any(layout.group.axis == "sample" for layout in layouts):
        raise JobError("overviews: the mosaic holds samples, which have none; leave them out")
    if any(layout.group.tiling.tile % 2 for layout in layouts):
        raise JobError("overviews: tiles of an odd number of pixels cannot be halved")
    taken = [layout for layout in layouts if not layout.group.name and OVERVIEWS in layout.arrays]
    if taken:
        raise RefusedError(
            f"overviews: the mosaic has a band whose array is named {OVERVIEWS!r}, in their place"
        )
    bands = {band.id for layout in layouts for band in layout.group.bands}
    for band, policy in policies.items():
        if band not in bands:
            raise JobError(
                f"overviews: the mosaic has no band {band!r}; its bands are {', '.join(sorted(bands))}"
            )
        if policy.upper() not in POLICIES:
            raise JobError(
                f"overviews: {policy!r} is no policy; choose {', '.join(p.lower() for p in POLICIES)}"
            )
    return {band: policy.upper() for band, policy in policies.items()}
