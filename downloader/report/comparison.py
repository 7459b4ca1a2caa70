"""Differences between stored pixels and what the service returns for them now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from downloader.model.document import to_document
from downloader.planning import TileKey
from downloader.text import counted, first_lines

_SHOWN: Final = 20
"""Differences that the text names; the JSON names all."""


@dataclass(frozen=True, slots=True)
class PixelDifference:
    """One band of one tile whose pixels are not those that are stored."""

    tile: TileKey
    band: str
    pixels: int
    """Pixels that differ."""
    of: int
    """Pixels that were compared."""
    largest: float | None = None
    """Largest absolute difference; None if no differing pair is finite."""
    reason: str = ""
    """Reason why nothing could be compared; empty if it could."""

    def __str__(self) -> str:
        largest = "" if self.largest is None else f", by up to {self.largest:g}"
        reason = self.reason or f"{self.pixels:,} of {self.of:,} pixels differ{largest}"
        return f"differs: {self.tile}, band {self.band}: {reason}"


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
        """True if every pixel is as it is stored."""
        return not self.differences

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as plain values."""
        document: dict[str, Any] = to_document(self)
        return document

    def __str__(self) -> str:
        how = f"within {self.tolerance:g}" if self.tolerance else "bit by bit"
        verdict = (
            "all are the same" if self.is_same else f"{counted(len(self.differences), 'difference')} by band"
        )
        lines = [
            f"{counted(self.tiles, 'tile')} downloaded again (--seed {self.seed}), compared {how}: {verdict}"
        ]
        lines += first_lines(list(map(str, self.differences)), _SHOWN, "more (--json has them all)")
        return "\n".join([*lines, *self.notices])
