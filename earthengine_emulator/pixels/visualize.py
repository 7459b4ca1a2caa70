"""visualizationOptions: from data to 8-bit colour (docs/contract.md §4.6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from earthengine_emulator.api.errors import invalid_argument
from earthengine_emulator.catalogue.model import Pixels, Valid

Bytes = npt.NDArray[np.uint8]


def colours(planes: Sequence[Pixels], options: Mapping[str, Any]) -> Bytes:
    """Return red, green and blue (height, width, 3) of one or three bands.

    Per channel: v' = clamp((v - min) / (max - min), 0, 1), then v' ** (1 / gamma), then 255·v' rounded to nearest.

    Raises:
        ApiError: 400 for another number of bands, or for ranges that are none.
    """
    if len(planes) not in (1, 3):
        raise invalid_argument(f"Visualization takes 1 or 3 bands, not {len(planes)}.")
    ranges = _ranges(options.get("ranges") or [], len(planes))
    gamma = float((options.get("gamma") or {}).get("value", 1.0))
    if not gamma > 0:
        raise invalid_argument("Gamma must be positive.")
    scaled = [
        np.clip((plane.astype(np.float64) - low) / (high - low), 0, 1) ** (1 / gamma)
        for plane, (low, high) in zip(planes, ranges, strict=True)
    ]
    palette = options.get("paletteColors") or []
    if palette:
        if len(planes) != 1:
            raise invalid_argument("A palette takes 1 band.")
        return _through(palette, scaled[0])
    return _to_bytes(np.stack(scaled * (3 // len(scaled)), axis=-1))


def alpha(valid: Sequence[Valid | None], shape: tuple[int, int], options: Mapping[str, Any]) -> Bytes | None:
    """Return the opacity (height, width): 0 where any band is masked; None where all is opaque."""
    opacity = min(1.0, max(0.0, float(options.get("opacity", 1.0))))
    seen = np.ones(shape, np.bool_)
    for mask in valid:
        if mask is not None:
            seen &= mask
    if seen.all() and opacity == 1:
        return None
    return _to_bytes(np.where(seen, opacity, 0.0))


def _to_bytes(unit: npt.NDArray[np.float64]) -> Bytes:
    return np.floor(np.nan_to_num(unit) * 255 + 0.5).astype(np.uint8)


def _ranges(given: Sequence[Mapping[str, float]], count: int) -> list[tuple[float, float]]:
    """Return one range per band; one for all is repeated, an omitted minimum is 0."""
    if len(given) not in (1, count):
        raise invalid_argument(f"Visualization takes 1 range or one per band ({count}), not {len(given)}.")
    pairs = [(one.get("min", 0.0), one.get("max")) for one in given]
    ranges = [(low, high) for low, high in pairs if high is not None and high != low]
    if len(ranges) != len(pairs):
        raise invalid_argument("Each range of a visualization needs a max, different from its min.")
    return ranges * (count // len(ranges))


def _through(palette: Sequence[str], unit: npt.NDArray[np.float64]) -> Bytes:
    """Return colours along a palette, linear between its entries."""
    entries = np.array([_colour(text) for text in palette], np.float64)
    at = np.nan_to_num(unit) * (len(entries) - 1)
    stops = np.arange(len(entries))
    return np.floor(
        np.stack([np.interp(at, stops, entries[:, channel]) for channel in range(3)], axis=-1) + 0.5
    ).astype(np.uint8)


def _colour(text: str) -> tuple[int, int, int]:
    """Return red, green, blue of RRGGBB, with or without #, or of a CSS name."""
    from PIL import ImageColor

    bare = text.removeprefix("#")
    is_hex = len(bare) in (3, 6) and all(c in "0123456789abcdefABCDEF" for c in bare)
    try:
        red, green, blue = ImageColor.getrgb(f"#{bare}" if is_hex else text)[:3]
    except ValueError:
        raise invalid_argument(f"Invalid palette colour '{text}'.") from None
    return red, green, blue
