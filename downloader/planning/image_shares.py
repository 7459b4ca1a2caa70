"""Shares of a region that each image covers and shows clear, counted on a coarse grid whose scale is kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from downloader.model.antimeridian import shorter_way
from downloader.model.crs import LONLAT
from downloader.model.grid import AffineTransform, PixelGrid

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

SIDE: Final = 128
"""Pixels of the coarse grid's longer side, at most."""

_PARTS: Final = 4
"""A pixel's weight is the share of so many points by so many that lie in the region."""


@dataclass(frozen=True, slots=True)
class ImageShare:
    """Shares of one image."""

    id: str
    update_time: str
    """The image's, when it was counted."""
    covered: float
    """Share of the region where every band asked for is valid."""
    clear: float
    """Share of what is covered that the mask leaves; 0 where nothing is covered."""
    lacks: str = ""
    """What the image would need to be counted, such as `no band nir`; empty where it was counted."""
    left_by: str = ""
    """`pick`, `limit` or `late`: what left out an image that meets the conditions; empty where nothing did."""

    @property
    def shows(self) -> float:
        """Share of the region that is covered and clear, to nine digits, so that equal ones compare equal."""
        return round(self.covered * self.clear, 9)

    def left_out(self, min_cover: float | None, min_clear: float | None) -> str:
        """Return which of two conditions the image does not meet, or an empty string."""
        if self.lacks:
            return ""
        if min_cover is not None and self.covered < min_cover:
            return f"covers {self.covered:.0%} of the region, less than min_cover {min_cover:.0%}"
        if min_clear is not None and self.clear < min_clear:
            return f"{self.clear:.0%} of what it covers is clear, less than min_clear {min_clear:.0%}"
        return ""


@dataclass(frozen=True, slots=True)
class CoarseGrid:
    """A grid over a region, with the weight of each pixel."""

    grid: PixelGrid
    weights: NDArray[np.float64]
    """(height, width); the area of the region in each pixel, in any unit. Their sum is not 0."""
    scale_m: float
    """Metres that a pixel measures north to south, and east to west in the region's middle."""

    def share(
        self, image: tuple[str, str], covered: NDArray[np.uint8], clear: NDArray[np.uint8]
    ) -> ImageShare:
        """Return the shares of one image.

        Args:
            image: id and update time.
            covered: (height, width), 1 where the image has pixels.
            clear: (height, width), 1 where the mask keeps them too.
        """
        there = float(self.weights[covered != 0].sum())
        kept = float(self.weights[(covered != 0) & (clear != 0)].sum())
        return ImageShare(*image, there / float(self.weights.sum()), kept / there if there else 0.0)


def coarse_grid(region: BaseGeometry, finest_m: float, scale_m: float | None = None) -> CoarseGrid:
    """Return a grid in longitude and latitude over a region, with pixels that are about square on the ground.

    Args:
        region: geometry in longitude and latitude, cut at 180°.
        finest_m: pixels are no smaller than these metres, as the images' own.
        scale_m: pixel size that was chosen before; None chooses whole metres so that the longer side has at most `SIDE` pixels.
    """
    region = shorter_way(region)
    west, south, east, north = region.bounds
    squeeze = max(math.cos(math.radians((south + north) / 2)), 0.01)
    if scale_m is None:
        longest = max((east - west) * squeeze, north - south) * LONLAT.metres_per_unit
        scale_m = float(math.ceil(max(longest / SIDE, finest_m)))
    step_y = scale_m / LONLAT.metres_per_unit
    step_x = step_y / squeeze
    width, height = max(1, math.ceil((east - west) / step_x)), max(1, math.ceil((north - south) / step_y))
    grid = PixelGrid(LONLAT, AffineTransform(step_x, 0, west, 0, -step_y, north), width, height)
    return CoarseGrid(grid, _weights(region, grid), scale_m)


def _weights(region: BaseGeometry, grid: PixelGrid) -> NDArray[np.float64]:
    import shapely

    transform = grid.transform
    x = transform.translate_x + (np.arange(grid.width * _PARTS) + 0.5) / _PARTS * transform.scale_x
    y = transform.translate_y + (np.arange(grid.height * _PARTS) + 0.5) / _PARTS * transform.scale_y
    shapely.prepare(region)
    inside = shapely.contains_xy(region, *np.meshgrid(x, y))
    counted = inside.reshape(grid.height, _PARTS, grid.width, _PARTS).sum(axis=(1, 3)).astype(np.float64)
    if not counted.any():  # a region thinner than the points are apart
        counted[:] = 1
    areas = np.cos(np.radians(y)).reshape(grid.height, _PARTS).mean(axis=1)
    return np.asarray(counted * areas[:, None])


def share_table(
    shares: Sequence[ImageShare], min_cover: float | None, min_clear: float | None, *, picks: bool = False
) -> list[tuple[str, ...]]:
    """Return a row for each image: id, share covered, share clear, and `kept` or why it is left out.

    Args:
        shares: what was counted.
        min_cover: the job's.
        min_clear: the job's.
        picks: whether the job picks the clearest, so that the share of the region that each shows matters.
    """
    rows: list[tuple[str, ...]] = []
    for one in shares:
        told = one.left_out(min_cover, min_clear) or _LEFT.get(one.left_by, "kept")
        if one.lacks:
            told += f": {one.lacks}"
        elif picks and told in {"kept", _LEFT["pick"]}:
            told += f": {one.shows:.0%} of the region is clear"
        counted = ("-", "-") if one.lacks else (f"{one.covered:.0%}", f"{one.clear:.0%}")
        rows.append((one.id, *counted, told))
    return rows


_LEFT: Final = {
    "pick": "left out by pick",
    "limit": "left out by limit",
    "late": "arrived late, waits for --accept new-images",
}
