"""Pixel grids and windows of them; positions are integers of pixels.

All request origins come from one formula, `AffineTransform.shifted`:

    request_origin = image_origin + pixel_scale × offset_in_pixels

Every origin is computed from the image's own origin in rational arithmetic and rounded once, so windows that
touch in pixels touch exactly on the ground and no error accumulates, however many tiles lie between.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, replace
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from downloader.errors import JobError
from downloader.model.crs import Crs
from downloader.text import cut

EDGE_TOLERANCE: Final = Fraction(1, 1_000_000)
"""A pixel overlapped by no more than this share of a pixel is not taken."""


MAX_SIDE: Final = 2**31
"""Pixels along a side of a grid, and of their distance from its origin: more is a mistake in a number."""

_MEMBERS: Final = ("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY")
"""Members of the API's `AffineTransform`, in the order of the fields here."""

_MOST: Final = 1e30
"""Greatest number of a transform: products of two, and of one with a grid's side, stay far from a float's end."""


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of whole pixels of a PixelGrid, which the holder of the window knows."""

    column: int
    """Column of the leftmost pixel; may be negative before clipping."""
    row: int
    """Row of the topmost pixel; may be negative before clipping."""
    width: int
    """Columns, at least 1."""
    height: int
    """Rows, at least 1."""

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise JobError(f"a window needs at least one pixel a side, got {self.width}×{self.height}")

    @property
    def column_end(self) -> int:
        """The first column right of the window."""
        return self.column + self.width

    @property
    def row_end(self) -> int:
        """The first row below the window."""
        return self.row + self.height

    @property
    def pixels(self) -> int:
        """Pixels inside."""
        return self.width * self.height

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width), as numpy has it."""
        return (self.height, self.width)

    @property
    def slices(self) -> tuple[slice, slice]:
        """(rows, columns) to index an array of the whole grid."""
        return (slice(self.row, self.row_end), slice(self.column, self.column_end))

    @classmethod
    def between(cls, column: int, row: int, column_end: int, row_end: int) -> Window:
        """Return the window of these columns and rows; the ends are excluded."""
        return cls(column, row, column_end - column, row_end - row)

    @classmethod
    def hull(cls, windows: Iterable[Window]) -> Window | None:
        """Return the smallest window around several; None for none."""
        corners = [(w.column, w.row, w.column_end, w.row_end) for w in windows]
        if not corners:
            return None
        left, top, right, bottom = zip(*corners, strict=True)
        return cls.between(min(left), min(top), max(right), max(bottom))

    def clip(self, other: Window) -> Window | None:
        """Return the part that lies in `other` too; None where they do not overlap."""
        column, row = max(self.column, other.column), max(self.row, other.row)
        column_end, row_end = min(self.column_end, other.column_end), min(self.row_end, other.row_end)
        if column >= column_end or row >= row_end:
            return None
        return Window.between(column, row, column_end, row_end)

    def contains(self, other: Window) -> bool:
        """Return whether all of `other` lies in this window."""
        return self.clip(other) == other

    def offset(self, columns: int, rows: int) -> Window:
        """Return the same size, moved."""
        return Window(self.column + columns, self.row + rows, self.width, self.height)

    def aligned(self, step: int) -> Window:
        """Return the smallest window around this one whose edges are multiples of `step` pixels."""
        return Window.between(
            self.column // step * step,
            self.row // step * step,
            -(-self.column_end // step) * step,
            -(-self.row_end // step) * step,
        )

    def __str__(self) -> str:
        return f"columns {self.column}…{self.column_end - 1}, rows {self.row}…{self.row_end - 1}"


@dataclass(frozen=True, slots=True)
class AffineTransform:
    """Pixel corners to CRS units (docs/contract.md §3.2): ``x = translate_x + scale_x·column + shear_x·row``, y likewise."""

    scale_x: float
    """Width of a pixel in CRS units."""
    shear_x: float
    """Change of x from one row to the next, in CRS units; 0 unless the grid is sheared or rotated."""
    translate_x: float
    """x of the outer corner of pixel (0, 0), in CRS units."""
    shear_y: float
    """Change of y from one column to the next, in CRS units."""
    scale_y: float
    """Height of a pixel in CRS units; negative when row 0 is the northern edge."""
    translate_y: float
    """y of the outer corner of pixel (0, 0), in CRS units."""

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) for value in self.to_gdal()):
            raise JobError(f"an affine transform needs finite numbers, got {self.to_gdal()}")
        if max(map(abs, self.to_gdal())) > _MOST:
            raise JobError(f"an affine transform needs numbers below {_MOST:g}, got {self.to_gdal()}")
        if Fraction(self.scale_x) * Fraction(self.scale_y) == Fraction(self.shear_x) * Fraction(self.shear_y):
            raise JobError(f"an affine transform must be invertible, got {self.to_gdal()}")

    @classmethod
    def from_json(cls, document: Mapping[str, object]) -> AffineTransform:
        """Return the transform of the API's object; members at zero may be absent or null (docs/contract.md §3.1)."""

        def member(name: str) -> float:
            value = document.get(name)
            try:
                return float(value) if value is not None else 0.0  # type: ignore[arg-type]  # float() refuses the rest
            except (TypeError, ValueError, OverflowError):
                raise JobError(f"an affine transform's {name} is no number: {cut(repr(value))}") from None

        return cls(*map(member, _MEMBERS))

    def to_json(self) -> dict[str, float]:
        """Return the API's object, all six members explicit."""
        return dict(zip(_MEMBERS, astuple(self), strict=True))

    def to_gdal(self) -> tuple[float, float, float, float, float, float]:
        """Return the six numbers in GDAL's order: (x origin, x per column, x per row, y origin, y per column, y per row)."""
        return (self.translate_x, self.scale_x, self.shear_x, self.translate_y, self.shear_y, self.scale_y)

    def at(self, column: int, row: int) -> tuple[float, float]:
        """Return (x, y) in CRS units of the upper-left corner of pixel (column, row), each correctly rounded."""
        x, y = self.exact(column, row)
        return float(x), float(y)

    def exact(self, column: int | Fraction, row: int | Fraction) -> tuple[Fraction, Fraction]:
        """Return (x, y) in CRS units of a point given in pixels, without rounding."""
        x = Fraction(self.translate_x) + Fraction(self.scale_x) * column + Fraction(self.shear_x) * row
        y = Fraction(self.translate_y) + Fraction(self.shear_y) * column + Fraction(self.scale_y) * row
        return x, y

    def shifted(self, column: int, row: int) -> AffineTransform:
        """Return the transform of the grid whose pixel (0, 0) is this grid's pixel (column, row)."""
        x, y = self.at(column, row)
        return replace(self, translate_x=x, translate_y=y)

    def locate(self, x: float | Fraction, y: float | Fraction) -> tuple[Fraction, Fraction]:
        """Return (column, row) in fractional pixels of a point in CRS units, without rounding."""
        a, b = Fraction(self.scale_x), Fraction(self.shear_x)
        d, e = Fraction(self.shear_y), Fraction(self.scale_y)
        dx, dy = Fraction(x) - Fraction(self.translate_x), Fraction(y) - Fraction(self.translate_y)
        determinant = a * e - b * d
        return (dx * e - dy * b) / determinant, (dy * a - dx * d) / determinant

    def to_pixels(
        self, x: NDArray[np.float64], y: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return (columns, rows) in fractional pixels of points in CRS units, in floats; `locate` is the exact form."""
        determinant = self.scale_x * self.scale_y - self.shear_x * self.shear_y
        dx, dy = x - self.translate_x, y - self.translate_y
        columns = (dx * self.scale_y - dy * self.shear_x) / determinant
        return columns, (dy * self.scale_x - dx * self.shear_y) / determinant

    @property
    def is_sheared(self) -> bool:
        """Whether rows or columns run askew to the CRS axes."""
        return self.shear_x != 0 or self.shear_y != 0

    @property
    def pixel_size(self) -> tuple[float, float]:
        """(width, height) of a pixel in CRS units, both positive."""
        return math.hypot(self.scale_x, self.shear_y), math.hypot(self.shear_x, self.scale_y)

    @property
    def resolution(self) -> str:
        """The size of a pixel as a job file takes it."""
        x, y = (int(size) if size.is_integer() else size for size in self.pixel_size)
        return f"{x!r}" if x == y else f"[{x!r}, {y!r}]"


@dataclass(frozen=True, slots=True)
class PixelGrid:
    """A CRS, an affine transform and a size: where each pixel of an image lies."""

    crs: Crs
    transform: AffineTransform
    width: int
    """Columns."""
    height: int
    """Rows."""

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise JobError(f"a pixel grid needs at least one pixel a side, got {self.width}×{self.height}")

    @property
    def bounds(self) -> Window:
        """All pixels of the grid."""
        return Window(0, 0, self.width, self.height)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width), as numpy has it."""
        return (self.height, self.width)

    def window(self, window: Window) -> PixelGrid:
        """Return the grid of the pixels in `window`, which may reach beyond this grid's edge."""
        return PixelGrid(
            self.crs, self.transform.shifted(window.column, window.row), window.width, window.height
        )

    def cover(self, window: Window, other: PixelGrid) -> Window:
        """Return the pixels of this grid that `window` of `other` touches, both in one CRS; not clipped.

        Takes every pixel overlapped by more than `EDGE_TOLERANCE` of a pixel.
        """
        corners = [
            self.transform.locate(*other.transform.exact(column, row))
            for column in (window.column, window.column_end)
            for row in (window.row, window.row_end)
        ]
        return around([column for column, _ in corners], [row for _, row in corners])

    def to_json(self) -> dict[str, object]:
        """Return the API's `PixelGrid` object: CRS, full affine and dimensions, nothing left to be inherited."""
        return {
            **self.crs.to_json(),
            "affineTransform": self.transform.to_json(),
            "dimensions": {"width": self.width, "height": self.height},
        }

    def __str__(self) -> str:
        size_x, size_y = self.transform.pixel_size
        size = f"{size_x:g}" if size_x == size_y else f"{size_x:g}×{size_y:g}"
        return f"{self.width}×{self.height} pixels of {size} {self.crs.unit}, {self.crs}"


def around(columns: list[Fraction] | list[float], rows: list[Fraction] | list[float]) -> Window:
    """Return the smallest window around points in fractional pixels, at least one pixel a side."""
    column, row = (math.floor(min(edges) + EDGE_TOLERANCE) for edges in (columns, rows))
    column_end, row_end = (math.ceil(max(edges) - EDGE_TOLERANCE) for edges in (columns, rows))
    return Window.between(column, row, max(column + 1, column_end), max(row + 1, row_end))
