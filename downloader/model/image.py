"""An image as the catalogue describes it: bands, types, grids. The service's first answers confirm the types."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from downloader.errors import JobError
from downloader.model.grid import PixelGrid
from downloader.text import counted

PUBLIC: Final = "projects/earthengine-public/assets/"
LEGACY: Final = "projects/earthengine-legacy/assets/"

_SHOWN: Final = 30
"""Bands that a message names; an image may have a thousand."""


@dataclass(frozen=True, slots=True)
class Band:
    """One band of an image."""

    id: str
    """Its id as the service spells it."""
    dtype: np.dtype[np.generic]
    """Little-endian numpy type of one pixel as NPY delivers it (docs/contract.md §3.2)."""
    grid: PixelGrid
    """Its native pixel grid."""
    pyramiding: str = "MEAN"
    """Policy by which the service builds coarser levels: MEAN, SAMPLE, MIN, MAX, MODE or MEDIAN."""
    missing: tuple[float, ...] = ()
    """`missingData.values` of the asset; empty where it states none."""
    mask_of: tuple[str, ...] = ()
    """Of a mask that the service computes, the bands it tells of (1: all of them valid); empty for pixels."""
    is_bounded: bool = True
    """Whether the grid has an edge; for a computed band without one only CRS and transform are meaningful."""
    resampling: str = "nearest"
    """How the service makes its pixels on another grid: `nearest`, `bilinear` or `bicubic`."""
    is_filled: bool = False
    """Whether masked pixels become NaN, by a mask that is asked for with them."""


@dataclass(frozen=True, slots=True, repr=False)
class Image:
    """One image asset."""

    name: str
    """Full resource name, `projects/…/assets/…`."""
    id: str
    """The id for display."""
    bands: tuple[Band, ...]
    """In the asset's own order."""
    update_time: str = ""
    """RFC 3339 time of the asset's last change; empty where the service states none."""
    start_time: str = ""
    """RFC 3339; empty where the asset has none."""
    end_time: str = ""
    """RFC 3339; empty where the asset has none."""
    properties: Mapping[str, object] = field(default_factory=dict, hash=False)
    """The asset's free-form properties."""
    footprint: Mapping[str, object] | None = field(default=None, compare=False)
    """GeoJSON of its outline in longitude and latitude; None unless it was asked for."""
    longitude: float | None = None
    """Degrees east of the middle of its footprint; None where the service tells none."""

    def __repr__(self) -> str:
        when = f", {self.start_time}" if self.start_time else ""
        return f"<Image {self.id}{when}, {counted(len(self.bands), 'band')}>"

    def select(self, names: tuple[str, ...] | None) -> tuple[Band, ...]:
        """Return the named bands in the order named, all for None. Raises JobError naming what does not exist."""
        if names is None:
            return self.bands
        by_id = {band.id: band for band in self.bands}
        unknown = [name for name in names if name not in by_id]
        if unknown:
            raise unknown_bands(self.id, unknown, by_id)
        return tuple(by_id[name] for name in names)


def unknown_bands(
    where: str,
    unknown: Sequence[str],
    known: Iterable[str],
    meant: Mapping[str, str] | None = None,
    key: str = "source.bands",
) -> JobError:
    """Return the error for bands that an image or collection does not have.

    Args:
        where: image or collection.
        unknown: names that it has no band of.
        known: names of its bands.
        meant: unknown name → what it may stand for, where that is known better than by its spelling.
        key: key of the job file that names them.
    """
    names = list(known)
    told = meant or {}
    hints = (
        f"{name!r} (did you mean {told[name]}?)" if name in told else f"{name!r}{_near(name, names)}"
        for name in unknown[:_SHOWN]
    )
    more = f", … {len(names)} in all" if len(names) > _SHOWN else ""
    return JobError(
        f"{where} has no band {', '.join(hints)}; its bands are {', '.join(names[:_SHOWN])}{more}", key=key
    )


def collection_of(image: Image) -> str:
    """Return the id of the collection, or folder, that an image lies in."""
    return image.id.rpartition("/")[0]


def asset_id(name: str) -> str:
    """Return the id of an asset: short for public and legacy assets, the full name for those of a Cloud project."""
    return name.removeprefix(PUBLIC).removeprefix(LEGACY)


def _near(name: str, known: Iterable[str]) -> str:
    by_folded = {other.casefold(): other for other in known}
    near = difflib.get_close_matches(name.casefold(), by_folded, n=1)
    return f" (did you mean {by_folded[near[0]]}?)" if near else ""
