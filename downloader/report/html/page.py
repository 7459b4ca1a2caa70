"""Page of a report: state and figures, course of the run, failures, and code that opens the mosaic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from downloader.cards import card, facts, figures, folded
from downloader.mosaic.flat import flat
from downloader.mosaic.format.coverage import COVERAGE_TILES
from downloader.mosaic.record.ownership import read_identity
from downloader.mosaic.sources import member, mosaics
from downloader.mosaic.status import read_mosaic
from downloader.mosaic.storage.location import MosaicPath, locate
from downloader.previews.preview import Look, draw
from downloader.report.cost_text import cost_text
from downloader.report.how_to_open import recipes
from downloader.report.html.render import figures_html, render
from downloader.report.html.thumbnails import MOST_TILES, SIZE, Figure, figure
from downloader.report.html.tile_maps import TileMap, state_maps
from downloader.report.html.tile_states import StateMap, coverage_blocks, state_map
from downloader.report.html.timeline import timeline_view
from downloader.report.run_result import RunResult
from downloader.report.text import place
from downloader.text import counted, duration, memory, rate, size

if TYPE_CHECKING:
    from downloader.mosaic.format.layout import GroupLayout

_FAILED: Final = 50
"""Failed tiles that the page names one by one."""

_PICTURED: Final = 3
"""Groups of which the page has a quick look."""

_QUICK: Final = (1_000, 360)
"""Tiles that the quick look of a card may read, about a second, and pixels along its longer side."""

_STATES: Final = {
    "complete": "Complete",
    "incomplete": "Incomplete",
    "stopped": "Stopped, and can be continued",
    "interrupted": "Interrupted, and can be continued",
    "failed": "Failed",
}
"""State → its headline."""


@dataclass(slots=True)
class _Drawn:
    """Pictures, maps and facts read from the mosaic."""

    pictures: list[Figure] = field(default_factory=list)
    maps: list[TileMap] = field(default_factory=list)
    groups: list[tuple[str, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Messages on what could not be drawn, and why."""
    profile: str = ""
    axis: str = ""
    array: str = ""
    """Name of the first band's array."""
    place: str = ""
    """Box around the mosaic in longitude and latitude."""

    @contextmanager
    def noting(self, what: str) -> Iterator[None]:
        """Note an error of the block as `what`, and the error's own words."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  # whatever is wrong with the mosaic
            self.notes.append(f"{what}: {error}")


def report_page(report: RunResult) -> str:
    """Return the page of a report as HTML.

    Reads the mosaic for its pictures; what cannot be read is left out, and a note says so.
    """
    drawn = _draw(report)
    causes = Counter(tile.cause for tile in report.failed)
    return render(
        "report.html",
        report=report,
        title=_STATES[report.state],
        meaning=_meaning(report),
        name=report.mosaic.rstrip("/").rpartition("/")[2] or report.mosaic,
        figures=_figures(report),
        facts=_facts(report, drawn.place),
        drawn=drawn,
        timeline=timeline_view(report.history.timeline) if report.history else None,
        latencies=_latencies(report),
        retries=sorted(report.retries.items(), key=lambda item: (-item[1], item[0])),
        causes=causes.most_common(),
        failed=report.failed[:_FAILED],
        more_failed=len(report.failed) - _FAILED,
        events=_events(report),
        lines_left_out=report.history.lines_left_out if report.history else 0,
        recipes=recipes(report, drawn.profile, drawn.axis, drawn.array),
    )


def report_card(report: RunResult, text: str) -> str:
    """Return the card of a report as HTML; `text` is all of it, folded. Reads the mosaic for its pictures."""
    drawn = _draw(report, pictured=1, look=_QUICK)
    told = [("State", f"{_STATES[report.state]}. {_meaning(report)}"), ("Source", report.source)]
    for name, value, note in _figures(report)[:4]:
        told.append((name, f"{value}{' ' if note.startswith('of') else ', '}{note}"))
    return card(
        "Report",
        report.mosaic,
        facts(told),
        figures(figures_html(drawn.maps, drawn.pictures)),
        folded("all of it", text),
    )


def _meaning(report: RunResult) -> str:
    """Return one or two sentences: how much is stored, and why the run ended."""
    tiles = counted(report.tiles, "tile")
    if report.state == "complete":
        return f"All {tiles} are stored."
    stored = f"{report.tiles_stored:,} of {tiles}"
    return report.message if stored in report.message else f"{stored} are stored. {report.message}".strip()


def _figures(report: RunResult) -> list[tuple[str, str, str]]:
    """Return (name, figure, note) of the cards."""
    seconds = report.seconds or float("inf")
    before = f"; {report.tiles_before:,} of them by earlier runs" if report.tiles_before else ""
    return [
        ("Tiles stored", f"{report.tiles_stored:,}", f"of {report.tiles:,}{before}"),
        ("Received", size(report.wire_bytes), f"{rate(report.wire_bytes, seconds)} on average"),
        ("Requests", f"{report.requests:,}", f"{sum(report.retries.values()):,} repeated"),
        ("Time", duration(report.seconds), f"{report.requests / seconds:,.1f} requests/s"),
        ("On disk", size(report.disk_bytes), "pixels of the whole mosaic"),
        ("Memory", memory(report.peak_memory_bytes), "peak"),
    ]  # fmt: skip


def _facts(report: RunResult, place: str) -> list[tuple[str, str]]:
    cost = report.compute and f"{cost_text(report.compute)}; what was charged, only the service knows"
    found = {
        "What": report.source,
        "Place": place,
        "Mosaic": report.mosaic,
        "Service": report.service,
        "When": _when(report) if report.began else "",
        "Compute": cost or "",
        "Credentials": report.credentials,
        "Requests split": f"{report.splits:,}, because the service found them too large"
        * bool(report.splits),
    }
    return [(name, text) for name, text in found.items() if text]


def _when(report: RunResult) -> str:
    begin = datetime.fromisoformat(report.began)
    end = begin + timedelta(seconds=report.seconds)
    last = end.strftime("%H:%M:%S" if end.date() == begin.date() else "%Y-%m-%d %H:%M:%S")
    return f"{begin:%Y-%m-%d %H:%M:%S} to {last} UTC"


def _latencies(report: RunResult) -> list[tuple[str, str]]:
    found = report.history.latencies if report.history else None
    if found is None or not found.total:
        return []
    shares = {"median": 0.5, "95th percentile": 0.95, "99th percentile": 0.99}
    told = [(name, duration(found.quantile(share))) for name, share in shares.items()]
    return [*told, ("longest", duration(found.longest_s))]


def _events(report: RunResult) -> list[tuple[str, str]]:
    """Return (when, text) of each notice."""
    if report.history is None:
        return [("", text) for text in report.notices]
    return [(str(timedelta(seconds=int(line.seconds))), line.text) for line in report.history.lines]


def _draw(report: RunResult, pictured: int = _PICTURED, look: tuple[int, int] = (MOST_TILES, SIZE)) -> _Drawn:
    """Return pictures, of the first groups, and maps. Whatever is wrong with the mosaic, the rest of the report is still useful."""
    drawn = _Drawn()
    layouts: list[tuple[str, MosaicPath, GroupLayout]] = []
    with drawn.noting("The mosaic could not be read"):
        # A source that a run did not come to has no mosaic yet.
        layouts += [
            (member(source, layout.group.name), path, layout)
            for source, path in mosaics(report.mosaic).items()
            if not source or read_identity(path) is not None
            for layout in read_mosaic(path).layouts
        ]
    if layouts:
        _, path, first = layouts[0]
        drawn.place = place(first.group)
        if path == report.mosaic:
            drawn.profile, drawn.axis, drawn.array = first.profile, first.group.axis, first.arrays[0]
    for number, (name, path, layout) in enumerate(layouts):
        drawn.groups.append(_group(name, layout))
        called = f"Group {name}" if name else "The mosaic"
        states: StateMap | None = None
        with drawn.noting(f"{called}: the map of its tiles could not be drawn"):
            states = _states(path, layout)
            tiling = layout.group.tiling
            tiles = (tiling.width / tiling.tile, tiling.height / tiling.tile)
            drawn.maps += state_maps(name, states, tiles, layout.group.axis)
        if number < pictured and (states is None or states.counts[1]):
            with drawn.noting(f"{called}: a quick look could not be drawn"):
                drawn.pictures.append(_picture(report.mosaic, name, layout, states, look))
    return drawn


def _picture(
    mosaic: str, group: str, layout: GroupLayout, states: StateMap | None, look: tuple[int, int]
) -> Figure:
    chosen: dict[str, Any] = {}
    if layout.group.axis == "time" and states is not None and states.run == 1:
        # The last of those of which most is there.
        chosen["slice"] = int(np.flatnonzero(states.stored == states.stored.max())[-1])
    return figure(draw(mosaic, Look(group=group or None, size=look[1], most_tiles=look[0], **chosen)))


def _states(mosaic: MosaicPath, layout: GroupLayout) -> StateMap:
    import zarr

    tiling = layout.group.tiling
    array = zarr.open_array(locate(mosaic).readable(), path=f"{layout.prefix}{COVERAGE_TILES}", mode="r")
    coverage = flat(array)
    return state_map((tiling.slices, tiling.tile_rows, tiling.tile_columns), coverage_blocks(coverage))


def _group(name: str, layout: GroupLayout) -> tuple[str, ...]:
    """Return a row of the table of groups."""
    group = layout.group
    kinds: dict[str, list[str]] = {}
    for band in group.bands:
        kinds.setdefault(str(band.dtype), []).append(band.id)
    bands = "; ".join(
        f"{', '.join(names[:12])}{' …' if len(names) > 12 else ''} ({kind})" for kind, names in kinds.items()
    )
    tiling, grid = group.tiling, group.grid
    extent = f"{tiling.width:,} × {tiling.height:,}"
    if group.axis:
        extent = f"{counted(tiling.slices, 'slice' if group.axis == 'time' else 'chip')} of {extent}"
    pixel = grid.transform.pixel_size
    side = f"{pixel[0]:g}" if pixel[0] == pixel[1] else f"{pixel[0]:g} × {pixel[1]:g}"
    system = "of each chip's image" if group.lattices else str(grid.crs)
    return (name or "the mosaic", bands, extent, f"{side} {grid.crs.unit}", system, f"{tiling.tiles:,}")
