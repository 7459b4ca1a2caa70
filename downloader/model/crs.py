"""Coordinate reference systems as the service names them, and as pyproj understands them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from downloader.errors import JobError
from downloader.text import cut

if TYPE_CHECKING:
    import pyproj


_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_-]*:[A-Za-z0-9_.-]+")

_FIX = "use an authority code such as EPSG:32610, or WKT"

# Authorities that Earth Engine knows and the PROJ database lacks (spatialreference.org, entry 6974).
_BEYOND_PROJ = {"SR-ORG:6974": "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs +type=crs"}

_EQUATORIAL_RADIUS_M: Final = 6_378_137.0


@dataclass(frozen=True, slots=True)
class Crs:
    """A CRS exactly as the asset states it; it goes back on the wire untouched."""

    code: str | None = None
    """`crsCode` of the API, such as `EPSG:32610`; None where the asset states `crsWkt`."""
    wkt: str | None = None
    """`crsWkt` of the API; None where the asset states `crsCode`."""

    def __post_init__(self) -> None:
        if (self.code is None) == (self.wkt is None):
            raise JobError(
                f"a CRS is either a code or a WKT text, got code={self.code!r} and wkt={self.wkt!r}"
            )

    @classmethod
    def parse(cls, text: str) -> Crs:
        """Return a CRS from a user's text: `EPSG:32610`, any other authority code, or WKT.

        Raises:
            JobError: PROJ does not know it, or its coordinates are not those of a map.
        """
        if "[" in text:
            crs = cls(wkt=text)
        elif _CODE.fullmatch(text.strip()):
            crs = cls(code=text.strip().upper())
        else:
            raise JobError(f"unknown CRS {cut(text, 60)!r}: {_FIX}")
        known = crs.to_pyproj()
        if not (known.is_geographic or known.is_projected):
            raise JobError(f"CRS {crs} ({known.name}) is neither geographic nor projected: {_FIX}")
        return crs

    def to_json(self) -> dict[str, str]:
        """Return the members that a `PixelGrid` of the API takes."""
        return {"crsCode": self.code} if self.code is not None else {"crsWkt": str(self.wkt)}

    def to_pyproj(self) -> pyproj.CRS:
        """Return the pyproj CRS. Raises JobError where PROJ does not know it."""
        return _resolve(self)

    @classmethod
    def utm(cls, longitude: float, latitude: float) -> Crs:
        """Return the UTM zone (WGS 84) of a place, given in degrees.

        Raises:
            JobError: the place lies beyond 84° north or 80° south, where UTM ends.
        """
        if not -80 <= latitude <= 84:
            polar = "EPSG:3413" if latitude > 0 else "EPSG:3031"
            raise JobError(f"UTM ends at 84° north and 80° south; name a polar CRS, such as {polar}")
        zone = math.floor((longitude + 180) % 360 / 6) + 1
        return cls(code=f"EPSG:{326 if latitude >= 0 else 327}{zone:02}")

    @property
    def metres_per_unit(self) -> float:
        """Metres in one unit of the CRS; a degree is one of the equator, 111,319.49 m, as Earth Engine counts it."""
        crs = self.to_pyproj()
        factor = crs.axis_info[0].unit_conversion_factor if crs.axis_info else 1.0
        return factor * (_EQUATORIAL_RADIUS_M if crs.is_geographic else 1.0)

    @property
    def unit(self) -> str:
        """Suffix of lengths in CRS units: `m`, `deg`, or PROJ's own name of the unit."""
        names = {"metre": "m", "meter": "m", "degree": "deg"}
        axes = self.to_pyproj().axis_info
        return names.get(axes[0].unit_name, axes[0].unit_name.replace(" ", "-")) if axes else "unit"

    def __str__(self) -> str:
        return self.code or self.to_pyproj().name


LONLAT = Crs(code="EPSG:4326")
"""Longitude and latitude in degrees, x first as everywhere in this package."""


@lru_cache(maxsize=256)
def transformer(source: Crs, target: Crs) -> pyproj.Transformer:
    """Return the transformer of coordinates, x before y in either CRS; pyproj's are safe to share between threads."""
    import pyproj

    return pyproj.Transformer.from_crs(source.to_pyproj(), target.to_pyproj(), always_xy=True)


@lru_cache(maxsize=256)
def _resolve(crs: Crs) -> pyproj.CRS:
    import pyproj
    from pyproj.exceptions import CRSError

    text = _BEYOND_PROJ.get(crs.code or "", crs.code or crs.wkt)
    try:
        return pyproj.CRS.from_user_input(text)
    except CRSError as error:
        raise JobError(f"unknown CRS {cut(crs.code or crs.wkt, 60)!r}: {_FIX}") from error
