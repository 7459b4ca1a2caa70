"""What a run of a job would do: its plan, what its mosaic has of it already, and what a few real tiles cost."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from math import ceil
from typing import Any

from downloader.mosaic.target import TargetState
from downloader.planning import Estimate, Plan

__all__ = ["PlanPreview", "Probe"]


@dataclass(frozen=True, slots=True)
class Probe:
    """Measurements of a few random tiles, and what follows from them for the whole job."""

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
    """Why the first of these failed; empty if none did."""
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

    def to_json(self) -> dict[str, Any]:
        """Return the measurements as plain values."""
        return asdict(replace(self, headers=dict(self.headers)))


@dataclass(frozen=True, slots=True)
class PlanPreview:
    """The plan of a job and what its mosaic has of it; made by `downloader.plan`, which stores nothing."""

    plan: Plan
    target: TargetState
    """What is at the mosaic's path."""
    probe: Probe | None = None
    """Measurements of a few real tiles, if any were asked for."""

    def left(self) -> Estimate:
        """Return the cost of what is not stored yet: the plan's, group by group in proportion to the missing tiles."""
        whole = self.plan.estimate()
        if self.target.state in {"new", "refused"}:
            return whole
        tiles, pixels, pixels_left, requests = 0, 0.0, 0.0, 0.0
        for group in self.plan.groups:
            all_of_it = group.count_tiles()
            missing = max(0, all_of_it - self.target.stored.get(group.name, 0))
            tiles += missing
            pixels += all_of_it * group.itemsize
            pixels_left += missing * group.itemsize
            requests += group.count_requests() * missing / max(1, group.tiling.tiles)
        share = pixels_left / pixels if pixels else 0.0
        count = min(whole.requests, ceil(requests))
        model = self.plan.model
        wire = ceil(whole.wire_bytes * share)
        work_s = count * model.base_s + wire / 1e6 * model.per_mb_s
        return replace(
            whole,
            tiles=tiles,
            requests=count,
            wire_bytes=wire,
            disk_bytes=ceil(whole.disk_bytes * share),
            seconds=max(work_s / model.concurrency, count / model.starts_per_s),
        )

    def map(self, output: str | os.PathLike[str]) -> str:
        """Draw the images' footprints, the region, the tiles to fetch and those that are stored.

        Args:
            output: file to write: a picture (`.png`) or a page (`.html`).

        Returns:
            One line that says what is drawn.

        Raises:
            JobError: the file has another ending, or cannot be written.
        """
        from downloader.report.html.plan_map import write_map

        return write_map(self.plan, self.target, output)

    def to_json(self) -> dict[str, Any]:
        """Return what the mosaic has and what the probe measured, as plain values."""
        target = self.target
        return {
            "mosaic": {
                "path": target.path,
                "state": target.state,
                "reason": target.reason,
                "stored": dict(target.stored),
                "left": self.left().to_json(),
            },
            "probe": self.probe and self.probe.to_json(),
        }
