"""Repair a mosaic: mark damaged tiles as missing, and rebuild metadata that can be derived.

`coverage` is written first, so that no reader takes a hole for data, then the objects, then the ledger's lines. What is
left is a mosaic that lacks tiles, which a run fetches.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from downloader.mosaic.format.layout import GroupLayout
from downloader.mosaic.format.shard import merge
from downloader.mosaic.record.coverage import write_coverage
from downloader.mosaic.record.ledger import LedgerEntry, LedgerWriter, Piece
from downloader.mosaic.record.ownership import read_identity
from downloader.mosaic.record.paths import JOB
from downloader.mosaic.record.scan import scan
from downloader.mosaic.storage.disk_errors import trying
from downloader.mosaic.storage.location import MosaicPath, locate, locked, no_mosaic
from downloader.mosaic.storage.lock import Lock
from downloader.mosaic.storage.store import Store, put_all
from downloader.mosaic.verify.metadata import restore_metadata
from downloader.mosaic.verify.result import Verification
from downloader.mosaic.verify.verify import Examination, Watch, examine
from downloader.planning import ShardKey


@dataclass(frozen=True, slots=True)
class RepairResult:
    """Findings of a repair, and tiles left to fetch."""

    verification: Verification
    """State before the repair."""
    chosen: dict[ShardKey, dict[int, int]]
    """Shard → band index → bits of the tiles that were damaged, and are missing now."""


def repair_mosaic(path: MosaicPath, job_text: str = "", *, watch: Watch | None = None) -> RepairResult:
    """Verify the mosaic at `path` under its lock, drop what is damaged, and write lost metadata.

    Args:
        path: the mosaic's folder.
        job_text: content of its job file where that was lost; empty where it is not known.
        watch: told how far the verification is.

    Raises:
        RefusedError: there is no mosaic of ours, it cannot be written, or another run writes it (LockedError).
        StoppedError: the disk is full or does not work.
    """
    location = locate(path)
    if read_identity(path) is None:
        raise no_mosaic(path)
    store = location.store()
    with locked(location, store) as lock:
        store.sweep()
        examination = examine(path, watch=watch, exclusive=True)
        lock.check()
        return trying(store, "the repair", 1 << 20, lambda: _repaired(store, lock, examination, job_text))


def _repaired(store: Store, lock: Lock, examination: Examination, job_text: str) -> RepairResult:
    identity, found = examination.identity, examination.verification
    layouts = {layout.group.name: layout for layout in identity.layouts}
    if found.damaged or found.coverage or found.lost:
        for name, layout in layouts.items():
            write_coverage(store, layout, examination.states[name])
    restore_metadata(store, identity, found.lost)
    if job_text and any(lost.key == JOB for lost in found.lost):
        put_all(store, [(JOB, job_text.encode())])
    chosen: dict[ShardKey, dict[int, int]] = {}
    for damage in found.damaged:
        if damage.tiles:
            band = examination.states[damage.shard.group].bands[damage.band]
            bands = chosen.setdefault(damage.shard, {})
            bands[band] = bands.get(band, 0) | damage.tiles
    lines = []
    for shard, bands in chosen.items():
        layout, state = layouts[shard.group], examination.states[shard.group]
        ids, good = list(state.bands), state.stored(state.index(shard))
        pieces = {
            ids[band]: _drop(store, layout, shard, band, tiles, good[band]) for band, tiles in bands.items()
        }
        failed = state.failed.get(state.index(shard), ())
        lines.append(LedgerEntry(shard.group, (shard.slice, shard.row, shard.column), pieces, failed))
    # Damaged objects whose content is not known: readers would fail on them.
    store.delete(damage.key for damage in found.damaged if not damage.tiles)
    ledger = LedgerWriter(store, lock.epoch)
    if lines:
        ledger.append(*lines)
    if found.unledgered or lines:
        scan(store, identity.layouts, ledger, adopt=not identity.refetching)
    return RepairResult(found, chosen)


def _drop(store: Store, layout: GroupLayout, shard: ShardKey, band: int, tiles: int, good: int) -> Piece:
    """Remove tiles from their objects, keeping those that are good; return the band's piece of the ledger line.

    An object may hold further tiles that do not count: pixels of an image that changed, until they are fetched again.
    """
    place = (shard.slice, shard.row, shard.column)
    if layout.profile == "sharded":
        key, old = layout.shard_object(band, *place), None
        with contextlib.suppress(OSError):  # also of a disk that cannot read it any more
            old = store.get(key)
        made = merge(old, {}, layout.header(band, place), layout.forms[band], keep=good)
        if made.stored:
            put_all(store, [(key, made.buffers)])
            return Piece.of(made)
    store.delete(layout.objects(band, place, tiles))
    return Piece.without(tiles, layout.profile)
