"""Whether pixels of several images coincide: one lattice for all, or a refusal that lists what there is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final

from downloader.errors import JobError
from downloader.grid import EDGE_TOLERANCE, PixelGrid
from downloader.image import Band, Image

__all__ = ["check_lattices", "offset_on"]

_SHOWN: Final = 8
"""Grids that a refusal lists."""


def check_lattices(named: Sequence[tuple[str, tuple[Image, ...]]], found: Mapping[str, Band]) -> None:
    """Refuse images whose pixels do not lie on the lattice of the first, and say which grids there are."""

    def own() -> Iterator[tuple[str, Band]]:
        for _, members in named:
            for image in members:
                yield from ((image.id, band) for band in image.bands if band.id in found)

    if all(offset_on(found[band.id].grid, band.grid) is not None for _, band in own()):
        return
    # Bands of other pixel sizes are no hindrance: each band is compared with its own first.
    lattices: list[tuple[PixelGrid, list[str]]] = []
    for image, band in own():
        for grid, who in lattices:
            if offset_on(grid, band.grid) is not None:
                who.append(f"{image} {band.id}")
                break
        else:
            lattices.append((band.grid, [f"{image} {band.id}"]))
    lines = [
        f"  {grid.crs}, {_pixels(grid)}, pixel edges at ({_phase(grid)}): {who[0]}"
        + (f" and {len(who) - 1:,} more" if len(who) > 1 else "")
        for grid, who in lattices[:_SHOWN]
    ]
    if len(lattices) > _SHOWN:
        lines.append(f"  … and {len(lattices) - _SHOWN:,} more")
    commonest = max(lattices, key=lambda lattice: len(lattice[1]))[0]
    x, y = (int(size) if size.is_integer() else size for size in commonest.transform.pixel_size)
    size = f"{x!r}" if x == y else f"[{x!r}, {y!r}]"
    crs = commonest.crs.code or json.dumps(commonest.crs.wkt, ensure_ascii=False)
    raise JobError(
        "\n".join(
            [
                "source: these images share no lattice, and nothing is warped unless the job asks for it. Found:",
                *lines,
                "To have all on one grid, resampled by the service, add to the job:",
                f"  grid: {{crs: {crs}, resolution: {size}}}",
            ]
        )
    )


def _pixels(grid: PixelGrid) -> str:
    x, y = grid.transform.pixel_size
    return f"pixels of {x:g} × {y:g} {grid.crs.unit}"


def _phase(grid: PixelGrid) -> str:
    t = grid.transform
    if t.is_sheared:
        return f"{t.translate_x:g}, {t.translate_y:g}, sheared"
    return f"{t.translate_x % abs(t.scale_x):g}, {t.translate_y % abs(t.scale_y):g}"


@lru_cache(maxsize=1 << 16)
def offset_on(lattice: PixelGrid, grid: PixelGrid) -> tuple[int, int] | None:
    """(column, row) of `grid`'s corner on `lattice`; None where it does not lie on it."""
    a, b = lattice.transform, grid.transform
    if lattice.crs != grid.crs or (a.scale_x, a.shear_x, a.shear_y, a.scale_y) != (
        b.scale_x,
        b.shear_x,
        b.shear_y,
        b.scale_y,
    ):
        return None
    column, row = a.locate(b.translate_x, b.translate_y)
    if max(abs(column - round(column)), abs(row - round(row))) > EDGE_TOLERANCE:
        return None
    return round(column), round(row)
