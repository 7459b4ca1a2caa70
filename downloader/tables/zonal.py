"""Summarise pixels over polygons by exactextract, which weighs each pixel by the exact share that a polygon covers.

Coordinates are pixels of a raster, counted from its lower left corner, so that rotated grids are like any other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely
from exactextract import exact_extract
from exactextract.feature import JSONFeature, JSONFeatureSource
from exactextract.operation import Operation
from exactextract.raster import RasterSource
from numpy.typing import NDArray

from downloader.errors import JobError

Read = Callable[[int, int, int, int], NDArray[np.float64]]
"""(column, row, width, height) → pixels (height, width), NaN where they are not valid."""

FRACTIONS: Final = "fractions"

_NAMES: Final = {
    "mean": "mean",
    "median": "median",
    "min": "min",
    "max": "max",
    "sum": "sum",
    "std": "stdev",
    "var": "variance",
    "count": "count",
    "majority": "majority",
    "minority": "minority",
    "variety": "variety",
}
_PERCENTILE: Final = re.compile(r"p(\d{1,2}|100)")
_CELLS: Final = 16_000_000
"""Pixels of all rasters that exactextract holds at once."""


def check_statistics(names: Sequence[str]) -> tuple[str, ...]:
    """Return the statistics asked for, each once and `valid` left out, which is always told.

    Raises:
        JobError: there is no such statistic.
    """
    wanted = tuple(dict.fromkeys(name.strip() for name in names))
    if not wanted:
        raise JobError("stats: names no statistic; leave it out for the mean")
    for name in wanted:
        if name not in {*_NAMES, FRACTIONS, "valid"} and not _PERCENTILE.fullmatch(name):
            raise JobError(
                f"stats: {name!r} is none of {', '.join(_NAMES)}, p0 to p100, {FRACTIONS} and valid"
            )
    return tuple(name for name in wanted if name != "valid")


@dataclass(frozen=True, slots=True)
class Summary:
    """Statistics of places in rasters."""

    values: NDArray[np.float64]
    """(place, raster, statistic); NaN where a place has no valid pixel."""
    valid: NDArray[np.float64]
    """(place, raster): share of the place's area that valid pixels cover, from 0 to 1."""
    classes: NDArray[np.object_]
    """(place, raster): pairs (classes, their shares of the valid pixels); None unless asked for."""


def summarise(
    shapes: NDArray[np.object_],
    size: tuple[int, int],
    tile: int,
    rasters: Sequence[Read],
    statistics: Sequence[str],
) -> Summary:
    """Return statistics of every raster over every shape.

    Args:
        shapes: Shapely's polygons, in pixels from the lower left corner; empty where a place covers none.
        size: (height, width) of every raster.
        tile: pixels along the side of what is read at once.
        rasters: pixels of each.
        statistics: names that `check_statistics` let pass.
    """
    sources = [_Raster(str(number), size, read) for number, read in enumerate(rasters)]
    operations: list[Operation] = []
    names: list[tuple[int, str, str]] = []
    for number, source in enumerate(sources):
        for name in dict.fromkeys(("count", *statistics)):
            if name == FRACTIONS:
                operations += [Operation(one, f"{number}:{one}", source) for one in ("unique", "frac")]
                continue
            percentile = _PERCENTILE.fullmatch(name)
            operations.append(
                Operation("quantile", f"{number}:{name}", source, None, {"q": int(percentile[1]) / 100})
                if percentile
                else Operation(_NAMES[name], f"{number}:{name}", source)
            )
            names.append((number, name, operations[-1].name))
    # Places of one tile follow on each other, so that the tile is read once.
    there = np.flatnonzero(~shapely.is_empty(shapes))
    left, bottom, _, _ = (shapely.bounds(shapes[there]) // tile).T
    order = there[np.lexsort((left, bottom))]
    found = []
    if order.size:
        cells = max(10_000, _CELLS // len(sources))
        found = exact_extract(
            None, _Shapes(shapes[order]), operations, output="geojson", max_cells_in_memory=cells
        )
    index = {name: k for k, name in enumerate(statistics)}
    values = np.full((len(shapes), len(sources), len(statistics)), np.nan)
    counts = np.zeros((len(shapes), len(sources)))
    classes = np.full(counts.shape, None, object)
    for place, feature in zip(order.tolist(), found, strict=True):
        row = feature["properties"]
        for number, name, key in names:
            if name == "count":
                counts[place, number] = row[key]
            if name in index:
                values[place, number, index[name]] = np.nan if row[key] is None else row[key]
        for number in range(len(sources)) if FRACTIONS in index else ():
            if row[f"{number}:unique"] is not None:
                classes[place, number] = row[f"{number}:unique"], row[f"{number}:frac"]
    area = shapely.area(shapes)[:, None]
    return Summary(values, np.clip(counts / np.where(area > 0, area, np.inf), 0, 1), classes)


class _Raster(RasterSource):  # type: ignore[misc]  # has no types
    """Pixels as exactextract asks for them."""

    def __init__(self, name: str, size: tuple[int, int], read: Read) -> None:
        super().__init__()
        # Rasters of one name are taken for one, which is read once.
        self.set_name(name)
        self._size = size
        self._read = read

    def res(self) -> tuple[float, float]:
        return 1.0, 1.0

    def extent(self) -> tuple[float, float, float, float]:
        return 0.0, 0.0, float(self._size[1]), float(self._size[0])

    def srs_wkt(self) -> None:
        return None

    def nodata_value(self) -> None:
        return None

    def read_window(self, x0: int, y0: int, nx: int, ny: int) -> NDArray[np.float64]:
        return self._read(x0, y0, nx, ny) if nx and ny else np.empty((ny, nx))


class _Shape(JSONFeature):  # type: ignore[misc]  # has no types
    """A polygon, handed over as well-known binary."""

    def geometry(self) -> bytes:
        return bytes(shapely.to_wkb(self.feature["shape"]))


class _Shapes(JSONFeatureSource):  # type: ignore[misc]  # has no types
    """Polygons one after the other."""

    def __iter__(self) -> Iterator[_Shape]:
        return (_Shape({"shape": shape}) for shape in self.src)
