"""Make a mosaic's overviews: level by level, shard by shard, each from four of the level below.

Only what is missing or stale is made (`stale`), and memory holds a shard of one band for each thread. While a level is
made anew its `coverage` calls stale tiles missing, so what it calls stored always is what the pixels below are. The first
time nothing is visible until everything is there: the root's metadata is replaced last.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from downloader.arguments import shown
from downloader.errors import JobError, RefusedError, StoppedError
from downloader.mosaic.overviews.build import OverviewBuilder, Watch
from downloader.mosaic.overviews.downsample import POLICIES
from downloader.mosaic.overviews.levels import OVERVIEWS, policies_of
from downloader.mosaic.record.ledger import LedgerWriter
from downloader.mosaic.record.paths import OVERVIEWS_RECORD
from downloader.mosaic.record.scan import scan
from downloader.mosaic.status import read_mosaic
from downloader.mosaic.storage.location import MosaicPath, locate, locked
from downloader.mosaic.storage.store import Store, put_all
from downloader.progress.late import late
from downloader.text import counted

if TYPE_CHECKING:
    from downloader.mosaic.record.identity import Identity
    from downloader.mosaic.record.state import GroupState
    from downloader.mosaic.storage.lock import Lock


_FORMAT: Final = 2
"""Version of the record of policies; one of another version is ignored."""


@dataclass(frozen=True, slots=True)
class Overviews:
    """The overviews of a mosaic, and what a call made of them."""

    path: str
    """The mosaic."""
    levels: Mapping[str, tuple[int, ...]]
    """By group, the factors of its levels: 2, 4, 8, … pixels along the side of one; none where the group is small."""
    policies: Mapping[str, Mapping[str, str]]
    """By group, band id → how its levels are made."""
    shards: int
    """Shards of all levels that hold something."""
    made: int
    """Of these, those made by this call."""
    missing: Mapping[str, int]
    """By group, tiles of the mosaic that are not stored, and are missing in its overviews too."""

    def to_json(self) -> dict[str, object]:
        """Return plain values, for `--json`."""
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
        lacks = f"; not in them: {counted(holes, 'tile')} not stored" if holes else ""
        return f"overviews {', '.join(told)}: {self.made:,} of {self.shards:,} shards made{lacks}"


def overviews(
    path: MosaicPath, *, policies: Mapping[str, str] | None = None, watch: Watch | None = None
) -> Overviews:
    """Make what is missing or stale of the overviews of the mosaic at `path`, under its lock.

    `open(level=4)` of a report, or `downloader.open(path, level=4)`, reads them.

    Args:
        path: the mosaic.
        policies: band id → `mean`, `sample`, `min`, `max`, `mode` or `median`, in place of the band's own; remembered
            for later calls.
        watch: told how far the work is; without it a terminal or a notebook shows it.

    Raises:
        RefusedError: there is no mosaic of ours, it cannot be written, or another run writes it (LockedError).
        JobError: it holds samples; there is no such band or policy.
        StoppedError: the disk is full or does not work, or stored pixels are damaged.
    """
    if policies is not None and not isinstance(policies, Mapping):
        raise JobError(f"policies: {shown(policies)}: write band and policy, such as {{'QA60': 'mode'}}")
    location = locate(path)
    identity = read_mosaic(path)
    store = location.store()
    with (
        late(f"making overviews of {location.name}", wanted=watch is None) as tell,
        locked(location, store) as lock,
    ):
        try:
            ledger = LedgerWriter(store, lock.epoch)
            found = scan(store, identity.layouts, ledger, adopt=not identity.refetching)
        except OSError as error:
            raise location.problem(error) from error
        return build_overviews(store, identity, found.states, lock, policies=policies, watch=watch or tell)


def build_overviews(
    store: Store,
    identity: Identity,
    states: Mapping[str, GroupState],
    lock: Lock,
    *,
    policies: Mapping[str, str] | None = None,
    watch: Watch | None = None,
) -> Overviews:
    """Like `overviews`, for callers that hold the lock and know what is stored, by group."""
    asked = _checked(identity, policies or {})
    try:
        known = _read_policies(store)
        asked = {**(known or {}), **asked}
        if asked != known:
            record = json.dumps({"overviews": _FORMAT, "policies": asked}).encode()
            put_all(store, [(OVERVIEWS_RECORD, record)])
        builder = OverviewBuilder(store, identity, states, lock, asked, watch or (lambda _done, _todo: None))
        shards, made = builder.run()
    except OSError as error:
        raise StoppedError(
            f"{store.name}: cannot be read or written ({error.strerror or error}); check the disk, and make the"
            " overviews again"
        ) from error
    counts = {name: state.counts() for name, state in states.items()}
    of_groups = {layout.group.name: policies_of(layout) for layout in identity.layouts}
    return Overviews(
        store.name,
        {name: tuple(level.factor for level in chain) for name, chain in builder.chains.items()},
        {name: {band: asked.get(band, one) for band, one in own.items()} for name, own in of_groups.items()},
        shards,
        made,
        {name: one.tiles - one.stored for name, one in counts.items() if one.tiles > one.stored},
    )


def _read_policies(store: Store) -> dict[str, str] | None:
    """Return the policies of earlier calls by band id; None where no record can be read."""
    try:
        document = json.loads(bytes(store.get(OVERVIEWS_RECORD)))
        if document["overviews"] != _FORMAT:
            return None
        policies = document["policies"].items()
        return {str(band): str(policy) for band, policy in policies if policy in POLICIES}
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _checked(identity: Identity, policies: Mapping[str, str]) -> dict[str, str]:
    layouts = identity.layouts
    if any(layout.group.axis == "sample" for layout in layouts):
        raise JobError("overviews: the mosaic holds samples, which have none")
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
        if str(policy).upper() not in POLICIES:
            raise JobError(
                f"overviews: {policy!r} is not a policy; choose {', '.join(p.lower() for p in POLICIES)}"
            )
    return {band: policy.upper() for band, policy in policies.items()}
