"""Runs of several sources as one report, and their plans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any, Final

from downloader.events import RunState
from downloader.mosaic.sources import member
from downloader.planning.compute_cost import ComputeCost
from downloader.report.plan_preview import PlanPreview
from downloader.report.report import Report

_WORST_FIRST: Final[Sequence[RunState]] = ("failed", "interrupted", "stopped", "incomplete", "complete")


_ADDED: Final = (
    "tiles", "tiles_before", "tiles_stored", "tiles_failed", "requests", "metadata_calls", "token_calls", "splits", "wire_bytes",
    "disk_bytes", "seconds",
)  # fmt: skip
"""Fields of a report that are sums over its sources."""


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
        retries=dict(sum((Counter(one.retries) for one in each), Counter())),
        peak_memory_bytes=max(one.peak_memory_bytes for one in each),
        failed=tuple(
            replace(tile, group=member(name, tile.group))
            for name, one in reports.items()
            for tile in one.failed
        ),
        compute=ComputeCost(*map(sum, zip(*map(astuple, costs), strict=True))) if costs else None,
        notices=tuple(f"{name}: {line}" for name, one in reports.items() for line in one.notices),
        source="; ".join(f"{name}: {one.source}" for name, one in reports.items()),
        job="\n".join(f"# {name}\n{one.job}" for name, one in reports.items()),
        history=None,
        **{name: sum(getattr(one, name) for one in each) for name in _ADDED},
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
