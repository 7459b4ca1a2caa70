"""Parts of slices that are computed of many images: each is asked of those images alone that meet it.

The pixels are those that all of the slice's images give there: what an image does not reach, it does not change.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from downloader.model.grid import PixelGrid, Window
from downloader.model.image import Image
from downloader.planning.lattice import covered_window, offset_on, pixel_area
from downloader.planning.steps import Steps

_KEPT: Final = 32
"""Expressions that are kept: neighbouring requests have the same images."""

_BEYOND: Final = 2
"""Pixels, of the image and of the request, by which an image is taken larger where it is resampled."""

_DRAWN: Final = ("first", "last")
"""Reducers that draw images over each other, and hold no values of others."""


@dataclass(frozen=True, slots=True)
class Composites:
    """The images of slices that several are reduced to, and what computes a part of one."""

    steps: Steps
    _kept: dict[tuple[str, ...], str] = field(default_factory=dict, repr=False, compare=False)

    def expression(self, members: Sequence[Image], lattice: PixelGrid, grid: PixelGrid) -> str:
        """Return what computes one request.

        Args:
            members: images of the slice, in the order in which the first or last wins.
            lattice: the group's.
            grid: the request's, on the lattice.

        Raises:
            JobError: it is longer, or nested deeper, than the service takes.
        """
        meeting = members
        if (offset := offset_on(lattice, grid)) is not None:
            window = grid.bounds.offset(*offset)
            # Where there is none, any image tells that nothing is there.
            meeting = [one for one in members if self._meets(one, lattice, window)] or members[:1]
        key = tuple(image.name for image in meeting)
        found = self._kept.get(key)
        if found is None:
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            found = self._kept[key] = self.steps.reduced(meeting)
        return found

    def depth(self, slices: Iterable[Sequence[Image]], lattice: PixelGrid, region: Window) -> int:
        """Return how many images a reducer holds of one pixel at most; 1 where it holds none but the result.

        Args:
            slices: images of each.
            lattice: the group's.
            region: in pixels of the lattice.
        """
        reducer = self.steps.reducer
        if reducer is None or reducer.name in _DRAWN:
            return 1
        found = (
            _most([w for image in members if (w := Window.hull(self._windows(image, lattice)))], region)
            for members in slices
        )
        return max(found, default=1)

    def _meets(self, image: Image, lattice: PixelGrid, window: Window) -> bool:
        return any(own.clip(window) for own in self._windows(image, lattice))

    def _windows(self, image: Image, lattice: PixelGrid) -> list[Window]:
        """Return the pixels of a lattice that the bands that are read of an image may tell of."""
        recipe = self.steps.recipe(image)
        read = {recipe.own(name) for name in recipe.of(recipe.bands)}
        grids = dict.fromkeys(band.grid for band in image.bands if band.id in read)
        return [_reach(lattice, grid) for grid in grids]

    def __reduce__(self) -> tuple[type[Composites], tuple[Steps]]:
        return Composites, (self.steps,)


def _reach(lattice: PixelGrid, grid: PixelGrid) -> Window:
    window = covered_window(lattice, grid)
    if offset_on(lattice, grid) is not None:
        return window
    beyond = _BEYOND + math.ceil(_BEYOND * math.sqrt(pixel_area(grid) / pixel_area(lattice)))
    return Window(
        window.column - beyond, window.row - beyond, window.width + 2 * beyond, window.height + 2 * beyond
    )


def _most(windows: Sequence[Window], region: Window) -> int:
    """Return how many windows lie over each other at most, within a region."""
    inside = [clipped for window in windows if (clipped := window.clip(region))]
    if len(inside) < 2 or len(set(inside)) == 1:
        return max(1, len(inside))
    columns = np.unique([[w.column, w.column_end] for w in inside])
    rows = np.unique([[w.row, w.row_end] for w in inside])
    counts = np.zeros((len(rows), len(columns)), int)
    for window in inside:
        left, right = np.searchsorted(columns, [window.column, window.column_end])
        top, bottom = np.searchsorted(rows, [window.row, window.row_end])
        counts[top:bottom, left:right] += 1
    return int(counts.max())
