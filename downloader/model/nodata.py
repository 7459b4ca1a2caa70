"""Nodata values of bands: those of the job, else the asset's own; never guessed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np

from downloader.errors import JobError
from downloader.model.image import Band

BY_MASK: Final = "masked pixels are those that the stored mask marks"
"""What `masked_pixels` says of a band whose mask is fetched."""

FILLED: Final = "masked pixels are NaN"
"""What `masked_pixels` says of a computed band of fractions."""


def nodata_values(wanted: float | Mapping[str, float] | None, bands: Iterable[Band]) -> dict[str, float]:
    """Return band → its nodata value, for the bands that have one.

    Args:
        wanted: `mosaic.nodata` of the job: one value for all bands, some by band, or None.
        bands: the bands of the plan, of which masks have none; an asset's `missingData` counts where it states exactly one value that the
            band's type has.

    Raises:
        JobError: a band that is not there, or a value that the band's type does not have.
    """
    by_id = {band.id: band for band in bands if not band.mask_of}
    if wanted is None:
        wanted = {}
    asked = dict(wanted) if isinstance(wanted, Mapping) else dict.fromkeys(by_id, wanted)
    for name, value in asked.items():
        if name not in by_id:
            raise JobError(
                f"the job has no band {name!r}; its bands are {', '.join(by_id)}", key="mosaic.nodata"
            )
        if not holds(by_id[name].dtype, value):
            raise JobError(
                f"{value!r} is no value of {name}, whose type is {by_id[name].dtype}; choose another",
                key="mosaic.nodata",
            )
    stated = {
        band.id: band.missing[0]
        for band in by_id.values()
        if len(band.missing) == 1 and holds(band.dtype, band.missing[0])
    }
    return stated | asked


def holds(dtype: np.dtype[np.generic], value: float) -> bool:
    """Return whether a type can represent this value; float types represent NaN, infinity, and numbers that are not too large."""
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return bool(np.isinf(dtype.type(value))) == math.isinf(value)
    limits = np.iinfo(dtype.str)
    return limits.min <= value <= limits.max and value == int(value)


def masked_pixels(
    dtype: np.dtype[np.generic], nodata: float | None, *, has_mask: bool, is_filled: bool = False
) -> str:
    """Return a phrase that says how masked pixels of a band can be recognised.

    An answer holds no mask; of unsigned bands masked pixels are 0, of others the service does not say (docs/contract.md §4.3).

    Args:
        dtype: the band's.
        nodata: the value that is declared for it; None where there is none.
        has_mask: whether its mask is fetched beside it.
        is_filled: whether they are made NaN.
    """
    if has_mask:
        return BY_MASK
    if is_filled:
        return FILLED
    if dtype.kind == "u":
        return (
            "masked pixels arrive as 0, the nodata value; a valid 0 looks the same"
            if nodata == 0
            else "masked pixels arrive as 0 and look like valid zeros"
        )
    if nodata is None:
        return "masked pixels arrive as 0 or as the smallest value of the type, and look like valid ones"
    return (
        f"masked pixels are nodata only if the service fills them with {nodata:g}, which it does not promise"
    )
