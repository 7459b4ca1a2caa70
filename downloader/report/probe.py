"""Cost of a few random tiles, extrapolated to the whole job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from downloader.text import counted, duration, size


@dataclass(frozen=True, slots=True)
class Probe:
    """Measurements of a few random tiles, and their extrapolation to the whole job."""

    tiles: int
    """Single tiles that were fetched."""
    seed: int
    """Seed of the draw: the same seed draws the same tiles from the same plan."""
    requests: int
    """Requests that brought pixels."""
    wire_bytes: int
    """Bytes of pixels received."""
    failed: int
    """Requests that brought no pixels."""
    problem: str
    """Reason of the first failure; empty if none failed."""
    latency: tuple[float, float, float] | None
    """Seconds that single tiles took: the 10th, 50th and 90th percentile; None if none arrived."""
    tile_mb: float
    """Mean size of a single tile, in units of 10⁶ bytes."""
    base_s: float
    """Seconds that a request takes, however small."""
    per_mb_s: float
    """Further seconds for each 10⁶ bytes."""
    seconds: float
    """Duration of the whole job at that pace."""
    compressor: str
    """Compressor of the mosaic, which `ratio` was measured with."""
    ratio: float | None
    """Bytes on disk ÷ bytes of pixels; None if a group brought no tile."""
    disk_bytes: int | None
    """Bytes on disk of the whole mosaic, extrapolated."""
    disk_error: int
    """Standard error of `disk_bytes`."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Response headers that may tell what a request cost."""

    def __str__(self) -> str:
        what = f"probe of {counted(self.tiles, 'random tile')} (--seed {self.seed})"
        lines = [f"{what}: {counted(self.requests, 'request')}, {size(self.wire_bytes)}; nothing was stored"]
        if self.failed:
            lines.append(f"  failed    {self.failed:,}: {self.problem}")
        if self.latency is not None:
            low, median, high = self.latency
            lines += [
                f"  latency   {median:.2f} s median, {low:.2f} to {high:.2f} s, for a tile of {self.tile_mb:.2f} MB",
                f"  service   {self.base_s:.2f} s per request and {self.per_mb_s:.2f} s per MB",
                f"  time      about {duration(self.seconds)} for the whole job at this pace",
            ]
        if self.ratio is not None and self.disk_bytes is not None:
            lines.append(
                f"  on disk   about {size(self.disk_bytes)} ± {size(self.disk_error)} "
                f"({self.compressor} compresses to {100 * self.ratio:.0f} % of the pixels)"
            )
        costs = ", ".join(f"{name}: {value}" for name, value in self.headers.items())
        lines.append(f"  compute   {costs or 'the service reported no compute cost'}")
        return "\n".join(lines)
