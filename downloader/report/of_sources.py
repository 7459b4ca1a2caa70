"""What runs of several sources did, as one report, and what they would do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from downloader.events import RunState
from downloader.mosaic.sources import member
from downloader.planning.compute_cost import ComputeCost
from downloader.report.plan_preview import PlanPreview
from downloader.report.report import Report

_WORST_FIRST: Final[Sequence[RunState]] = ("failed", "interrupted", "stopped", "incomplete", "complete")


def joined(path: str, reports: Mapping[str, Report]) -> Report:
    """Return the reports of several sources as one: sums, and groups named by their sources.

    Args:
        path: of the mosaic that holds theirs.
        reports: by name, of those that ran; one at least.
    """
    each = list(reports.values())
    costs = [one.compute for one in each if one.compute is not None]
    told = [f"{name}: {one.message}" for name, one in reports.items() if one.message]
    return replace(
        each[0],
        mosaic=path,
        state=next(state for state in _WORST_FIRST if any(one.state == state for one in each)),
        message="\n".join(told),
        groups=tuple(member(name, group) for name, one in reports.items() for group in one.groups),
        tiles=sum(one.tiles for one in each),
        tiles_before=sum(one.tiles_before for one in each),
        tiles_stored=sum(one.tiles_stored for one in each),
        tiles_failed=sum(one.tiles_failed for one in each),
        requests=sum(one.requests for one in each),
        metadata_calls=sum(one.metadata_calls for one in each),
        token_calls=sum(one.token_calls for one in each),
        splits=sum(one.splits for one in each),
        retries=dict(sum((Counter(one.retries) for one in each), Counter())),
        wire_bytes=sum(one.wire_bytes for one in each),
        disk_bytes=sum(one.disk_bytes for one in each),
        seconds=sum(one.seconds for one in each),
        peak_memory_bytes=max(one.peak_memory_bytes for one in each),
        failed=tuple(
            replace(tile, group=member(name, tile.group))
            for name, one in reports.items()
            for tile in one.failed
        ),
        compute=ComputeCost(
            sum(one.requests for one in costs),
            sum(one.low_h for one in costs),
            sum(one.high_h for one in costs),
        )
        if costs
        else None,
        notices=tuple(f"{name}: {line}" for name, one in reports.items() for line in one.notices),
        source="; ".join(f"{name}: {one.source}" for name, one in reports.items()),
        job="\n".join(f"# {name}\n{one.job}" for name, one in reports.items()),
        history=None,
    )


@dataclass(frozen=True, slots=True)
class SourcePlans:
    """The plans of several sources, by name."""

    plans: Mapping[str, PlanPreview]

    def map(self, output: str | Path) -> str:
        """Draw each plan into a file of its own, which has the source's name before its ending; see `PlanPreview.map`."""
        file = Path(output)
        lines = [one.map(file.with_stem(f"{file.stem}-{name}")) for name, one in self.plans.items()]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return the plans as plain values."""
        return {"sources": {name: one.to_json() for name, one in self.plans.items()}}

    def __str__(self) -> str:
        return "\n\n".join(f"{name}: {one}" for name, one in self.plans.items())
