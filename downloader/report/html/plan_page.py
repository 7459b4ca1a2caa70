"""The page with the maps of a plan."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from downloader.cards import card, facts, figures, folded
from downloader.mosaic.target import TargetState
from downloader.planning import Plan
from downloader.report.html.render import figures_html, render
from downloader.report.html.svg import outlines
from downloader.report.html.tile_maps import LegendEntry, TileMap
from downloader.report.plan_cells import KINDS
from downloader.report.plan_map import WORDS, Panel
from downloader.report.plan_text import source_text
from downloader.report.text import place
from downloader.text import counted, duration, size


def plan_page(plan: Plan, target: TargetState, shown: Sequence[Panel]) -> str:
    """Return the page of a plan's maps as HTML."""
    title, *facts = _headings(plan, target)
    maps = [_map(f"m{number}", panel) for number, panel in enumerate(shown)]
    return render("plan.html", title=title, facts=facts, maps=maps)


def plan_card(plan: Plan, target: TargetState, shown: Sequence[Panel], text: str) -> str:
    """Return the card of a plan as HTML; `text` is all of it, folded."""
    title, cost, where, there = _headings(plan, target)
    name = uuid4().hex[:8]
    maps = [_map(f"{name}{number}", panel) for number, panel in enumerate(shown)]
    return card(
        "Plan",
        title,
        facts([("Cost", cost), ("Place", where), ("Mosaic", there)]),
        figures(figures_html(maps)),
        folded("all of it", text),
    )


def _headings(plan: Plan, target: TargetState) -> list[str]:
    """Return what is planned, what it costs, where it lies and what is stored of it, a line each."""
    estimate = plan.estimate()
    stored = sum(target.stored.values())
    there = {
        "new": "does not exist yet",
        "same": f"{counted(stored, 'tile')} are stored already",
        "extension": f"{counted(stored, 'tile')} are stored already; the job extends it",
        "refused": f"would be refused: {target.reason}",
    }[target.state]
    cost = (
        f"{counted(estimate.tiles, 'tile')} in {counted(estimate.requests, 'request')}, "
        f"{size(estimate.wire_bytes)} on the wire, about {duration(estimate.seconds)}"
    )
    return [source_text(plan), cost, place(plan.groups[0]), f"{target.path}: {there}"]


def _map(name: str, panel: Panel) -> TileMap:
    paths = [(KINDS[kind], d) for kind, d in outlines(panel.cells).items() if kind < len(KINDS)]
    if panel.fills_region:
        paths.append(("ground", "".join(map(_path, panel.region))))
    lines = [(kind, "".join(map(_path, rings))) for kind, rings in panel.lines]
    legend = [LegendEntry(KINDS[kind], WORDS[KINDS[kind]], count) for kind, count in panel.counts]
    legend += [LegendEntry(f"line {kind}", WORDS[kind]) for kind, _ in lines]
    counts = ", ".join(
        f"{WORDS[KINDS[kind]]}: {count:,}" for kind, count in panel.counts if count is not None
    )
    words = f"Map. {counts}. {panel.note}" if counts else f"Map. {panel.note}"
    return TileMap(
        name, panel.title, words, panel.width, panel.height, tuple(paths), tuple(legend), panel.note,
        tuple(lines),
    )  # fmt: skip


def _path(ring: NDArray[np.float64]) -> str:
    return "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in ring.tolist())
