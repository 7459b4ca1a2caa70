"""Differences between stored pixels and what the service returns for them now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from downloader.planning import TileKey

__all__ = ["PixelDifference", "ServiceComparison"]


@dataclass(frozen=True, slots=True)
class PixelDifference:
    """One band of one tile whose pixels are not those that are stored."""

    tile: TileKey
    band: str
    pixels: int
    """How many pixels differ."""
    of: int
    """How many pixels were compared."""
    largest: float | None = None
    """Largest absolute difference; None if no differing pair is finite."""
    reason: str = ""
    """Why nothing could be compared; empty if it could."""

    def to_json(self) -> dict[str, Any]:
        """Return the difference as plain values."""
        return {
            "group": self.tile.group,
            "tile": [self.tile.slice, self.tile.row, self.tile.column],
            "band": self.band,
            "pixels": self.pixels,
            "of": self.of,
            "largest": self.largest,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class ServiceComparison:
    """Result of fetching random stored tiles again."""

    tiles: int
    """Tiles fetched again."""
    seed: int
    """Seed of the draw: the same seed draws the same tiles from the same mosaic."""
    tolerance: float
    """Absolute difference up to which two numbers are the same; 0 compares bit by bit."""
    differences: tuple[PixelDifference, ...]
    notices: tuple[str, ...] = ()

    @property
    def is_same(self) -> bool:
        """Whether every pixel is as it is stored."""
        return not self.differences

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as plain values."""
        return {
            "tiles": self.tiles,
            "seed": self.seed,
            "tolerance": self.tolerance,
            "differences": [difference.to_json() for difference in self.differences],
            "notices": list(self.notices),
        }
