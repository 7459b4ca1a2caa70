"""Summarise pixels over polygons by exactextract, which weighs each pixel by the exact share that a polygon covers.

Coordinates are pixels of a raster, counted from its lower left corner, so that rotated grids are like any other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from exactextract import exact_extract
from exactextract.feature import Feature, FeatureSource
from exactextract.operation import Operation
from exactextract.raster import RasterSource
from exactextract.writer import Writer
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
    counts: NDArray[np.float64]
    """(place, raster): valid pixels, each counted as far as the place covers it."""
    classes: list[list[tuple[NDArray[np.float64], NDArray[np.float64]]]]
    """[place][raster]: (classes, their shares of the valid pixels); empty unless asked for."""


def summarise(
    shapes: Sequence[bytes], height: int, width: int, rasters: Sequence[Read], statistics: Sequence[str]
) -> Summary:
    """Return statistics of every raster over every shape.

    Args:
        shapes: polygons as well-known binary, in pixels from the lower left corner; none of them empty.
        height: rows of every raster.
        width: columns of every raster.
        rasters: pixels of each.
        statistics: names that `check_statistics` let pass.
    """
    sources = [_Raster(str(number), height, width, read) for number, read in enumerate(rasters)]
    operations: list[Operation] = []
    names: list[tuple[int, str, str]] = []
    for number, source in enumerate(sources):
        for name in dict.fromkeys(("count", *statistics)):
            if name == FRACTIONS:
                operations += [Operation(one, f"{number}:{one}", source) for one in ("unique", "frac")]
                continue
            percentile = _PERCENTILE.fullmatch(name)
            operation = (
                Operation("quantile", f"{number}:{name}", source, None, {"q": int(percentile[1]) / 100})
                if percentile
                else Operation(_NAMES[name], f"{number}:{name}", source)
            )
            names.append((number, name, operation.name))
            operations.append(operation)
    rows = _Finds()
    if shapes:
        cells = max(10_000, _CELLS // len(sources))
        exact_extract(None, _Shapes(shapes), operations, output=rows, max_cells_in_memory=cells)
    index = {name: k for k, name in enumerate(statistics)}
    values = np.full((len(shapes), len(sources), len(statistics)), np.nan)
    counts = np.zeros((len(shapes), len(sources)))
    classes: list[list[tuple[NDArray[np.float64], NDArray[np.float64]]]] = []
    none = np.empty(0)
    for place, found in enumerate(rows.rows):
        for number, name, key in names:
            if name == "count":
                counts[place, number] = found[key]
            if name in index:
                values[place, number, index[name]] = found.get(key, np.nan)
        if FRACTIONS in index:
            classes.append(
                [
                    (np.asarray(found.get(f"{n}:unique", none)), np.asarray(found.get(f"{n}:frac", none)))
                    for n in range(len(sources))
                ]
            )
    return Summary(values, counts, classes)


class _Raster(RasterSource):  # type: ignore[misc]  # has no types
    """Pixels as exactextract asks for them."""

    def __init__(self, name: str, height: int, width: int, read: Read) -> None:
        super().__init__()
        # Rasters of one name are taken for one, which is read once.
        self.set_name(name)
        self._size = width, height
        self._read = read

    def res(self) -> tuple[float, float]:
        return 1.0, 1.0

    def extent(self) -> tuple[float, float, float, float]:
        return 0.0, 0.0, float(self._size[0]), float(self._size[1])

    def srs_wkt(self) -> None:
        return None

    def nodata_value(self) -> None:
        return None

    def read_window(self, x0: int, y0: int, nx: int, ny: int) -> NDArray[np.float64]:
        return self._read(x0, y0, nx, ny) if nx and ny else np.empty((ny, nx))


class _Shape(Feature):  # type: ignore[misc]  # has no types
    """A polygon."""

    def __init__(self, wkb: bytes) -> None:
        super().__init__()
        self._wkb = wkb

    def geometry(self) -> bytes:
        return self._wkb

    def fields(self) -> list[str]:
        return []


class _Shapes(FeatureSource):  # type: ignore[misc]  # has no types
    """Polygons one after the other."""

    def __init__(self, shapes: Sequence[bytes]) -> None:
        super().__init__()
        self._shapes = shapes

    def count(self) -> int:
        return len(self._shapes)

    def __iter__(self) -> Iterator[_Shape]:
        return map(_Shape, self._shapes)

    def srs_wkt(self) -> None:
        return None


class _Found(Feature):  # type: ignore[misc]  # has no types
    """The statistics of one polygon by name."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, Any] = {}

    def set(self, name: str, value: Any) -> None:  # noqa: ANN401  # a number or an array
        self.values[name] = value

    def set_geometry(self, _: Any) -> None:  # noqa: ANN401  # as exactextract has it
        return

    def set_geometry_format(self) -> str:
        return "wkb"


class _Finds(Writer):  # type: ignore[misc]  # has no types
    """Rows as exactextract hands them over."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, Any]] = []

    def add_operation(self, _: Any) -> None:  # noqa: ANN401  # as exactextract has it
        return

    def write(self, feature: Any) -> None:  # noqa: ANN401  # as exactextract has it
        row = _Found()
        feature.copy_to(row)
        self.rows.append(row.values)

    def finish(self) -> None:
        return

    def features(self) -> list[dict[str, Any]]:
        return self.rows
