"""Average or choose four pixels by the band's pyramiding policy (docs/contract.md §4.1); pixels without data do not count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


POLICIES: Final = ("MEAN", "SAMPLE", "MIN", "MAX", "MODE", "MEDIAN")
"""The service's words for a band's `pyramidingPolicy`."""


def halve(
    pixels: NDArray[Any], valid: NDArray[np.bool_] | None, policy: str, blank: float | np.generic
) -> NDArray[Any]:
    """Return one pixel of the same type for every 2×2 block of `pixels`.

    MEAN of integers is rounded to the nearest, halves up; SAMPLE takes the upper left pixel; MODE the commonest, the
    first in reading order of several; MEDIAN the lower one of two in the middle.

    Args:
        pixels: (height, width), both even.
        valid: which of them hold data, shaped like `pixels`; None where all do.
        policy: one of `POLICIES`.
        blank: value of a pixel whose block holds no data.

    Returns:
        (height ÷ 2, width ÷ 2).
    """
    four = np.stack([pixels[i::2, j::2] for i in (0, 1) for j in (0, 1)])
    if valid is None:
        return np.array(four[0]) if policy == "SAMPLE" else _of_all(four, policy)
    seen = np.stack([valid[i::2, j::2] for i in (0, 1) for j in (0, 1)])
    if policy == "SAMPLE":
        return np.asarray(np.where(seen[0], four[0], pixels.dtype.type(blank)))
    count = seen.sum(axis=0, dtype=np.uint8)
    result = _of_some(four, seen, count, policy)
    result[count == 0] = blank
    return result


def _of_all(four: NDArray[Any], policy: str) -> NDArray[Any]:
    dtype = four.dtype
    if policy == "MEAN":
        if dtype.kind == "f":
            return np.asarray(four.sum(axis=0, dtype=np.float64) / 4, dtype)
        if dtype.itemsize < 8:
            wide = np.int32 if dtype.itemsize < 4 else np.int64
            return np.asarray((four.sum(axis=0, dtype=wide) + 2) >> 2, dtype)
    return _of_some(four, np.ones(four.shape, np.bool_), np.full(four.shape[1:], 4, np.uint8), policy)


def _of_some(
    four: NDArray[Any], seen: NDArray[np.bool_], count: NDArray[np.uint8], policy: str
) -> NDArray[Any]:
    """Return the value over pixels with data; it is arbitrary where none has."""
    if policy == "MEAN":
        return _mean(four, seen, np.maximum(count, 1))
    if policy in {"MIN", "MAX"}:
        least, most = _limits(four.dtype)
        if policy == "MIN":
            return np.asarray(np.where(seen, four, most).min(axis=0))
        return np.asarray(np.where(seen, four, least).max(axis=0))
    if policy == "MODE":
        votes = np.stack([((four == one) & seen).sum(axis=0) for one in four]) * seen
        return np.asarray(np.take_along_axis(four, votes.argmax(axis=0)[None], axis=0)[0])
    # The pixels that hold data in order, and behind them the others: the middle one of the first `count`.
    in_order = np.sort(np.where(seen, four, _limits(four.dtype)[1]), axis=0)
    middle = (np.maximum(count, 1).astype(np.intp) - 1) // 2
    return np.asarray(np.take_along_axis(in_order, middle[None], axis=0)[0])


def _mean(four: NDArray[Any], seen: NDArray[np.bool_], count: NDArray[np.uint8]) -> NDArray[Any]:
    dtype = four.dtype
    if dtype.kind == "f":
        return np.asarray(np.where(seen, four, 0).sum(axis=0, dtype=np.float64) / count, dtype)
    if dtype.itemsize < 8:
        total = np.where(seen, four, 0).sum(axis=0, dtype=np.int64)
        of = count.astype(np.int64)
        return np.asarray((2 * total + of) // (2 * of), dtype)
    # Four numbers of 64 bits have a sum that 64 bits do not hold: quotients and rests by themselves.
    of = count.astype(dtype)
    values = np.where(seen, four, dtype.type(0))
    quotients = values // of
    rest = (values - quotients * of).sum(axis=0, dtype=dtype)
    return np.asarray(quotients.sum(axis=0, dtype=dtype) + (2 * rest + of) // (2 * of), dtype)


def _limits(dtype: np.dtype[Any]) -> tuple[Any, Any]:
    if dtype.kind == "f":
        return dtype.type(-np.inf), dtype.type(np.inf)
    limits = np.iinfo(dtype)
    return dtype.type(limits.min), dtype.type(limits.max)
