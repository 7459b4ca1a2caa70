"""Stretch values to brightness between two values or percentiles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from downloader.arguments import numbers, shown
from downloader.errors import JobError

Limits = tuple[float, float]
"""The values shown darkest and brightest."""


def per_band(value: float | Sequence[float] | None, option: str, bands: int) -> list[float | None]:
    """Return one value for each band, given one for all or one for each. Raises JobError."""
    if value is None or isinstance(value, int | float):
        return [value] * bands
    try:
        listed = [float(one) for one in value]
    except (TypeError, ValueError):
        raise JobError(f"{option}: {shown(value)}: write a number, or one for each band") from None
    if len(listed) == 1:
        listed *= bands
    if len(listed) != bands:
        raise JobError(f"{option}: takes one value, or one for each of the {bands} bands; got {len(listed)}")
    return [*listed]


def limits_of(
    plane: NDArray[np.generic],
    seen: NDArray[np.bool_],
    percentiles: tuple[float, float],
    low: float | None,
    high: float | None,
) -> Limits:
    """Return the limits of a band: those given, else the percentiles of what is shown.

    Raises:
        JobError: the limits are not in ascending order.
    """
    numbers(percentiles, "percentiles", "lower, upper")
    if not 0 <= percentiles[0] < percentiles[1] <= 100:
        raise JobError(
            f"percentiles {percentiles[0]:g},{percentiles[1]:g}: is not two percentiles in ascending order; write 2,98"
        )
    if low is not None and high is not None and low >= high:
        raise JobError(f"min {low:g} is not below max {high:g}")
    values = plane[seen].astype("f8")
    ends = np.percentile(values, percentiles).tolist() if values.size else [0.0, 1.0]
    return (ends[0] if low is None else low, ends[1] if high is None else high)


def stretch(plane: NDArray[np.generic], limits: Limits) -> NDArray[np.uint8]:
    """Return 0 at or below the lower limit, 255 at or above the upper one, and values between in between."""
    low, high = limits
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = (plane.astype("f8") - low) / ((high - low) or 1.0)
        return (np.nan_to_num(np.clip(scaled, 0, 1)) * 255 + 0.5).astype("u1")
