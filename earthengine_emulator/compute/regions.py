# ruff: noqa: N803 - parameters are named as the API's arguments are
"""Image.reduceRegion: numbers from the pixels of a region (docs/contract.md §4.7).

A pixel counts where its centre lies in the region, whole or not at all; the service weighs pixels at the edge by their
share. Masked pixels do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from earthengine_emulator.api.errors import invalid_argument
from earthengine_emulator.catalogue.model import Image, Lattice, plain
from earthengine_emulator.compute import computed
from earthengine_emulator.compute.computed import both, everywhere
from earthengine_emulator.compute.expression import Function
from earthengine_emulator.compute.operand import as_double, as_shape
from earthengine_emulator.compute.operand import image as as_image
from earthengine_emulator.compute.projections import Projection, at_scale, make
from earthengine_emulator.compute.reducers import Reducer, outputs
from earthengine_emulator.pixels import grids, sampling
from earthengine_emulator.pixels.pyramid import Pyramids

ROWS: Final = 256
"""Rows of the region that are read at once."""


def reduce_region(pyramids: Pyramids) -> Function:
    """Return Image.reduceRegion on these pyramids."""

    def function(
        image: object,
        reducer: Reducer,
        geometry: object = None,
        scale: float | None = None,
        crs: object = None,
        crsTransform: Sequence[float] | None = None,
        bestEffort: bool = False,
        maxPixels: float = 1e7,
        tileScale: float = 1,
    ) -> dict[str, Any]:
        del tileScale
        target = as_image(image)
        projection = _projection(target, scale, crs, crsTransform)
        first = target.bands[0].lattice
        shape = None if geometry is None else as_shape(geometry)
        box = grids.bounds(first, projection.crs) if shape is None else grids.shape_box(shape, projection.crs)
        grid = grids.snapped(projection.crs, box, projection.affine)
        while grid.width * grid.height > maxPixels:
            if not bestEffort:
                raise invalid_argument(
                    "Image.reduceRegion: Too many pixels in the region. "
                    f"Found {grid.width * grid.height}, but maxPixels allows only {maxPixels:.0f}."
                )
            projection = at_scale(projection, 2 * projection.nominal_scale())
            grid = grids.snapped(projection.crs, box, projection.affine)
        inside = None if shape is None else computed.inside(shape)(pyramids, grid)
        result: dict[str, Any] = {}
        for i, band in enumerate(target.bands):
            values = _values(sampling.reader(pyramids, target, i, grid), inside, grid)
            for name, number in _numbers(values, reducer).items():
                result[f"{band.id}_{name}" if name else band.id] = number
        return result

    return function


def _projection(
    target: Image, scale: float | None, crs: object, transform: Sequence[float] | None
) -> Projection:
    """Return the pixels on which a region is reduced: as asked for, else those of the first band."""
    own = target.bands[0]
    if crs is None:
        base = Projection(own.lattice.crs, own.projection)
        base = base if transform is None else make(base, transform)
    else:
        base = make(crs, transform)
    return base if scale is None else at_scale(base, float(scale))


def _values(
    reader: sampling.Reader, inside: sampling.Reader | None, grid: Lattice
) -> npt.NDArray[np.float64]:
    """Return the valid values of a grid within a region, in one row."""
    found = []
    for first in range(0, grid.height, ROWS):
        count = min(ROWS, grid.height - first)
        part = reader.rows(first, count)
        within = None if inside is None else inside.rows(first, count)[0].astype(np.bool_)
        kept = both(everywhere(part), within)
        found.append(as_double(part)[kept])
    return np.concatenate(found)


def _numbers(values: npt.NDArray[np.float64], reducer: Reducer) -> dict[str, Any]:
    """Return the outputs of a reducer, without a name where there is only one."""
    wanted = outputs(reducer, "Image.reduceRegion")
    if not len(values):
        return {name if len(wanted) > 1 else "": 0 if rule == "count" else None for name, _, rule in wanted}
    return {
        name if len(wanted) > 1 else "": plain(float(operation(values[:, None], axis=0)[0]))
        for name, operation, _ in wanted
    }
