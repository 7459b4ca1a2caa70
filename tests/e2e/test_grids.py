"""Every kind of grid and type of the emulator's catalogue, through the command line and back, bit by bit."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import zarr

from tests.harness import ASSET, band_arrays, command, compare, getpixels, job, same_bits, write_job
from tests.oracle import DTYPES, PUBLIC, QUICKSTART, oracle_window, scene

KINDS = ["u1", "i1", "u2", "i2", "u4", "i4", "i8", "f4", "f8"]

IMAGES = {
    "DEGREES": ({}, (3001, 2003), None),
    "POLAR": (
        {"window": {"column": 2000, "row": 1700, "width": 5000, "height": 5000}},
        (1041, 801),
        (2000, 1700),
    ),
    "ANTARCTIC": (
        {"window": {"column": 5500, "row": 4500, "width": 501, "height": 503}},
        (501, 503),
        (5500, 4500),
    ),
    "SINUSOIDAL": (
        {"window": {"column": 100, "row": 1000, "width": 700, "height": 600}},
        (700, 600),
        (100, 1000),
    ),
    "SINUSOIDAL_WKT": ({"window": {"column": 0, "row": 0, "width": 300, "height": 300}}, (300, 300), (0, 0)),
    "SHEARED": ({}, (1201, 901), None),
    "SOUTH_UP": ({}, (1025, 769), None),
    "TYPES": ({}, (1300, 1111), None),
    "MASKED": ({}, (1300, 1111), None),
    "BANDS_700": ({}, (64, 48), None),
}
"""Image → region, the mosaic's width and height, and where it begins."""


def run(emulator, tmp_path, mosaic, **sections):
    ended = command("run", write_job(tmp_path, job(emulator, mosaic, **sections)), "-q")
    assert ended.status == 0, ended
    assert (ended.out, ended.err) == ("", "")


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_of_the_catalogue(emulator, tmp_path, mosaic, name):
    region, (width, height), begin = IMAGES[name]
    asset = f"EMULATOR/{name}"
    run(emulator, tmp_path, mosaic, source={"asset": asset}, region=region or None)
    arrays = band_arrays(mosaic)
    assert set(arrays) == set(scene(PUBLIC + asset).bands)
    assert all(array.shape == (height, width) for array in arrays.values())
    column, row = begin or (0, 0)
    assert compare(mosaic, PUBLIC + asset, column, row) == width * height * len(arrays)


def test_types_are_the_answers(emulator, tmp_path, mosaic):
    """Also where the catalogue says INT64 and the answer is a float64."""
    run(
        emulator,
        tmp_path,
        mosaic,
        source={"asset": "EMULATOR/TYPES"},
        region={"window": {"column": 1, "row": 1, "width": 9, "height": 9}},
    )
    assert {name: array.dtype.str for name, array in band_arrays(mosaic).items()} == {
        k: DTYPES[k] for k in KINDS
    }


@pytest.mark.parametrize("fill", ["min", "missing", "-inf", "nan"])
def test_masked_pixels_are_stored_as_answered(emulator, tmp_path, mosaic, fill):
    """Whatever the service puts there, in every type; nothing is rewritten."""
    emulator.control("configure", {"fill": fill})
    run(
        emulator,
        tmp_path,
        mosaic,
        source={"asset": "EMULATOR/MASKED"},
        region={"window": {"column": 0, "row": 0, "width": 300, "height": 300}},
    )
    fills = {kind: masked_value(kind, fill) for kind in KINDS}
    compare(mosaic, f"{PUBLIC}EMULATOR/MASKED", fill=fills)
    assert band_arrays(mosaic)["f8"][0, 0].tobytes() == np.float64(fills["f8"]).tobytes()
    stated = {name: array.attrs.get("_FillValue") for name, array in band_arrays(mosaic).items()}
    assert {name for name, value in stated.items() if value is not None} >= {"u1", "i2", "f4"}


def masked_value(kind, fill):
    """The rule of docs/contract.md §4.3, written down a second time."""
    dtype = np.dtype(DTYPES[kind])
    if dtype.kind == "u":
        return 0
    if fill == "missing":
        return {"i2": -32768, "f4": -9999.0}.get(kind, 0)
    if dtype.kind == "i":
        return np.iinfo(dtype).min if fill in ("min", "-inf") else 0
    return {"min": np.finfo(dtype).min, "-inf": -np.inf, "nan": np.nan}[fill]


def test_three_resolutions_keep_their_own_grids(emulator, tmp_path, mosaic):
    """All sixteen bands of a scene; the region is given in pixels of the finest."""
    region = {"window": {"column": 10_001, "row": 7_007, "width": 979, "height": 850}}
    run(emulator, tmp_path, mosaic, source={"asset": ASSET, "bands": "all"}, region=region)
    arrays = band_arrays(mosaic)
    assert {path.split("/")[0] for path in arrays} == {"10m", "20m", "60m"}
    assert len(arrays) == 16
    for path, array in arrays.items():
        step = {"10m": 1, "20m": 2, "60m": 6}[path.split("/")[0]]
        left, top = 10_001 // step, 7_007 // step
        right, bottom = -(-10_980 // step), -(-7_857 // step)
        assert array.shape == (bottom - top, right - left)
        wanted = oracle_window(QUICKSTART, path.split("/")[1], left, top, right - left, bottom - top)
        same_bits(array[:], wanted, path)


def test_a_bounding_box_takes_every_pixel_it_touches(emulator, tmp_path, mosaic):
    """In degrees, of a UTM image; worked out here with pyproj, corner by corner of every pixel near the edge."""
    box = [-122.12, 37.38, -122.10, 37.40]
    run(emulator, tmp_path, mosaic, source={"asset": ASSET, "bands": ["B4"]}, region={"bbox": box})
    from pyproj import Transformer

    inverse = Transformer.from_crs("EPSG:4326", "EPSG:32610", always_xy=True)
    west, south, east, north = box
    steps = np.linspace(0, 1, 20_001)
    xs = np.concatenate(
        [west + (east - west) * steps] * 2 + [np.full_like(steps, west), np.full_like(steps, east)]
    )
    ys = np.concatenate(
        [np.full_like(steps, south), np.full_like(steps, north)] + [south + (north - south) * steps] * 2
    )
    x, y = inverse.transform(xs, ys)
    columns, rows = (x - 499_980) / 10, (4_200_000 - y) / 10
    left, top = int(np.floor(columns.min())), int(np.floor(rows.min()))
    right, bottom = int(np.ceil(columns.max())), int(np.ceil(rows.max()))
    (array,) = band_arrays(mosaic).values()
    assert array.shape == (bottom - top, right - left)
    compare(mosaic, column=left, row=top)


def test_a_bounding_box_in_the_image_s_own_crs(emulator, tmp_path, mosaic):
    """Edges on pixel edges take no neighbour; a tenth of a pixel more takes one."""
    region = {"bbox": [500_980, 4_190_000, 502_981, 4_191_000], "crs": "EPSG:32610"}
    run(emulator, tmp_path, mosaic, source={"asset": ASSET, "bands": ["B8"]}, region=region)
    assert band_arrays(mosaic)["B8"].shape == (100, 201)
    compare(mosaic, column=100, row=900)


def test_a_bounding_box_of_a_geographic_image(emulator, tmp_path, mosaic):
    """Fractional degrees: the pixels are those whose corners say so, in exact arithmetic."""
    x0, y0, scale = Fraction(-106.2000456321), Fraction(40.7000123457), Fraction(0.00026949458523585647)
    box = [-106.0, 40.5, -105.9, 40.55]
    run(
        emulator,
        tmp_path,
        mosaic,
        source={"asset": "EMULATOR/DEGREES", "bands": ["canopy"]},
        region={"bbox": box},
    )
    left, right = (Fraction(box[0]) - x0) // scale, -((x0 - Fraction(box[2])) // scale)
    top, bottom = (y0 - Fraction(box[3])) // scale, -((Fraction(box[1]) - y0) // scale)
    (array,) = band_arrays(mosaic).values()
    assert array.shape == (bottom - top, right - left)
    compare(mosaic, f"{PUBLIC}EMULATOR/DEGREES", int(left), int(top))


@pytest.mark.parametrize(("resolution", "level", "sub"), [(20, 1, 1), (40, 2, 1), (30, 1, 1.5), (15, 0, 1.5)])
def test_a_coarser_grid_is_read_from_the_pyramid(emulator, tmp_path, mosaic, resolution, level, sub):
    """The coarsest level that is not coarser, nearest neighbour of pixel centres; levels are rounded means."""
    run(
        emulator,
        tmp_path,
        mosaic,
        source={"asset": ASSET, "bands": ["B3"]},
        region={"window": {"column": 100, "row": 50, "width": 400, "height": 300}},
        grid={"resolution": resolution},
    )
    (array,) = band_arrays(mosaic).values()
    assert array.shape == (300, 400)
    factor = resolution / 10
    left, top, right, bottom = (int(v * factor) for v in (100, 50, 501, 351))
    left, top = left // 2**level * 2**level, top // 2**level * 2**level
    right, bottom = -(-right // 2**level) * 2**level, -(-bottom // 2**level) * 2**level
    plane = oracle_window(QUICKSTART, "B3", left, top, right - left, bottom - top).astype(int)
    for _ in range(level):
        plane = (plane[::2, ::2] + plane[1::2, ::2] + plane[::2, 1::2] + plane[1::2, 1::2] + 2) // 4
    columns = np.floor((np.arange(100, 500) + 0.5) * sub).astype(int) - left // 2**level
    rows = np.floor((np.arange(50, 350) + 0.5) * sub).astype(int) - top // 2**level
    same_bits(array[:], plane[np.ix_(rows, columns)].astype("<u2"), f"{resolution} m")


def test_bands_of_three_resolutions_on_one_grid(emulator, tmp_path, mosaic):
    """`resolution` for all: the group is one, the finer band from its pyramid, the coarser repeated."""
    run(
        emulator,
        tmp_path,
        mosaic,
        source={"asset": ASSET, "bands": ["B5", "B4", "B1"]},
        region={"window": {"column": 0, "row": 0, "width": 300, "height": 300}},
        grid={"resolution": 20},
    )
    arrays = band_arrays(mosaic)
    assert sorted(arrays) == ["B1", "B4", "B5"]
    same_bits(arrays["B5"][:], oracle_window(QUICKSTART, "B5", 0, 0, 300, 300), "B5")
    coarse = oracle_window(QUICKSTART, "B1", 0, 0, 100, 100)
    same_bits(arrays["B1"][:], coarse.repeat(3, 0).repeat(3, 1), "B1")


def test_two_coordinate_systems_in_one_image(emulator, tmp_path, mosaic):
    run(emulator, tmp_path, mosaic, source={"asset": "EMULATOR/TWO_SYSTEMS"}, region=None)
    arrays = band_arrays(mosaic)
    assert len(arrays) == 2
    for path, array in arrays.items():
        band = path.rpartition("/")[2]
        height, width = array.shape
        same_bits(array[:], oracle_window(f"{PUBLIC}EMULATOR/TWO_SYSTEMS", band, 0, 0, width, height), path)


@pytest.mark.parametrize("window", [(10_979, 10_979, 1, 1), (10_751, 0, 229, 257), (-5, -7, 10, 10)])
def test_windows_at_the_edges(emulator, tmp_path, mosaic, window):
    """The last pixel; a last column of one pixel; a window that begins outside."""
    column, row, width, height = window
    region = {"window": {"column": column, "row": row, "width": width, "height": height}}
    run(emulator, tmp_path, mosaic, source={"asset": ASSET, "bands": ["B2"]}, region=region)
    column, row, width, height = max(column, 0), max(row, 0), width + min(column, 0), height + min(row, 0)
    assert band_arrays(mosaic)["B2"].shape == (height, width)
    compare(mosaic, column=column, row=row)


def test_many_float64_bands_are_asked_for_in_runs(emulator, tmp_path, mosaic):
    """700 bands of one tile: nothing is refused for its size, and the plan says how many requests there are."""
    job_file = write_job(tmp_path, job(emulator, mosaic, source={"asset": "EMULATOR/BANDS_700"}, region=None))
    planned = command("plan", job_file, "--json").document["estimate"]["requests"]
    assert command("run", job_file).status == 0
    # A run may cut its last requests smaller, so that they end together; never the limit of one request higher.
    assert planned <= len(getpixels(emulator)) <= 2 * planned
    root = zarr.open_group(str(mosaic), mode="r")
    assert root.metadata.consolidated_metadata is not None
