"""What a mosaic of a plan keeps beside its pixels, and what a rerun has to look at."""

from __future__ import annotations

from dataclasses import dataclass

from downloader.mosaic.record.ledger import LedgerEntry, Piece
from downloader.planning import Plan

__all__ = ["Books", "books_of"]

_OBJECT_S = 0.45 / 15_625
"""Seconds of a start for each object that is there: measured over 15,625 of them (docs/performance.md)."""

_LISTED = 1_000
"""Objects that one listing request of a bucket gives."""


@dataclass(frozen=True, slots=True)
class Books:
    """Of one mosaic that holds all of a plan."""

    objects: int
    """Files, or objects in a bucket: one for each shard and band."""
    ledger_bytes: int
    """A line for each shard, as one uninterrupted run writes it."""
    state_bytes: int
    """Memory for what is stored: a bit for each tile and band, in words of 64."""
    coverage_bytes: int
    """The array, before compression."""
    scan_s: float
    """Of a start on a local disk."""
    listings: int
    """Requests of a start in a bucket."""


def books_of(plan: Plan) -> Books:
    """In closed form, but for the ledger's line, which is written for a shard in the middle of each group."""
    objects = ledger = state = 0
    for group in plan.groups:
        tiling, bands = group.tiling, len(group.bands)
        objects += tiling.shards * bands
        ledger += tiling.shards * _line(plan, group.name)
        state += tiling.shards * bands * 8 * -(-tiling.slots // 64)
    return Books(
        objects=objects,
        ledger_bytes=ledger,
        state_bytes=state,
        coverage_bytes=sum(group.tiling.tiles for group in plan.groups),
        scan_s=objects * _OBJECT_S,
        listings=-(-objects // _LISTED),
    )


def _line(plan: Plan, name: str) -> int:
    """Bytes of the ledger's line of a whole shard, its objects half as long as their pixels."""
    group = plan.group(name)
    tiling = group.tiling
    middle = tiling.shard_at(tiling.shards // 2)
    pixels = tiling.slots * tiling.tile**2
    pieces = {
        b.id: Piece(group.tiling.full_mask(*middle), pixels * b.dtype.itemsize // 2) for b in group.bands
    }
    return len(LedgerEntry(name, middle, pieces).to_line())
