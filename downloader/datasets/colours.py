"""Names of colours for bands: `red` is B4 of Sentinel-2 and SR_B3 of Landsat 5.

A band's label decides where it names a colour, else its central wavelength. The ranges are those of the STAC extension for
electro-optical data (https://github.com/stac-extensions/eo#common-band-names), under the names that Earth Engine's users write.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Final

from downloader.datasets.facts import BandFacts, DatasetFacts
from downloader.text import few

COLOURS: Final[dict[str, tuple[str, float, float]]] = {
    "coastal": (r"coastal|ultra blue|^aerosols$", 0.40, 0.45),
    "blue": (r"blue", 0.45, 0.515),
    "green": (r"green", 0.515, 0.60),
    "rededge": (r"red ?edge", 0.69, 0.79),
    "nir": (r"\bnir\b|near.?infrared", 0.79, 0.90),
    "red": (r"\bred\b", 0.60, 0.69),
    "cirrus": (r"cirrus", 1.35, 1.40),
    "swir1": (r"swir ?1|shortwave infrared 1", 1.55, 1.75),
    "swir2": (r"swir ?2|shortwave infrared 2", 2.08, 2.35),
    "thermal": (r"thermal infrared|^tirs|surface temperature", 10.0, 12.6),
}
"""Name → (pattern of a label in lower case, least and greatest central wavelength in µm); the first that matches wins."""

_NOT_A_COLOUR: Final = re.compile(
    r"quality|angle|\bqa\b|mask|panchromatic|emissivity|probability|uncertainty|deviation|true colou?r|aerosol (?:opt|attr)"
)


def colour_of(band: BandFacts) -> str:
    """Return the name of a band's colour, or an empty string."""
    label = band.label.lower()
    if band.is_categorical or _NOT_A_COLOUR.search(label.split(",")[0]):
        return ""
    for name, (pattern, _, _) in COLOURS.items():
        if re.search(pattern, label):
            return name
    if band.wavelength_um is not None:
        for name, (_, least, greatest) in COLOURS.items():
            if least <= band.wavelength_um < greatest:
                return name
    return ""


def bands_of_colour(dataset: DatasetFacts, colour: str) -> tuple[str, ...]:
    """Return the names of a dataset's bands of a colour, in the catalogue's order: none, one, or several."""
    return tuple(band.name for band in dataset.bands if colour_of(band) == colour)


def meant_by_colour(
    dataset: DatasetFacts | None, names: Iterable[str], known: Collection[str]
) -> dict[str, str]:
    """Return hints for names that spell a colour in other words: name → the colour and its band.

    Args:
        dataset: whose bands; None for one that the catalogue does not have.
        names: as a user wrote them, such as `NIR` or `near_infrared`.
        known: bands that are there.
    """
    found: dict[str, str] = {}
    if dataset is None:
        return found
    for name in names:
        text = re.sub(r"[\W_]+", " ", name.lower()).strip()
        colour = next(
            (c for c, (pattern, *_) in COLOURS.items() if text == c or re.search(pattern, text)), ""
        )
        if bands := [band for band in bands_of_colour(dataset, colour) if colour and band in known]:
            told = few(bands, most=4)
            found[name] = f"{colour}, which is {told}" if len(bands) == 1 else told
    return found
