"""The emulator's pure parts, one property or table each."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earthengine_emulator.api import faults as spec
from earthengine_emulator.api import routing, schema
from earthengine_emulator.api.errors import ApiError
from earthengine_emulator.api.settings import Settings, SettingsError
from earthengine_emulator.catalogue import catalogue, filters, geometry
from earthengine_emulator.catalogue.model import PIXEL_TYPES, Band, Image, Lattice, plain
from earthengine_emulator.data import built_in
from earthengine_emulator.data.land import Land
from earthengine_emulator.data.noise import mix
from earthengine_emulator.pixels import grids, npy, pyramid, sampling
from earthengine_emulator.pixels.pyramid import Pyramids
from tests import oracle

ROOT = Path(__file__).parents[4]
BUILT_IN = built_in.catalogue()


@given(
    st.lists(st.sampled_from(["<u2", "|u1", "<i4", "<f4", "<f8"]), min_size=1, max_size=30),
    st.integers(1, 40),
    st.integers(1, 40),
)
def test_headers_are_those_of_numpys_writer(types, width, height):
    bands = [(f"B{i}", np.dtype(t)) for i, t in enumerate(types)]
    file = io.BytesIO()
    array = np.zeros((height, width), npy.structure(bands))
    np.lib.format.write_array(file, array, version=(1, 0))
    assert npy.header(bands, width, height) + array.tobytes() == file.getvalue()


@pytest.mark.parametrize(
    "name", [oracle.QUICKSTART, oracle.QUICKSTART_B, f"{oracle.PUBLIC}EMULATOR/SINUSOIDAL"]
)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_window_is_the_formulas(name, data):
    image = BUILT_IN.get(name)
    band = data.draw(st.integers(0, len(image.bands) - 1))
    lattice = image.bands[band].lattice
    column = data.draw(st.integers(0, lattice.width - 1))
    row = data.draw(st.integers(0, lattice.height - 1))
    width = data.draw(st.integers(1, min(100, lattice.width - column)))
    height = data.draw(st.integers(1, min(100, lattice.height - row)))
    values, valid = image.source.read(band, column, row, width, height)
    where = (name, image.bands[band].id, column, row, width, height)
    expected = oracle.oracle_valid(*where)
    assert (np.ones_like(expected) if valid is None else valid).tolist() == expected.tolist()
    np.testing.assert_array_equal(values[expected], oracle.oracle_window(*where)[expected])


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10700),
    st.integers(0, 10700),
    st.integers(1, 200),
    st.integers(1, 200),
    st.permutations([1, 2, 3, 7]),
)
def test_interleaved_bands_are_the_bands(column, row, width, height, bands):
    land = BUILT_IN.get(oracle.QUICKSTART).source
    out = np.empty((height, width * 4), "<u2")
    land.prepare(tuple(bands), column, row, width, height).write(0, out)
    for i, band in enumerate(bands):
        single, _ = land.read(band, column, row, width, height)
        np.testing.assert_array_equal(out[:, i::4], single)


def test_every_asset_has_an_oracle():
    for name in [*BUILT_IN.children(f"{oracle.PUBLIC}EMULATOR"), oracle.QUICKSTART]:
        asset = BUILT_IN.get(name)
        if not isinstance(asset, Image) or not isinstance(asset.source, Land):
            continue
        known = oracle.scene(name)
        assert known.place == asset.source.place
        assert known.origin == asset.source.origin
        found = zip(asset.bands, asset.source.kinds, asset.source.steps, strict=True)
        assert known.bands == {b.id: (k, s, b.lattice.width, b.lattice.height) for b, k, s in found}


@given(st.integers(0, 2**32 - 1))
def test_the_hash_is_the_documented_one(x):
    assert mix(x) == oracle.mix(x)


# ---------------------------------------------------------------- names and routes


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("COPERNICUS/S2/x", "projects/earthengine-public/assets/COPERNICUS/S2/x"),
        ("users/ann/dem", "projects/earthengine-legacy/assets/users/ann/dem"),
        (
            "projects/planet-nicfi/basemaps/x",
            "projects/earthengine-legacy/assets/projects/planet-nicfi/basemaps/x",
        ),
        ("projects/my-proj-1/assets/a/b", "projects/my-proj-1/assets/a/b"),
        ("projects/my-proj-1/assets", "projects/my-proj-1/assets/"),
        ("projects/example.com:my-proj/assets/a", "projects/example.com:my-proj/assets/a"),
    ],
)
def test_ids_become_names(text, name):
    assert catalogue.asset_name(text) == name


@pytest.mark.parametrize(
    ("verb", "path", "method", "resource"),
    [
        ("GET", "/v1/projects/p-a-b-c/assets/a/b", "assets.get", "projects/p-a-b-c/assets/a/b"),
        ("GET", "/v1/projects/p-a-b-c/assets/a%2Fb", "assets.get", "projects/p-a-b-c/assets/a/b"),
        (
            "GET",
            "/v1/projects/x.y:p-a-b-c/assets/a:listAssets",
            "assets.listAssets",
            "projects/x.y:p-a-b-c/assets/a",
        ),
        ("GET", "/v1/projects/x.y:p-a-b-c/assets/a", "assets.get", "projects/x.y:p-a-b-c/assets/a"),
        ("GET", "/v1/projects/p:listAssets", "assets.listAssets", "projects/p"),
        ("GET", "/v1alpha/projects/p/assets/a:listImages", "assets.listImages", "projects/p/assets/a"),
        ("POST", "/v1/projects/p/assets/a:getPixels", "assets.getPixels", "projects/p/assets/a"),
        ("POST", "/v1beta/projects/p/image:computePixels", "image.computePixels", "projects/p/image"),
        ("POST", "/v1/projects/p/value:compute", "value.compute", "projects/p/value"),
        ("POST", "/v1/projects/p/thumbnails", "thumbnails.create", "projects/p/thumbnails"),
        ("GET", "/v1/projects/p/thumbnails/t:getPixels", "thumbnails.getPixels", "projects/p/thumbnails/t"),
        ("GET", "/v1/projects/p/algorithms", "algorithms.list", "projects/p/algorithms"),
        ("POST", "/token", "token", ""),
    ],
)
def test_routes(verb, path, method, resource):
    route = routing.find(verb, path)
    assert (route.method, route.resource) == (method, resource)


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("GET", "/"),
        ("GET", "/v1"),
        ("GET", "/v9/projects/p/assets/a"),
        ("GET", "/v1/projects/p/assets/a:listImages"),
        ("PUT", "/v1/projects/p/assets/a:getPixels"),
        ("DELETE", "/v1/projects/p/assets/a"),
        ("GET", "/token"),
        ("POST", "/v1/projects/p/assets/a:nothing"),
    ],
)
def test_no_routes(verb, path):
    assert routing.find(verb, path) is None


@given(st.text(max_size=60))
def test_any_path_has_an_answer(path):
    routing.find("GET", "/" + path)


# ---------------------------------------------------------------- metadata


@pytest.mark.parametrize(("kind", "expected"), [("u1", {"max": 255}), ("i1", {"min": -128, "max": 127})])
def test_ranges_leave_zero_out(kind, expected):
    assert PIXEL_TYPES[kind].document() == {"precision": "INT", "range": expected}


def test_zero_members_are_left_out():
    document = Lattice("EPSG:4326", 3, 2, (0.5, 0, 0, 0, -0.25, 7.0)).document()
    assert document["affineTransform"] == {"scaleX": 0.5, "scaleY": -0.25, "translateY": 7}
    assert isinstance(plain(7.0), int)


def test_a_wkt_goes_into_its_own_field():
    assert "crsWkt" in Lattice('PROJCS["x"]', 1, 1, (1, 0, 0, 0, 1, 0)).document()


# ---------------------------------------------------------------- bodies


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["fileFormat", "bandIds", "grid", "dimensions", "width", "affineTransform", "scaleX"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=8,
    )
)
def test_any_body_is_checked_or_refused(body):
    if not isinstance(body, dict):
        return
    with contextlib.suppress(ApiError):
        schema.check(body, schema.GET_PIXELS)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e1", 3, 2.5])
def test_doubles(value):
    assert isinstance(schema.check({"scaleX": value}, {"scaleX": "double"})["scaleX"], float)


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, 1.5, "1.5", True, [], float("inf"), float("nan")])
def test_what_is_no_int32(value):
    with pytest.raises(ApiError, match="TYPE_INT32"):
        schema.check({"width": value}, {"width": "int32"})


# ---------------------------------------------------------------- grids


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


# ---------------------------------------------------------------- pyramids and placement


@given(
    st.integers(1, 70),
    st.integers(1, 70),
    st.sampled_from(["MEAN", "SAMPLE", "MIN", "MAX", "MODE", "MEDIAN"]),
    st.booleans(),
    st.randoms(use_true_random=False),
)
@settings(max_examples=60, deadline=None)
def test_reduce_agrees_with_a_loop(half_width, half_height, policy, masked, random):
    half_width, half_height = min(half_width, 6), min(half_height, 6)
    seed = np.random.default_rng(random.randrange(2**32))
    values = seed.integers(-5, 6, (2 * half_height, 2 * half_width)).astype("i2")
    valid = seed.random(values.shape) < 0.6 if masked else None
    got, mask = pyramid.reduce(values, valid, policy)
    for r in range(half_height):
        for c in range(half_width):
            cells = [(2 * r, 2 * c), (2 * r, 2 * c + 1), (2 * r + 1, 2 * c), (2 * r + 1, 2 * c + 1)]
            kept = [int(values[cell]) for cell in cells if valid is None or valid[cell]]
            if policy == "SAMPLE":
                kept = kept if valid is None or valid[cells[0]] else []
            assert (mask is None or bool(mask[r, c])) == bool(kept)
            if kept:
                assert got[r, c] == {
                    "MEAN": lambda k: int(np.floor(sum(k) / len(k) + 0.5)),
                    "SAMPLE": lambda k: k[0],
                    "MIN": min,
                    "MAX": max,
                    "MEDIAN": lambda k: sorted(k)[(len(k) - 1) // 2],
                    "MODE": lambda k: max(k, key=lambda v: (k.count(v), -k.index(v))),
                }[policy](kept)


def test_levels_end_at_one_tile():
    sides = {256: 0, 257: 1, 512: 1, 1830: 3, 5490: 5, 10980: 6}
    for side, level in sides.items():
        band = Band("b", PIXEL_TYPES["u2"], Lattice("EPSG:32610", side, 1, (1, 0, 0, 0, 1, 0)))
        assert pyramid.levels(band) == level


@pytest.mark.parametrize(
    ("scale", "level"), [(5, 0), (10, 0), (19.9, 0), (20, 1), (39, 1), (40, 2), (1e6, 6)]
)
def test_levels_by_scale(scale, level):
    image = BUILT_IN.get(oracle.QUICKSTART)
    grid = Lattice("EPSG:32610", 10, 10, (scale, 0, 499980, 0, -scale, 4200000))
    assert sampling.place(image, 1, grid).level == level


def test_blocks_are_forgotten_when_they_are_too_many():
    image = BUILT_IN.get(oracle.QUICKSTART)
    small = Pyramids(kept_bytes=300_000)
    whole = Pyramids()
    for place in (0, 700, 0):
        one, _ = small.read(image, 1, 2, place, place, 600, 600)
        other, _ = whole.read(image, 1, 2, place, place, 600, 600)
        np.testing.assert_array_equal(one, other)
    small.clear()


# ---------------------------------------------------------------- filters and shapes


@given(st.text(alphabet='abAND OR NOT()<>=!"\\.:019-', max_size=40))
def test_any_filter_is_parsed_or_refused(text):
    with contextlib.suppress(ApiError):
        filters.parse(text)


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ("POINT(1 1)", "POLYGON((0 0, 2 0, 2 2, 0 2, 0 0))", True),
        ("POINT(3 1)", "POLYGON((0 0, 2 0, 2 2, 0 2, 0 0))", False),
        ("POINT(1 1)", "POLYGON((0 0, 3 0, 3 3, 0 3, 0 0), (0.5 0.5, 2 0.5, 2 2, 0.5 2, 0.5 0.5))", False),
        ("LINESTRING(-1 1, 3 1)", "POLYGON((0 0, 2 0, 2 2, 0 2, 0 0))", True),
        ("LINESTRING(-1 3, 3 3)", "POLYGON((0 0, 2 0, 2 2, 0 2, 0 0))", False),
        ("POLYGON((0 0, 9 0, 9 9, 0 9, 0 0))", "POLYGON((2 2, 3 2, 3 3, 2 2))", True),
        ("POINT(1 1)", "POINT(1 1)", True),
        ("POINT(2 0)", "POLYGON((0 0, 2 0, 2 2, 0 2, 0 0))", True),
        ("MULTIPOLYGON(((0 0, 1 0, 1 1, 0 0)), ((5 5, 6 5, 6 6, 5 5)))", "POINT(5.5 5.2)", True),
    ],
)
def test_shapes_meet(one, other, meet):
    shapes = geometry.parse(one), geometry.parse(other)
    assert geometry.intersects(*shapes) == meet
    assert geometry.intersects(*shapes[::-1]) == meet


@pytest.mark.parametrize(
    "text", ["", "{", "POINT", "POINT()", "CIRCLE(1 1)", "{'type': 'Point'}", "__import__('os')"]
)
def test_what_is_no_shape(text):
    with pytest.raises(ApiError):
        geometry.parse(text)


# ---------------------------------------------------------------- switches and faults


def test_settings_are_checked_all_the_same():
    with pytest.raises(SettingsError, match="fill must be one of zero, min"):
        Settings().changed({"fill": "nothing"})
    with pytest.raises(SettingsError, match="unknown fault"):
        Settings().changed({"faults": [{"fault": "x"}]})
    assert Settings().changed({"compute_s_per_day": 4}).compute_s_per_day == 4


def test_every_fault_is_tested_and_documented():
    tests = "".join(
        (ROOT / "tests" / "contract" / f"test_{n}.py").read_text() for n in ("faults", "listings")
    )
    page = (ROOT / "docs" / "emulator.md").read_text()
    for name in spec.FAULTS:
        assert f'"{name}"' in tests, f"no test meets {name}"
        assert f"| `{name}` |" in page, f"docs/emulator.md does not name {name}"


def test_every_switch_is_documented():
    page = (ROOT / "docs" / "emulator.md").read_text()
    for name in Settings.__slots__:
        assert f"`{name}`" in page, name
