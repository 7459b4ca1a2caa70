"""Where UTM zones end: at the meridian half-way to the next zone that there is, at the equator between hemispheres."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
import shapely

from downloader.errors import JobError
from downloader.model.crs import Crs
from downloader.model.grid import AffineTransform, PixelGrid
from downloader.model.image import Band, Image
from downloader.planning.zones import cells_of, zones_of


def image(code: int, x: float, y: float, side: int = 100) -> Image:
    """A square of pixels of 30 m from its north-west corner on."""
    grid = PixelGrid(Crs(f"EPSG:{code}"), AffineTransform(30, 0, x, 0, -30, y), side, side)
    return Image(
        f"projects/p/assets/C/{code}-{x:g}", f"C/{code}-{x:g}", (Band("red", np.dtype("<u2"), grid),)
    )


def cells(*codes: int) -> dict[str, tuple[float, float]]:
    return {zone.name: (zone.west, zone.east) for zone in cells_of(Crs(f"EPSG:{code}") for code in codes)}


def test_neighbours_end_at_the_meridian_between_them() -> None:
    assert cells(32611, 32610) == {"32610": (-153, -120), "32611": (-120, -87)}
    assert cells(32610) == {"32610": (-153, -93)}


def test_a_zone_without_images_is_shared_by_its_neighbours() -> None:
    assert cells(32610, 32612) == {"32610": (-153, -117), "32612": (-117, -81)}


def test_the_antimeridian_is_a_meridian_between_zones() -> None:
    assert cells(32601, 32660) == {"32601": (-180, -147), "32660": (147, 180)}


def test_hemispheres_of_one_zone_meet_at_the_equator() -> None:
    north, south = cells_of([Crs("EPSG:32710"), Crs("EPSG:32610")])
    assert (north.name, north.south, north.north) == ("32610", 0, 89)
    assert (south.name, south.south, south.north) == ("32710", -89, 0)
    (alone,) = cells_of([Crs("EPSG:32610")])
    assert (alone.south, alone.north) == (-89, 89), "Landsat counts the south in northern zones too"


def test_zones_that_the_region_does_not_meet_take_nothing_away() -> None:
    images = [image(32610, 700000, 4170000), image(32611, 236000, 4170000)]
    seam = shapely.box(-120.1, 37.5, -119.9, 37.6)
    assert [zone.name for zone in zones_of(images, seam)] == ["32610", "32611"]
    west = shapely.box(-120.1, 37.5, -120, 37.6)
    (only,) = zones_of(images, west)
    assert (only.name, only.east) == ("32610", -93)
    across = shapely.union_all([shapely.box(179, 0, 180, 1), shapely.box(-180, 0, -179, 1)])
    pair = [image(32660, 800000, 100000), image(32601, 170000, 100000)]
    assert [zone.name for zone in zones_of(pair, across)] == ["32601", "32660"]


def test_images_of_a_zone_come_first_and_others_where_they_reach_in() -> None:
    far, near, own = (
        image(32611, 500000, 4170000),
        image(32611, 234000, 4170000),
        image(32610, 700000, 4170000),
    )
    zone, other = zones_of([far, own], shapely.box(-120.1, 37.5, -119.9, 37.6))
    assert zone.members([far, near, own]) == (own, near)
    assert zone.members([far, near, own], last=True) == (near, own)
    assert other.members([far, near, own]) == (far, near)


def test_another_crs_is_refused() -> None:
    grid = PixelGrid(Crs("EPSG:4326"), AffineTransform(1, 0, 0, 0, -1, 0), 9, 9)
    degrees = Image("projects/p/assets/C/d", "C/d", (Band("red", np.dtype("<u2"), grid),))
    with pytest.raises(JobError, match=r"C/d is in EPSG:4326, which is no UTM zone"):
        zones_of([degrees], shapely.box(0, 0, 1, 1))


def test_the_outline_follows_the_meridian_within_a_hundredth_of_a_pixel() -> None:
    west, east = cells_of([Crs("EPSG:32610"), Crs("EPSG:32611")])
    latitudes = np.linspace(-70, 80, 4001)
    for zone in (west, east):
        lattice = PixelGrid(zone.crs, AffineTransform(30, 0, 15, 0, -30, 4199985), 9, 9)
        x, y = pyproj.Transformer.from_crs("EPSG:4326", zone.crs.to_pyproj(), always_xy=True).transform(
            np.full_like(latitudes, -120), latitudes
        )
        points = shapely.points((x - 15) / 30, (4199985 - y) / 30)
        assert shapely.distance(zone.outline(lattice).boundary, points).max() < 0.01
