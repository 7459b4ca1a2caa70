"""The page with the maps of a plan."""

from __future__ import annotations

from collections.abc import Sequence

from downloader.cards import card, facts, figures, folded
from downloader.mosaic.target import TargetState
from downloader.planning import Plan
from downloader.report.html.render import figures_html, render
from downloader.report.html.tile_maps import TileMap
from downloader.report.plan_text import source_text
from downloader.report.text import place
from downloader.text import counted, duration, size


def plan_page(plan: Plan, target: TargetState, shown: Sequence[TileMap]) -> str:
    """Return the page of a plan's maps as HTML."""
    title, *facts = _headings(plan, target)
    return render("plan.html", title=title, facts=facts, maps=shown)


def plan_card(plan: Plan, target: TargetState, shown: Sequence[TileMap], text: str) -> str:
    """Return the card of a plan as HTML; `text` is all of it, folded."""
    title, cost, where, there = _headings(plan, target)
    return card(
        "Plan",
        title,
        facts([("Cost", cost), ("Place", where), ("Mosaic", there)]),
        figures(figures_html(shown)),
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
