"""The example configs, run as they are but for where they write: every pixel and every coordinate, worked out here.

Pixels come from the oracle, regions from pyproj, coordinates from rational arithmetic and rasterio's own affine; nothing of
it comes from the package, which is met only as a command.
"""

from __future__ import annotations

import json
import math
import re
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pyproj
import pytest
import xarray as xr
import yaml
import zarr
from PIL import Image

from tests.harness import ROOT, cli, same_bits
from tests.mosaics import coverage_of
from tests.oracle import PUBLIC, QUICKSTART, QUICKSTART_B, WITHOUT_SCORE, oracle_valid, oracle_window, scene

rasterio = pytest.importorskip("rasterio")
pytest.importorskip("rioxarray")

# rasterio 1.4 multiplies transforms in a way that its own affine library calls old.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")

TO_UTM = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32610", always_xy=True)
X, Y = 499980, 4200000
"""The north-west corner of tile 10SEG."""
CORNERS = {"10SEG": (X, Y), "10SFG": (600000, Y), "10SEH": (X, 4300020)}


def config(name):
    return yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text())


@pytest.fixture
def run(tmp_path):
    """Run a config; where its mosaic lies."""

    def ran(name, *options):
        path = tmp_path / f"{name}.zarr"
        ended = cli("run", ROOT / "configs" / f"{name}.yaml", "--set", f"mosaic.path={path}", "--report", tmp_path / "report.json", "-q", *options)  # fmt: skip
        assert ended.status == 0, ended
        assert json.loads((tmp_path / "report.json").read_text())["state"] == "complete"
        return path

    return ran


def window_of(box, pixel, corner=(X, Y)):
    """(left, top, right, bottom) of the pixels of a lattice that a box in degrees touches, by dense samples."""
    west, south, east, north = box
    steps = np.linspace(0, 1, 20_001)
    x, y = TO_UTM.transform(
        np.concatenate([west + (east - west) * steps] * 2 + [np.full_like(steps, west), np.full_like(steps, east)]),
        np.concatenate([np.full_like(steps, south), np.full_like(steps, north)] + [south + (north - south) * steps] * 2),
    )  # fmt: skip
    return around((x - corner[0]) / pixel, (corner[1] - y) / pixel)


def outlined(name):
    """A config's polygon: points in metres, dense, and the window of 10SEG's lattice of 10 m around it."""
    import shapely

    outline = shapely.segmentize(shapely.geometry.shape(config(name)["region"]["geometry"]), 1e-5)
    points = np.column_stack(TO_UTM.transform(*shapely.get_coordinates(outline).T))
    return points, around((points[:, 0] - X) / 10, (Y - points[:, 1]) / 10)


def burnt(points, dataset, wider=0.0):
    """Which pixels' centres lie inside a polygon, made wider by so much, as rasterio burns it."""
    import shapely
    from rasterio.features import geometry_mask

    size = (dataset.sizes["y"], dataset.sizes["x"])
    return geometry_mask([shapely.Polygon(points).buffer(wider)], size, dataset.rio.transform(), invert=True)


def around(columns, rows):
    return (
        math.floor(columns.min()),
        math.floor(rows.min()),
        math.ceil(columns.max()),
        math.ceil(rows.max()),
    )


def lies_at(dataset, pixel, left, top, right, bottom, corner=(X, Y)):
    """CRS, affine, and the coordinate of every pixel's centre, exactly."""
    assert dataset.rio.crs.to_epsg() == 32610
    x, y = corner
    affine = rasterio.Affine(pixel, 0, x + pixel * left, 0, -pixel, y - pixel * top)
    assert dataset.rio.transform() == affine
    assert (dataset.sizes["y"], dataset.sizes["x"]) == (bottom - top, right - left)
    half = Fraction(1, 2)
    assert dataset.x.values.tolist() == [float(x + pixel * (c + half)) for c in range(left, right)]
    assert dataset.y.values.tolist() == [float(y - pixel * (r + half)) for r in range(top, bottom)]
    assert tuple(rasterio.transform.xy(affine, 3, 5)) == (dataset.x.values[5], dataset.y.values[3])


def opened(path, group=None):
    return xr.open_dataset(
        path, engine="zarr", group=group, decode_coords="all", mask_and_scale=False, chunks=None
    )


def shown(path, folder, *options):
    """A preview of it, as an array (height, width, 4)."""
    picture = folder / f"{path.stem}.png"
    ended = cli("preview", path, "-o", picture, "--size", "300", *options)
    assert ended.status == 0, ended
    return np.asarray(Image.open(picture).convert("RGBA")), ended.out


# ---------------------------------------------------------------- clouds left out, then over time

SURFACE, SCORES = (f"{PUBLIC}{name}" for name in ("COPERNICUS/S2_SR_HARMONIZED", "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED"))  # fmt: skip


def granules(start, end):
    """Indices of tile 10SEG's images, every five days from April on, that have a cloud score."""
    days = np.arange(np.datetime64("2017-04-01"), np.datetime64("2018-01-01"), 5)
    stamps = [f"{str(day).replace('-', '')}T184921" for day in days if start <= str(day) < end]
    return [name for name in (f"{stamp}_{stamp}_T10SEG" for stamp in stamps) if name != WITHOUT_SCORE]


def clear_planes(names, bands, left, top, right, bottom):
    """Bands (image, height, width) of 10SEG's images; NaN where Cloud Score+ lies under 0.6."""
    where = (left, top, right - left, bottom - top)
    clear = [oracle_window(f"{SCORES}/{name}", "cs_cdf", *where) >= 0.6 for name in names]
    return {
        band: np.where(
            clear, np.stack([oracle_window(f"{SURFACE}/{name}", band, *where) for name in names]), np.nan
        )
        for band in bands
    }


@pytest.mark.filterwarnings("ignore:All-NaN slice:RuntimeWarning")
def test_composite(run, tmp_path):
    """A month's scenes, clouds left out."""
    path = run("composite")
    found = opened(path)
    where = window_of(config("composite")["region"]["bbox"], 10)
    lies_at(found, 10, *where)
    planes = clear_planes(granules("2017-04-01", "2017-05-01"), ("B4", "B3", "B2", "B8"), *where)
    b8, b4 = planes.pop("B8"), planes["B4"]
    valid = ~np.isnan(b4)
    assert 0.2 < valid.mean() < 0.9, "too little is masked, or too much, for this to show anything"
    some = valid.any(axis=0)
    planes["ndvi"] = (b8 - b4) / (b8 + b4)
    for band, stack in planes.items():
        assert found[band].dtype == "<f4"
        wanted = np.nanmedian(stack, axis=0)
        np.testing.assert_allclose(found[band].values, wanted, rtol=2e-6, atol=1e-7, err_msg=band)
    picture, said = shown(path, tmp_path, "--bands", "B4,B3,B2")
    assert "bands B4, B3, B2" in said
    assert (picture[..., 3] == 0).mean() == pytest.approx(1 - some.mean(), abs=0.02)


@pytest.mark.filterwarnings("ignore:All-NaN slice:RuntimeWarning")
def test_sentinel2_monthly(run, emulator):
    """Medians to two millionths, NaN outside the polygon; two more months ask for nothing of the first three."""
    service = {"service.endpoint": emulator.url, "service.project": "p-test-1", "auth.key_file": emulator.key_file}  # fmt: skip
    options = [part for key, value in service.items() for part in ("--set", f"{key}={value}")]
    run("sentinel2_monthly", *options)
    assert months_asked_for(emulator) == {"04", "05", "06"}
    emulator.reset()
    path = run("sentinel2_monthly", *options, "--set", "source.end=2017-09-01")
    assert months_asked_for(emulator) == {"07", "08"}
    found = opened(path).sortby("time")
    starts = [f"2017-{month:02d}-01" for month in range(4, 10)]
    assert found.image_id.values.tolist() == [start[:7] for start in starts[:-1]]
    np.testing.assert_array_equal(found.time.values, np.array(starts[:-1], "datetime64[ns]"))
    points, where = outlined("sentinel2_monthly")
    lies_at(found, 10, *where)
    inside, around_it = burnt(points, found, -0.02), ~burnt(points, found, 0.02)
    assert 0.4 < inside.mean() < 0.9
    # An edge may lie off by a thousandth of a pixel, and a centre so near to it on either side.
    assert (~inside & ~around_it).sum() < 10
    for index, (start, end) in enumerate(pairwise(starts)):
        planes = clear_planes(granules(start, end), ("B4", "B3", "B2", "B8"), *where)
        for band, stack in zip(("red", "green", "blue", "nir"), planes.values(), strict=True):
            values, wanted = found[band].values[index], np.nanmedian(stack, axis=0)
            np.testing.assert_allclose(values[inside], wanted[inside], rtol=2e-6, err_msg=f"{band} {start}")
            assert np.isnan(values[around_it]).all()


def months_asked_for(emulator):
    """Months of 2017 of the images in the requests for pixels, but the one for a single pixel that looks at rights."""
    records = emulator.control("requests?since=0")["requests"]
    pixels = [r for r in records if r["method"].endswith(("computePixels", "getPixels"))]
    bodies = [str(r["body"]) for r in pixels if r["size"] != [1, 1]]
    return {month for body in bodies for month in re.findall(r"2017(\d\d)\d\dT", body)}


def test_landsat_ndvi(run):
    """Each pass of two sensors by reflectances, within a millionth: NaN in clouds and where saturated."""
    found = opened(run("landsat_ndvi"))
    passes = []
    for sensor, first in (("LC08", "2019-01-03"), ("LC09", "2021-11-04")):
        days = np.arange(np.datetime64(first), np.datetime64("2024-01-01"), 16)
        passes += [(day, sensor) for day in days if day >= np.datetime64("2020-01-01")]
    names = [f"LANDSAT/{sensor}/C02/T1_L2/{sensor}_044034_{str(day).replace('-', '')}" for day, sensor in sorted(passes)]  # fmt: skip
    assert found.image_id.values.tolist() == names
    wanted_times = [np.datetime64(f"{day}T18:30", "ns") for day, _ in sorted(passes)]
    np.testing.assert_array_equal(found.time.values, wanted_times)
    corner = (539985, 4199985)
    left, top, right, bottom = window_of(config("landsat_ndvi")["region"]["bbox"], 30, corner)
    lies_at(found, 30, left, top, right, bottom, corner)
    part = (left, top, right - left, bottom - top)
    share = []
    for index, name in enumerate(names):
        nir, red, quality, saturated = (oracle_window(PUBLIC + name, band, *part) for band in ("SR_B5", "SR_B4", "QA_PIXEL", "QA_RADSAT"))  # fmt: skip
        keep = oracle_valid(PUBLIC + name, "SR_B4", *part) & (quality & 0b11111 == 0) & (saturated == 0)
        nir, red = (band * 2.75e-05 - 0.2 for band in (nir, red))
        wanted = np.where(keep, (nir - red) / (nir + red), np.nan)
        np.testing.assert_allclose(found.ndvi.values[index], wanted, rtol=1e-6, atol=1e-6, err_msg=name)
        share.append(keep.mean())
    assert found.ndvi.dtype == "<f4"
    assert min(share) < 0.1 < 0.9 < max(share)


# ---------------------------------------------------------------- elevations


def test_dem(run):
    """Four tiles of a degree as one image, bit for bit; NaN outside the polygon."""
    import shapely

    found = opened(run("dem"))
    assert found.rio.crs.to_epsg() == 4326
    assert "time" not in found.dims
    outline = shapely.geometry.shape(config("dem")["region"]["geometry"])
    points = shapely.get_coordinates(outline)
    left, top, right, bottom = around(*((points[:, 0] + 180) * 3600, (90 - points[:, 1]) * 3600))
    assert (found.sizes["y"], found.sizes["x"]) == (bottom - top, right - left)
    np.testing.assert_allclose(found.x.values, (np.arange(left, right) + 0.5) / 3600 - 180, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.y.values, 90 - (np.arange(top, bottom) + 0.5) / 3600, rtol=0, atol=1e-9)
    column, row = 58 * 3600 - left, 52 * 3600 - top  # of 122° W and 38° N
    wide, tall = right - left - column, bottom - top - row
    tiles = [
        [(38, 123, 3600 - column, 3600 - row, column, row), (38, 122, 0, 3600 - row, wide, row)],
        [(37, 123, 3600 - column, 0, column, tall), (37, 122, 0, 0, wide, tall)],
    ]
    name = f"{PUBLIC}COPERNICUS/DEM/GLO30/Copernicus_DSM_COG_10_N{{}}_00_W{{}}_00_DEM"
    plane = np.block([[oracle_window(name.format(n, w), "DEM", *part) for n, w, *part in pair] for pair in tiles])  # fmt: skip
    inside = burnt(points, found)
    assert 0.4 < inside.mean() < 0.9
    same_bits(np.where(inside, found.DEM.values, 0), np.where(inside, plane, 0), "DEM")
    assert np.isnan(found.DEM.values[~inside]).all()


# ---------------------------------------------------------------- park


def test_park(run, tmp_path):
    """Inside the boundary every pixel, outside of it nodata, as rasterio burns it."""
    import shapely

    path = run("park")
    found = opened(path)
    points, where = outlined("park")
    left, top, right, bottom = where
    lies_at(found, 10, *where)
    height, width = bottom - top, right - left
    boundary = shapely.LinearRing(points)
    inside = burnt(points, found)
    assert 0.4 < inside.mean() < 0.8
    for band in ("B2", "B3", "B4"):
        plane = oracle_window(QUICKSTART, band, left, top, width, height)
        wanted = np.where(inside, plane, 0).astype("<u2")
        rows, columns = np.nonzero(found[band].values != wanted)
        centres = shapely.points(X + 10 * (left + columns + 0.5), Y - 10 * (top + rows + 0.5))
        # An edge may lie off by a thousandth of a pixel, and a centre so near to it on either side.
        assert (shapely.distance(boundary, centres) < 0.02).all()
        assert rows.size < 10
        assert found[band].dtype == "<u2"
        assert found[band].attrs["_FillValue"] == 0
    touched = {(r // 256, c // 256) for r, c in zip(*np.nonzero(inside), strict=True)}
    stored = {(r, c) for r, c in zip(*np.nonzero(coverage_of(path) == 1), strict=True)}
    assert touched <= stored
    assert len(stored) < coverage_of(path).size, "tiles outside are not fetched"
    decoded = xr.open_dataset(path, engine="zarr", chunks=None)
    np.testing.assert_array_equal(np.isnan(decoded.B4.values), found.B4.values == 0)
    picture, _ = shown(path, tmp_path, "--bands", "B4,B3,B2")
    assert (picture[..., 3] == 0).mean() == pytest.approx(1 - inside.mean(), abs=0.02)


# ---------------------------------------------------------------- time series


def test_time_series(run, tmp_path):
    """Three tiles of the Sentinel-2 grid meet; the earliest granule of a day, by id, wins where they overlap."""
    path = run("time_series")
    days = [f"201704{day:02d}" for day in (1, 6, 11, 16, 21, 26)]
    assert sorted(name for name, _ in zarr.open_group(str(path), mode="r").groups()) == ["10m", "20m"]
    for group, pixel, bands in (("10m", 10, {"B4", "B3", "B2"}), ("20m", 20, {"B11"})):
        found = opened(path, group)
        assert set(found.data_vars) == bands
        assert found.image_id.values.tolist() == [f"{day[:4]}-{day[4:6]}-{day[6:]}" for day in days]
        times = [np.datetime64(f"{day[:4]}-{day[4:6]}-{day[6:]}T18:49:21", "ns") for day in days]
        np.testing.assert_array_equal(found.time.values, times)
        assert found.SPACECRAFT_NAME.values.tolist() == ["Sentinel-2A"] * 6
        where = window_of(config("time_series")["region"]["bbox"], pixel)
        lies_at(found, pixel, *where)
        for band in bands:
            for index, day in enumerate(days):
                same_bits(
                    found[band].values[index],
                    laid(day, band, pixel, *where),
                    f"{group}/{band} of {day}",
                )
    picture, said = shown(path, tmp_path, "--bands", "B4,B3,B2", "--time", "2017-04-11")
    assert "2017-04-11" in said
    assert picture[..., :3].std() > 20


def laid(day, band, pixel, left, top, right, bottom):
    """The day's tiles over one another, on 10SEG's lattice."""
    plane = np.zeros((bottom - top, right - left), "<u2")
    side = 10980 * 10 // pixel
    for tile in (
        "10SFG",
        "10SEH",
        "10SEG",
    ):  # the last is on top: they begin at one time, and it is the first by id
        across, down = (CORNERS[tile][0] - X) // pixel, (Y - CORNERS[tile][1]) // pixel
        c, r = max(left, across), max(top, down)
        w, h = min(right, across + side) - c, min(bottom, down + side) - r
        if w > 0 and h > 0:
            name = f"{PUBLIC}COPERNICUS/S2_SR_HARMONIZED/{day}T184921_{day}T184921_T{tile}"
            plane[r - top : r - top + h, c - left : c - left + w] = oracle_window(
                name, band, c - across, r - down, w, h
            )
    return plane


# ---------------------------------------------------------------- chips


def test_chips(run, tmp_path):
    """Every chip of the image nearest to the point's date; columns of the file beside it, in its order."""
    rows = [line.split(",") for line in (ROOT / "configs/chips.csv").read_text().splitlines()[1:]]
    path = run("chips")
    found = opened(path)
    assert found.sample_id.values.tolist() == [row[0] for row in rows]
    assert found.kind.values.tolist() == [row[4] for row in rows]
    assert found.weight.values.tolist() == [float(row[5]) for row in rows]
    assert found["mask"].values.min() == 1
    times = {
        QUICKSTART: np.datetime64("2017-04-30T19:03:51"),
        QUICKSTART_B: np.datetime64("2017-04-20T18:49:21"),
    }
    for n, (_, lon, lat, date, *_) in enumerate(rows):
        name = QUICKSTART_B if date == "2017-04-20" else QUICKSTART
        assert found.image_id.values[n] == name.removeprefix(PUBLIC)
        assert found.time.values[n] == times[name]
        assert (found.lon.values[n], found.lat.values[n]) == (float(lon), float(lat))
        assert str(found.crs.values[n]) == "EPSG:32610"
        x, y = TO_UTM.transform(float(lon), float(lat))
        column, row = math.floor((x - X) / 10) - 32, math.floor((Y - y) / 10) - 32
        assert 0 <= column < scene(name).bands["B4"][2] - 64
        affine = rasterio.Affine(*found.transform.values[n])
        assert affine == rasterio.Affine(10, 0, X + 10 * column, 0, -10, Y - 10 * row)
        assert (found.centre_x.values[n], found.centre_y.values[n]) == affine @ (32.5, 32.5)
        for band in ("B4", "B3", "B2", "B8"):
            same_bits(found[band].values[n], oracle_window(name, band, column, row, 64, 64), f"{band} of {n}")
    picture, said = shown(path, tmp_path, "--bands", "B4,B3,B2")
    assert "of 60 samples" in said
    assert picture[..., :3].std() > 20


def test_every_config_is_compared_here_but_for_those_that_cannot_be():
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    there = {path.stem for path in (ROOT / "configs").glob("*.yaml")}
    # Of a gigabyte; run by the tutorial; of a real account.
    assert there - tested == {"one_scene", "quickstart", "real_account"}
