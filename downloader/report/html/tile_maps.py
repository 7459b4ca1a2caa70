"""Maps of tiles by state, as the templates draw them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from downloader.report.html.tile_states import EMPTY, STATES, StateMap, fold

Ring = NDArray[np.float64]
"""(points, 2): columns and rows, in cells."""

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


@dataclass(frozen=True, slots=True, eq=False)
class TileMap:
    """A map of cells by class, and outlines over them."""

    title: str
    kinds: Sequence[str]
    """Classes of the style sheet."""
    cells: NDArray[np.uint8]
    """(rows, columns): numbers of `kinds`; a cell of any other number is empty."""
    width: float
    """In cells; a last cell may be cut."""
    height: float
    legend: tuple[LegendEntry, ...]
    note: str = ""
    rings: Mapping[str, Sequence[Ring]] = field(default_factory=dict)
    """Class → outlines; those of `ground` are filled."""

    @property
    def words(self) -> str:
        """Text alternative."""
        counts = ", ".join(f"{one.text}: {one.count:,}" for one in self.legend if one.count is not None)
        return ". ".join(filter(None, (f"Map: {self.title}", counts, self.note)))

    @property
    def paths(self) -> list[tuple[str, str]]:
        """(class, `d` of a path in cells) of areas."""
        drawn = {self.kinds[n]: d for n, d in outlines(self.cells).items() if n < len(self.kinds)}
        return [*drawn.items(), *((kind, d) for kind, d in self._drawn_rings() if kind == "ground")]

    @property
    def lines(self) -> list[tuple[str, str]]:
        """(class, `d`) of outlines over the cells."""
        return [(kind, d) for kind, d in self._drawn_rings() if kind != "ground"]

    def _drawn_rings(self) -> list[tuple[str, str]]:
        return [
            (kind, "".join("M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in ring.tolist()) for ring in rings))
            for kind, rings in self.rings.items()
        ]

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) on the page at most, in CSS pixels."""
        scale = min(_CELL, _WIDEST / max(self.width, self.height))
        return max(1, round(self.width * scale)), max(1, round(self.height * scale))

    @property
    def is_lined(self) -> bool:
        """True if cells are large enough for lines between them."""
        return self.size[0] >= _LINED * self.width


def state_maps(title: str, states: StateMap, tiles: tuple[float, float], axis: str) -> list[TileMap]:
    """Return the maps of a group's tiles by state: over its area, and along its leading axis if it has one.

    Args:
        title: the group's name; empty where there is one group.
        states: its tiles.
        tiles: (columns, rows) of tiles; fractions where the last ones are cut.
        axis: the leading axis; empty where there is none.
    """
    found = dict(zip(STATES, states.counts, strict=True))
    legend = tuple(LegendEntry(state, text, found[state]) for state, text in WORDS.items() if found[state])
    maps: list[TileMap] = []

    def add(what: str, cells: NDArray[np.uint8], size: tuple[float, float], note: str) -> None:
        heading = " ".join(filter(None, (title, what, "by state")))
        maps.append(TileMap(heading if title else heading.capitalize(), STATES, cells, *size, legend, note))

    if states.cells.size > 1 or not axis:
        side = states.side
        notes = [f"A cell stands for {side:,} × {side:,} tiles and shows the worst of them."] * (side > 1)
        notes += [f"Over {len(states.along):,} slices, the worst of them is shown."] * bool(axis)
        add("", states.cells, (tiles[0] / side, tiles[1] / side), " ".join(notes))
    if axis and len(states.along) > 1:
        folded = fold(states.along, np.uint8(EMPTY))
        what = "chips" if axis == "sample" else "slices"
        note = f"One cell for each of the {what} in the order of the mosaic, row by row from the upper left."
        if states.run > 1:
            note = f"One cell for {states.run:,} {what}, row by row from the upper left; it shows the worst of them."
        add(what, folded, folded.shape[::-1], note)
    return maps


def rectangles(cells: NDArray[Any], value: int) -> list[tuple[int, int, int, int]]:
    """Return (row, column, rows, columns) of rectangles that cover exactly the cells with this value."""
    done: list[tuple[int, int, int, int]] = []
    open_: dict[tuple[int, int], int] = {}
    wanted = np.pad(np.equal(cells, value), ((0, 1), (1, 1)))
    for row in range(wanted.shape[0]):
        edges = np.flatnonzero(wanted[row, 1:] != wanted[row, :-1]).tolist()
        runs = set(zip(edges[::2], edges[1::2], strict=True))
        for run in [run for run in open_ if run not in runs]:
            top = open_.pop(run)
            done.append((top, run[0], row - top, run[1] - run[0]))
        for run in runs:
            open_.setdefault(run, row)
    return sorted(done)


def outlines(cells: NDArray[Any]) -> dict[int, str]:
    """Return class → `d` of an SVG path, in cells, for every class in `cells`."""
    return {
        int(value): "".join(f"M{c} {r}h{w}v{h}h-{w}z" for r, c, h, w in rectangles(cells, value))
        for value in np.unique(cells)
    }
