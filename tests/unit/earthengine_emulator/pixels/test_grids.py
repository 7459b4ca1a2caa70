"""Grids of requests."""

from __future__ import annotations

import pytest

from earthengine_emulator.catalogue.model import Lattice
from earthengine_emulator.pixels import grids

NATIVE = Lattice("EPSG:32610", 100, 80, (10, 0, 500000, 0, -10, 4200000))


AFFINE = {"scaleX": 20, "scaleY": -20, "translateX": 500010, "translateY": 4199990}


def test_the_six_combinations():
    point = {"type": "Point", "coordinates": [-123.0, 37.9475]}
    west, north = -123.0, 37.9477
    box = {
        "type": "Polygon",
        "coordinates": [
            [
                [west, north - 0.004],
                [west + 0.005, north - 0.004],
                [west + 0.005, north],
                [west, north],
                [west, north - 0.004],
            ]
        ],
    }
    size = {"dimensions": {"width": 30, "height": 20}}
    full = grids.resolve({"affineTransform": AFFINE, **size}, None, NATIVE)
    assert full == Lattice("EPSG:32610", 30, 20, (20, 0, 500010, 0, -20, 4199990))
    stretched = grids.resolve(size, box, NATIVE)
    assert (stretched.width, stretched.height) == (30, 20)
    assert stretched.affine[0] == pytest.approx(440 / 30, rel=0.01)
    snapped = grids.resolve({"affineTransform": AFFINE}, box, NATIVE)
    assert (snapped.affine[2] - 500010) % 20 == 0
    assert snapped.affine[2] <= 500000 < snapped.affine[2] + 20
    native = grids.resolve({}, box, NATIVE)
    assert native.affine[0] == 10
    assert native.affine[2] % 10 == 0
    assert (grids.resolve({}, point, NATIVE).width, grids.resolve({}, point, NATIVE).height) == (1, 1)
    whole = grids.resolve(size, None, NATIVE)
    assert whole.affine == (1000 / 30, 0, 500000, 0, -40, 4200000)
    assert grids.resolve({}, None, NATIVE) == NATIVE
    other = grids.resolve({"crsCode": "EPSG:4326"}, None, NATIVE)
    assert abs(other.width - 100) <= 1


def test_a_region_inside_another_crs_covers_its_edges():
    box = grids.region_box({"type": "LineString", "coordinates": [[-90, 70], [0, 70]]}, "EPSG:3413")
    straight = grids.region_box({"type": "MultiPoint", "coordinates": [[-90, 70], [0, 70]]}, "EPSG:3413")
    assert box[1] < straight[1] - 100_000
