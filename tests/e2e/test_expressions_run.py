"""What the service computes, end to end: expressions in every form, composites, interpolation, coarser grids.

Everything expected is worked out here with numpy from the oracle's pixels, or by rasterio from the same.
"""

from __future__ import annotations

import json

import numpy as np
import pyproj
import pytest

import downloader
from downloader.errors import DriftError, JobError
from tests.harness import command, getpixels, job, same_bits, window, write_job
from tests.oracle import PASSES, PUBLIC, QUICKSTART, QUICKSTART_B, oracle_valid, oracle_window

SCENE, EARLIER = (name.removeprefix(PUBLIC) for name in (QUICKSTART, QUICKSTART_B))
PART = (1000, 2000, 300, 280)
"""Column, row, width, height of the region, in pixels of 10 m."""
REGION = {"bbox": [509_980, 4_177_200, 512_980, 4_180_000], "crs": "EPSG:32610"}


def call(name, /, **arguments):
    """A call as a node; arguments are nodes or constants."""
    kinds = ("Value", "Reference")
    nodes = {
        key: value
        if isinstance(value, dict) and len(value) == 1 and next(iter(value)).endswith(kinds)
        else {"constantValue": value}
        for key, value in arguments.items()
    }
    return {"functionInvocationValue": {"functionName": name, "arguments": nodes}}


def graph(node):
    return {"result": "0", "values": {"0": node}}


def load(*bands, asset=SCENE):
    return call("Image.select", input=call("Image.load", id=asset), bandSelectors=list(bands))


DIFFERENCE = graph(call("Image.subtract", image1=load("B8", "B3"), image2=load("B4", "B2", asset=EARLIER)))
"""Bands meet in their order, and are called as the first image's."""


def pixels(band, name=QUICKSTART, part=PART):
    return oracle_window(name, band, *part)


def run(values):
    return downloader.download(values, progress=False)


def computed(emulator):
    """Pixel requests for expressions, but for the canaries'."""
    records = emulator.control("requests?since=0")["requests"]
    return [r for r in records if r["method"].endswith("computePixels") and r["size"] != [1, 1]]


# ---------------------------------------------------------------- expressions


@pytest.mark.parametrize("form", ["mapping", "text", "file", "object"])
def test_an_expression_in_every_form(emulator, tmp_path, form):
    """Its own bands, types and grid; every pixel; a second run of the same graph fetches nothing."""
    (tmp_path / "expression.json").write_text(json.dumps(DIFFERENCE))

    class Image:
        def serialize(self):
            return json.dumps(DIFFERENCE)

    given = {
        "mapping": DIFFERENCE,
        "text": json.dumps(DIFFERENCE),
        "file": str(tmp_path / "expression.json"),
        "object": Image(),
    }[form]
    values = job(emulator, tmp_path / "m.zarr", source={"expression": given}, region=REGION)
    report = run(values)
    found = report.open(chunks=None)
    assert set(found.data_vars) == {"B8", "B3"}
    for band, other in (("B8", "B4"), ("B3", "B2")):
        wanted = pixels(band).astype("<i4") - pixels(other, QUICKSTART_B)
        same_bits(found[band].values, wanted.astype("<i4"), band)
    assert found.x.values[0] == 499980 + 10 * (PART[0] + 0.5)
    assert found.y.values[0] == 4200000 - 10 * (PART[1] + 0.5)
    assert computed(emulator)
    assert getpixels(emulator) == []
    assert run(values).requests == 0


def test_an_image_of_the_official_client(emulator, tmp_path):
    """`ee.Image` as it is: NDVI and a masked band; what the client numbers otherwise is no other job."""
    ee = pytest.importorskip("ee")
    account = json.loads(emulator.key_file.read_text())["client_email"]
    ee.Initialize(
        ee.ServiceAccountCredentials(account, str(emulator.key_file)), project="p-test-1", url=emulator.url
    )
    try:
        scene = ee.Image(SCENE)
        bright = scene.select("B4").updateMask(scene.select("B8").gt(2700))
        image = scene.normalizedDifference(["B8", "B4"]).addBands(bright.unmask(7).toInt16())
        report = downloader.download(
            image,
            tmp_path / "m.zarr",
            region=REGION,
            service={"endpoint": emulator.url, "project": "p-test-1"},
            auth={"key_file": str(emulator.key_file)},
            progress=False,
        )
        text = image.serialize()
    finally:
        ee.Reset()
    found = report.open(chunks=None)
    nir, red = pixels("B8").astype(float), pixels("B4").astype(float)
    same_bits(found["nd"].values, ((nir - red) / (nir + red)).astype("<f4"), "nd")
    seen = nir > 2700
    assert 0 < seen.mean() < 1
    same_bits(found["B4"].values, np.where(seen, red, 7).astype("<i2"), "B4")
    renamed = json.loads(text)
    renamed = {
        "result": f"n{renamed['result']}",
        "values": {f"n{key}": _renamed(value) for key, value in reversed(renamed["values"].items())},
    }
    values = job(emulator, tmp_path / "m.zarr", source={"expression": renamed}, region=REGION)
    assert run(values).requests == 0


def test_fractions_are_nan_where_they_are_masked(emulator, tmp_path):
    """As those of formulas and of collections; whole numbers hold what the service puts there."""
    bright = call("Image.gt", image1=load("B8"), image2=call("Image.constant", value=2700))
    masked = call("Image.updateMask", image=load("B4"), mask=bright)
    halves = call("Image.rename", input=call("Image.toFloat", value=masked), names=["halves"])
    both = graph(call("Image.addBands", dstImg=halves, srcImg=masked))
    values = job(
        emulator, tmp_path / "m.zarr", source={"expression": both, "bands": ["halves"]}, region=REGION
    )
    report = run(values)
    seen, red = pixels("B8") > 2700, pixels("B4")
    np.testing.assert_array_equal(report.open(chunks=None)["halves"].values, np.where(seen, red, np.nan))
    assert "computed  1 slice: expression" in command("plan", write_job(tmp_path, values)).out
    values["source"]["bands"] = ["halves", "B4"]
    found = run(values).open(chunks=None)
    np.testing.assert_array_equal(found["halves"].values, np.where(seen, red, np.nan))
    same_bits(found["B4"].values, np.where(seen, red, 0), "B4")


def _renamed(node):
    """A node whose references are called otherwise."""
    if isinstance(node, dict):
        keys = ("valueReference", "functionReference", "body")
        return {k: f"n{v}" if k in keys and isinstance(v, str) else _renamed(v) for k, v in node.items()}
    return [_renamed(one) for one in node] if isinstance(node, list) else node


def test_another_graph_is_refused(emulator, tmp_path):
    values = job(emulator, tmp_path / "m.zarr", source={"expression": DIFFERENCE}, region=REGION)
    run(values)
    other = graph(call("Image.add", image1=load("B8", "B3"), image2=load("B4", "B2", asset=EARLIER)))
    with pytest.raises(DriftError, match="expression"):
        run(values | {"source": {"expression": other}})


def test_a_grid_within_the_expression_is_its_own(emulator, tmp_path):
    """`Image.reproject` to pixels of 30 m from a corner of their own: the mosaic lies on exactly those."""
    transform = [30, 0, 510_005, 0, -30, 4_180_010]
    fixed = graph(
        call(
            "Image.reproject",
            image=load("QA10"),
            crs=call("Projection", crs="EPSG:32610"),
            crsTransform=transform,
        )
    )
    region = {"bbox": [511_205, 4_177_010, 514_205, 4_179_110], "crs": "EPSG:32610"}
    found = run(job(emulator, tmp_path / "m.zarr", source={"expression": fixed}, region=region)).open(
        chunks=None
    )
    assert found.x.values.tolist() == [511_205 + 30 * (c + 0.5) for c in range(100)]
    assert found.y.values.tolist() == [4_179_110 - 30 * (r + 0.5) for r in range(70)]
    # SAMPLE: of the level of 20 m, each pixel holds the upper left of 2×2.
    columns = np.floor((found.x.values - 499_980) / 20).astype(int) * 2
    rows = np.floor((4_200_000 - found.y.values) / 20).astype(int) * 2
    plane = oracle_window(QUICKSTART, "QA10", 0, 0, columns[-1] + 1, rows[-1] + 1)
    same_bits(found["QA10"].values, plane[np.ix_(rows, columns)], "QA10")


def test_what_has_no_grid_needs_one(emulator, tmp_path):
    """A median has pixels of one degree by default: refused with an example, and the example works."""
    series = call("ImageCollection.load", id="COPERNICUS/S2")
    median = graph(call("Image.select", input=call("reduce.median", collection=series), bandSelectors=["B4"]))
    values = job(emulator, tmp_path / "m.zarr", source={"expression": median}, region=REGION)
    with pytest.raises(JobError, match=r"no pixel grid of its own.*grid: {crs: EPSG:32610, resolution: 10}"):
        run(values)
    found = run(values | {"grid": {"crs": "EPSG:32610", "resolution": 10}}).open(chunks=None)
    wanted = (pixels("B4").astype(float) + pixels("B4", QUICKSTART_B)) / 2
    same_bits(found["B4"].values, wanted, "B4")


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ({"result": "0", "values": {}}, "source.expression: refers to '0'"),
        ("missing.json", "source.expression: there is no file .*missing.json"),
        (graph(call("Image.load", id=f"{SCENE}_GONE")), "not found"),
        (graph(call("Image.frobnicate", image=load("B4"))), "frobnicate"),
        (graph({"constantValue": 7}), "computes int, and only an ee.Image or ee.ImageCollection has pixels"),
        (graph(load("B99")), "B99"),
    ],
)
def test_what_is_no_expression_of_an_image(emulator, tmp_path, expression, says):
    file = write_job(
        tmp_path,
        job(emulator, tmp_path / "m.zarr", source={"expression": expression}, region=REGION),
    )
    ended = command("run", file)
    assert ended.status == 2, ended
    import re

    assert re.search(says, ended.err), ended
    assert not (tmp_path / "m.zarr").exists()


# ---------------------------------------------------------------- composites

LEFT, TOP, WIDTH, HEIGHT = -120, -80, 900, 720
AROUND = {"bbox": [560000 + 20 * LEFT, 4180000 - 20 * (TOP + HEIGHT), 560000 + 20 * (LEFT + WIDTH), 4180000 - 20 * TOP], "crs": "EPSG:32610"}  # fmt: skip


def layers(band, bits=()):
    """The passes over the region in the order of time: planes (time, y, x) float64, NaN where there is nothing."""
    out = []
    for name, ((column, row), bands, _) in PASSES.items():
        plane = np.full((HEIGHT, WIDTH), np.nan)
        if band in bands.split():
            full = f"{PUBLIC}EMULATOR/PASSES/{name}"
            left, top = max(column, LEFT), max(row, TOP)
            right, bottom = min(column + 700, LEFT + WIDTH), min(row + 600, TOP + HEIGHT)
            part = (left - column, top - row, right - left, bottom - top)
            valid = oracle_valid(full, band, *part)
            if bits:
                cloud = oracle_window(full, "cloud", *part)
                valid &= oracle_valid(full, "cloud", *part) & ((cloud & sum(1 << bit for bit in bits)) == 0)
            plane[top - TOP : bottom - TOP, left - LEFT : right - LEFT] = np.where(
                valid, oracle_window(full, band, *part), np.nan
            )
        out.append(plane)
    return np.stack(out)


def composed(how, stack):
    """Of what is there of each pixel; NaN where nothing is."""
    some = ~np.isnan(stack).all(axis=0)
    filled = np.where(some, stack, 0)
    if how == "last":
        out = stack[0]
        for plane in stack[1:]:
            out = np.where(np.isnan(plane), out, plane)
        return out
    return np.where(some, {"median": np.nanmedian, "mean": np.nanmean}[how](filled, axis=0), np.nan)


@pytest.mark.parametrize("how", ["median", "mean", "last"])
def test_one_image_of_seven(emulator, tmp_path, how):
    """That overlap, end, have masks of their own and a cloud band; on the one lattice they share."""
    source = {
        "collection": "EMULATOR/PASSES", "start": "2020-01-01", "end": "2020-03-01", "every": "all", "reduce": how,
        "mask": {"band": "cloud", "bits": [0, 3]},
        "bands": ["red"],
    }  # fmt: skip
    values = job(emulator, tmp_path / "m.zarr", source=source, region=AROUND, mosaic={"mask": "per-band"})
    found = run(values).open(chunks=None)
    wanted = composed(how, layers("red", (0, 3)))
    assert "time" not in found.dims
    valid = ~np.isnan(wanted)
    assert 0.2 < valid.mean() < 0.95
    same_bits(found["red_mask"].values, valid.astype("u1"), "mask")
    if how == "last":
        assert found["red"].dtype == "<u2"
        same_bits(np.where(valid, found["red"].values, 0), np.nan_to_num(wanted).astype("<u2"), "red")
    else:
        assert found["red"].dtype == "<f4"
        assert np.isnan(found["red"].attrs.get("_FillValue", np.nan))
        np.testing.assert_allclose(found["red"].values, wanted, rtol=1e-7)
    assert found.x.values[0] == 560000 + 20 * (LEFT + 0.5)
    assert found.y.values[0] == 4180000 - 20 * (TOP + 0.5)
    assert run(values).requests == 0


# ---------------------------------------------------------------- interpolation and coarser grids


def interpolated(plane, x, y, mode):
    """(len(y), len(x)) float64 at points in pixels, corners counted; Keys with a = -½, as in his paper."""

    def taps(points):
        u = points - 0.5
        before = np.floor(u).astype(int)
        t = u - before
        if mode == "bilinear":
            return [(before, 1 - t), (before + 1, t)]
        near, far = (lambda s: 1.5 * s**3 - 2.5 * s**2 + 1), (lambda s: -0.5 * s**3 + 2.5 * s**2 - 4 * s + 2)
        return [
            (before - 1, far(t + 1)),
            (before, near(t)),
            (before + 1, near(1 - t)),
            (before + 2, far(2 - t)),
        ]

    plane = plane.astype(float)
    return sum(
        weight_y[:, None] * weight_x * plane[np.ix_(rows, columns)]
        for rows, weight_y in taps(y)
        for columns, weight_x in taps(x)
    )


def halved(plane):
    """The next level of a pyramid of means of integers."""
    quarters = plane[::2, ::2].astype(int) + plane[1::2, ::2] + plane[::2, 1::2] + plane[1::2, 1::2]
    return (quarters + 2) // 4


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("resolution", "level"), [(5, 0), (2.5, 0), (15, 0), (25, 1), (60, 2)])
def test_interpolation(emulator, tmp_path, mode, resolution, level):
    """Every weight is a dyadic fraction here, so that no order of adding rounds; rasterio agrees."""
    values = job(
        emulator, tmp_path / "m.zarr", source={"asset": SCENE, "bands": ["B8"]},
        region=window(40, 60, 300, 280), grid={"resolution": resolution, "resampling": mode},
    )  # fmt: skip
    found = run(values).open(chunks=None)["B8"]
    step, pixel = resolution / (10 * 2**level), 10 * 2**level
    x, y = (np.arange(40, 340) + 0.5) * step, (np.arange(60, 340) + 0.5) * step
    side = int(-(-(340 * resolution // 10 + 40) // 2**level) * 2**level)
    plane = oracle_window(QUICKSTART, "B8", 0, 0, side, side)
    for _ in range(level):
        plane = halved(plane)
    wanted = np.floor(np.clip(interpolated(plane, x, y, mode), 0, 65535) + 0.5).astype("<u2")
    same_bits(found.values, wanted, f"{mode} at {resolution} m")
    assert found.x.values[0] == 499980 + resolution * 40.5
    rasterio = pytest.importorskip("rasterio")
    from rasterio.warp import Resampling, reproject

    warped = np.zeros((280, 300), "u2")
    where = {"src_crs": "EPSG:32610", "dst_crs": "EPSG:32610", "tolerance": 0, "warp_mem_limit": 64}
    corner = rasterio.Affine(resolution, 0, 499980 + 40 * resolution, 0, -resolution, 4200000 - 60 * resolution)  # fmt: skip
    native = rasterio.Affine(pixel, 0, 499980, 0, -pixel, 4200000)
    if step <= 1:  # GDAL widens its kernel where pixels get coarser, Earth Engine takes the pyramid
        reproject(plane.astype("u2"), warped, src_transform=native, dst_transform=corner, resampling=getattr(Resampling, mode.replace("bicubic", "cubic")), **where)  # fmt: skip
        off = np.abs(warped.astype(int) - found.values)
        assert off.max() <= 1
        assert (off > 0).mean() < 0.02


def test_classes_stay_nearest_beside_bands_that_are_interpolated(emulator, tmp_path):
    """SCL, whose pyramid is of modes: a class between two classes is none."""
    scene = "COPERNICUS/S2_SR_HARMONIZED/20170401T184921_20170401T184921_T10SEG"
    values = job(
        emulator, tmp_path / "m.zarr", source={"asset": scene, "bands": ["B11", "SCL"]},
        region=window(40, 60, 300, 280), grid={"resolution": 10, "resampling": "bilinear"},
    )  # fmt: skip
    found = run(values).open(chunks=None)
    classes = oracle_window(PUBLIC + scene, "SCL", 20, 30, 150, 140)
    same_bits(found["SCL"].values, classes.repeat(2, axis=0).repeat(2, axis=1), "SCL")
    x, y = (np.arange(40, 340) + 0.5) / 2, (np.arange(60, 340) + 0.5) / 2
    wanted = np.floor(
        interpolated(oracle_window(PUBLIC + scene, "B11", 0, 0, 180, 180), x, y, "bilinear") + 0.5
    )
    same_bits(found["B11"].values, wanted.astype("<u2"), "B11")


def test_interpolation_into_another_crs(emulator, tmp_path):
    """Degrees: positions by pyproj, weights by the same rule; a last bit may round a half to the other side."""
    grid = {"crs": "EPSG:4326", "resolution": 0.00007, "resampling": "bilinear"}
    values = job(
        emulator, tmp_path / "m.zarr", source={"asset": SCENE, "bands": ["B4"]},
        region={"bbox": [-122.10, 37.40, -122.08, 37.415]}, grid=grid,
    )  # fmt: skip
    found = run(values).open(chunks=None)["B4"]
    to_utm = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32610", always_xy=True)
    x, y = to_utm.transform(*np.meshgrid(found.x.values, found.y.values))
    column, row = (x - 499980) / 10 - 0.5, (4200000 - y) / 10 - 0.5
    left, top = int(column.min()) - 1, int(row.min()) - 1
    plane = oracle_window(
        QUICKSTART, "B4", left, top, int(column.max()) - left + 3, int(row.max()) - top + 3
    ).astype(float)
    c, r = np.floor(column).astype(int), np.floor(row).astype(int)
    tx, ty = column - c, row - r
    c, r = c - left, r - top
    upper = plane[r, c] * (1 - tx) + plane[r, c + 1] * tx
    lower = plane[r + 1, c] * (1 - tx) + plane[r + 1, c + 1] * tx
    off = np.abs(np.floor(upper * (1 - ty) + lower * ty + 0.5) - found.values)
    assert off.max() <= 1
    assert (off > 0).mean() < 0.001


@pytest.mark.parametrize("level", [1, 2])
def test_each_pyramiding_policy(emulator, tmp_path, level):
    """Of a coarser grid each band shows what its own policy makes of 2×2 pixels, and the last odd ones nothing."""
    pixel = 20 * 2**level
    asset = "EMULATOR/POLICIES"
    values = job(
        emulator, tmp_path / "m.zarr", source={"asset": asset}, region=None, grid={"resolution": pixel}
    )
    found = run(values).open(chunks=None)
    for policy in ("mean", "sample", "min", "max", "mode", "median"):
        plane = oracle_window(PUBLIC + asset, policy, 0, 0, 1037, 773)
        for _ in range(level):
            plane = coarser(plane, policy)
        shown = found[f"{policy}_" if policy == "sample" else policy].values  # `sample` is an axis's name
        # The centre of a pixel that only half lies on the image is its edge, which is outside.
        assert not shown[-1].any()
        assert not shown[:, -1].any()
        same_bits(shown[:-1, :-1], plane.astype("<u2")[:-1, :-1], policy)
    said = command("plan", write_job(tmp_path, values)).out
    for policy in ("MEAN", "SAMPLE", "MIN", "MAX", "MODE", "MEDIAN"):
        assert f"read from pyramid level {level} of {pixel} m ({policy}), nearest neighbour" in said


def coarser(plane, policy):
    """2×2 blocks by a policy; at odd edges of those that there are."""
    height, width = plane.shape
    padded = np.full((height + height % 2, width + width % 2), -1, int)
    padded[:height, :width] = plane
    four = np.stack([padded[::2, ::2], padded[::2, 1::2], padded[1::2, ::2], padded[1::2, 1::2]])
    there = four >= 0
    count = there.sum(axis=0)
    if policy == "sample":
        return four[0]
    if policy == "mean":
        total = np.where(there, four, 0).sum(axis=0)
        return (2 * total + count) // (2 * count)
    if policy == "max":
        return four.max(axis=0)
    ordered = np.sort(np.where(there, four, 10**6), axis=0)
    if policy == "min":
        return ordered[0]
    if policy == "median":  # the lower middle one
        return np.take_along_axis(ordered, ((count - 1) // 2)[None], axis=0)[0]
    votes = np.stack([((four == one) & there).sum(axis=0) for one in four])
    return np.take_along_axis(four, np.where(there, votes, 0).argmax(axis=0)[None], axis=0)[0]


def test_a_slice_of_several_images_interpolated(emulator, tmp_path):
    """Each image by itself, then the first valid one on top."""
    values = job(
        emulator, tmp_path / "m.zarr",
        source={"collection": "EMULATOR/PASSES", "start": "2020-02-01", "end": "2020-02-03", "bands": ["red"], "every": "solar_day", "reduce": "first"},
        region={"bbox": [566_100, 4_170_000, 569_000, 4_173_900], "crs": "EPSG:32610"},
        grid={"resolution": 10, "resampling": "bilinear"},
    )  # fmt: skip
    found = run(values).open(chunks=None)
    assert found.sizes["time"] == 1
    first = f"{PUBLIC}EMULATOR/PASSES/20200201T235000"
    x, y = (found.x.values - 560_000) / 20, (4_180_000 - found.y.values) / 20
    wanted = interpolated(oracle_window(first, "red", 0, 0, 700, 600), x, y, "bilinear")
    same_bits(found["red"].values[0], np.floor(wanted + 0.5).astype("<u2"), "red")
