"""Preview of a job's run: its plan, the tiles that its mosaic has already, and the cost of a few real tiles."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

from downloader.arguments import writing
from downloader.cards import card, facts, figures, folded
from downloader.errors import JobError
from downloader.job import Job
from downloader.model.document import to_document
from downloader.mosaic.target import TargetState
from downloader.planning import Estimate, Plan
from downloader.planning.compute_cost import compute_cost
from downloader.report.cost_text import hours
from downloader.report.html.render import figures_html, render
from downloader.report.plan_geojson import plan_geojson
from downloader.report.plan_map import panels
from downloader.report.plan_text import plan_document, plan_lines, remarks, source_text
from downloader.report.probe import Probe
from downloader.report.text import place
from downloader.text import counted, duration, size


@dataclass(frozen=True, slots=True, repr=False)
class PlanPreview:
    """Plan of a job and the tiles that its mosaic has of it; made by `downloader.plan`, which stores nothing."""

    job: Job
    plan: Plan
    target: TargetState
    """State of the mosaic's path."""
    probe: Probe | None = None
    """Measurements of a few real tiles, if any were asked for."""
    likely: Plan | None = None
    """Plan if the first run finds computed pixels equal to those that are read; None where that changes nothing."""

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
            output: file to write: a page (`.html`), or for a GIS GeoJSON in longitude and latitude (`.geojson`).

        Returns:
            One line that says what is drawn.

        Raises:
            JobError: the file has another ending, or cannot be written.
        """
        file, drawn = Path(output), panels(self.plan, self.target)
        match file.suffix:
            case ".html":
                told = self._facts().values()
                text = render("plan.html", title=source_text(self.plan), facts=told, maps=drawn)
            case ".geojson":
                text = plan_geojson(self.plan, self.target, drawn)
            case _:
                raise JobError(f"--map {file}: name a file that ends in .html or .geojson")
        with writing(f"--map {file}"):
            file.write_text(text + "\n", encoding="utf-8")
        return f"{file}: {', '.join(panel.title.lower() for panel in drawn)}"

    def to_json(self) -> dict[str, Any]:
        """Return the plan, what the mosaic has of it and what the probe measured, as plain values."""
        target = self.target
        return {
            **plan_document(self.plan, self.job),
            "mosaic": {
                "path": target.path,
                "state": target.state,
                "reason": target.reason,
                "stored": dict(target.stored),
                "left": to_document(self.left()),
            },
            "probe": to_document(self.probe),
        }

    def __str__(self) -> str:
        lines = [*plan_lines(self.plan), f"mosaic    {self._target_text()}"]
        if self.likely is not None:
            estimate = self.likely.estimate()
            lines.append(
                f"stacks    {counted(estimate.requests, 'computed request')} in place of these, about "
                f"{duration(estimate.seconds)}, {hours(compute_cost(self.likely))},\n          if the first run finds a tile "
                "equal by both ways; request.depth: 1 reads each image"
            )
        if self.probe is not None:
            lines += ["", str(self.probe)]
        return "\n".join([*lines, *remarks(self.plan, self.job)])

    def __repr__(self) -> str:
        estimate = self.plan.estimate()
        return (
            f"<PlanPreview of {self.target.path}: {counted(estimate.tiles, 'tile')} in "
            f"{counted(estimate.requests, 'request')}, {size(estimate.wire_bytes)}; {self.target.state}>"
        )

    def _repr_html_(self) -> str:
        maps = figures_html(panels(self.plan, self.target))
        told = facts(self._facts().items())
        return card("Plan", source_text(self.plan), told, figures(maps), folded("all of it", str(self)))

    def _facts(self) -> dict[str, str]:
        """Return what the plan costs, where it lies and what is stored of it."""
        estimate = self.plan.estimate()
        cost = (
            f"{counted(estimate.tiles, 'tile')} in {counted(estimate.requests, 'request')}, "
            f"{size(estimate.wire_bytes)} on the wire, about {duration(estimate.seconds)}"
        )
        return {"Cost": cost, "Place": place(self.plan.groups[0]), "Mosaic": self._target_text()}

    def _target_text(self) -> str:
        target, tiles = self.target, self.plan.count_tiles()
        match target.state:
            case "new":
                return f"{target.path}: does not exist yet"
            case "refused":
                return f"{target.path}: a run would refuse: {target.reason}"
        stored = sum(target.stored.values())
        if stored >= tiles:
            return f"{target.path}: all {counted(tiles, 'tile')} are stored already"
        left = self.left()
        more = "would be extended; " if target.state == "extension" else ""
        return (
            f"{target.path}: {more}{stored:,} of {counted(tiles, 'tile')} are stored;\n"
            f"          left: {counted(left.requests, 'request')}, {size(left.wire_bytes)}, "
            f"about {duration(left.seconds)}"
        )
