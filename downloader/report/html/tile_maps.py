"""Maps of a group's tiles by state and by latency, as the templates draw them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from downloader.report.html.charts import nice_step
from downloader.report.html.svg import outlines
from downloader.report.html.tile_states import EMPTY, STATES, StateMap, fold

if TYPE_CHECKING:
    from downloader.progress.history import LatencyMap


WORDS: Final = {
    "stored": "stored",
    "missing": "missing",
    "failed": "failed",
    "outside_region": "outside the region",
    "outside_image": "outside the image",
}
"""State → its name in the legend, in that order."""

_CLASSES: Final = 6
"""Classes of a map by latency, at most."""

_RATIO: Final = 8.0
"""Longest to shortest from which classes grow by a ratio."""

_WIDEST: Final = 440
"""Pixels of the page that a map takes at most, either way."""

_CELL: Final = 22
"""Pixels of the page that a cell takes at most."""


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """A line of a legend."""

    kind: str
    """Class of the style sheet."""
    text: str
    count: int | None = None
    """Tiles; None if they are not counted."""


@dataclass(frozen=True, slots=True)
class TileMap:
    """A map, ready to be drawn."""

    id: str
    title: str
    words: str
    """Text alternative."""
    width: float
    """In cells; a last cell may be cut."""
    height: float
    paths: tuple[tuple[str, str], ...]
    """(class, `d` of a path in cells)."""
    legend: tuple[LegendEntry, ...]
    note: str = ""
    lines: tuple[tuple[str, str], ...] = ()
    """(class, `d`) of outlines over the cells."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) on the page at most, in CSS pixels."""
        scale = min(_CELL, _WIDEST / max(self.width, self.height))
        return max(1, round(self.width * scale)), max(1, round(self.height * scale))


def state_maps(
    name: str, title: str, states: StateMap, tiles: tuple[float, float], axis: str
) -> list[TileMap]:
    """Return the maps of a group's tiles by state: over its area, and along its leading axis if it has one.

    Args:
        name: begins the ids of the maps.
        title: the group's name, with a space behind it; empty where there is one group.
        states: its tiles.
        tiles: (columns, rows) of tiles; fractions where the last ones are cut.
        axis: the leading axis; empty where there is none.
    """
    found = dict(zip(STATES, states.counts, strict=True))
    legend = tuple(LegendEntry(state, text, found[state]) for state, text in WORDS.items() if found[state])
    counted = ", ".join(f"{entry.count:,} {entry.text}" for entry in legend) or "no tiles"
    maps = []
    if states.cells.size > 1 or not axis:
        width, height = tiles[0] / states.side, tiles[1] / states.side
        note = _note(states.side, "tiles", square=True)
        if axis:
            note = f"{note} Over {len(states.along):,} slices, the worst of them is shown.".strip()
        words = f"Map of the {title}tiles by state: {counted}. {note}".strip()
        paths = _state_paths(states.cells)
        maps.append(
            TileMap(f"{name}-area", _title(title, "by state"), words, width, height, paths, legend, note)
        )
    if axis and len(states.along) > 1:
        folded = fold(states.along, np.uint8(EMPTY))
        what = "chips" if axis == "sample" else "slices in the order of the mosaic"
        note = f"One cell for each of the {what}, row by row from the upper left."
        if states.run > 1:
            note = f"One cell for {states.run:,} {what}, row by row from the upper left; it shows the worst of them."
        words = f"Map of the {title}{what} by state: {counted}. {note}"
        height, width = folded.shape
        paths = _state_paths(folded)
        maps.append(
            TileMap(
                f"{name}-{axis}",
                _title(title, f"{what.split(maxsplit=1)[0]} by state"),
                words,
                width,
                height,
                paths,
                legend,
                note,
            )
        )
    return maps


def latency_maps(
    name: str, title: str, latency: LatencyMap, tiles: tuple[float, float], axis: str
) -> list[TileMap]:
    """Return the same maps by latency; arguments as for `state_maps`."""
    maps = []
    if latency.cells.size > 1 or not axis:
        note = _note(latency.side, "tiles", square=True, mean=True)
        size = (tiles[0] / latency.side, tiles[1] / latency.side)
        maps.append(_latency_map(f"{name}-latency", _title(title, "by latency"), latency.cells, size, note))
    if axis and len(latency.along) > 1:
        folded = fold(latency.along, np.float32("nan"))
        what = "chip" if axis == "sample" else "slice"
        note = f"One cell for each {what}, row by row from the upper left."
        if latency.run > 1:
            note = f"One cell for {latency.run:,} {what}s, row by row; it shows their mean."
        size = (folded.shape[1], folded.shape[0])
        maps.append(
            _latency_map(f"{name}-{axis}-latency", _title(title, f"{what}s by latency"), folded, size, note)
        )
    return [found for found in maps if found.legend]


def _latency_map(
    name: str, title: str, seconds: NDArray[np.float32], size: tuple[float, float], note: str
) -> TileMap:
    known = seconds[np.isfinite(seconds)]
    bounds = _breaks(known)
    classes = np.where(
        np.isfinite(seconds), np.searchsorted(bounds[1:-1], np.nan_to_num(seconds), side="right"), EMPTY
    ).astype(np.uint8)
    there = [int(value) for value in np.unique(classes) if value != EMPTY]
    legend = tuple(
        LegendEntry(f"q{value}", f"{_seconds(bounds[value])} to {_seconds(bounds[value + 1])} s")
        for value in there
    )  # fmt: skip
    drawn = outlines(classes)
    paths = tuple((f"q{value}", drawn[value]) for value in there)
    words = f"Map of the mean time that requests took, from {_seconds(bounds[0])} to {_seconds(bounds[-1])} s. {note}"
    return TileMap(name, title, words, size[0], size[1], paths, legend, note)


def _breaks(known: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the limits of the classes, at round numbers: equal steps, or equal ratios if values differ much.

    A class is no narrower than a twentieth of its value: less is noise, and would look like a pattern.
    """
    if not known.size:
        return np.array([0.0, 0.0])
    low, high = max(float(known.min()), 1e-4), max(float(known.max()), 1e-4)
    if high / low > _RATIO:
        return _round(np.geomspace(low, high, _CLASSES + 1))
    step = max(nice_step(high - low, _CLASSES - 1), nice_step(high, 20))
    first = np.floor(low / step + 1e-9)
    return step * np.arange(first, max(np.ceil(high / step - 1e-9), first + 1) + 1)


def _round(bounds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round to two digits, outward at the ends."""
    scale = 10.0 ** (np.floor(np.log10(bounds)) - 1)
    rounded = np.round(bounds / scale) * scale
    rounded[0], rounded[-1] = (
        np.floor(bounds[0] / scale[0]) * scale[0],
        np.ceil(bounds[-1] / scale[-1]) * scale[-1],
    )
    return np.unique(rounded)


def _title(group: str, text: str) -> str:
    return f"{group}{text}" if group else text.capitalize()


def _seconds(value: float) -> str:
    return f"{value:,.3g}" if value < 100 else f"{value:,.0f}"


def _note(side: int, what: str, *, square: bool, mean: bool = False) -> str:
    if side == 1:
        return ""
    shape = f"{side:,} × {side:,}" if square else f"{side:,}"
    return f"A cell stands for {shape} {what} and shows {'their mean' if mean else 'the worst of them'}."


def _state_paths(cells: NDArray[np.uint8]) -> tuple[tuple[str, str], ...]:
    drawn: Mapping[int, Any] = outlines(cells)
    order = [STATES.index(state) for state in WORDS]
    return tuple((STATES[state], drawn[state]) for state in order if state in drawn)
