"""Geometries on pixel grids, against rasterio's rasteriser and a dense brute force."""

from __future__ import annotations

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from downloader.errors import JobError
from downloader.model.crs import Crs
from downloader.model.grid import AffineTransform, PixelGrid, Window
from downloader.planning import Tiling
from downloader.planning.polygon import Shape, place, read_geojson, window_of

UTM = PixelGrid(Crs(code="EPSG:32610"), AffineTransform(10, 0, 499980, 0, -10, 4200000), 10980, 10980)
LONLAT = Crs(code="EPSG:4326")


def polygon(rng, n=7, scale=600.0):
    angles = np.sort(rng.uniform(0, 2 * np.pi, n))
    radii = rng.uniform(0.2, 1, n) * scale
    return shapely.make_valid(
        shapely.Polygon(np.column_stack((700 + radii * np.cos(angles), 650 + radii * np.sin(angles))))
    )


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("shard", [1, 2, 4])
def test_a_shard_knows_which_of_its_tiles_are_touched(seed, shard):
    geometry = polygon(np.random.default_rng(seed))
    tiling = Tiling(1400, 1300, tile=100, shard=shard)
    shape = Shape(shapely.to_wkb(geometry))
    touched = set()
    for row in range(tiling.shard_rows):
        for column in range(tiling.shard_columns):
            mask = shape.mask(tiling, 0, row, column)
            for slot in range(tiling.slots):
                if mask >> slot & 1:
                    touched.add(tiling.tile_at((0, row, column), slot)[1:])
    expected = {
        (r, c)
        for r in range(tiling.tile_rows)
        for c in range(tiling.tile_columns)
        if geometry.intersection(
            shapely.box(c * 100, r * 100, min(c * 100 + 100, 1400), min(r * 100 + 100, 1300))
        ).area
        > 1e-3
    }
    assert expected <= touched
    assert len(touched - expected) == 0
    assert shape.count(tiling) == len(touched)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("all_touched", [False, True])
def test_pixels_inside_are_those_that_rasterio_burns(seed, all_touched):
    features = pytest.importorskip("rasterio.features", reason="the extra rasters is not installed")
    geometry = polygon(np.random.default_rng(seed), scale=90)
    geometry = shapely.transform(geometry, lambda points: points - 600.3)
    window = Window(11, 23, 180, 160)
    inside = Shape(shapely.to_wkb(geometry), all_touched).inside(window)
    burned = features.geometry_mask(
        [geometry], (400, 400), pyproj_free_identity(), invert=True, all_touched=all_touched
    )[window.slices]
    # GDAL's all_touched follows the outline pixel by pixel and may differ where a corner is only grazed.
    assert inside is not None
    assert np.count_nonzero(inside != burned) <= (4 if all_touched else 0)


def pyproj_free_identity():
    from rasterio.transform import Affine

    return Affine.identity()


def test_a_window_wholly_inside_needs_no_mask():
    shape = Shape(shapely.to_wkb(shapely.box(0, 0, 100, 100)))
    assert shape.inside(Window(10, 10, 50, 50)) is None
    assert pickle.loads(pickle.dumps(shape)) == shape


def test_edges_bend_as_the_projection_bends_them():
    """A long parallel in longitude and latitude is a curve in UTM: pixels along it are found, not the chord's."""
    geometry = shapely.box(-123.0, 37.0, -121.8, 37.9)
    placed = place(geometry, LONLAT, UTM, buffer=0, key="region")
    window = window_of(placed)
    to_utm = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32610", always_xy=True)
    s = np.linspace(0, 1, 20001)
    xs = np.concatenate([-123 + 1.2 * s, np.full_like(s, -121.8), -121.8 - 1.2 * s, np.full_like(s, -123)])
    ys = np.concatenate([np.full_like(s, 37.0), 37 + 0.9 * s, np.full_like(s, 37.9), 37.9 - 0.9 * s])
    x, y = to_utm.transform(xs, ys)
    columns, rows = (x - 499980) / 10, (4200000 - y) / 10
    assert (window.column, window.row) == (int(np.floor(columns.min())), int(np.floor(rows.min())))
    assert (window.column_end, window.row_end) == (int(np.ceil(columns.max())), int(np.ceil(rows.max())))
    outline = shapely.points(columns, rows)
    assert shapely.distance(placed.exterior, outline).max() < 0.05


def test_a_buffer_counts_in_units_of_the_grid():
    placed = place(shapely.box(500000, 4100000, 500100, 4100100), UTM.crs, UTM, buffer=50, key="region")
    window = window_of(placed)
    assert (window.width, window.height) == (20, 20)
    with pytest.raises(JobError, match="nothing is left"):
        place(shapely.box(500000, 4100000, 500100, 4100100), UTM.crs, UTM, buffer=-60, key="region")
    assert placed.area == pytest.approx(400 - (4 - np.pi) * 25, rel=0.02)


def test_swapped_coordinates_and_the_antimeridian_are_refused_with_a_reason():
    with pytest.raises(JobError, match="no longitudes and latitudes"):
        place(shapely.box(37, -123, 38, -122), LONLAT, UTM, buffer=0, key="region.geometry")
    with pytest.raises(JobError, match="antimeridian"):
        place(shapely.box(-179, 10, 179, 20), LONLAT, UTM, buffer=0, key="region.geometry")


def test_a_geometry_around_the_pole_lands_whole_on_a_polar_grid():
    polar = PixelGrid(
        Crs(code="EPSG:3413"), AffineTransform(1000, 0, -4000000, 0, -1000, 4000000), 8000, 8000
    )
    ring = [(lon, 80.0) for lon in np.arange(-180, 180, 5.0)]
    lonlat = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:3413", always_xy=True)
    x, y = lonlat.transform(*np.array(ring).T)
    placed = place(shapely.Polygon(np.column_stack((x, y))), polar.crs, polar, buffer=0, key="region")
    window = window_of(placed)
    assert placed.contains(shapely.Point(4000, 4000))
    assert window.contains(Window(3999, 3999, 2, 2))


def test_self_crossing_polygons_are_read_by_the_even_odd_rule():
    bow_tie = {"type": "Polygon", "coordinates": [[[0, 0], [2, 2], [2, 0], [0, 2], [0, 0]]]}
    geometry = read_geojson(bow_tie, "region.geometry")
    assert geometry.is_valid
    assert geometry.area == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({}, "is no GeoJSON"),
        ({"type": "Polygon"}, "is no GeoJSON"),
        ({"type": "Polygon", "coordinates": []}, "holds no geometry"),
        ({"type": "FeatureCollection", "features": []}, "holds no geometry"),
        ({"type": "Feature", "geometry": None}, "is no GeoJSON"),
        ({"type": "Banana", "coordinates": [0, 0]}, "is no GeoJSON"),
    ],
)
def test_what_is_no_geometry_is_refused(document, says):
    with pytest.raises(JobError, match=says):
        read_geojson(document, "region.geometry")


def test_several_features_are_one_region():
    boxes = [shapely.box(k, 0, k + 2, 1) for k in range(3)]
    features = [
        {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(box)} for box in boxes
    ]
    geometry = read_geojson({"type": "FeatureCollection", "features": features}, "region.file")
    assert geometry.area == pytest.approx(4.0)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 400), st.integers(1, 400))
def test_a_box_in_the_grids_own_crs_is_exact(column, row, width, height):
    t = UTM.transform
    x0, y0 = t.at(column, row)
    x1, y1 = t.at(column + width, row + height)
    window = window_of(place(shapely.box(x0, y1, x1, y0), UTM.crs, UTM, buffer=0, key="region"))
    assert window == Window(column, row, width, height)


def test_counting_a_country_costs_its_outline():
    """10⁸ tiles under a disc: counted by quarters, not one by one."""
    tiling = Tiling(2_560_000, 2_560_000, shard=8)
    disc = Shape(shapely.to_wkb(shapely.Point(1_280_000, 1_280_000).buffer(1_200_000, 64)))
    counted = disc.count(tiling)
    assert counted * 256**2 == pytest.approx(np.pi * 1_200_000**2, rel=2e-3)


def test_threads_may_ask_one_shape_at_once():
    """Tiles are masked in worker threads, and a prepared geometry of GEOS is no thing for two of them."""
    from concurrent.futures import ThreadPoolExecutor

    for seed in range(30):
        geometry = shapely.transform(polygon(np.random.default_rng(seed), n=400), lambda points: points * 1.0)
        shape = Shape(shapely.to_wkb(geometry))
        tiling = Tiling(1400, 1300, tile=100, shard=2)
        with ThreadPoolExecutor(8) as pool:
            inside = list(pool.map(shape.inside, [Window(100 * k, 600, 100, 100) for k in range(13)]))
            rows = range(tiling.shard_rows)
            masks = list(pool.map(shape.mask, [tiling] * len(rows), [0] * len(rows), rows, [3] * len(rows)))
        assert len(inside) + len(masks) == 13 + tiling.shard_rows


def test_tiles_are_told_while_another_thread_asks_for_pixels(monkeypatch):
    """The event loop asks for tiles; it must not wait for threads that mask pixels."""
    entered, leave = threading.Event(), threading.Event()
    contains = shapely.contains_xy

    def slow(*arguments):
        entered.set()
        assert leave.wait(20)
        return contains(*arguments)

    shape = Shape(shapely.to_wkb(shapely.Point(300, 300).buffer(250)))
    tiling = Tiling(600, 600, shard=2)
    monkeypatch.setattr(shapely, "contains_xy", slow)
    with ThreadPoolExecutor(2) as threads:
        masking = threads.submit(shape.inside, Window(0, 0, 600, 600))
        try:
            assert entered.wait(20)
            assert threads.submit(shape.mask, tiling, 0, 0, 0).result(10) == 0b1111
            assert threads.submit(shape.count, tiling).result(10) == 8
        finally:
            leave.set()
        assert masking.result(20).sum() == pytest.approx(np.pi * 250**2, rel=0.01)


@pytest.mark.parametrize("buffer", [1e308, 1e300, 1e30])
def test_a_buffer_beyond_all_bounds_is_refused_by_its_key(buffer):
    square = shapely.box(500000, 4190000, 510000, 4199000)
    with pytest.raises(JobError) as caught:
        place(square, UTM.crs, UTM, buffer=buffer, key="region.geometry")
    assert caught.value.key == "region.buffer"
