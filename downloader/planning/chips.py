"""Place the chips of samples: each on its image's own pixels, a lattice for each pixel size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from downloader.errors import JobError
from downloader.model.crs import Crs
from downloader.model.grid import PixelGrid, Window
from downloader.model.image import Band, Image
from downloader.planning.cover import Cover
from downloader.planning.extent import Extent
from downloader.planning.inputs import JobFiles
from downloader.planning.lattice import Lattice, lattices_of, pixel_area
from downloader.planning.samples import Points, Sample, SampleList, chip_around, pixels_of, project

if TYPE_CHECKING:
    from downloader.job import Job


_Coordinates = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class _Kind:
    """Images whose bands lie on the same grids."""

    found: list[Lattice]
    problem: str = ""
    """Difference from the first image that rules these out; empty if there is none."""


class Placement:
    """Finder of points in images, for many points at once."""

    def __init__(self, job: Job, points: Points, first: Image, files: JobFiles) -> None:
        self._job = job
        self._points = points
        self._files = files
        self._coordinates: dict[Crs, _Coordinates] = {}
        self._kinds: dict[tuple[Band, ...], _Kind] = {}
        self.lattices = lattices_of(job, first.select(job.source.band_names), files)
        """Of the first image, finest first."""
        self._first = first

    def _chips(self, finest: int) -> list[int]:
        """Return the pixels along a chip's side by lattice: enough to cover the ground of the finest one."""
        areas = [pixel_area(lattice.grid) for lattice in self.lattices]
        return [max(1, math.ceil(finest * math.sqrt(areas[0] / area) - 1e-6)) for area in areas]

    def extents(
        self, kept: SampleList, images: Mapping[str, Image], chip: int
    ) -> tuple[list[Extent], tuple[Sample, ...]]:
        """Return the chips by lattice, and the samples with the reason why one has no pixels.

        Args:
            kept: the points and the images found for them.
            images: by full name.
            chip: pixels along a chip's side on the finest lattice.
        """
        samples, steps = kept.samples, kept.steps or 1
        chips = self._chips(chip)
        grids: list[list[PixelGrid | None]] = [[None] * len(samples) for _ in chips]
        told = list(samples)
        kinds = {name: self._kind(images[name]) for name in {one.image for one in samples if one.image}}
        of: dict[int, tuple[_Kind, list[int]]] = {}
        for number, sample in enumerate(samples):
            if sample.image:
                kind = kinds[sample.image]
                of.setdefault(id(kind), (kind, []))[1].append(number)
        for kind, numbers in of.values():
            if kind.problem:
                for k in numbers:
                    id_ = images[samples[k].image].id
                    told[k] = replace(told[k], problem=f"{told[k].point.where}: {id_} {kind.problem}")
                continue
            # Images of one kind have a point in the same pixel.
            chosen, positions = np.unique(np.array(numbers) // steps, return_inverse=True)
            inside = self._covered(kind.found[0], chosen).tolist()
            made = []
            for lattice, side in zip(kind.found, chips, strict=True):
                columns, rows, _ = self._pixels(lattice.grid, chosen)
                places = zip(columns.tolist(), rows.tolist(), inside, strict=True)
                made.append(
                    [chip_around(lattice.grid, c, r, side) if there else None for c, r, there in places]
                )
            for position, k in zip(positions.tolist(), numbers, strict=True):
                if inside[position]:
                    told[k] = replace(told[k], problem="") if told[k].problem else told[k]
                    for own, found in zip(grids, made, strict=True):
                        own[k] = found[position]
                    continue
                point, id_ = told[k].point, images[samples[k].image].id
                told[k] = replace(
                    told[k],
                    problem=f"{point.where}: the point ({point.x:g}, {point.y:g}) lies outside {id_}",
                )
        extents = []
        for side, own in zip(chips, grids, strict=True):
            window = Window(0, 0, side, side)
            covered: tuple[Cover, ...] = ()
            if kept.steps:
                _on_one_grid(own, kept.steps)
                # A step without an image is no hole; one whose image does not fit has failed.
                covered = tuple((window,) if one.image or one.problem else () for one in told)
            extents.append(Extent(window, covered=covered, chips=tuple(own)))
        return extents, tuple(told)

    def _kind(self, image: Image) -> _Kind:
        kind = self._kinds.get(image.bands)
        if kind is None:
            try:
                bands = image.select(
                    self._job.source.band_names
                    or tuple(b.id for lattice in self.lattices for b in lattice.bands)
                )
                found = lattices_of(self._job, bands, self._files)
            except JobError as error:
                kind = _Kind([], f"does not fit: {error}")
            else:
                kind = _Kind(found, self._unlike(found))
            self._kinds[image.bands] = kind
        return kind

    def _unlike(self, found: list[Lattice]) -> str:
        mine = [[(band.id, band.dtype) for band in lattice.bands] for lattice in found]
        theirs = [[(band.id, band.dtype) for band in lattice.bands] for lattice in self.lattices]
        if mine != theirs:
            return f"has bands of other types or groups than {self._first.id}"
        for one, other in zip(found, self.lattices, strict=True):
            size, wanted = one.grid.transform.pixel_size, other.grid.transform.pixel_size
            if one.grid.crs.unit != other.grid.crs.unit or not np.allclose(size, wanted, rtol=1e-9, atol=0):
                return (
                    f"has pixels of {size[0]:g} {one.grid.crs.unit}, those of {self._first.id} are {wanted[0]:g} "
                    f"{other.grid.crs.unit}; say one grid for all, such as  grid: {{crs: EPSG:32610, resolution: 10}}"
                )
        return ""

    def _covered(self, lattice: Lattice, chosen: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which points the image itself covers."""
        if not lattice.is_endless:
            return self._pixels(lattice.grid, chosen)[2]
        band = lattice.bands[0]
        if not band.is_bounded:
            return np.isfinite(self._at(lattice.grid.crs)[0][chosen])
        return self._pixels(band.grid, chosen)[2]

    def _pixels(
        self, grid: PixelGrid, chosen: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        x, y = self._at(grid.crs)
        return pixels_of(grid, x[chosen], y[chosen])

    def _at(self, crs: Crs) -> _Coordinates:
        if crs not in self._coordinates:
            self._coordinates[crs] = project(self._points, crs)
        return self._coordinates[crs]


def _on_one_grid(grids: list[PixelGrid | None], steps: int) -> None:
    """Put all chips of each sample on the grid of its first: images whose pixels lie otherwise are resampled."""
    for first in range(0, len(grids), steps):
        own = grids[first : first + steps]
        grid = next((one for one in own if one is not None), None)
        grids[first : first + steps] = [one and grid for one in own]
