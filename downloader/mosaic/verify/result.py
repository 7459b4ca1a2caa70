"""Results of a verification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from downloader.mosaic.record.state import Counts, TileFailure, failures_document
from downloader.planning import ShardKey, TileKey, Tiling
from downloader.planning.tiling import bits
from downloader.text import counted, first_lines, size, table

_SHOWN: Final = 20
"""Findings that the text names; the JSON names all."""


@dataclass(frozen=True, slots=True)
class Damage:
    """Stored tiles of one band of one shard that are damaged or gone."""

    key: str
    """The object that holds them, below the mosaic."""
    shard: ShardKey
    band: str
    """The band's id."""
    tiles: int
    """Bits of the shard's slots; 0 where it is not known what a damaged object held."""
    keys: tuple[TileKey, ...]
    """The same tiles, by their keys."""
    reason: str
    """One readable line."""

    @classmethod
    def of(cls, key: str, shard: ShardKey, band: str, tiles: int, tiling: Tiling, reason: str) -> Damage:
        """Return the damage with the keys of its tiles."""
        place = (shard.slice, shard.row, shard.column)
        keys = tuple(TileKey(shard.group, *tiling.tile_at(place, slot)) for slot in bits(tiles))
        return cls(key, shard, band, tiles, keys, reason)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "object": self.key,
            "group": self.shard.group,
            "shard": [self.shard.slice, self.shard.row, self.shard.column],
            "band": self.band,
            "tiles": [[tile.slice, tile.row, tile.column] for tile in self.keys],
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class Lost:
    """Something other than pixels that is missing or wrong: metadata, coordinates, files below `.downloader`."""

    key: str
    """The object, below the mosaic."""
    reason: str
    """One readable line."""


@dataclass(frozen=True, slots=True, repr=False)
class Verification:
    """State of a mosaic, as its objects show it."""

    path: str
    service: str
    """Whose pixels they are."""
    groups: Mapping[str, Counts]
    """Group → its tiles; what is damaged counts as missing."""
    damaged: tuple[Damage, ...]
    lost: tuple[Lost, ...]
    failures: tuple[TileFailure, ...]
    coverage: Mapping[str, int] = field(default_factory=dict)
    """Group → cells of `coverage` that say something else than the objects; groups without such are left out."""
    objects: int = 0
    """Objects of pixels that were read."""
    nbytes: int = 0
    """Their bytes."""
    unledgered: int = 0
    """Objects that are whole and unknown to the ledger, as a crash or a lost ledger leaves them; runs adopt them."""
    unreadable: int = 0
    """Lines of the ledger that could not be read; a run that was killed leaves one at most."""
    is_being_written: bool = False
    """Whether a run wrote meanwhile: then nothing but what was stored at the start was checked, and no `coverage`."""

    @property
    def damaged_tiles(self) -> int:
        """Tiles of which at least one band is damaged."""
        return len({tile for damage in self.damaged for tile in damage.keys})

    @property
    def is_intact(self) -> bool:
        """Whether nothing stored is damaged, lost or wrong."""
        return not (self.damaged or self.lost or self.coverage)

    @property
    def is_clean(self) -> bool:
        """Whether it is intact and every tile is stored."""
        return self.is_intact and all(counts.stored == counts.tiles for counts in self.groups.values())

    def __repr__(self) -> str:
        return f"<Verification of {self.path}: {self._verdict()}>"

    def __str__(self) -> str:
        rows = [
            [name or "/", f"{c.tiles:,}", f"{c.stored:,}", f"{c.failed:,}", f"{c.missing:,}"]
            for name, c in self.groups.items()
        ]
        lines = [
            f"{self.path}: {self._verdict()}; {counted(self.objects, 'object')} read, {size(self.nbytes)}",
            table(rows, ("group", "tiles", "intact", "failed", "missing")),
        ]
        found = [
            f"damaged: {damage.key}, band {damage.band}: {_tiles_text(damage.keys)}: {damage.reason}"
            for damage in self.damaged
        ]
        found += [f"lost: {lost.key}: {lost.reason}" for lost in self.lost]
        found += [
            f"failed: {key} ({', '.join(bands)}): {message}" for key, bands, _, message in self.failures
        ]
        lines += first_lines(found, _SHOWN, "more lines (--json has them all)")
        lines += [
            f"coverage{f' of group {name}' if name else ''} differs from what is stored in {counted(cells, 'tile')}"
            for name, cells in self.coverage.items()
        ]
        if self.is_being_written:
            lines.append(
                "A run is writing the mosaic: only what was stored at the start was checked, and no coverage."
            )
        elif self.unledgered:
            lines.append(
                f"{counted(self.unledgered, 'intact object')} not in the ledger; the next run adds them."
            )
        if not self.is_intact:
            lines.append("Repair it with --repair, which downloads only the damaged tiles again.")
        elif not self.is_clean:
            lines.append("Run the job again to download what is missing.")
        return "\n".join(lines)

    def _verdict(self) -> str:
        if self.is_clean:
            return "intact and complete"
        return "intact, not complete" if self.is_intact else "damaged"

    def to_json(self) -> dict[str, Any]:
        """Return what was found as plain values."""
        return {
            "path": self.path,
            "service": self.service,
            "clean": self.is_clean,
            "intact": self.is_intact,
            "groups": {name: counts.to_json() for name, counts in self.groups.items()},
            "damaged_tiles": self.damaged_tiles,
            "damaged": [damage.to_json() for damage in self.damaged],
            "lost": [{"object": lost.key, "reason": lost.reason} for lost in self.lost],
            "failures": failures_document(self.failures),
            "coverage_cells": dict(self.coverage),
            "objects": self.objects,
            "bytes": self.nbytes,
            "unledgered": self.unledgered,
            "unreadable_ledger_lines": self.unreadable,
            "being_written": self.is_being_written,
        }


def _tiles_text(tiles: Sequence[TileKey]) -> str:
    if not tiles:
        return "tiles unknown"
    shown = ", ".join(f"{tile.slice}/{tile.row}/{tile.column}" for tile in tiles[:4])
    return f"tile {shown}" if len(tiles) == 1 else f"tiles {shown}" + (" …" if len(tiles) > 4 else "")
