"""`grid.zones: each`: a group for each UTM zone, every pixel worked out from the oracle by pyproj alone."""

from __future__ import annotations

import math

import numpy as np
import pyproj
import pytest
import xarray as xr
import yaml

import downloader
from downloader.errors import JobError
from tests.e2e.test_expressions_run import call
from tests.harness import (
    cli,
    end,
    getpixels,
    job,
    key_of,
    kill_after,
    ledger_lines,
    running,
    same_bits,
    wait_until,
    write_job,
)
from tests.interop.test_stac import validated
from tests.oracle import LANDSAT_PATHS, PUBLIC, oracle_valid, oracle_window

SEAM = -120.0
BOX = [-120.03, 37.61, -119.97, 37.63]
ZONES = ("32610", "32611")
TO_UTM = {zone: pyproj.Transformer.from_crs("EPSG:4326", f"EPSG:{zone}", always_xy=True) for zone in ZONES}
SOURCE = {
    "collection": "LANDSAT/LC08/C02/T1_L2",
    "start": "2019-01-01",
    "end": "2019-02-01",
    "bands": ["SR_B4", "QA_PIXEL"],
}
NAMES = ("LC08_042034_20190105", "LC08_043034_20190112", "LC08_042034_20190121", "LC08_043034_20190128")
"""The scenes of January over the seam, in order of time: path 43 is zone 10's, path 42 zone 11's."""


def zone_of(name):
    return LANDSAT_PATHS[int(name[5:8])][0].removeprefix("EPSG:")


def bounds_of(zone, box=BOX, pixel=30, origin=15):
    """(left, top, right, bottom) in metres of the pixels that a zone's part of a box touches, by dense samples."""
    west, south, east, north = box
    west, east = (west, SEAM) if zone == "32610" else (SEAM, east)
    s = np.linspace(0, 1, 20_001)
    lon = np.concatenate([west + (east - west) * s] * 2 + [np.full_like(s, west), np.full_like(s, east)])
    lat = np.concatenate([np.full_like(s, south), np.full_like(s, north)] + [south + (north - south) * s] * 2)
    x, y = TO_UTM[zone].transform(lon, lat)
    return (
        math.floor((x.min() - origin) / pixel) * pixel + origin,
        math.ceil((y.max() - origin) / pixel) * pixel + origin,
        math.ceil((x.max() - origin) / pixel) * pixel + origin,
        math.floor((y.min() - origin) / pixel) * pixel + origin,
    )


def centres(zone, pixel=30, origin=15):
    left, top, right, bottom = bounds_of(zone, pixel=pixel, origin=origin)
    return np.arange(left + pixel / 2, right, pixel), np.arange(top - pixel / 2, bottom, -pixel)


def seen(name, band, zone, x, y):
    """What an image shows at the centres of a zone's pixels, and where it is valid; the nearest pixel of its own."""
    image = f"{PUBLIC}LANDSAT/{name[:4]}/C02/T1_L2/{name}"
    own, corner = LANDSAT_PATHS[int(name[5:8])]
    x, y = np.meshgrid(x, y)
    if own != f"EPSG:{zone}":
        x, y = pyproj.Transformer.from_crs(f"EPSG:{zone}", own, always_xy=True).transform(x, y)
    column, row = np.floor((x - corner) / 30).astype(int), np.floor((4199985 - y) / 30).astype(int)
    inside = (column >= 0) & (column < 2048) & (row >= 0) & (row < 2048)
    if not inside.any():
        return np.zeros(x.shape), inside
    left, top = max(column.min(), 0), max(row.min(), 0)
    part = (left, top, min(column.max() + 1, 2048) - left, min(row.max() + 1, 2048) - top)
    there = (np.where(inside, row - top, 0), np.where(inside, column - left, 0))
    valid = oracle_valid(image, band, *part)[there] & inside
    return np.where(valid, oracle_window(image, band, *part)[there], 0), valid


def values_of(emulator, path, **sections):
    return job(
        emulator, path, **{"source": SOURCE, "region": {"bbox": BOX}, "grid": {"zones": "each"}} | sections
    )


def run(values, **options):
    return downloader.download(values, progress=False, **options)


def test_each_image_in_each_zone_that_it_reaches(emulator, tmp_path):
    """Native where it is at home, the nearest pixel where it is not; all are read, none is computed."""
    report = run(values_of(emulator, tmp_path / "m.zarr"))
    assert report.groups == tuple(f"{zone}_30m" for zone in ZONES)
    tree = report.open_tree(chunks=None)
    for zone in ZONES:
        group = tree[f"{zone}_30m"]
        assert [text.rpartition("/")[2] for text in group.image_id.values] == list(NAMES)
        x, y = centres(zone)
        np.testing.assert_array_equal(group.x.values, x)
        np.testing.assert_array_equal(group.y.values, y)
        assert pyproj.CRS.from_wkt(group.spatial_ref.attrs["crs_wkt"]).to_epsg() == int(zone)
        for index, name in enumerate(NAMES):
            for band in SOURCE["bands"]:
                wanted, _ = seen(name, band, zone, x, y)
                same_bits(group[band].values[index], wanted.astype("u2"), f"{band} of {name} in {zone}")
    assert not [r for r in emulator.control("requests")["requests"] if "compute" in r["method"]]


def test_native_pixels_lie_on_top_of_resampled_ones(emulator, tmp_path):
    """Of `first` and `last` the zone's own images are on top, whatever their time; of one image it is read."""
    for reduce in ("first", "last"):
        source = {**SOURCE, "bands": ["SR_B4"], "every": "month", "reduce": reduce}
        report = run(values_of(emulator, tmp_path / f"{reduce}.zarr", source=source))
        tree = report.open_tree(chunks=None)
        for zone in ZONES:
            x, y = centres(zone)
            order = NAMES if reduce == "first" else NAMES[::-1]
            order = sorted(order, key=lambda name: zone_of(name) != zone)
            wanted = np.zeros((len(y), len(x)))
            for name in reversed(order):
                values, valid = seen(name, "SR_B4", zone, x, y)
                wanted = np.where(valid, values, wanted)
            same_bits(tree[f"{zone}_30m"].SR_B4.values[0], wanted.astype("u2"), f"{reduce} in {zone}")


def test_opened_before_it_is_there(emulator, tmp_path):
    values = values_of(emulator, tmp_path / "m.zarr")
    tree = downloader.open_tree(values)
    for zone in ZONES:
        group = tree[f"{zone}_30m"]
        wanted, _ = seen(NAMES[0], "SR_B4", zone, *centres(zone))
        same_bits(group.SR_B4[0].values, wanted.astype("u2"), zone)


def test_a_pixel_size_for_all_zones(emulator, tmp_path):
    """Pixel edges lie on whole multiples of the size in each zone."""
    report = run(values_of(emulator, tmp_path / "m.zarr", grid={"zones": "each", "scale": 60}))
    assert report.groups == tuple(f"{zone}_60m" for zone in ZONES)
    for zone in ZONES:
        group = report.open(f"{zone}_60m", chunks=None)
        x, y = centres(zone, 60, 0)
        np.testing.assert_array_equal(group.x.values, x)
        np.testing.assert_array_equal(group.y.values, y)


def test_killed_run_again_verified_opened_exported(emulator, tmp_path):
    rasterio = pytest.importorskip("rasterio")
    values = values_of(emulator, tmp_path / "m.zarr", limits={"concurrency": 1})
    path, mosaic = write_job(tmp_path, values), tmp_path / "m.zarr"
    emulator.control("configure", {"latency_ms": 500})
    _, lines = kill_after(path, mosaic, 1, 0)
    emulator.control("configure", {"latency_ms": 0})
    ended = cli("run", path, "-q", "--report", tmp_path / "report.html")
    assert ended.status == 0, ended
    assert lines < ledger_lines(mosaic)
    assert cli("verify", mosaic, *key_of(emulator), "--resample", 4).status == 0
    whole = run(values_of(emulator, tmp_path / "whole.zarr")).open_tree(chunks=None)
    tree = xr.open_datatree(mosaic, engine="zarr", decode_coords="all", mask_and_scale=False, chunks=None)
    for zone in ZONES:
        group = f"{zone}_30m"
        for band in SOURCE["bands"]:
            same_bits(tree[group][band].values, whole[group][band].values, f"{band} of {group}")
        shown = cli("preview", mosaic, "-o", tmp_path / "p.png", "--group", group)
        assert shown.status == 0, shown
    ended = cli("export", mosaic, "-o", tmp_path / "{group}.tif", "--time", "0")
    assert ended.status == 0, ended
    for zone in ZONES:
        with rasterio.open(tmp_path / f"{zone}_30m.tif") as file:
            assert file.crs.to_epsg() == int(zone)
            left, top, right, bottom = bounds_of(zone)
            assert file.bounds == (left, bottom, right, top)
            np.testing.assert_array_equal(file.read(1), tree[f"{zone}_30m"].SR_B4.values[0])
    document = downloader.stac(mosaic)
    validated(document)
    codes = [one["proj:code"] for one in document["assets"].values()]
    assert codes == [f"EPSG:{zone}" for zone in ZONES]
    west, south, east, north = document["extent"]["spatial"]["bbox"][0]
    assert (west, south) < (BOX[0], BOX[1]) < (BOX[2], BOX[3]) < (east, north)
    emulator.control("reset", {})
    assert cli("run", path, "-q").status == 0
    assert not getpixels(emulator)


def test_a_later_end_appends_and_keeps_the_zones(emulator, tmp_path):
    path = tmp_path / "m.zarr"
    alone = {**SOURCE, "start": "2019-01-10", "end": "2019-01-20"}  # one image, of zone 10
    first = run(values_of(emulator, path, source=alone))
    assert first.groups == ("32610_30m",)
    emulator.control("reset", {})
    report = run(values_of(emulator, path, source={**alone, "end": "2019-02-01"}))
    group = report.open("32610_30m", chunks=None)
    assert [text.rpartition("/")[2] for text in group.image_id.values] == list(NAMES[1:])
    assert report.requests == 2, "what is there is not asked for again"
    box = (group.x.values, group.y.values)
    for index, name in enumerate(NAMES[1:]):
        wanted, _ = seen(name, "SR_B4", "32610", *box)
        same_bits(group.SR_B4.values[index], wanted.astype("u2"), name)


def test_a_geometry_is_cut_at_the_meridian(emulator, tmp_path):
    """With `region.mask`, a pixel whose centre lies beyond the meridian is nodata in the one group or in the other."""
    west, south, east, north = BOX
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    region = {"geometry": {"type": "Polygon", "coordinates": [ring]}, "mask": True}
    report = run(values_of(emulator, tmp_path / "m.zarr", region=region, mosaic={"nodata": 0}))
    for zone in ZONES:
        group = report.open(f"{zone}_30m", chunks=None)
        x, y = np.meshgrid(group.x.values, group.y.values)
        lon, lat = TO_UTM[zone].transform(x, y, direction="INVERSE")
        inside = (lon > west) & (lon < east) & (lat > south) & (lat < north)
        inside &= lon < SEAM if zone == "32610" else lon > SEAM
        # Edges are bent to a thousandth of a pixel: what lies nearer to one may fall on either side.
        unsure = np.min([abs(lon - edge) for edge in (west, SEAM, east)], axis=0) < 1e-6
        for index, name in enumerate(NAMES):
            wanted, _ = seen(name, "SR_B4", zone, group.x.values, group.y.values)
            found = np.where(unsure, 0, group.SR_B4.values[index])
            same_bits(found, np.where(inside & ~unsure, wanted, 0).astype("u2"), name)
        assert unsure.sum() < 5


def test_plan_says_which_images_are_resampled(emulator, tmp_path):
    path = write_job(tmp_path, values_of(emulator, tmp_path / "m.zarr"))
    ended = cli("plan", path, "--map", tmp_path / "plan.html")
    assert ended.status == 0, ended
    assert "32610_30m: 2 of 4 images are of other zones, and resampled by nearest neighbour" in ended.out
    assert "computed" not in ended.out
    ended = cli("plan", path, "--set", "source.every=month", "--set", "source.reduce=median")
    assert "computed  2 slices: reduce: median" in ended.out
    ended = cli("plan", path, "--set", "grid.scale=60", "--set", "grid.resampling=average")
    assert "computed  8 slices: grid.resampling: average" in ended.out
    assert "32611_60m: 2 of 4 images are of other zones, and resampled\n" in ended.out


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"grid": None}, "grid: {crs: EPSG:32611, resolution: 30}  # or crs: utm, the zone of the region's middle\nTo have each UTM zone in a group of its own, native there:\n  grid: {zones: each}"),
        ({"grid": {"resolution": 60}}, "or make a group for each UTM zone:  grid: {zones: each, resolution: 60}"),
        ({"grid": {"zones": "all"}}, "grid.zones: 'all': write each, for a group of each UTM zone"),
        ({"grid": {"zones": "each", "crs": "utm", "scale": 30}}, "grid.zones: 'each': gives each UTM zone a grid of its own, and crs one to all; keep one"),
        ({"source": {"asset": "COPERNICUS/S2/20170430T190351_20170430T190351_T10SEG"}}, "grid.zones: 'each': goes with many images on one region; one image has a grid of its own, so leave it out"),
        ({"source": {"collection": "COPERNICUS/DEM/GLO30", "every": "all", "reduce": "first"}}, "is in EPSG:4326, which is no UTM zone; write one grid for all"),
    ],
)  # fmt: skip
def test_what_cannot_be_says_what_to_write(emulator, tmp_path, sections, message):
    with pytest.raises(JobError) as caught:
        downloader.plan(values_of(emulator, tmp_path / "m.zarr", **sections))
    assert message in str(caught.value)


NDVI = """\
source: {collection: [LANDSAT/LC08/C02/T1_L2, LANDSAT/LC09/C02/T1_L2],
  start: 2019-01-01, end: 2024-01-01,
  mask: clouds,
  scale: catalog,
  bands: [{ndvi: (nir - red) / (nir + red)}]}
region: {bbox: [-120.005, 37.615, -119.995, 37.621]}
grid: {zones: each}
mosaic: {path: ndvi.zarr}
"""


def test_five_years_of_ndvi_in_two_zones_by_eight_lines(emulator, tmp_path):
    """Each pass of two sensors in both zones, within a millionth of numpy: NaN in clouds and where saturated."""
    assert len(NDVI.splitlines()) == 8
    values = yaml.safe_load(NDVI)
    report = run(job(emulator, tmp_path / "ndvi.zarr", **{**values, "mosaic": {}}))
    tree = report.open_tree(chunks=None)
    share = []
    for zone in ZONES:
        group = tree[f"{zone}_30m"]
        names = [text.rpartition("/")[2] for text in group.image_id.values]
        assert len(names) > 300
        assert {name[:8] for name in names} == {f"{s}_{p}" for s in ("LC08", "LC09") for p in ("042", "043")}
        for index, name in list(enumerate(names))[::7]:
            (nir, valid), (red, _), (quality, _), (saturated, _) = (
                seen(name, band, zone, group.x.values, group.y.values)
                for band in ("SR_B5", "SR_B4", "QA_PIXEL", "QA_RADSAT")
            )
            keep = valid & (quality.astype(int) & 0b11111 == 0) & (saturated == 0)
            nir, red = (band * 2.75e-05 - 0.2 for band in (nir, red))
            with np.errstate(invalid="ignore", divide="ignore"):
                wanted = np.where(keep, (nir - red) / (nir + red), np.nan)
            np.testing.assert_allclose(group.ndvi.values[index], wanted, rtol=1e-6, atol=1e-6, err_msg=name)
            share.append(keep.mean())
    assert min(share) < 0.1 < 0.9 < max(share)


def test_a_users_collection_in_zones(emulator, tmp_path):
    """Elements of an expression lie in the zones of their own pixels."""
    span = call("DateRange", start=SOURCE["start"], end=SOURCE["end"])
    within = call("Filter.dateRangeContains", leftValue=span, rightField="system:time_start")
    loaded = call("ImageCollection.load", id=SOURCE["collection"])
    chosen = call("Collection.filter", collection=loaded, filter=within)
    source = {"expression": {"result": "0", "values": {"0": chosen}}, "bands": ["SR_B4"]}
    report = run(values_of(emulator, tmp_path / "m.zarr", source=source))
    for zone in ZONES:
        group = report.open(f"{zone}_30m", chunks=None)
        x, y = group.x.values, group.y.values
        indices = [text.rpartition("/")[2] for text in group.image_id.values]
        assert set(indices) >= set(NAMES)
        for name in NAMES:
            wanted, _ = seen(name, "SR_B4", zone, x, y)
            same_bits(group.SR_B4.values[indices.index(name)], wanted.astype("u2"), f"{name} in {zone}")
    one = {
        "expression": {
            "result": "0",
            "values": {"0": call("Image.load", id=f"{SOURCE['collection']}/{NAMES[0]}")},
        }
    }
    with pytest.raises(JobError, match=r"grid.zones: .*the expression computes one; leave it out"):
        downloader.plan(values_of(emulator, tmp_path / "2.zarr", source=one))


def test_an_image_that_changes_while_its_zones_are_computed_is_told(emulator, tmp_path):
    source = {**SOURCE, "bands": [{"twice": "2 * SR_B4"}]}
    path = write_job(
        tmp_path, values_of(emulator, tmp_path / "m.zarr", source=source, limits={"concurrency": 1})
    )
    emulator.control("configure", {"latency_ms": 500})
    with running("run", path) as process:
        wait_until(lambda: ledger_lines(tmp_path / "m.zarr") > 0, process)
        image = f"{PUBLIC}{SOURCE['collection']}/{NAMES[-1]}"
        emulator.control("configure", {"assets": {image: {"updateTime": "2031-05-06T07:08:09.5Z"}}})
        ended = end(process)
    assert ended.status == 5, ended
    assert "changed while it was fetched" in ended.out + ended.err
