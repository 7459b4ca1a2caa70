"""Select the group, slice and window of a mosaic that an export writes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from downloader.arguments import numbers
from downloader.errors import JobError
from downloader.model.bbox import BoundingBox, cover_box
from downloader.model.crs import Crs
from downloader.model.grid import PixelGrid, Window
from downloader.mosaic.flat import check_steps, flat
from downloader.mosaic.format.axis import NO_TIME
from downloader.mosaic.format.coverage import COVERAGE_TILES, Coverage
from downloader.mosaic.format.layout import GroupLayout
from downloader.mosaic.reader import level_layout
from downloader.mosaic.status import read_mosaic
from downloader.mosaic.storage.location import locate
from downloader.planning import Group
from downloader.previews.select import choose_slice

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Cutout:
    """The pixels of a grid that are exported: a window or a box; all without either."""

    window: Window | Sequence[int] | None
    bbox: Sequence[float] | None
    crs: str
    """CRS of `bbox`."""

    def on(self, grid: PixelGrid) -> Window:
        """Return the window of a grid. Raises JobError if it lies outside."""
        if self.bbox is not None:
            west, south, east, north = numbers(self.bbox, "bbox", "west, south, east, north")
            try:
                return cover_box(grid, BoundingBox(west, south, east, north, Crs.parse(self.crs)))
            except JobError as error:
                option = "bbox" if error.key else "crs"
                raise JobError(f"{option}: {error.message}") from error
        if self.window is None:
            return grid.bounds
        window = self.window
        if not isinstance(window, Window):
            window = Window(*map(int, numbers(window, "window", "column, row, width, height")))
        part = window.clip(grid.bounds)
        if part is None:
            raise JobError(
                f"window: {window} lies outside the {grid.width}×{grid.height} pixels of the mosaic"
            )
        return part


@dataclass(frozen=True)
class Excerpt:
    """A window of one slice of one group, open for reading. Windows that its methods take count from its own corner."""

    path: str
    layout: GroupLayout
    node: Any
    """Its Zarr group."""
    number: int
    """Index along the leading axis."""
    part: Window
    """Of the slice's grid."""
    grid: PixelGrid
    """Of the window."""
    group: str
    """Name of the group; of an overview the one that it is made of."""

    @classmethod
    def choose(
        cls,
        mosaic: str | Path,
        name: str,
        level: int,
        time: str | None,
        number: int | None,
        cutout: Cutout,
        *,
        each: bool,
    ) -> list[Excerpt]:
        """Open slices of a mosaic: one, or all that have pixels, in the order of the mosaic.

        Args:
            mosaic: its path or URL.
            name: the group's name.
            level: 1 for the pixels, or an overview's factor.
            time: `latest`, a number in the order of time, or the beginning of a time; None for the latest.
            number: in place of it an index in the mosaic's own order.
            cutout: which pixels.
            each: whether all slices are wanted.

        Raises:
            JobError: there is no such level, slice or window.
        """
        location = locate(mosaic)
        layout = next(one for one in read_mosaic(mosaic).layouts if one.group.name == name)
        if level != 1:
            layout = level_layout(mosaic, layout, level)
        root: Any = zarr.open_group(location.readable(), mode="r")
        node = root[layout.group.name] if layout.group.name else root
        group = layout.group
        check_steps(node[layout.arrays[0]], group.tiling, location.name)
        if each:
            chosen = list(range(group.tiling.slices if group.axis else 1))
        else:
            chosen = [choose_slice(node, flat(node[layout.arrays[0]]), time or "latest", number)[0]]
        if group.lattices and number is None and not each:
            raise JobError(
                f"{location.name}: holds samples; choose a chip with slice, or put {{sample}} in the file's name"
            )
        found = []
        for k in chosen:
            if (grid := _grid(group, k)) is not None:
                part = cutout.on(grid)
                found.append(cls(location.name, layout, node, k, part, grid.window(part), name))
        if not found:
            raise JobError(f"slice {number}: this chip has no pixels")
        return found

    @cached_property
    def indices(self) -> dict[str, int]:
        """Band → its index in the group."""
        return {band.id: index for index, band in enumerate(self.layout.group.bands)}

    def _label(self, name: str) -> Any:  # noqa: ANN401  # a number or a text
        """Return what an array along the axis says of the slice; None where there is none of this name."""
        array = next((one for one in self.layout.along if one.name == name), None)
        steps = self.layout.group.tiling.steps
        if array is None or not steps or array.dimension == "step":
            return None if array is None else array.values[self.number]
        return array.values[self.number // steps]

    def time(self) -> str:
        """Return the slice's time as a part of a file's name; its number where it has none."""
        return re.sub(r"[-:]", "", self._moment() or str(self.number))

    def _moment(self) -> str | None:
        time = self._label("time")
        if time is None or time == NO_TIME:
            return None
        return str(np.datetime_as_string(np.datetime64(time, "us"), unit="auto"))

    def sample(self, *, with_step: bool) -> str:
        """Return the id of the slice's sample as a part of a file's name, and on request which step of it the slice is.

        Raises:
            JobError: the mosaic has no samples.
        """
        id_ = self._label("sample_id")
        if id_ is None:
            raise JobError(f"{{sample}}: {self.path} holds no samples; name files by {{time}} or {{slice}}")
        name, steps = re.sub(r"[^\w.-]+", "_", id_), self.layout.group.tiling.steps
        return f"{name}_{self.number % steps}" if with_step and steps else name

    def position(self) -> int:
        """Return the slice's index in what `open_group` returns, which is in the order of time."""
        if self.layout.group.axis != "time":
            return self.number
        times = next(one.values for one in self.layout.along if one.name == "time")
        return int(np.flatnonzero(np.argsort(np.array(times), kind="stable") == self.number)[0])

    def pixels(self, band: str, window: Window) -> NDArray[Any]:
        """Return the pixels (height, width) of one band."""
        array = flat(self.node[self.layout.arrays[self.indices[band]]])
        return np.asarray(array[(*self._lead, *window.offset(self.part.column, self.part.row).slices)])

    @property
    def _lead(self) -> tuple[int, ...]:
        return (self.number,) if self.layout.leading else ()

    @cached_property
    def cells(self) -> NDArray[np.uint8]:
        """`coverage`, (rows, columns), of the tiles that the window touches."""
        tile, part = self.layout.group.tiling.tile, self.part
        rows = slice(part.row // tile, -(-part.row_end // tile))
        columns = slice(part.column // tile, -(-part.column_end // tile))
        return np.asarray(flat(self.node[COVERAGE_TILES])[(*self._lead, rows, columns)])

    @property
    def holes(self) -> int:
        """Number of tiles in the window that are not stored, without those that lie outside of the region or the image."""
        return int(np.isin(self.cells, (Coverage.MISSING, Coverage.FAILED)).sum())

    def stored(self, window: Window) -> NDArray[np.bool_]:
        """Return which pixels (height, width) lie in stored tiles."""
        tile, part = self.layout.group.tiling.tile, self.part
        here = window.offset(part.column, part.row)
        rows = np.arange(here.row, here.row_end) // tile - part.row // tile
        columns = np.arange(here.column, here.column_end) // tile - part.column // tile
        return np.asarray(self.cells[np.ix_(rows, columns)] == Coverage.STORED)

    def masks(self, bands: Sequence[str]) -> tuple[str, ...]:
        """Return the stored masks of these bands."""
        return tuple(one.id for one in self.layout.group.bands if set(one.mask_of) & set(bands))

    def tags(self) -> dict[str, str]:
        """Return the origin of the pixels, for the file's metadata."""
        known = self.node.attrs
        about = {key.upper(): str(known[key]) for key in ("source", "start_time", "end_time") if key in known}
        moment = self._moment()
        found = {
            "IMAGE_ID": self._label("image_id"),
            "SAMPLE_ID": self._label("sample_id"),
            "START_TIME": moment and f"{moment}Z",
        }
        return about | {name: str(text) for name, text in found.items() if text is not None}


def _grid(group: Group, number: int) -> PixelGrid | None:
    """Return the grid of a slice's pixels, of a field that of its own box; None for a sample without pixels."""
    if not group.lattices:
        return group.grid
    grid = group.lattices[number]
    if grid is None or not group.shapes:
        return grid
    (box,) = group.extents[number]
    return grid.window(box)
