"""Image pyramids: each level halves the one below by the band's policy (docs/contract.md §4.1).

Levels are made from 2×2 blocks of the one below until the image fits 256×256. Masked children do not count; a level's odd
last pixel has the children it has. The mean of integers is rounded to nearest, halves up; `SAMPLE` is the upper left child,
`MEDIAN` the lower middle one, `MODE` the commonest, the first on a tie.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import Final

import numpy as np
import numpy.typing as npt

from earthengine_emulator.catalogue.model import Band, Image, Pixels, Valid

BLOCK: Final = 256
"""Side, in pixels of its level, of the blocks that are made and kept; also the size at which levels end."""
KEPT_BYTES: Final = 96 * 2**20


def levels(band: Band) -> int:
    """Return the coarsest level: the first at which the image fits one 256×256 tile."""
    level, longest = 0, max(band.lattice.width, band.lattice.height)
    while longest > BLOCK:
        longest, level = (longest + 1) // 2, level + 1
    return level


def size(band: Band, level: int) -> tuple[int, int]:
    """Return columns and rows of a level; a last odd pixel makes one of its own."""
    return -(-band.lattice.width >> level), -(-band.lattice.height >> level)


def reduce(values: Pixels, valid: Valid | None, policy: str) -> tuple[Pixels, Valid | None]:
    """Halve a block of even height and width by 2×2 children; masked children do not count.

    MEAN of integers is rounded to nearest, halves up. MODE takes the commonest child, the upper-left-most on a tie.
    """
    corners = [values[i::2, j::2] for i in (0, 1) for j in (0, 1)]
    if policy == "SAMPLE":
        return corners[0].copy(), None if valid is None else valid[::2, ::2].copy()
    if valid is None:
        return _reduce_whole(corners, policy), None
    masks = np.stack([valid[i::2, j::2] for i in (0, 1) for j in (0, 1)])
    stack = np.stack(corners)
    count = masks.sum(axis=0)
    kept: Valid = count > 0
    if policy == "MEAN":
        total = np.where(masks, stack, 0).astype(_wide(stack.dtype)).sum(axis=0)
        return _divide(total, np.maximum(count, 1), stack.dtype), kept
    # Sorting the valid children to the front turns the other policies into a choice among the first `count`.
    order = np.argsort(~masks, axis=0, kind="stable")
    front = np.take_along_axis(stack, order, axis=0)
    result = np.zeros_like(corners[0])
    for n in (1, 2, 3, 4):
        here = count == n
        result[here] = _choose(front[:n][:, here], policy)
    return result, kept


def _reduce_whole(corners: list[Pixels], policy: str) -> Pixels:
    """Return the four children of every pixel, all valid, to one."""
    if policy == "MEAN":
        dtype = corners[0].dtype
        total = corners[0].astype(_wide(dtype))
        for corner in corners[1:]:
            total += corner
        return _divide(total, 4, dtype)
    return _choose(np.stack(corners), policy)


def _wide(dtype: npt.DTypeLike) -> type[np.generic]:
    """Return the type in which four values are summed."""
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return np.float64
    return np.int32 if dtype.itemsize < 4 else np.int64


def _divide(total: Pixels, count: Pixels | int, dtype: np.dtype[np.generic]) -> Pixels:
    """Return sum over count in the band's type; integers rounded to nearest, halves up."""
    if dtype.kind == "f":
        return np.asarray(total / count, dtype)
    return np.asarray((2 * total + count) // (2 * np.asarray(count)), dtype)


def _choose(stack: Pixels, policy: str) -> Pixels:
    """Return MIN, MAX, MEDIAN (lower one of an even number) or MODE over axis 0."""
    if policy == "MIN":
        return np.asarray(stack.min(axis=0))
    if policy == "MAX":
        return np.asarray(stack.max(axis=0))
    if policy == "MEDIAN":
        return np.asarray(np.sort(stack, axis=0)[(len(stack) - 1) // 2])
    votes = np.stack([(stack == child).sum(axis=0) for child in stack])
    winner = votes.argmax(axis=0)
    return np.asarray(np.take_along_axis(stack, winner[None], axis=0)[0])


Block = tuple[Pixels, Valid | None]

Window = tuple[str, int, int, int, int, int]
"""Name of an image, band, column, row, width and height."""


class Pyramids:
    """Windows at any level of any image, made of blocks that are kept up to a bound in bytes."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept: OrderedDict[tuple[str, int, int, int, int], Block] = OrderedDict()
        self._ahead: dict[Window, Pixels] = {}
        self._bytes = 0
        self._limit = kept_bytes
        self._lock = Lock()

    @contextmanager
    def ahead(self, windows: Mapping[Window, Pixels]) -> Iterator[None]:
        """Serve windows that are all valid from what was read before, while the context lasts."""
        self._ahead.update(windows)
        try:
            yield
        finally:
            for window in windows:
                self._ahead.pop(window, None)

    def clear(self) -> None:
        """Forget all blocks."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0

    def read(
        self, image: Image, band: int, level: int, column: int, row: int, width: int, height: int
    ) -> tuple[Pixels, Valid | None]:
        """Return pixels (height, width) of a window inside `level`, and their validity (None: all valid)."""
        if level == 0:
            known = self._ahead.get((image.name, band, column, row, width, height))
            return (known, None) if known is not None else image.source.read(band, column, row, width, height)
        out = np.empty((height, width), image.bands[band].type.dtype)
        valid: Valid = np.ones((height, width), np.bool_)
        for j in range(row // BLOCK, (row + height - 1) // BLOCK + 1):
            for i in range(column // BLOCK, (column + width - 1) // BLOCK + 1):
                values, mask = self._block(image, band, level, i, j)
                c0, c1 = max(column, i * BLOCK), min(column + width, i * BLOCK + values.shape[1])
                r0, r1 = max(row, j * BLOCK), min(row + height, j * BLOCK + values.shape[0])
                here = (slice(r0 - row, r1 - row), slice(c0 - column, c1 - column))
                there = (
                    slice(r0 - j * BLOCK, r1 - j * BLOCK),
                    slice(c0 - i * BLOCK, c1 - i * BLOCK),
                )
                out[here] = values[there]
                if mask is not None:
                    valid[here] = mask[there]
        return out, None if valid.all() else valid

    def window(
        self, image: Image, band: int, level: int, column: int, row: int, width: int, height: int
    ) -> tuple[Pixels, Valid | None]:
        """Return pixels (height, width) of a window that may reach over the edge of `level`, masked there."""
        wide, tall = size(image.bands[band], level)
        c0, c1, r0, r1 = max(column, 0), min(column + width, wide), max(row, 0), min(row + height, tall)
        if (c0, c1, r0, r1) == (column, column + width, row, row + height):
            return self.read(image, band, level, column, row, width, height)
        out = np.zeros((height, width), image.bands[band].type.dtype)
        valid = np.zeros((height, width), np.bool_)
        if c0 < c1 and r0 < r1:
            here = (slice(r0 - row, r1 - row), slice(c0 - column, c1 - column))
            out[here], mask = self.read(image, band, level, c0, r0, c1 - c0, r1 - r0)
            valid[here] = True if mask is None else mask
        return out, valid

    def _block(self, image: Image, band: int, level: int, i: int, j: int) -> Block:
        """Return block (column i, row j) of a level above 0."""
        key = (image.name, band, level, i, j)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        wide, tall = size(image.bands[band], level - 1)
        c, r = 2 * BLOCK * i, 2 * BLOCK * j
        w, h = min(2 * BLOCK, wide - c), min(2 * BLOCK, tall - r)
        values, mask = self.read(image, band, level - 1, c, r, w, h)
        if w % 2 or h % 2:
            # A missing last child counts as masked, so that it does not weigh on the mean.
            pad = ((0, h % 2), (0, w % 2))
            mask = np.pad(np.ones((h, w), np.bool_) if mask is None else mask, pad)
            values = np.pad(values, pad)
        block = reduce(values, mask, image.bands[band].pyramid)
        if block[1] is not None and block[1].all():
            block = (block[0], None)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = block
                self._bytes += block[0].nbytes
                while self._bytes > self._limit and len(self._kept) > 1:
                    _, (old, _) = self._kept.popitem(last=False)
                    self._bytes -= old.nbytes
        return block
