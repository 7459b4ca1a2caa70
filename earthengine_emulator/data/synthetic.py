"""Assets of the emulator's own, each for something that an image can be: CRS, type, mask, shear, number of bands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from earthengine_emulator.catalogue.model import PIXEL_TYPES, PUBLIC, Asset, Band, Container, Image, Lattice
from earthengine_emulator.data.land import Arithmetic, Land, Swath

FOLDER: Final = f"{PUBLIC}EMULATOR"
UPDATE_TIME: Final = "2021-06-01T12:00:00Z"
SERIES: Final = f"{FOLDER}/SERIES"
SERIES_LENGTH: Final = 1_500

SINUSOIDAL_WKT: Final = (
    'PROJCS["Sinusoidal",GEOGCS["GCS_unnamed ellipse",DATUM["D_unknown",'
    'SPHEROID["Unknown",6371007.181,0]],PRIMEM["Greenwich",0],UNIT["Degree",0.017453292519943295]],'
    'PROJECTION["Sinusoidal"],PARAMETER["central_meridian",0],PARAMETER["false_easting",0],'
    'PARAMETER["false_northing",0],UNIT["Meter",1]]'
)
_MODIS_PIXEL: Final = 463.3127165279165
_DEGREES_PIXEL: Final = 0.00026949458523585647
_ALL_KINDS: Final = ("u1", "i1", "u2", "i2", "u4", "i4", "i8", "f4", "f8")

Spec = tuple[str, str]
"""Band id and key of PIXEL_TYPES."""


def _image(
    name: str,
    lattice: Lattice,
    specs: Sequence[Spec],
    *,
    step: int = 1,
    swaths: Mapping[int, Swath] | None = None,
    missing: Mapping[str, float] | None = None,
    policies: Sequence[str] | None = None,
    start: datetime | None = None,
    place: str = "EMULATOR",
    origin: tuple[int, int] = (0, 0),
) -> Image:
    """Return an image of the land on one lattice."""
    bands = tuple(
        Band(id_, PIXEL_TYPES[kind], lattice, policies[i] if policies else "MEAN", (missing or {}).get(id_))
        for i, (id_, kind) in enumerate(specs)
    )
    when = start.strftime("%Y-%m-%dT%H:%M:%SZ") if start else None
    kinds, steps = tuple(kind for _, kind in specs), (step,) * len(specs)
    return Image(
        name=name,
        bands=bands,
        source=Land(name, bands, kinds, steps, place, origin, swaths),
        update_time=UPDATE_TIME,
        start_time=when,
        end_time=when,
        properties={"system:index": name.rsplit("/", 1)[1]},
        size_bytes=sum(b.type.dtype.itemsize for b in bands) * lattice.width * lattice.height,
    )


def _projections() -> Iterator[Image]:
    """Yield one image per kind of CRS, and per kind of affine."""
    degrees = Lattice(
        "EPSG:4326", 3001, 2003, (_DEGREES_PIXEL, 0, -106.2000456321, 0, -_DEGREES_PIXEL, 40.7000123457)
    )
    yield _image(f"{FOLDER}/DEGREES", degrees, (("elevation", "i2"), ("canopy", "u2")), step=3)
    polar = Lattice("EPSG:3413", 3041, 2501, (500, 0, -850000, 0, -500, -1250000))
    yield _image(
        f"{FOLDER}/POLAR", polar, (("velocity", "f4"), ("flags", "u1")), step=4, policies=("MEAN", "MODE")
    )
    antarctic = Lattice("EPSG:3031", 6001, 5003, (1000, 0, -3000500, 0, -1000, 2500500))
    yield _image(f"{FOLDER}/ANTARCTIC", antarctic, (("ice", "u2"), ("thickness", "f8")), step=4)
    x, y = -10 * 1111950.519667 + 0.0, 4447802.078667
    modis = Lattice("SR-ORG:6974", 2400, 2400, (_MODIS_PIXEL, 0, x, 0, -_MODIS_PIXEL, y))
    missing = {"sur_refl_b01": -28672.0, "sur_refl_b02": -28672.0}
    specs = (("sur_refl_b01", "i2"), ("sur_refl_b02", "i2"), ("QA", "u4"))
    slanted = Swath(6, 1, 1500, 13500)
    yield _image(
        f"{FOLDER}/SINUSOIDAL",
        modis,
        specs,
        step=6,
        swaths={0: slanted, 1: slanted},
        missing=missing,
        policies=("MEAN", "MEAN", "MODE"),
    )
    by_wkt = Lattice(SINUSOIDAL_WKT, 2400, 2400, modis.affine)
    yield _image(f"{FOLDER}/SINUSOIDAL_WKT", by_wkt, specs[:2], step=6)
    sheared = Lattice("EPSG:32633", 1201, 901, (24.0, 7.0, 412000.5, -6.5, -25.0, 5310000.25))
    yield _image(f"{FOLDER}/SHEARED", sheared, (("a", "u2"), ("b", "f4")), step=3)
    south_up = Lattice("EPSG:32733", 1025, 769, (30.0, 0, 300015, 0, 30.0, 6200025))
    yield _image(f"{FOLDER}/SOUTH_UP", south_up, (("a", "u2"), ("b", "u1")), step=3)


def _two_systems() -> Image:
    """Return an image whose bands have different CRSs."""
    name = f"{FOLDER}/TWO_SYSTEMS"
    utm = Lattice("EPSG:32610", 1000, 800, (30.0, 0, 500010, 0, -30.0, 4200000))
    degrees = Lattice("EPSG:4326", 700, 600, (0.0005, 0, -123.0, 0, -0.0005, 37.95))
    bands = (Band("utm", PIXEL_TYPES["u2"], utm), Band("degrees", PIXEL_TYPES["u2"], degrees))
    return Image(name, bands, Land(name, bands, ("u2", "u2"), (3, 3), "EMULATOR"), UPDATE_TIME)


def _types() -> Iterator[Image]:
    """Yield all pixel types, whole and with masked borders, and all pyramiding policies."""
    lattice = Lattice("EPSG:32632", 1300, 1111, (20.0, 0, 600000, 0, -20.0, 5200020))
    specs = tuple((kind, kind) for kind in _ALL_KINDS)
    yield _image(f"{FOLDER}/TYPES", lattice, specs, step=2)
    border = Swath(8, 3, 1200, 12100)
    missing = {"u1": 255.0, "i2": -32768.0, "f4": -9999.0}
    yield _image(
        f"{FOLDER}/MASKED",
        lattice,
        specs,
        step=2,
        swaths=dict.fromkeys(range(len(specs)), border),
        missing=missing,
    )
    policies = ("MEAN", "SAMPLE", "MIN", "MAX", "MODE", "MEDIAN")
    odd = Lattice("EPSG:32632", 1037, 773, (20.0, 0, 600000, 0, -20.0, 5200020))
    named = tuple((policy.lower(), "u2") for policy in policies)
    yield _image(f"{FOLDER}/POLICIES", odd, named, step=2, policies=policies)


def _many_bands() -> Iterator[Image]:
    """Yield images of more bands than numpy's default header limit, and more than the service's limit, take."""
    lattice = Lattice("EPSG:32610", 64, 48, (10.0, 0, 499980, 0, -10.0, 4200000))
    for count in (700, 1_025):
        specs = tuple((f"B{i}", "u2") for i in range(count))
        yield _image(f"{FOLDER}/BANDS_{count}", lattice, specs)


def _grids() -> Iterator[Image]:
    """Yield the arithmetic image of docs/contract.md §10, public and under the test project."""
    lattice = Lattice("EPSG:32610", 3000, 2000, (10.0, 0, 499980, 0, -10.0, 4200000))
    bands = tuple(Band(f"b{i}", PIXEL_TYPES["u2"], lattice, "SAMPLE") for i in range(3))
    for name in (f"{FOLDER}/GRID", "projects/p-test-1/assets/grid"):
        yield Image(name, bands, Arithmetic(), UPDATE_TIME)


def series() -> Iterator[Image]:
    """Yield 1,500 small daily images of one place."""
    name = SERIES
    lattice = Lattice("EPSG:32610", 300, 260, (30.0, 0, 550020, 0, -30.0, 4180020))
    first = datetime(2015, 1, 1, 18, 0, 0, tzinfo=UTC)
    specs: tuple[Spec, ...] = (("red", "u2"), ("nir", "u2"), ("cloud", "u1"))
    bands = tuple(Band(id_, PIXEL_TYPES[kind], lattice) for id_, kind in specs)
    ring = [[-122.44, 37.7], [-122.34, 37.7], [-122.34, 37.77], [-122.44, 37.77], [-122.44, 37.7]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    kinds, steps = ("u2", "u2", "u1"), (3, 3, 3)
    for i in range(SERIES_LENGTH):
        start = first + timedelta(days=i)
        index = f"{start:%Y%m%d}"
        when = start.strftime("%Y-%m-%dT%H:%M:%SZ")
        yield Image(
            name=f"{name}/{index}",
            bands=bands,
            source=Land(f"{name}/{index}", bands, kinds, steps, "EMULATOR", (5_000, 2_000)),
            update_time=UPDATE_TIME,
            start_time=when,
            end_time=when,
            properties={"system:index": index, "DAY": i, "CLOUD_COVER": i * 37 % 101},
            geometry=geometry,
            size_bytes=390_000,
        )


def assets() -> Iterator[Asset]:
    """Yield the folder and all that is in it, the test project's image, and one asset that nobody may read."""
    yield Container(FOLDER, "FOLDER")
    yield from _projections()
    yield _two_systems()
    yield from _types()
    yield from _many_bands()
    yield from _grids()
    yield Container(SERIES, "IMAGE_COLLECTION", UPDATE_TIME, {"title": "A daily series of small images"})
    secret = Lattice("EPSG:32610", 100, 100, (10.0, 0, 499980, 0, -10.0, 4200000))
    yield _image("projects/p-private-1/assets/secret", secret, (("b", "u2"),))
