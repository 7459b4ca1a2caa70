"""The example configs, run as they are but for where they write: every pixel and every coordinate, worked out here.

Pixels come from the oracle, regions from pyproj, coordinates from rational arithmetic and rasterio's own affine; nothing of
it comes from the package, which is met only as a command.
"""

from __future__ import annotations

import json
import math
from fractions import Fraction

import numpy as np
import pyproj
import pytest
import xarray as xr
import yaml
import zarr
from PIL import Image

from tests.harness import ROOT, cli, same_bits
from tests.oracle import PUBLIC, QUICKSTART, QUICKSTART_B, oracle_window, scene

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


def window_of(box, pixel):
    """(left, top, right, bottom) of the pixels of 10SEG's lattice that a box in degrees touches, by dense samples."""
    west, south, east, north = box
    steps = np.linspace(0, 1, 20_001)
    x, y = TO_UTM.transform(
        np.concatenate([west + (east - west) * steps] * 2 + [np.full_like(steps, west), np.full_like(steps, east)]),
        np.concatenate([np.full_like(steps, south), np.full_like(steps, north)] + [south + (north - south) * steps] * 2),
    )  # fmt: skip
    return around((x - X) / pixel, (Y - y) / pixel)


def around(columns, rows):
    return (
        math.floor(columns.min()),
        math.floor(rows.min()),
        math.ceil(columns.max()),
        math.ceil(rows.max()),
    )


def lies_at(dataset, pixel, left, top, right, bottom):
    """CRS, affine, and the coordinate of every pixel's centre, exactly."""
    assert dataset.rio.crs.to_epsg() == 32610
    affine = rasterio.Affine(pixel, 0, X + pixel * left, 0, -pixel, Y - pixel * top)
    assert dataset.rio.transform() == affine
    assert (dataset.sizes["y"], dataset.sizes["x"]) == (bottom - top, right - left)
    half = Fraction(1, 2)
    assert dataset.x.values.tolist() == [float(X + pixel * (c + half)) for c in range(left, right)]
    assert dataset.y.values.tolist() == [float(Y - pixel * (r + half)) for r in range(top, bottom)]
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


# ---------------------------------------------------------------- composite


def clear(name, left, top, right, bottom):
    """Pixels of 10 m whose QA60 pixel has neither of the bits 10 and 11."""
    first_column, first_row = left // 6, top // 6
    coarse = oracle_window(name, "QA60", first_column, first_row, -(-right // 6) - first_column, -(-bottom // 6) - first_row)  # fmt: skip
    rows, columns = np.arange(top, bottom) // 6 - first_row, np.arange(left, right) // 6 - first_column
    return (coarse[np.ix_(rows, columns)] & 0b1100_0000_0000) == 0


def reduced(how, planes, valid):
    """Of those of two planes that are valid, (height, width) float64; NaN where none is. Their median is their mean."""
    if how == "last":
        return np.where(valid[1], planes[1], np.where(valid[0], planes[0], np.nan))  # the latest is on top
    count = valid.sum(axis=0)
    return np.where(count, (planes * valid).sum(axis=0) / np.maximum(count, 1), np.nan)


@pytest.mark.parametrize("how", ["median", "mean", "last"])
def test_composite(run, tmp_path, how):
    """Two scenes, clouds left out; the median as the config has it, the others over a corner of it."""
    box, options = config("composite")["region"]["bbox"], ()
    if how != "median":
        box = [-122.93, 37.50, -122.89, 37.53]
        options = ("--set", f"source.reduce={how}", "--set", f"region.bbox={box}")
    path = run("composite", *options)
    found = opened(path)
    where = left, top, right, bottom = window_of(box, 10)
    lies_at(found, 10, *where)
    names = (QUICKSTART_B, QUICKSTART)
    valid = np.stack([clear(name, *where) for name in names])
    assert 0.2 < valid.any(axis=0).mean() < 0.9, (
        "too little is masked, or too much, for this to show anything"
    )
    assert (valid[0] != valid[1]).any()
    some = valid.any(axis=0)
    planes = {
        band: np.stack(
            [oracle_window(name, band, left, top, right - left, bottom - top) for name in names]
        ).astype(float)
        for band in ("B4", "B3", "B2", "B8")
    }
    b8, b4 = planes.pop("B8"), planes["B4"]
    planes["ndvi"] = (b8 - b4) / (b8 + b4)
    for band, stack in planes.items():
        wanted = reduced(how, stack, valid)
        if how == "last" and band != "ndvi":
            assert found[band].dtype == "<u2"
            np.testing.assert_array_equal(found[band].values[some], wanted[some])
        else:
            assert found[band].dtype == "<f4"
            np.testing.assert_allclose(found[band].values, wanted, rtol=2e-6, atol=1e-7, err_msg=band)
    if how == "median":
        picture, said = shown(path, tmp_path, "--bands", "B4,B3,B2")
        assert "bands B4, B3, B2" in said
        transparent = (picture[..., 3] == 0).mean()
        assert transparent == pytest.approx(1 - some.mean(), abs=0.02)


# ---------------------------------------------------------------- park


def test_park(run, tmp_path):
    """Inside the boundary every pixel, outside of it nodata, as rasterio burns it."""
    import shapely
    from rasterio.features import geometry_mask

    path = run("park")
    found = opened(path)
    outline = shapely.segmentize(shapely.geometry.shape(config("park")["region"]["geometry"]), 1e-5)
    points = np.column_stack(TO_UTM.transform(*shapely.get_coordinates(outline).T))
    where = left, top, right, bottom = around((points[:, 0] - X) / 10, (Y - points[:, 1]) / 10)
    lies_at(found, 10, *where)
    height, width = bottom - top, right - left
    boundary = shapely.LinearRing(points)
    inside = geometry_mask([shapely.Polygon(points)], (height, width), found.rio.transform(), invert=True)
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
    stored = {(r, c) for r, c in zip(*np.nonzero(found.coverage.values == 1), strict=True)}
    assert touched <= stored
    assert len(stored) < found.coverage.size, "tiles outside are not fetched"
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
