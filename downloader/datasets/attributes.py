"""CF attributes of a band and attributes of a dataset.

Rules: https://cfconventions.org/Data/cf-conventions/cf-conventions-1.12/cf-conventions.html, sections 3.1 (units), 3.5 (flags),
8.1 (packed data).
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any, Final

from downloader.datasets.colours import bands_of_colour
from downloader.datasets.facts import BandFacts, DatasetFacts

_UNITS: Final = {
    "dimensionless": "1",
    "fraction": "1",
    "area fraction": "1",
    "mass fraction": "1",
    "mol fraction": "1",
    "volume fraction": "1",
    "reflectance factor": "1",
    "spectral reflectance": "1",
    "&deg;c": "degC",
    "&deg;f": "degF",
    "deg": "degree",
    "seconds": "s",
    "m of water equivalent": "m",
    "db": "dB",
}
"""Catalogue's spelling in lower case → the spelling of UDUNITS."""


def udunits(units: str) -> str:
    """Return units as CF wants them where the spelling is known, else unchanged but for HTML entities."""
    known = _UNITS.get(units.lower())
    if known is not None:
        return known
    plain = html.unescape(units).replace("μ", "µ")
    # m^-2 and m-2 mean the same to UDUNITS; a slash is understood as well.
    return re.sub(r"(?<=[A-Za-zµ])\^(?=-?\d)", "", plain)


def band_attributes(band: BandFacts, *, physical: bool = False) -> dict[str, Any]:
    """Return the CF attributes of a band, and STAC's `center_wavelength`: plain strings, numbers and lists.

    Args:
        band: facts of the band.
        physical: whether the stored values are in physical units already, so that scale and offset were applied.
    """
    # As floats: with whole numbers xarray decodes into integers.
    packed = {} if physical else {"scale_factor": band.scale, "add_offset": band.offset}
    found: dict[str, Any] = {
        "long_name": band.label or None,
        "units": udunits(band.units) if band.units else None,
        **{name: None if value is None else float(value) for name, value in packed.items()},
        "center_wavelength": band.wavelength_um,  # micrometres, as the STAC extension eo has it
    }
    found = {name: value for name, value in found.items() if value is not None}
    if band.classes:
        found["flag_values"] = [value for value, _, _ in band.classes]
        found["flag_meanings"] = " ".join(_word(name) for _, name, _ in band.classes)
    elif band.bits:
        found |= _flags(band)
    return found


def _flags(band: BandFacts) -> dict[str, Any]:
    rows = [
        (((1 << one.count) - 1) << one.first, value << one.first, _word(f"{one.label} {meaning}".strip()))
        for one in band.bits
        # No list of meanings describes a number of several bits.
        for value, meaning in one.values or ((1, ""),) * (one.count == 1)
    ]
    if not rows:
        return {}
    masks, values, words = map(list, zip(*rows, strict=True))
    return {"flag_masks": masks, "flag_values": values, "flag_meanings": " ".join(map(str, words))}


def _word(text: str) -> str:
    """Return a text as one word of `flag_meanings`."""
    return re.sub(r"[^A-Za-z0-9_.+@-]+", "_", text).strip("_") or "unnamed"


def dataset_attributes(dataset: DatasetFacts) -> dict[str, str]:
    """Return title, institution, licence and DOI of a dataset, as ACDD and STAC name them."""
    found = {
        "title": dataset.title,
        "institution": dataset.provider,
        "license": dataset.license,
        "sci:doi": dataset.doi,
    }
    return {key: value for key, value in found.items() if value}


def dataset_document(dataset: DatasetFacts) -> dict[str, Any]:
    """Return the attributes of a dataset, and under `bands` those of each band by its id."""
    return {
        **dataset_attributes(dataset),
        "bands": {band.name: band_attributes(band) for band in dataset.bands},
    }


def made_attributes(dataset: DatasetFacts | None, band: str, made: Mapping[str, str]) -> dict[str, Any]:
    """Return the attributes of a band that a job makes.

    Args:
        dataset: that its images belong to; None for one that the catalogue does not have.
        band: its name.
        made: keys of the job's `source` and their values, as far as they say what is done to the images: `scale`, `reduce`, and
            `bands.NAME` for a band with a formula.
    """
    formula = made.get(f"bands.{band}")
    if formula is not None:
        return {"long_name": formula}
    facts = dataset.band(band) if dataset else None
    if dataset is not None and facts is None and len(own := bands_of_colour(dataset, band)) == 1:
        facts = dataset.band(own[0])
    if facts is None:
        return {}
    found = band_attributes(facts, physical=made.get("scale") == "catalog")
    reduce = made.get("reduce")
    if reduce == "count":
        return {"long_name": f"number of images, {facts.label or band}", "units": "1"}
    if reduce in {"mean", "median", "std"}:  # between classes there is nothing
        found = {name: value for name, value in found.items() if not name.startswith("flag_")}
    if reduce == "std":
        found.pop("add_offset", None)
    return found
