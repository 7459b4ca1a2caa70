"""Regions across the antimeridian, at the poles, and of several kinds, over images of several systems.

What lies inside is decided here by the longitude and latitude of each pixel's centre, or by rasterio; pixels are those of
arrays that this test made itself.
"""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyproj
import pytest

import downloader
from downloader.errors import JobError
from earthengine_emulator import EmulatorProcess, arguments
from tests.harness import job, same_bits
from tests.mosaics import coverage_of
from tests.oracle import PUBLIC, QUICKSTART, oracle_window

rasterio = pytest.importorskip("rasterio")
shapely = pytest.importorskip("shapely")

# rasterio 1.4 multiplies transforms in a way that its own affine library calls old.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")

IMAGES = {
    "globe": ("EPSG:4326", (0.25, 0, -180, 0, -0.25, 90), 1440, 720),
    "from_0_to_360": ("EPSG:4326", (0.25, 0, 0, 0, -0.25, 90), 1440, 720),
    "pacific": ("EPSG:4326", (0.05, 0, 170, 0, -0.05, 10), 600, 400),
    "utm1": ("EPSG:32601", (1000, 0, 100_000, 0, -1000, 1_000_000), 700, 600),
}
"""Name → CRS, affine, width, height."""


def pixels(name):
    _, _, width, height = IMAGES[name]
    return ((np.arange(height)[:, None] * 13 + np.arange(width) * 7) % 60_000 + 1).astype("<u2")


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
    folder, rasters = tmp_path_factory.mktemp("rasters"), {}
    for name, (crs, affine, width, height) in IMAGES.items():
        path = rasters[f"R/{name}"] = folder / f"{name}.tif"
        where = {"crs": crs, "transform": rasterio.Affine(*affine), "width": width, "height": height}
        with rasterio.open(path, "w", driver="GTiff", count=1, dtype="uint16", **where) as file:
            file.write(pixels(name), 1)
    (folder / "daily").mkdir()
    for day in ("20200101", "20200102"):
        shutil.copy(rasters["R/globe"], folder / "daily" / f"{day}.tif")
    folders = {"R/daily": folder / "daily"}
    with EmulatorProcess(
        arguments(rasters=rasters, folders=folders, quota_per_minute=0, fill="zero")
    ) as process:
        yield process


def fetch(emulator, tmp_path, asset, mosaic=None, bands=None, **region):
    values = job(emulator, tmp_path / "m.zarr", region=region, mosaic={"nodata": 0, **(mosaic or {})})
    values["source"] = {"asset": asset, **({} if bands is None else {"bands": list(bands)})}
    return downloader.download(values, progress=False).open(chunks=None)


def centres(dataset, crs):
    """Longitude and latitude of every pixel's centre, (y, x) each."""
    x, y = np.meshgrid(dataset.x.values, dataset.y.values)
    if crs == "EPSG:4326":
        return x, y
    return pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(x, y)


def box(west, south, east, north):
    return [[[west, south], [east, south], [east, north], [west, north], [west, south]]]


def polygon(*edges):
    return {"type": "Polygon", "coordinates": box(*edges)}


def parts(*boxes):
    return {"type": "MultiPolygon", "coordinates": [box(*edges) for edges in boxes]}


# ---------------------------------------------------------------- the antimeridian

ACROSS = {
    "beyond 180": polygon(175, -5, 185, 5),
    "before -180": polygon(-185, -5, -175, 5),
    "cut in two, as RFC 7946 says": parts((175, -5, 180, 5), (-180, -5, -175, 5)),
    "two features": {
        "type": "FeatureCollection",
        "features": [
            {"type": "Feature", "properties": {}, "geometry": polygon(-180, -5, -175, 5)},
            {"type": "Feature", "properties": {}, "geometry": polygon(175, -5, 180, 5)},
        ],
    },
}


@pytest.mark.parametrize("written", ACROSS)
@pytest.mark.parametrize("name", IMAGES)
def test_a_geometry_across_the_antimeridian_however_it_is_written(serving, tmp_path, name, written):
    """Over images that are cut there, that go on, and that lie across: the same ground, whole, and no other."""
    found = fetch(serving, tmp_path, f"R/{name}", geometry=ACROSS[written], mask=True)
    crs, (scale, _, left, _, _, top), width, _ = IMAGES[name]
    lon, lat = centres(found, crs)
    inside = (np.abs(lon % 360 - 180) < 5) & (np.abs(lat) < 5)
    c0, r0 = round((found.x.values[0] - left) / scale - 0.5), round((top - found.y.values[0]) / scale - 0.5)
    own = pixels(name)[r0 : r0 + found.sizes["y"], c0 : c0 + found.sizes["x"]]
    same_bits(found["B1"].values, np.where(inside, own, 0).astype("<u2"), name)
    if crs == "EPSG:4326":
        assert inside.sum() == round(10 / scale) ** 2, "nothing is lost at the cut"
        assert (found.sizes["x"] == width) == (name == "globe"), "only there does it lie at both ends"
    else:
        whole = type(found)(
            coords={"x": 100_500 + 1000 * np.arange(700), "y": 999_500 - 1000 * np.arange(600)}
        )
        lon, lat = centres(whole, crs)
        assert inside.sum() == ((np.abs(lon % 360 - 180) < 5) & (np.abs(lat) < 5)).sum()
    if name == "globe":
        assert set(np.unique(coverage_of(tmp_path / "m.zarr"))) == {1, 2}, "what lies between is not fetched"


def test_a_box_across_the_antimeridian(serving, tmp_path):
    """Whole where the image goes on, refused where it would be two; longitudes count modulo 360."""
    for number, edges in enumerate(([175, -5, 185, 5], [-185, -5, -175, 5])):
        found = fetch(serving, tmp_path / str(number), "R/pacific", bbox=edges)
        assert (found.x.values[0], found.x.values[-1]) == pytest.approx((175.025, 184.975))
        same_bits(found["B1"].values, pixels("pacific")[100:300, 100:300], str(edges))
        with pytest.raises(JobError, match="one job for the part on either side"):
            fetch(serving, tmp_path / str(number), "R/globe", bbox=edges)


def test_an_edge_that_may_go_either_way_is_refused(serving, tmp_path):
    with pytest.raises(JobError, match=r"spans 358 degrees of longitude; where it crosses the antimeridian"):
        fetch(serving, tmp_path, "R/globe", geometry=polygon(-179, -5, 179, 5))


def test_a_grid_of_its_own_across_the_antimeridian(serving, tmp_path):
    """`grid` makes a lattice without an end, on which one geometry would lie twice: a cut one is right."""
    values = job(
        serving,
        tmp_path / "m.zarr",
        source={"asset": "R/globe"},
        grid={"crs": "EPSG:4326", "resolution": 0.5},
    )
    with pytest.raises(JobError, match="crosses the meridian where the images' grid begins and ends"):
        downloader.download(values | {"region": {"geometry": ACROSS["beyond 180"]}}, progress=False)
    with pytest.raises(JobError, match="one job for the part on either side"):
        downloader.download(values | {"region": {"bbox": [175, -5, 185, 5]}}, progress=False)
    found = downloader.download(values | {"region": {"bbox": [190, -5, 200, 5]}}, progress=False).open(
        chunks=None
    )
    assert found.x.values.tolist() == (-170 + 0.5 * (np.arange(20) + 0.5)).tolist()
    assert found["B1"].values.all()


def test_a_collection_across_the_antimeridian(serving, tmp_path):
    """Its lattice has no end; a region finds its images at whatever turn of the globe, and what would lie twice is refused."""
    source = {"collection": "R/daily", "start": "2020-01-01", "end": "2020-01-03"}
    values = job(serving, tmp_path / "m.zarr", source=source, mosaic={"nodata": 0})

    def run(**region):
        return downloader.download(values | {"region": region}, progress=False).open(chunks=None)

    for region in ({"bbox": [175, -5, 185, 5]}, {"geometry": ACROSS["beyond 180"]}):
        with pytest.raises(JobError, match="crosses the meridian where the image"):
            run(**region)
    found = run(bbox=[190, -5, 200, 5])
    assert found.x.values.tolist() == [-170 + 0.25 * (c + 0.5) for c in range(40)]
    assert found.sizes["time"] == 2
    for index in range(2):
        same_bits(found["B1"].values[index], pixels("globe")[340:380, 40:80], str(index))
    values["mosaic"] = {"path": str(tmp_path / "cut.zarr"), "nodata": 0}
    cut = run(geometry=ACROSS["cut in two, as RFC 7946 says"], mask=True)
    inside = np.abs(cut.x.values) > 175
    assert inside.sum() == 40
    same_bits(cut["B1"].values[1], np.where(inside, pixels("globe")[340:380], 0).astype("<u2"), "cut")


# ---------------------------------------------------------------- poles


@pytest.mark.parametrize(
    "geometry",
    [
        parts((-180, -90, 0, -85), (0, -90, 180, -85)),
        {"type": "Polygon", "coordinates": [[[-180, -90], [180, -90], [180, -85], [60, -85], [-60, -85], [-180, -85], [-180, -90]]]},
    ],
)  # fmt: skip
def test_around_the_south_pole(emulator, tmp_path, geometry):
    """A cap, cut open along a meridian, as files have Antarctica: a disk on the polar grid."""
    found = fetch(emulator, tmp_path, "EMULATOR/ANTARCTIC", bands=["ice"], geometry=geometry, mask=True)
    _, lat = centres(found, "EPSG:3031")
    column, row = (round((v + 3_000_500) / 1000 - 0.5) for v in (found.x.values[0], 0.0))
    row = round((2_500_500 - found.y.values[0]) / 1000 - 0.5)
    own = oracle_window(f"{PUBLIC}EMULATOR/ANTARCTIC", "ice", column, row, found.sizes["x"], found.sizes["y"])
    assert lat.min() < -89.99
    # A centre within a thousandth of a pixel of the outline may fall on either side of it.
    wrong = found["ice"].values != np.where(lat < -85, own, 0)
    assert (np.abs(lat[wrong] + 85) < 1e-5).all()
    assert wrong.sum() < 10
    assert found["ice"].values[lat < -85.001].all(), "no pixel of the formula is 0"


def test_a_box_around_a_pole(emulator, tmp_path):
    found = fetch(emulator, tmp_path, "EMULATOR/ANTARCTIC", bands=["ice"], bbox=[-180, -90, 180, -85])
    _, lat = centres(found, "EPSG:3031")
    for edge in (lat[0], lat[-1], lat[:, 0], lat[:, -1]):
        assert -85.01 < edge.min() < -84.99, "each side touches the circle"
    with pytest.raises(JobError, match="edge that spans 360 degrees"):
        fetch(emulator, tmp_path, "EMULATOR/ANTARCTIC", geometry=polygon(-180, -90, 180, -85))


def test_edges_along_a_parallel_bend_on_a_polar_grid(emulator, tmp_path):
    """Two corners of one latitude: between them the edge follows it, 40 pixels off the straight line."""
    geometry = polygon(-60, 70, -40, 71)
    found = fetch(emulator, tmp_path, "EMULATOR/POLAR", bands=["velocity"], geometry=geometry, mask=True, mosaic={"nodata": -9999})  # fmt: skip
    lon, lat = centres(found, "EPSG:3413")
    inside = (lon > -60) & (lon < -40) & (lat > 70) & (lat < 71)
    shown = found["velocity"].values != -9999
    near = np.minimum.reduce([np.abs(lon + 60), np.abs(lon + 40), np.abs(lat - 70), np.abs(lat - 71)]) < 1e-5
    assert (shown == inside)[~near].all()
    assert near.sum() < 60
    straight = shapely.Polygon(
        np.column_stack(pyproj.Transformer.from_crs(4326, 3413, always_xy=True).transform(*np.array(box(-60, 70, -40, 71)[0]).T))
    )  # fmt: skip
    x, y = np.meshgrid(found.x.values, found.y.values)
    assert (shapely.contains_xy(straight, x, y) != inside).sum() > 1000, (
        "straight edges would be quite another region"
    )


# ---------------------------------------------------------------- shapes and files

CORNER = (560_000, 4_160_000)


def triangle(dx=0.0):
    x, y = CORNER
    return shapely.Polygon([(x + dx, y), (x + dx + 4003, y + 1007), (x + dx + 1001, y + 5009)])


def geojson(shape):
    return json.loads(shapely.to_geojson(shape))


def burnt(found, shape, **how):
    """Pixels of the scene inside, by rasterio."""
    from rasterio.features import geometry_mask

    transform = rasterio.transform.from_origin(found.x.values[0] - 5, found.y.values[0] + 5, 10, 10)
    height, width = found.sizes["y"], found.sizes["x"]
    inside = geometry_mask([shape], (height, width), transform, invert=True, **how)
    column, row = round((found.x.values[0] - 499_985) / 10), round((4_199_995 - found.y.values[0]) / 10)
    return np.where(inside, oracle_window(QUICKSTART, "B4", column, row, width, height), 0).astype("<u2")


SCENE = QUICKSTART.removeprefix(PUBLIC)


@pytest.mark.parametrize("all_touched", [False, True])
@pytest.mark.parametrize("buffer", [0, 150, -150])
def test_a_buffer_and_touched_pixels(emulator, tmp_path, all_touched, buffer):
    """As shapely widens it and rasterio burns it."""
    region = {"geometry": geojson(triangle()), "crs": "EPSG:32610", "mask": True, "buffer": buffer}
    if all_touched:
        region["all_touched"] = True
    found = fetch(emulator, tmp_path, SCENE, bands=["B4"], **region)
    shape = triangle().buffer(buffer)
    wanted = burnt(found, shape, all_touched=all_touched)
    # GDAL takes an edge that runs within a rounding of a pixel's corner for touching it.
    assert (found["B4"].values != wanted).sum() <= (12 if all_touched else 0)
    left, bottom, right, top = shape.bounds
    assert abs(found.x.values[0] - 5 - left) < 10
    assert abs(found.y.values[0] + 5 - top) < 10
    assert abs(found.x.values[-1] + 5 - right) < 10
    assert abs(found.y.values[-1] - 5 - bottom) < 10


@pytest.mark.parametrize("kind", ["gpkg", "fgb", "shp", "geojson"])
def test_vector_files_of_several_features(emulator, tmp_path, kind):
    """In their own CRS; their features are one region, and tiles that none of them touches are not fetched."""
    shapes = [triangle(), triangle(12_000.0)]
    path = tmp_path / f"two.{kind}"
    if kind == "geojson":
        features = [{"type": "Feature", "properties": {}, "geometry": geojson(one)} for one in shapes]
        crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32610"}}
        path.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": features}))
    else:
        pyogrio = pytest.importorskip("pyogrio")
        pyogrio.raw.write(path, np.array([one.wkb for one in shapes], object), [np.array([1, 2])], ["n"], geometry_type="Polygon", crs="EPSG:32610")  # fmt: skip
    found = fetch(emulator, tmp_path, SCENE, bands=["B4"], file=str(path), mask=True)
    same_bits(found["B4"].values, burnt(found, shapely.MultiPolygon(shapes)), kind)
    assert set(np.unique(coverage_of(tmp_path / "m.zarr"))) == {1, 2}
