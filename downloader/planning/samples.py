"""Samples: points or fields of a file, the image that each is cut from, and the chip of its pixels around it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from downloader.model.crs import Crs, transformer
from downloader.model.grid import PixelGrid

_EXACT: Final = 1e-6
"""Nearer than this to a pixel's edge, in pixels, the exact arithmetic decides."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the file that is kept along the samples."""

    name: str
    """As the file spells it."""
    kind: Literal["int64", "float64", "string"]


@dataclass(frozen=True, slots=True)
class Point:
    """One row of the file; of a field a point inside stands for it."""

    id: str
    """As the file has it, else its number, from 1."""
    x: float
    """As written, in the file's CRS; longitude where that is geographic."""
    y: float
    """As written."""
    lon: float
    """Degrees east."""
    lat: float
    """Degrees north."""
    where: str
    """File and line, for messages."""
    image: str = ""
    """Id of the image it names; empty where it names none."""
    date: str = ""
    """Time that its image is to be near to; empty where it names none."""
    values: tuple[int | float | str, ...] = ()
    """Of the columns that are kept."""
    shape: bytes = field(default=b"", repr=False)
    """Polygon of a field in the file's CRS, as well-known binary; empty for a point."""

    @property
    def said(self) -> str:
        """The point's id, coordinates, image and date as text; identifies it across runs."""
        named = [f"image {self.image}"] if self.image else []
        named += [f"near {self.date}"] if self.date else []
        named += [f"polygon {hashlib.sha256(self.shape).hexdigest()[:16]}"] if self.shape else []
        return ", ".join([f"{self.id} at ({self.x!r}, {self.y!r})", *named])


@dataclass(frozen=True, slots=True)
class Points:
    """Contents of a file of points or fields."""

    crs: Crs
    """Of `x` and `y`."""
    columns: tuple[Column, ...]
    rows: tuple[Point, ...]
    """In the file's order."""

    @property
    def are_fields(self) -> bool:
        """Whether they stand for polygons."""
        return any(row.shape for row in self.rows)


@dataclass(frozen=True, slots=True)
class Sample:
    """A point and its image."""

    point: Point
    image: str = ""
    """Full name of the image; empty where none was found."""
    problem: str = ""
    """Reason why the sample has no pixels; empty if it has."""


@dataclass(frozen=True, slots=True)
class SampleList:
    """All samples, in the order of the file, which is that of the mosaic's axis."""

    crs: Crs
    columns: tuple[Column, ...]
    samples: tuple[Sample, ...]
    """With steps one for each step of each point: in the order of their images' times, and at last those without one."""
    steps: int = 0
    """Steps of each point; 0 where a point has one image, and arrays no such axis."""
    window: str = ""
    """The period of each point's images but for the list's, for comparison; empty where a point has one image."""

    @property
    def firsts(self) -> tuple[Sample, ...]:
        """The first step of each point."""
        return self.samples[:: self.steps or 1]

    def of_point(self, number: int) -> tuple[Sample, ...]:
        """Return the steps of a point; without steps the one sample."""
        steps = self.steps or 1
        return self.samples[number * steps : (number + 1) * steps]


def project(points: Points, crs: Crs) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return coordinates x and y of all points in another CRS; infinite where they have none there."""
    x, y = np.array([(row.x, row.y) for row in points.rows], np.float64).reshape(-1, 2).T
    if crs != points.crs:
        x, y = transformer(points.crs, crs).transform(x, y)
    return x, y


def pixels_of(
    grid: PixelGrid, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Return (columns, rows, inside) of the pixels that hold points in the grid's CRS.

    A point on an edge belongs to the pixel right of it or below it. Of those without coordinates only `inside`, which
    is False, means something.
    """
    t = grid.transform
    known = np.isfinite(x) & np.isfinite(y)
    column, row = t.to_pixels(np.where(known, x, t.translate_x), np.where(known, y, t.translate_y))
    far = np.maximum(np.abs(column), np.abs(row)) > 2**40
    known &= ~far
    columns, rows = (np.floor(np.where(known, p, 0)).astype(np.int64) for p in (column, row))
    near = (np.abs(column - np.round(column)) < _EXACT) | (np.abs(row - np.round(row)) < _EXACT)
    for k in np.flatnonzero(near & known).tolist():
        exact = t.locate(float(x[k]), float(y[k]))
        columns[k], rows[k] = math.floor(exact[0]), math.floor(exact[1])
    inside = known & (columns >= 0) & (columns < grid.width) & (rows >= 0) & (rows < grid.height)
    return columns, rows, inside


def facts_of(samples: SampleList) -> Mapping[str, str]:
    """Return the facts about stored samples that a later run must not change, by name."""
    facts = {"points.crs": str(samples.crs)}
    facts["images of a point"] = "all of its period" if samples.steps else "one, and no axis of steps"
    if samples.steps:
        facts["period of each point"] = samples.window
    for number, sample in enumerate(samples.firsts, 1):
        facts[f"points[{number}]"] = sample.point.said
        for column, value in zip(samples.columns, sample.point.values, strict=True):
            facts[f"points[{number}].{column.name}"] = repr(value)
    return facts
