"""Grids that the job asks for, and regions of any shape: each pixel where rasterio, given the same transform, says it is.

The oracle knows native pixels only: for another grid each output pixel's centre is brought to the image's CRS by pyproj
and looked up there, as the service does (docs/contract.md §4.1).
"""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyproj
import pytest

import downloader
from downloader.errors import DriftError, JobError
from tests.harness import job
from tests.mosaics import coverage_of
from tests.oracle import PUBLIC, QUICKSTART, oracle_window

# rasterio 1.4 multiplies transforms in a way that its own affine library calls old.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")

BOX = [-122.10, 37.40, -122.07, 37.42]
SCENE = QUICKSTART.removeprefix(PUBLIC)
DATA = Path(__file__).parents[3] / "shared" / "data"


def fetch(emulator, tmp_path, bands=("B4",), **sections):
    values = job(emulator, tmp_path / "mosaic.zarr", **sections)
    values["source"] = {"asset": SCENE, "bands": list(bands), **sections.get("source", {})}
    return downloader.download(values, progress=False)


def nearest(dataset, band, crs, scale=10):
    """The band's pixels under the centres of `dataset`, by the oracle; the whole must lie inside the image."""
    x, y = np.meshgrid(dataset.x.values, dataset.y.values)
    if crs != "EPSG:32610":
        x, y = pyproj.Transformer.from_crs(crs, "EPSG:32610", always_xy=True).transform(x, y)
    columns = np.floor((x - 499980) / scale).astype(int)
    rows = np.floor((4200000 - y) / scale).astype(int)
    left, top = columns.min(), rows.min()
    block = oracle_window(QUICKSTART, band, left, top, columns.max() - left + 1, rows.max() - top + 1)
    return block[rows - top, columns - left]


def transform_of(dataset):
    """(scaleX, shearX, translateX, shearY, scaleY, translateY) as rasterio reads it from the dataset."""
    t = dataset.rio.transform()
    return (t.a, t.b, t.c, t.d, t.e, t.f)


def on_the_wire(emulator):
    """(grid of the whole, grids asked for) of the pixel requests, canaries left out."""
    records = emulator.control("requests?since=0")["requests"]
    grids = [
        json.loads(r["body"])["grid"] if isinstance(r.get("body"), str) else r["body"]["grid"]
        for r in records
        if r["method"].endswith("Pixels") and r.get("size") != [1, 1]
    ]
    assert grids
    return grids


def test_another_crs_lies_on_whole_multiples_and_reads_the_nearest_pixel(emulator, tmp_path):
    pytest.importorskip("rioxarray")
    grid = {"crs": "EPSG:4326", "resolution": 0.0002}
    report = fetch(emulator, tmp_path, region={"bbox": BOX}, grid=grid)
    dataset = report.open(chunks=None)
    assert dataset.rio.crs.to_epsg() == 4326
    scale_x, _, x0, _, scale_y, y0 = transform_of(dataset)
    assert (scale_x, scale_y) == (0.0002, -0.0002)
    assert x0 / 0.0002 == pytest.approx(round(x0 / 0.0002), abs=1e-6)
    assert y0 / 0.0002 == pytest.approx(round(y0 / 0.0002), abs=1e-6)
    np.testing.assert_array_equal(dataset["B4"].values, nearest(dataset, "B4", "EPSG:4326"))
    for asked in on_the_wire(emulator):
        affine = asked["affineTransform"]
        assert asked["crsCode"] == "EPSG:4326"
        column, row = (affine["translateX"] - x0) / 0.0002, (affine["translateY"] - y0) / -0.0002
        assert column == pytest.approx(round(column), abs=1e-6)
        assert row == pytest.approx(round(row), abs=1e-6)


def test_a_whole_transform_is_taken_as_it_is(emulator, tmp_path):
    pytest.importorskip("rioxarray")
    transform = [7.5, 0, 571003.25, 0, -12.5, 4139001.75]
    report = fetch(
        emulator,
        tmp_path,
        region={"window": {"column": 0, "row": 0, "width": 300, "height": 280}},
        grid={"transform": transform},
    )
    dataset = report.open(chunks=None)
    assert transform_of(dataset) == pytest.approx(tuple(transform), abs=1e-9)
    assert dict(dataset.sizes)["x"] == 300
    np.testing.assert_array_equal(dataset["B4"].values, nearest(dataset, "B4", "EPSG:32610"))


def test_like_a_band_puts_all_bands_on_its_grid(emulator, tmp_path):
    report = fetch(emulator, tmp_path, ("B4", "B5"), region={"bbox": BOX}, grid={"like": "B4"})
    dataset = report.open(chunks=None)
    np.testing.assert_array_equal(dataset["B4"].values, nearest(dataset, "B4", "EPSG:32610"))
    np.testing.assert_array_equal(dataset["B5"].values, nearest(dataset, "B5", "EPSG:32610", scale=20))


def test_like_a_raster_lies_on_its_pixels(emulator, tmp_path):
    rasterio = pytest.importorskip("rasterio")
    pytest.importorskip("rioxarray")
    path = tmp_path / "like.tif"
    origin = rasterio.transform.from_origin(571007, 4139013, 15, 15)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=90,
        height=70,
        count=1,
        dtype="uint8",
        crs="EPSG:32610",
        transform=origin,
    ):
        pass
    report = fetch(
        emulator,
        tmp_path,
        region={"window": {"column": 0, "row": 0, "width": 90, "height": 70}},
        grid={"like": str(path)},
    )
    dataset = report.open(chunks=None)
    assert dataset.rio.transform() == origin
    np.testing.assert_array_equal(dataset["B4"].values, nearest(dataset, "B4", "EPSG:32610"))
    other = tmp_path / "second"
    other.mkdir()
    again = fetch(emulator, other, region={"bbox": BOX}, grid={"like": report.mosaic})
    assert (again.open(chunks=None).x.values[0] - dataset.x.values[0]) % 15 == 0


def test_beyond_the_image_tiles_are_not_asked_for(emulator, tmp_path):
    """The scene ends at x 499980: of a grid that begins 20 km west of it, the western tiles stay unasked."""
    transform = [10, 0, 479980, 0, -10, 4190000]
    report = fetch(
        emulator,
        tmp_path,
        region={"window": {"column": 0, "row": 0, "width": 2560, "height": 512}},
        grid={"transform": transform},
    )
    dataset = report.open(chunks=None)
    assert report.tiles == 6, "of 10 × 2 tiles, those from column 7 on"
    outside, inside = dataset["B4"].values[:, :1792], dataset["B4"].values[:, 2000:]
    assert not outside.any()
    np.testing.assert_array_equal(inside, oracle_window(QUICKSTART, "B4", 0, 1000, 560, 512))
    assert set(np.unique(coverage_of(report.mosaic)[:, :7])) == {3}


@pytest.mark.parametrize(
    ("grid", "says"),
    [
        ({"crs": "EPSG:4326"}, "goes with resolution, scale or transform"),
        ({"like": "B99"}, "none of the bands"),
        ({"transform": [1, 2]}, "six numbers"),
        ({"resampling": "bilinear"}, "not resampled"),
    ],
)
def test_grids_that_cannot_be_are_refused(emulator, tmp_path, grid, says):
    with pytest.raises(JobError, match=says):
        fetch(emulator, tmp_path, region={"bbox": BOX}, grid=grid)


def test_the_region_of_an_open_mosaic_is_its_extent(emulator, tmp_path):
    first = fetch(emulator, tmp_path / "a", region=BOX).open(chunks=None)
    second = fetch(emulator, tmp_path / "b", ("B8",), region=first).open(chunks=None)
    for axis in "xy":
        np.testing.assert_array_equal(second[axis].values, first[axis].values)
    np.testing.assert_array_equal(second["B8"].values, nearest(first, "B8", "EPSG:32610"))


# Regions of any shape --------------------------------------------------------------------------------------


def triangle():
    return {
        "type": "Polygon",
        "coordinates": [[[-122.3, 37.2], [-121.95, 37.25], [-122.1, 37.5], [-122.3, 37.2]]],
    }


def inside_triangle(dataset):
    """Which pixel centres lie in the triangle, judged in longitude and latitude."""
    import shapely

    x, y = np.meshgrid(dataset.x.values, dataset.y.values)
    lon, lat = pyproj.Transformer.from_crs("EPSG:32610", "EPSG:4326", always_xy=True).transform(x, y)
    return shapely.contains_xy(shapely.geometry.shape(triangle()), lon, lat)


def test_tiles_that_do_not_touch_the_geometry_are_not_fetched(emulator, tmp_path):
    report = fetch(emulator, tmp_path, region={"geometry": triangle()}, request={"tiles": 1})
    dataset = report.open(chunks=None)
    inside = inside_triangle(dataset)
    tiles = {(r // 256, c // 256) for r, c in zip(*np.nonzero(inside), strict=True)}
    stored = {(r, c) for r, c in zip(*np.nonzero(coverage_of(report.mosaic) == 1), strict=True)}
    assert tiles <= stored
    assert len(stored) == report.tiles < coverage_of(report.mosaic).size
    assert set(np.unique(coverage_of(report.mosaic))) == {1, 2}
    values = dataset["B4"].values
    np.testing.assert_array_equal(values[inside], nearest(dataset, "B4", "EPSG:32610")[inside])


def test_a_mask_writes_nodata_outside_and_needs_one(emulator, tmp_path):
    region = {"geometry": triangle(), "mask": True}
    with pytest.raises(JobError, match="no nodata value to write outside"):
        fetch(emulator, tmp_path, region=region)
    report = fetch(
        emulator, tmp_path, region=region, mosaic={"path": str(tmp_path / "m.zarr"), "nodata": 65535}
    )
    dataset = report.open(chunks=None)
    inside = inside_triangle(dataset)
    expected = np.where(inside, nearest(dataset, "B4", "EPSG:32610"), 65535)
    # Centres within a thousandth of a pixel of the outline may fall on either side of it.
    assert np.count_nonzero(dataset["B4"].values != expected) <= 10


def test_another_geometry_in_the_same_box_is_another_job(emulator, tmp_path):
    fetch(emulator, tmp_path, region={"geometry": triangle()})
    other = triangle()
    other["coordinates"][0].insert(2, [-122.0, 37.45])
    with pytest.raises(DriftError, match="region"):
        fetch(emulator, tmp_path, region={"geometry": other})


@pytest.mark.skipif(not DATA.is_dir(), reason="the real rasters are not beside the project")
@pytest.mark.parametrize("all_touched", [False, True])
def test_the_parks_own_boundary_over_its_own_elevations(tmp_path, all_touched):
    """A shapefile over a real raster, pixel by pixel as rasterio masks it."""
    rasterio = pytest.importorskip("rasterio")
    pyogrio = pytest.importorskip("pyogrio")
    import shapely
    from rasterio.features import geometry_mask

    report = downloader.download(
        {
            "source": {"asset": "RMNP/dem"},
            "region": {"file": str(DATA / "rmnp.shp"), "mask": True, "all_touched": all_touched},
            "mosaic": {"path": str(tmp_path / "park.zarr")},
            "service": {
                "endpoint": "emulator",
                "emulator": {"rasters": {"RMNP/dem": str(DATA / "rmnp-dem.tif")}},
            },
        },
        progress=False,
    )
    dataset = report.open(chunks=None)
    (band,) = dataset.data_vars
    meta, _, wkb, _ = pyogrio.raw.read(DATA / "rmnp.shp", columns=[])
    with rasterio.open(DATA / "rmnp-dem.tif") as raster:
        boundary = shapely.union_all(shapely.from_wkb(wkb))
        move = pyproj.Transformer.from_crs(meta["crs"], raster.crs, always_xy=True)
        boundary = shapely.transform(boundary, lambda p: np.column_stack(move.transform(p[:, 0], p[:, 1])))
        inside = geometry_mask(
            [boundary], raster.shape, raster.transform, invert=True, all_touched=all_touched
        )
        whole = np.where(inside, raster.read(1), raster.nodata)
        row, column = raster.index(dataset.x.values[0], dataset.y.values[0])
    found = dataset[band].values
    assert np.count_nonzero(found != whole[row : row + found.shape[0], column : column + found.shape[1]]) <= (
        8 if all_touched else 0
    )
    assert np.count_nonzero(found != raster.nodata) > 10_000


@pytest.mark.skipif(not DATA.is_dir(), reason="the real boundaries are not beside the project")
@pytest.mark.parametrize("inline", [False, True])
def test_counties_are_many_features_of_one_region(tmp_path, inline):
    """Two counties of the real file over the real raster, as rasterio masks it; all of them leave nothing out."""
    rasterio = pytest.importorskip("rasterio")
    import shapely
    from rasterio.features import geometry_mask

    document = json.loads((DATA / "colorado-counties.geojson").read_text())
    if inline:
        document["features"] = [
            one for one in document["features"] if one["properties"]["name"] in ("Boulder", "Grand")
        ]
        document.pop("crs")
    region = {"geometry": document} if inline else {"file": str(DATA / "colorado-counties.geojson")}
    report = downloader.download(
        {
            "source": {"asset": "RMNP/rgb"},
            "region": {**region, "mask": True},
            "mosaic": {"path": str(tmp_path / "counties.zarr"), "nodata": 0},
            "service": {
                "endpoint": "emulator",
                "emulator": {"rasters": {"RMNP/rgb": str(DATA / "rmnp-rgb.tif")}},
            },
        },
        progress=False,
    )
    dataset = report.open(chunks=None)
    with rasterio.open(DATA / "rmnp-rgb.tif") as raster:
        shapes = [shapely.geometry.shape(one["geometry"]) for one in document["features"]]
        inside = geometry_mask(shapes, raster.shape, raster.transform, invert=True)
        whole = np.where(inside & (raster.read_masks() != 0), raster.read(), 0)
        row, column = raster.index(dataset.x.values[0], dataset.y.values[0])
    assert inside.all() != inline
    height, width = dataset.sizes["y"], dataset.sizes["x"]
    assert not np.delete(whole, np.s_[row : row + height], axis=1).any(), "nothing is cut off"
    for band, plane in zip(sorted(dataset.data_vars), whole, strict=True):
        np.testing.assert_array_equal(
            dataset[band].values, plane[row : row + height, column : column + width]
        )


# The transform, exactly --------------------------------------------------------------------------------------

GRIDS = {
    "native": (SCENE, {}, (499980, 10), (4200000, -10)),
    "native degrees": ("EMULATOR/DEGREES", {}, (-106.2000456321, 0.00026949458523585647), (40.7000123457, -0.00026949458523585647)),
    "resolution": (SCENE, {"resolution": [17.3, 12.9]}, (499980, 17.3), (4200000, -12.9)),
    "scale": (SCENE, {"scale": 30}, (499980, 30), (4200000, -30)),
    "crs": (SCENE, {"crs": "EPSG:4326", "resolution": 0.00017}, (0, 0.00017), (0, -0.00017)),
    "transform": (SCENE, {"transform": [7.1, 0, 571003.3, 0, -12.7, 4139001.7]}, (571003.3, 7.1), (4139001.7, -12.7)),
    "like a band": (SCENE, {"like": "B5"}, (499980, 20), (4200000, -20)),
}  # fmt: skip
"""What the job says, and the lattice by hand: origin and pixel size along x and y."""


@pytest.mark.parametrize("name", GRIDS)
def test_the_transform_is_exact_on_the_wire_and_in_the_store(emulator, tmp_path, name):
    """Origin + scale × whole offset in rational arithmetic, rounded once, in every request and in the mosaic."""
    rasterio = pytest.importorskip("rasterio")
    pytest.importorskip("rioxarray")
    asset, grid, *axes = GRIDS[name]
    region = {"bbox": BOX if asset == SCENE else [-106.0, 40.4, -105.8, 40.6]}
    bands = ["canopy"] if asset != SCENE else ["B5", "B4"] if "like" in grid else ["B4"]
    values = job(emulator, tmp_path / "m.zarr", region=region, grid=grid, request={"tiles": 1})
    values["source"] = {"asset": asset, "bands": bands}
    dataset = downloader.download(values, progress=False).open(chunks=None)
    sx, _, x0, _, sy, y0 = transform_of(dataset)
    exact = [(Fraction(origin), Fraction(step)) for origin, step in axes]
    assert (sx, sy) == tuple(float(step) for _, step in exact)
    begin = [round((Fraction(v) - origin) / step) for v, (origin, step) in zip((x0, y0), exact, strict=True)]

    def at(axis, number):
        origin, step = exact[axis]
        return float(origin + step * (begin[axis] + number))

    assert (x0, y0) == (at(0, 0), at(1, 0))
    half = Fraction(1, 2)
    assert dataset.x.values.tolist() == [at(0, k + half) for k in range(dataset.sizes["x"])]
    assert dataset.y.values.tolist() == [at(1, k + half) for k in range(dataset.sizes["y"])]
    tiles = set()
    for asked in on_the_wire(emulator):
        affine = asked["affineTransform"]
        assert (affine["scaleX"], affine["scaleY"]) == (sx, sy)
        assert not affine.get("shearX")
        assert not affine.get("shearY")
        column, row = (round((Fraction(affine[f"translate{n}"]) - Fraction(v)) / step) for n, v, (_, step) in zip("XY", (x0, y0), exact, strict=True))  # fmt: skip
        assert (affine["translateX"], affine["translateY"]) == (at(0, column), at(1, row))
        assert column % 256 == row % 256 == 0
        tiles.add((column, row))
    assert len(tiles) == -(-dataset.sizes["x"] // 256) * -(-dataset.sizes["y"] // 256)
    # A pixel lands where rasterio says it is.
    rng = np.random.default_rng(1)
    c, r = rng.integers(dataset.sizes["x"], size=50), rng.integers(dataset.sizes["y"], size=50)
    x, y = rasterio.transform.xy(rasterio.Affine(sx, 0, x0, 0, sy, y0), r, c)
    np.testing.assert_allclose(x, dataset.x.values[c], rtol=0, atol=1e-9)
    np.testing.assert_allclose(y, dataset.y.values[r], rtol=0, atol=1e-9)


def test_utm_and_a_scale_in_metres_are_the_services_own(emulator, tmp_path):
    pytest.importorskip("rioxarray")
    report = fetch(emulator, tmp_path, region={"bbox": BOX}, grid={"crs": "utm", "scale": 8})
    dataset = report.open(chunks=None)
    assert dataset.rio.crs.to_epsg() == 32610
    assert transform_of(dataset)[::4] == (8, -8)
    np.testing.assert_array_equal(dataset["B4"].values, nearest(dataset, "B4", "EPSG:32610"))


def test_a_scale_in_metres_of_degrees_is_counted_at_the_equator(emulator, tmp_path):
    report = fetch(
        emulator, tmp_path, region={"bbox": BOX}, grid={"crs": "EPSG:4326", "scale": 11.1319490793}
    )
    dataset = report.open(chunks=None)
    assert float(dataset.x[1] - dataset.x[0]) == pytest.approx(1e-4, rel=1e-9)
    np.testing.assert_array_equal(dataset["B4"].values, nearest(dataset, "B4", "EPSG:4326"))


@pytest.mark.parametrize("mode", ["bilinear", {"B4": "bilinear"}])
def test_a_class_band_stays_nearest_beside_one_that_is_interpolated(emulator, tmp_path, mode):
    grid = {"crs": "EPSG:4326", "resolution": 0.00007, "resampling": mode}
    values = job(emulator, tmp_path / "mosaic.zarr", region={"bbox": BOX}, grid=grid)
    values["source"] = {"asset": SCENE, "bands": ["B4", "QA60"]}
    told = str(downloader.plan(values))
    assert "B4: read from the native pixels of 10 m, bilinear" in told
    assert "QA60: read from the native pixels of 60 m, nearest neighbour" in told
    dataset = downloader.download(values, progress=False).open(chunks=None)
    np.testing.assert_array_equal(dataset["QA60"].values, nearest(dataset, "QA60", "EPSG:4326", scale=60))
    plain = nearest(dataset, "B4", "EPSG:4326").astype(float)
    away = np.abs(dataset["B4"].values - plain)
    assert (away > 0).mean() > 0.3
    with pytest.raises(DriftError, match="bilinear"):
        downloader.download({**values, "grid": {**grid, "resampling": "nearest"}}, progress=False)


def test_classes_are_interpolated_where_they_are_named_and_only_they(emulator, tmp_path):
    grid = {"crs": "EPSG:4326", "resolution": 0.00007, "resampling": {"QA60": "bilinear"}}
    dataset = fetch(emulator, tmp_path, ("B4", "QA60"), region={"bbox": BOX}, grid=grid).open(chunks=None)
    np.testing.assert_array_equal(dataset["B4"].values, nearest(dataset, "B4", "EPSG:4326"))
    assert set(np.unique(dataset["QA60"].values)) - {0, 1024, 2048, 3072}
    with pytest.raises(JobError, match=r"grid.resampling: 'B99' is none of the bands B1, "):
        fetch(
            emulator, tmp_path / "2", region={"bbox": BOX}, grid={**grid, "resampling": {"B99": "bilinear"}}
        )


DEM = "COPERNICUS/DEM/GLO30"


def dem(emulator, path, box=(-122.03, 37.98, -121.98, 38.02), **source):
    values = job(emulator, path, region={"bbox": list(box)})
    values["source"] = {"collection": DEM, "bands": ["DEM"], "every": "all", "reduce": "first", **source}
    return values


def test_tiles_without_dates_are_mosaicked_without_a_time_axis(emulator, tmp_path):
    """Four tiles of a degree meet in the region's middle; each pixel is its own tile's, by the oracle."""
    values = dem(emulator, tmp_path / "mosaic.zarr")
    dataset = downloader.download(values, progress=False).open(chunks=None)
    found = dataset["DEM"]
    assert found.dims == ("y", "x")
    assert "time" not in dataset.variables
    whole = np.empty((144, 180), np.float32)
    for north, rows, top in ((38, slice(0, 72), 3600 - 72), (37, slice(72, 144), 0)):
        for west, columns, left in ((123, slice(0, 108), 3600 - 108), (122, slice(108, 180), 0)):
            tile = f"{PUBLIC}{DEM}/Copernicus_DSM_COG_10_N{north}_00_W{west}_00_DEM"
            height, width = rows.stop - rows.start, columns.stop - columns.start
            whole[rows, columns] = oracle_window(tile, "DEM", left, top, width, height)
    np.testing.assert_array_equal(found.values, whole)


def test_dateless_images_named_one_by_one_make_no_time_axis(emulator, tmp_path):
    tiles = [f"{DEM}/Copernicus_DSM_COG_10_N38_00_W{west}_00_DEM" for west in (123, 122)]
    values = dem(emulator, tmp_path / "mosaic.zarr", collection=None, images=tiles)
    dataset = downloader.download(values, progress=False).open(chunks=None)
    assert dataset["DEM"].dims == ("y", "x")
    assert "time" not in dataset.variables
    for every in ("image", "day"):
        with pytest.raises(JobError, match=r"source.every: COPERNICUS/DEM/.* has no time.*every: all"):
            downloader.plan(
                dem(
                    emulator,
                    tmp_path / every,
                    collection=None,
                    images=tiles,
                    every=every,
                    reduce=None if every == "image" else "first",
                )
            )


def test_whether_images_have_times_is_what_they_say_themselves(emulator, tmp_path):
    with pytest.raises(
        JobError, match=r"source.every: an image of COPERNICUS/DEM/GLO30 has no time.*every: all"
    ):
        downloader.plan(dem(emulator, tmp_path / "1", every="image", reduce=None))
    with pytest.raises(
        JobError, match=r"source.start: is needed with source.end: images of COPERNICUS/S2 have"
    ):
        downloader.plan(dem(emulator, tmp_path / "2", collection="COPERNICUS/S2", bands=["B4"], box=BOX))
    with pytest.raises(JobError, match=r"source: end is needed too"):
        downloader.plan(dem(emulator, tmp_path / "3", start="2020-01-01"))
