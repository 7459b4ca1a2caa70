"""Chips of samples: each on its image's own pixels, on a lattice for each pixel size."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from downloader.errors import JobError
from downloader.model.crs import Crs
from downloader.model.grid import PixelGrid, Window
from downloader.model.image import Band, Image
from downloader.planning.cover import Cover
from downloader.planning.extent import Extent
from downloader.planning.inputs import JobFiles
from downloader.planning.lattice import Lattice, group_names, lattices_of, pixel_area
from downloader.planning.polygon import Shape, place, window_of
from downloader.planning.samples import Sample, SampleList, pixels_of, project
from downloader.planning.tiling import Tiling

if TYPE_CHECKING:
    from downloader.job import Job


_MOST_UNASKED: Final = 512
"""Pixels along the side of all chips that one large field may cause by itself."""

_Coordinates = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class _Kind:
    """Images whose bands lie on the same grids."""

    found: list[Lattice]
    problem: str = ""
    """Difference from the first image that rules these out; empty if there is none."""


@dataclass(frozen=True, slots=True)
class _Chip:
    """Pixels of a point or field on a lattice."""

    box: Window
    """In pixels of the lattice; a field's may be smaller than the chip."""
    shape: Shape | None = None
    """A field, in pixels of the box."""


class Placement:
    """Finder of points in images, for many points at once."""

    def __init__(self, job: Job, first: Image, files: JobFiles) -> None:
        assert files.points is not None  # noqa: S101  # the job has samples
        self._job = job
        self._points = files.points
        self._files = files
        self._coordinates: dict[Crs, _Coordinates] = {}
        self._kinds: dict[tuple[Band, ...], _Kind] = {}
        self.lattices = lattices_of(job, first.select(job.source.band_names), files)
        """Of the first image, finest first."""
        self._first = first

    def extents(
        self, kept: SampleList, images: Mapping[str, Image], known: Mapping[str, Tiling]
    ) -> tuple[list[Extent], tuple[Sample, ...]]:
        """Return the chips by lattice, and the samples with the reason why one has no pixels.

        Args:
            kept: the points and the images found for them.
            images: by full name.
            known: by group, the tiling of a mosaic that exists: the chips of its fields stay as large.

        Raises:
            JobError: the largest field makes all chips larger than is taken for wanted.
        """
        samples, told, run = kept.samples, list(kept.samples), kept.steps or 1
        # Of an image from which nothing can be made nothing is known but its problem.
        kinds = {name: self._kind(images[name]) for name in {one.image for one in samples} if name in images}
        # All steps of a sample lie on the grid of its first: images whose pixels lie otherwise are resampled.
        firsts: dict[int, tuple[int, _Kind]] = {}
        there = [False] * len(samples)
        for kind, numbers in _by_kind((k, kinds.get(one.image)) for k, one in enumerate(samples)):
            # Images of one kind have a point in the same pixel.
            chosen, positions = np.unique(np.array(numbers) // run, return_inverse=True)
            inside = [False] * len(chosen) if kind.problem else self._covered(kind.found[0], chosen).tolist()
            for position, k in zip(positions.tolist(), numbers, strict=True):
                point, id_ = told[k].point, images[samples[k].image].id
                there[k] = inside[position]
                if kind.problem:
                    problem = f"{point.where}: {id_} {kind.problem}"
                elif there[k]:
                    problem = ""
                    firsts[k // run] = min((k, kind), firsts.get(k // run, (k, kind)), key=lambda one: one[0])
                else:
                    problem = f"{point.where}: the point ({point.x:g}, {point.y:g}) lies outside {id_}"
                if problem != told[k].problem:
                    told[k] = replace(told[k], problem=problem)
        if self._points.are_fields:
            chips = self._fields(firsts, told, run)
            sides = self._sides_of(chips, known)
        else:
            sides = self._sides_of({}, known)
            chips = self._around(firsts, sides)
        for n, own in list(chips.items()):
            larger = next((c for c, side in zip(own, sides, strict=True) if max(c.box.shape) > side), None)
            if larger is not None:
                del chips[n]
                problem = f"its box of {larger.box.width} × {larger.box.height} pixels is larger than the chip of {sides[0]}"
                _fail(told, n, run, problem)
        there = [is_there and not one.problem for is_there, one in zip(there, told, strict=True)]
        extents = []
        for number, side in enumerate(sides):
            here = {n: (of[number], firsts[n][1].found[number].grid) for n, of in chips.items()}
            extents.append(self._extent(kept.steps, told, there, side, here))
        return extents, tuple(told)

    def _fields(
        self, firsts: Mapping[int, tuple[int, _Kind]], told: list[Sample], run: int
    ) -> dict[int, list[_Chip]]:
        """Return the fields by number, each by lattice; an error of one becomes the problem of its samples."""
        import shapely

        region, crs, found = self._job.region, self._points.crs, dict[int, list[_Chip]]()
        for n, (_, kind) in firsts.items():
            polygon = shapely.from_wkb(self._points.rows[n].shape)
            try:
                found[n] = [
                    _Chip(window, Shape.of(placed, window, all_touched=region.all_touched))
                    for lattice in kind.found
                    for placed in [
                        place(polygon, crs, lattice.grid, buffer=region.buffer, key="region.fields")
                    ]
                    for window in [window_of(placed)]
                ]
            except JobError as error:
                _fail(told, n, run, f"its polygon: {error.message}")
        return found

    def _around(
        self, firsts: Mapping[int, tuple[int, _Kind]], sides: Sequence[int]
    ) -> dict[int, list[_Chip]]:
        """Return the chips of points by number, each by lattice: the point's pixel has index `side // 2`."""
        found: dict[int, list[_Chip]] = {n: [] for n in firsts}
        for kind, numbers in _by_kind((n, kind) for n, (_, kind) in firsts.items()):
            for lattice, side in zip(kind.found, sides, strict=True):
                columns, rows, _ = self._pixels(lattice.grid, np.array(numbers))
                for n, column, row in zip(numbers, columns.tolist(), rows.tolist(), strict=True):
                    found[n].append(_Chip(Window(column - side // 2, row - side // 2, side, side)))
        return found

    def _sides_of(self, fields: Mapping[int, list[_Chip]], known: Mapping[str, Tiling]) -> list[int]:
        """Return the pixels along a chip's side by lattice.

        Raises:
            JobError: the largest field makes all chips larger than is taken for wanted.
        """
        spec = self._job.region.samples
        if spec is not None and spec.chip is not None:
            # Enough to cover the ground of the finest; that of a field's box is no whole number of coarser pixels.
            areas = [pixel_area(lattice.grid) for lattice in self.lattices]
            sides = [max(1, math.ceil(spec.chip * math.sqrt(areas[0] / area) - 1e-6)) for area in areas]
            return [sides[0], *(side + int(self._points.are_fields) for side in sides[1:])]
        names = group_names(self.lattices)
        largest = [
            max((max(own[k].box.shape) for own in fields.values()), default=1) for k in range(len(names))
        ]
        if names[0] not in known and largest[0] > _MOST_UNASKED:
            first = next(n for n, own in fields.items() if max(own[0].box.shape) == largest[0])
            raise JobError(
                f"{self._points.rows[first].where}: the field takes {largest[0]:,} pixels a side, and all samples become as large; "
                f"write chip: {largest[0]} if that is wanted, or leave the field out",
                key="region.fields",
            )
        return [
            known[name].tile if name in known else side for name, side in zip(names, largest, strict=True)
        ]

    def _extent(
        self,
        steps: int,
        told: Sequence[Sample],
        there: Sequence[bool],
        side: int,
        chips: Mapping[int, tuple[_Chip, PixelGrid]],
    ) -> Extent:
        """Return the chips on one lattice, given with the grid of each point's image."""
        whole, run, are_fields = Window(0, 0, side, side), steps or 1, self._points.are_fields
        grids = {
            n: grid.window(Window(chip.box.column, chip.box.row, side, side))
            for n, (chip, grid) in chips.items()
        }
        covered: tuple[Cover, ...] = ()
        if steps or are_fields:
            # A step without an image is no hole; one whose image does not fit has failed.
            boxes = {n: Window(0, 0, chip.box.width, chip.box.height) for n, (chip, _) in chips.items()}
            covered = tuple(
                (boxes.get(k // run, whole),) if one.image or one.problem else ()
                for k, one in enumerate(told)
            )
        places = range(len(told) // run) if are_fields else ()
        return Extent(
            whole,
            covered=covered,
            chips=tuple(grids[k // run] if is_there else None for k, is_there in enumerate(there)),
            shapes=tuple(chips[n][0].shape if n in chips else None for n in places),
        )

    def _kind(self, image: Image) -> _Kind:
        if image.bands not in self._kinds:
            names = tuple(band.id for lattice in self.lattices for band in lattice.bands)
            try:
                bands = image.select(self._job.source.band_names or names)
                found = lattices_of(self._job, bands, self._files)
                problem = self._unlike(found)
            except JobError as error:
                found, problem = [], f"does not fit: {error}"
            self._kinds[image.bands] = _Kind(found, problem)
        return self._kinds[image.bands]

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


def _by_kind(places: Iterable[tuple[int, _Kind | None]]) -> list[tuple[_Kind, list[int]]]:
    """Return each kind with the numbers of its places; those without a kind are left out."""
    found: dict[int, tuple[_Kind, list[int]]] = {}
    for number, kind in places:
        if kind is not None:
            found.setdefault(id(kind), (kind, []))[1].append(number)
    return list(found.values())


def _fail(told: list[Sample], number: int, steps: int, problem: str) -> None:
    """Note the problem of all images of a point that have none yet."""
    for k in range(number * steps, (number + 1) * steps):
        if told[k].image and not told[k].problem:
            told[k] = replace(told[k], problem=f"{told[k].point.where}: {problem}")
