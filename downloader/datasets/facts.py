"""Facts of public datasets: title, licence, bands with units, scale, classes and bits.

The facts were taken from the STAC sources of the Earth Engine Public Data Catalog
(https://github.com/google/earthengine-catalog, Apache-2.0); `scripts/make-dataset-facts` writes the archive.
"""

from __future__ import annotations

import difflib
import json
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import TypeAdapter


@dataclass(frozen=True, slots=True)
class BitField:
    """Consecutive bits of a quality band that mean one thing."""

    first: int
    """Lowest bit."""
    count: int
    label: str = ""
    values: tuple[tuple[int, str], ...] = ()
    """(value of the bits shifted down to 0, meaning)."""


@dataclass(frozen=True, slots=True)
class BandFacts:
    """Facts of one band."""

    name: str
    label: str = ""
    units: str = ""
    """As the catalogue spells them."""
    scale: float | None = None
    """Physical value = stored value × scale + offset; None where the catalogue states none."""
    offset: float | None = None
    wavelength_um: float | None = None
    gsd_m: float | None = None
    """Pixel size in metres, where it differs from the dataset's."""
    classes: tuple[tuple[int, str, str], ...] = ()
    """(value, name, colour as RRGGBB) of a class band."""
    bits: tuple[BitField, ...] = ()

    @property
    def is_categorical(self) -> bool:
        """Whether values are classes or bit fields, which must not be interpolated."""
        return bool(self.classes or self.bits)


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """Facts of one dataset."""

    id: str
    title: str
    license: str
    provider: str
    bands: tuple[BandFacts, ...]
    doi: str = ""
    status: str = ""
    """Empty, or `deprecated` and its like."""

    def band(self, name: str) -> BandFacts | None:
        """Return the facts of a band, or None."""
        return next((band for band in self.bands if band.name == name), None)


@cache
def dataset_facts(asset: str) -> DatasetFacts | None:
    """Return the facts of the dataset that an asset belongs to, or None for an asset that is not in the public catalogue.

    Args:
        asset: id of an image or collection, with or without `projects/earthengine-public/assets/`. The longest leading part
            that is a dataset counts, so the id of an image finds its collection.
    """
    import zipfile

    parts = asset.removeprefix("projects/earthengine-public/assets/").strip("/").split("/")
    with zipfile.ZipFile(Path(__file__).with_name("facts.zip")) as archive:
        for length in range(len(parts), 0, -1):
            name = "/".join(parts[:length])
            with suppress(KeyError):
                return _reader().validate_python({"id": name, **json.loads(archive.read(f"{name}.json"))})
    return None


def near_datasets(asset: str) -> list[str]:
    """Return up to three datasets of the public catalogue whose ids are like this one, the likeliest first."""
    import zipfile

    with zipfile.ZipFile(Path(__file__).with_name("facts.zip")) as archive:
        names = [name.removesuffix(".json") for name in archive.namelist()]
    wanted = asset.removeprefix("projects/earthengine-public/assets/").strip("/")
    longer = sorted(name for name in names if wanted and name.startswith(f"{wanted}_"))
    near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.85)
    return [name for name in dict.fromkeys([*longer, *near]) if name != wanted][:3]


@cache
def _reader() -> TypeAdapter[DatasetFacts]:
    from pydantic import TypeAdapter

    return TypeAdapter(DatasetFacts)
