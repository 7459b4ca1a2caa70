"""Maps of a group's tiles by state, as the templates draw them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from downloader.report.html.svg import outlines
from downloader.report.html.tile_states import EMPTY, STATES, StateMap, fold

WORDS: Final = {
    "stored": "stored",
    "missing": "missing",
    "failed": "failed",
    "outside_region": "outside the region",
    "outside_image": "outside the image",
}
"""State → its name in the legend, in that order."""

_WIDEST: Final = 440
"""Pixels of the page that a map takes at most, either way."""

_LINED: Final = 8
"""Pixels of the page from which there are lines between cells."""

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

    @property
    def grid(self) -> str:
        """`d` of lines between cells; empty where cells are too small for them."""
        if self.size[0] < _LINED * self.width:
            return ""
        down = [f"M{x} 0V{self.height:g}" for x in range(1, math.ceil(self.width))]
        return "".join(down + [f"M0 {y}H{self.width:g}" for y in range(1, math.ceil(self.height))])


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
    maps: list[TileMap] = []

    def add(kind: str, what: str, cells: NDArray[np.uint8], size: tuple[float, float], note: str) -> None:
        drawn = outlines(cells)
        paths = ((state, drawn[STATES.index(state)]) for state in WORDS if STATES.index(state) in drawn)
        heading = f"{what} by state".removeprefix("tiles ")
        words = f"Map of the {title}{what} by state: {counted}. {note}".strip()
        headline = f"{title}{heading}" if title else heading.capitalize()
        maps.append(TileMap(f"{name}-{kind}", headline, words, *size, tuple(paths), legend, note))

    if states.cells.size > 1 or not axis:
        side = states.side
        note = (
            "" if side == 1 else f"A cell stands for {side:,} × {side:,} tiles and shows the worst of them."
        )
        if axis:
            note = f"{note} Over {len(states.along):,} slices, the worst of them is shown.".strip()
        add("area", "tiles", states.cells, (tiles[0] / side, tiles[1] / side), note)
    if axis and len(states.along) > 1:
        folded = fold(states.along, np.uint8(EMPTY))
        what = "chips" if axis == "sample" else "slices"
        note = f"One cell for each of the {what} in the order of the mosaic, row by row from the upper left."
        if states.run > 1:
            note = f"One cell for {states.run:,} {what}, row by row from the upper left; it shows the worst of them."
        add(axis, what, folded, folded.shape[::-1], note)
    return maps
