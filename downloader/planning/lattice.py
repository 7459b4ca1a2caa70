"""Lattices of a mosaic's pixels: the image's own, or the one that `grid` of the job asks for."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING, Final

from downloader.errors import JobError
from downloader.job.sections.grid import UTM
from downloader.model.bbox import cover_window
from downloader.model.crs import Crs
from downloader.model.grid import EDGE_TOLERANCE, MAX_SIDE, AffineTransform, PixelGrid, Window
from downloader.model.image import Band, Image
from downloader.planning.cover import Cover
from downloader.planning.inputs import JobFiles
from downloader.planning.search_area import middle_of, region_middle
from downloader.planning.slices import Slice
from downloader.planning.zones import Zone
from downloader.text import first_lines

if TYPE_CHECKING:
    from downloader.job import Job


@dataclass(frozen=True, slots=True)
class Lattice:
    """An infinite pixel grid (CRS, origin, pixel size), and the bands whose pixels lie on it."""

    grid: PixelGrid
    """Its pixel (0, 0) is the lattice's origin; of a time series the first image's grid, or the existing mosaic's."""
    bands: tuple[Band, ...]
    is_endless: bool = False
    """Whether no image of its own bounds the lattice; the size of `grid` then means nothing."""
    extents: tuple[Cover, ...] = ()
    """By slice of a time series, the pixels of `grid` that its images cover; empty for one image."""
    absent: tuple[frozenset[str], ...] = ()
    """By slice of a time series, the bands that none of its images has."""
    zone: Zone | None = None
    """The UTM zone whose places it shows; None where it shows the whole region."""
    parts: tuple[Slice, ...] = ()
    """By slice of a time series, what brings pixels of the zone; empty where there is none."""

    @property
    def is_bounded(self) -> bool:
        """Whether each band has an edge of its own."""
        return all(band.is_bounded for band in self.bands)

    @property
    def hull(self) -> Window | None:
        """The window around all pixels that images cover; None if they cover none."""
        return Window.hull(window for cover in self.extents for window in cover)


def lattices_of(job: Job, bands: Sequence[Band], files: JobFiles) -> list[Lattice]:
    """Return the lattices that the job asks for, finest first, each with its bands.

    Raises:
        JobError: a grid that cannot be made for these bands.
    """
    if job.grid.is_native:
        native: dict[PixelGrid, list[Band]] = {}
        for band in bands:
            native.setdefault(band.grid, []).append(band)
        return [Lattice(grid, tuple(native[grid])) for grid in sorted(native, key=pixel_area)]
    finest = min((band.grid for band in bands), key=pixel_area)
    return [_asked_for(job, tuple(bands), finest, files)]


def _asked_for(job: Job, bands: tuple[Band, ...], finest: PixelGrid, files: JobFiles) -> Lattice:
    grid = job.grid
    if grid.crs == UTM:
        crs = _zone(job, finest, files)
    else:
        crs = finest.crs if grid.crs is None else Crs.parse(grid.crs)
    if grid.transform is not None:
        transform = AffineTransform(*grid.transform)
    elif grid.like is not None:
        own = {band.id: band.grid for band in bands}
        if files.like is None and grid.like not in own:
            raise JobError(
                f"{grid.like!r} is none of the bands {', '.join(own)}, and no file that is there",
                key="grid.like",
            )
        return Lattice(files.like or own[grid.like], bands, is_endless=True)
    else:
        x, y = grid.pixel_size(crs) or finest.transform.pixel_size
        if grid.crs is None and grid.zones is None:
            return Lattice(_resampled(finest, (x, y)), bands)
        # Edges on whole multiples of the pixel size: two jobs, whatever their regions, fit together.
        transform = AffineTransform(x, 0, 0, 0, -y, 0)
    return Lattice(PixelGrid(crs, transform, 1, 1), bands, is_endless=True)


def _zone(job: Job, finest: PixelGrid, files: JobFiles) -> Crs:
    """Return the UTM zone of the middle of the job's region; without a region, of the image."""
    if job.region.window is not None:
        raise JobError(
            "utm is the zone of the region's middle, and region.window counts in pixels of that very grid; give "
            "region.bbox, or name the zone, such as EPSG:32610",
            key="grid.crs",
        )
    middle = region_middle(job, files) if job.region.is_place else middle_of(finest)
    if middle is None:
        raise JobError(
            "the image's middle has no longitude and latitude; name the zone, such as EPSG:32610",
            key="grid.crs",
        )
    try:
        return Crs.utm(*middle)
    except JobError as error:
        raise JobError(str(error), key="grid.crs") from None


def held_pixels(job: Job, own: PixelGrid, like: PixelGrid | None) -> tuple[float, float]:
    """Return the number of pixels of `own`, along x and y, in one pixel of the job's grid; approximate if the CRSs differ.

    Args:
        job: whose grid.
        own: a band's grid.
        like: what `grid.like` names; None without it.
    """
    grid = job.grid
    crs = own.crs if grid.crs in {None, UTM} else Crs.parse(str(grid.crs))
    if like is not None:
        asked, crs = like.transform.pixel_size, like.crs
    elif grid.transform is not None:
        asked = AffineTransform(*grid.transform).pixel_size
    else:
        asked = grid.pixel_size(crs) or own.transform.pixel_size
    x, y = (
        wanted * crs.metres_per_unit / (native * own.crs.metres_per_unit)
        for wanted, native in zip(asked, own.transform.pixel_size, strict=True)
    )
    # A degree of longitude is shorter away from the equator, where metres are asked for.
    middle = middle_of(own)
    if middle is not None and own.crs.to_pyproj().is_geographic and not crs.to_pyproj().is_geographic:
        x /= max(math.cos(math.radians(middle[1])), 0.01)
    return x, y


def pixel_area(grid: PixelGrid) -> float:
    """Return the area of a pixel in square metres, near enough to sort by."""
    return math.prod(grid.transform.pixel_size) * grid.crs.metres_per_unit**2


def _resampled(grid: PixelGrid, resolution: tuple[float, float]) -> PixelGrid:
    """Return `grid` with another pixel size, its first corner kept; wide and high enough to hold all of it."""
    t = grid.transform
    if t.is_sheared:
        raise JobError(
            "the image's grid is sheared, so one pixel size says too little; leave grid native",
            key="grid.resolution",
        )
    scale_x, scale_y = math.copysign(resolution[0], t.scale_x), math.copysign(resolution[1], t.scale_y)
    width = math.ceil(Fraction(t.scale_x) * grid.width / Fraction(scale_x) - EDGE_TOLERANCE)
    height = math.ceil(Fraction(t.scale_y) * grid.height / Fraction(scale_y) - EDGE_TOLERANCE)
    if max(width, height) > MAX_SIDE:
        raise JobError(
            f"pixels of {resolution[0]:g}×{resolution[1]:g} {grid.crs.unit} would make the image "
            f"more than {MAX_SIDE:,} pixels wide or high; the image's own are {grid.transform.pixel_size[0]:g}",
            key="grid.resolution",
        )
    transform = AffineTransform(scale_x, 0.0, t.translate_x, 0.0, scale_y, t.translate_y)
    return PixelGrid(grid.crs, transform, max(width, 1), max(height, 1))


def group_names(lattices: Sequence[Lattice]) -> list[str]:
    """Return the names of the Zarr groups: none for a single one, else the pixel size, with `_2` … on a clash.

    Groups of UTM zones, even a single one, are named by zone and pixel size, such as `32610_10m`.
    """
    if len(lattices) == 1 and lattices[0].zone is None:
        return [""]
    names: list[str] = []
    for lattice in lattices:
        grid = lattice.grid
        x, y = grid.transform.pixel_size
        size = f"{x:g}" if math.isclose(x, y) else f"{x:g}x{y:g}"
        name = re.sub(r"[^A-Za-z0-9.x-]", "-", f"{size}{grid.crs.unit}")
        if lattice.zone is not None:
            name = f"{lattice.zone.name}_{name}"
        unique = (name if number == 1 else f"{name}_{number}" for number in count(1))
        names.append(next(one for one in unique if one not in names))
    return names


_SHOWN: Final = 8
"""Grids that a refusal lists."""


def check_lattices(named: Sequence[tuple[str, tuple[Image, ...]]], found: Mapping[str, Band]) -> None:
    """Refuse images whose pixels do not lie on the lattice of the first; the message lists the grids."""

    def own() -> Iterator[tuple[str, Band]]:
        for _, members in named:
            for image in members:
                yield from ((image.id, band) for band in image.bands if band.id in found)

    if all(offset_on(found[band.id].grid, band.grid) is not None for _, band in own()):
        return
    # Bands of other pixel sizes are no hindrance: each band is compared with its own first.
    lattices: dict[PixelGrid, list[str]] = {}
    for image, band in own():
        known = next((grid for grid in lattices if offset_on(grid, band.grid) is not None), band.grid)
        lattices.setdefault(known, []).append(f"{image} {band.id}")
    kinds = {(grid.crs, grid.transform.pixel_size) for grid in lattices}
    is_of_zones = len(kinds) == len(lattices) and all(crs.to_pyproj().utm_zone for crs, _ in kinds)
    zones = ["To have each UTM zone in a group of its own, native there:", "  grid: {zones: each}"]
    lines = [
        f"{grid.crs}, pixels of {grid.transform.pixel_size[0]:g} × {grid.transform.pixel_size[1]:g} {grid.crs.unit}, "
        f"pixel edges at ({_phase(grid)}): {who[0]}" + (f" and {len(who) - 1:,} more" if len(who) > 1 else "")
        for grid, who in lattices.items()
    ]
    commonest = max(lattices, key=lambda grid: len(lattices[grid]))
    crs = commonest.crs.code or json.dumps(commonest.crs.wkt, ensure_ascii=False)
    raise JobError(
        "\n".join(
            [
                "source: these images share no lattice, and nothing is warped unless the job asks for it. Found:",
                *(f"  {line}" for line in first_lines(lines, _SHOWN)),
                "To have all on one grid, resampled by the service, add to the job:",
                f"  grid: {{crs: {crs}, resolution: {commonest.transform.resolution}}}"
                + ("  # or crs: utm, the zone of the region's middle" if is_of_zones else ""),
                *(zones if is_of_zones else []),
            ]
        )
    )


def _phase(grid: PixelGrid) -> str:
    t = grid.transform
    if t.is_sheared:
        return f"{t.translate_x:g}, {t.translate_y:g}, sheared"
    return f"{t.translate_x % abs(t.scale_x):g}, {t.translate_y % abs(t.scale_y):g}"


@lru_cache(maxsize=1 << 16)
def offset_on(lattice: PixelGrid, grid: PixelGrid) -> tuple[int, int] | None:
    """Return (column, row) of `grid`'s corner on `lattice`; None where it does not lie on it."""
    a, b = lattice.transform, grid.transform
    if (lattice.crs, replace(a, translate_x=0, translate_y=0)) != (
        grid.crs,
        replace(b, translate_x=0, translate_y=0),
    ):
        return None
    column, row = a.locate(b.translate_x, b.translate_y)
    if max(abs(column - round(column)), abs(row - round(row))) > EDGE_TOLERANCE:
        return None
    return round(column), round(row)


@lru_cache(maxsize=1 << 16)
def covered_window(lattice: PixelGrid, grid: PixelGrid) -> Window:
    """Return the pixels of `lattice` that `grid` is made of, or touches where it does not lie on it."""
    offset = offset_on(lattice, grid)
    if offset is None:
        return cover_window(lattice, grid.bounds, grid)
    return grid.bounds.offset(*offset)
