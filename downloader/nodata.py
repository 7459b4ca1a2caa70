"""Which value means "no data" in a band: the job's word, else the asset's; never guessed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from downloader.errors import JobError
from downloader.image import Band

__all__ = ["holds", "nodata_values"]


def nodata_values(wanted: float | Mapping[str, float] | None, bands: Iterable[Band]) -> dict[str, float]:
    """Band → its nodata value, for the bands that have one.

    Args:
        wanted: `mosaic.nodata` of the job: one value for all bands, some by band, or None.
        bands: the bands of the plan; an asset's `missingData` counts where it states exactly one value that the
            band's type has.

    Raises:
        JobError: a band that is not there, or a value that the band's type does not have.
    """
    by_id = {band.id: band for band in bands}
    asked = (
        dict(wanted)
        if isinstance(wanted, Mapping)
        else dict.fromkeys(by_id, wanted)
        if wanted is not None
        else {}
    )
    for name, value in asked.items():
        if name not in by_id:
            raise JobError(f"mosaic.nodata: the job has no band {name!r}; its bands are {', '.join(by_id)}")
        if not holds(by_id[name].dtype, value):
            raise JobError(
                f"mosaic.nodata: {value!r} is no value of {name}, whose type is {by_id[name].dtype}; choose another"
            )
    stated = {
        band.id: band.missing[0]
        for band in by_id.values()
        if len(band.missing) == 1 and holds(band.dtype, band.missing[0])
    }
    return stated | asked


def holds(dtype: np.dtype[np.generic], value: float) -> bool:
    """Whether a type has this value; of floats every number, NaN and the infinities."""
    if dtype.kind == "f":
        return True
    kind = np.dtype(dtype)
    low, high = (
        (0, 2 ** (8 * kind.itemsize) - 1)
        if kind.kind == "u"
        else (
            -(2 ** (8 * kind.itemsize - 1)),
            2 ** (8 * kind.itemsize - 1) - 1,
        )
    )
    return low <= value <= high and value == int(value)
