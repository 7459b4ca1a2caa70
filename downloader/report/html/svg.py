"""Outlines of the cells of each class, so that a map of thousands of cells is a few lines of SVG."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def rectangles(cells: NDArray[Any], value: Any) -> list[tuple[int, int, int, int]]:  # noqa: ANN401  # of the cells' type
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
