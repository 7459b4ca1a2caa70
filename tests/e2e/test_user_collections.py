"""A user's image collection, end to end: listed page by page, a slice for each element, grown, told of changes.

Everything expected is worked out here with numpy from the oracle's pixels.
"""

from __future__ import annotations

import json
import re
from functools import cache

import numpy as np
import pytest

import downloader
from downloader.errors import DriftError, JobError
from tests.e2e.test_expressions_run import AROUND, PART, REGION, call, layers
from tests.harness import command, getpixels, job, same_bits, write_job
from tests.oracle import PASSES, PUBLIC, oracle_window

PASS = "EMULATOR/PASSES"
BOTH = [name for name, (_, bands, _) in PASSES.items() if "nir" in bands]
"""Passes with both bands, in order of time."""
PLACES = [list(PASSES).index(name) for name in BOTH]
ELEMENT = {"argumentReference": "one"}


def mapped(collection, *nodes):
    """A collection whose elements are what the last node makes of each; nodes have the keys f0, f1 and so on."""
    values = {f"f{place}": node for place, node in enumerate(nodes)}
    function = {"functionDefinitionValue": {"argumentNames": ["one"], "body": f"f{len(nodes) - 1}"}}
    made = call("Collection.map", collection=collection, baseAlgorithm=function)
    return {"result": "made", "values": {"made": made, **values}}


def passes(*conditions):
    found = call("ImageCollection.load", id=PASS)
    for condition in conditions:
        found = call("Collection.filter", collection=found, filter=condition)
    return found


def until(day):
    span = call("DateRange", start="2020-01-01", end=day)
    return call("Filter.dateRangeContains", leftValue=span, rightField="system:time_start")


WITH_NIR = call("Filter.notEquals", leftField="system:index", rightValue="20200120T183000")


def ratio(*conditions, keep=("system:time_start",)):
    """An index of each pass, float32, with its time: (nir - red) / (|nir| + red)."""
    nir, red = (call("Image.select", input=ELEMENT, bandSelectors=[band]) for band in ("nir", "red"))
    total = call("Image.add", image1=call("Image.abs", value=nir), image2=red)
    quotient = call("Image.divide", image1=call("Image.subtract", image1=nir, image2=red), image2=total)
    index = call("Image.rename", input=call("Image.toFloat", value=quotient), names=["nd"])
    dated = call("Element.copyProperties", destination=index, source=ELEMENT, properties=list(keep))
    return mapped(passes(WITH_NIR, *conditions), dated)


@cache
def truth():
    """The index of each pass that has both bands, NaN where it has none; 0 where the sum is 0, as the service divides."""
    red, nir = layers("red")[PLACES], layers("nir")[PLACES]
    total = np.abs(nir) + red
    found = np.where(total == 0, 0, (nir - red) / np.where(total == 0, 1, total)).astype("<f4")
    assert 0.3 < np.isfinite(found).mean() < 0.9
    return found


def values_of(emulator, path, expression, **sections):
    source = {"expression": expression, **sections.pop("source", {})}
    return job(emulator, path, source=source, region=AROUND, **sections)


def run(values, **options):
    return downloader.download(values, progress=False, **options)


def asked(emulator, indices=BOTH):
    """Indices of the images whose tiles were asked for."""
    records = emulator.control("requests?since=0")["requests"]
    tiles = [r for r in records if r["method"].endswith("computePixels") and r["size"] != [1, 1]]
    return {name for r in tiles for name in indices if f'"constantValue":"{name}"' in r["body"]}


def listings(emulator):
    records = emulator.control("requests?since=0")["requests"]
    return [r for r in records if r["method"] == "value.compute"]


def test_a_slice_for_each_element_with_its_time(emulator, tmp_path):
    found_in = run(values_of(emulator, tmp_path / "m.zarr", ratio()))
    found = found_in.open(chunks=None)
    assert found.image_id.values.tolist() == BOTH
    times = [f"{n[:4]}-{n[4:6]}-{n[6:8]}T{n[9:11]}:{n[11:13]}:{n[13:15]}" for n in BOTH]
    np.testing.assert_array_equal(found.time.values, np.array(times, "M8[ns]"))
    assert found["nd"].dtype == "<f4"
    np.testing.assert_array_equal(found["nd"].values, truth())
    assert getpixels(emulator) == []

    (tmp_path / "ratio.json").write_text(json.dumps(ratio()))
    said = command("plan", write_job(tmp_path, values_of(emulator, tmp_path / "n.zarr", "ratio.json"))).out
    assert said.startswith(
        "the expression's collection, 6 images, 2020-01-10T18:30:00Z … 2020-02-02T00:10:00Z"
    )
    assert "computed  6 slices: expression, each image by its system:index" in said


def test_it_grows_and_old_slices_are_not_asked_for_again(emulator, tmp_path):
    """By a later end of its own `filterDate`, then by one more image in the collection."""
    path = tmp_path / "m.zarr"
    first = run(values_of(emulator, path, ratio(until("2020-01-20"))))
    assert first.open(chunks=None).image_id.values.tolist() == BOTH[:3]
    for day, count in (("2020-02-02", 5), ("2020-03-01", 6)):
        before = first.open(chunks=None).sizes["time"]
        emulator.reset()
        first = run(values_of(emulator, path, ratio(until(day))))
        found = first.open(chunks=None)
        assert found.image_id.values.tolist() == BOTH[:count]
        np.testing.assert_array_equal(found["nd"].values, truth()[:count])
        assert asked(emulator) == set(BOTH[before:count])
    assert run(values_of(emulator, path, ratio(until("2020-03-01")))).requests == 0


def test_the_jobs_own_period_grows(emulator, tmp_path):
    path = tmp_path / "m.zarr"

    def values(end, **source):
        return values_of(emulator, path, ratio(), source={"start": "2020-01-01", "end": end, **source})

    run(values("2020-01-20"))
    emulator.reset()
    found = run(values("2020-03-01")).open(chunks=None)
    np.testing.assert_array_equal(found["nd"].values, truth())
    assert asked(emulator) == set(BOTH[3:])
    with pytest.raises(DriftError, match=r"source\.start and end"):
        run(values("2020-02-01"))
    with pytest.raises(DriftError, match=r"source.expression: [0-9a-f]{16} → [0-9a-f]{16}"):
        run(
            values_of(
                emulator,
                path,
                mapped(passes(WITH_NIR), call("Image.select", input=ELEMENT, bandSelectors=["nir"])),
            )
        )


def test_a_long_list_is_asked_for_page_by_page(emulator, tmp_path, monkeypatch):
    """More elements than the service writes out at once; each page by a graph of its own."""
    emulator.control("configure", {"limit_elements": 4})
    monkeypatch.setattr("downloader.earthengine.elements._PAGE", 4)
    plain = {"result": "0", "values": {"0": passes(WITH_NIR)}}
    values = values_of(emulator, tmp_path / "m.zarr", plain, source={"bands": ["red"]})
    found = run(values).open(chunks=None, mask_and_scale=False)
    same_bits(found["red"].values, np.nan_to_num(layers("red")[PLACES]).astype("<u2"), "red")
    offsets = [re.findall(r'"constantValue":([0-9]+)}', r["body"]) for r in listings(emulator)]
    assert [sorted(one) for one in offsets] == [["0", "4"], ["4"]] * 2, (
        "at the start of the run, and at its end to see what changed"
    )


SURFACE = "COPERNICUS/S2_SR_HARMONIZED"


def test_an_image_collection_of_the_official_client(emulator, tmp_path):
    """NDVI by `map` with the time copied, live: a series that grows, then its months, whose medians are numpy's."""
    ee = pytest.importorskip("ee")
    account = json.loads(emulator.key_file.read_text())["client_email"]
    ee.Initialize(
        ee.ServiceAccountCredentials(account, str(emulator.key_file)), project="p-test-1", url=emulator.url
    )
    try:

        def ndvi(image):
            return image.normalizedDifference(["B8", "B4"]).copyProperties(image, ["system:time_start"])

        def of(end):
            tile = (
                ee.ImageCollection(SURFACE)
                .filterDate("2017-06-01", end)
                .filter(ee.Filter.eq("MGRS_TILE", "10SEG"))
            )
            return tile.map(ndvi)

        indices = of("2017-08-01").aggregate_array("system:index").getInfo()
        times = of("2017-08-01").aggregate_array("system:time_start").getInfo()
        sections = {
            "region": REGION,
            "service": {"endpoint": emulator.url, "project": "p-test-1"},
            "auth": {"key_file": str(emulator.key_file)},
        }
        downloader.download(of("2017-07-01"), tmp_path / "m.zarr", progress=False, **sections)
        emulator.reset()
        report = downloader.download(of("2017-08-01"), tmp_path / "m.zarr", progress=False, **sections)
        new = [index for index in indices if index >= "201707"]
        assert 0 < len(new) < len(indices)
        assert asked(emulator, indices) == set(new)
        shown = str(downloader.plan(of("2017-08-01"), tmp_path / "n.zarr", **sections))
        months = downloader.download(
            of("2017-08-01"), tmp_path / "n.zarr", every="month", reduce="median", progress=False, **sections
        )
    finally:
        ee.Reset()
    found = report.open(chunks=None)
    assert found.image_id.values.tolist() == indices
    np.testing.assert_array_equal(found.time.values, np.array(times, "M8[ms]"))
    planes = []
    for index in indices:
        nir, red = (
            oracle_window(f"{PUBLIC}{SURFACE}/{index}", band, *PART).astype(float) for band in ("B8", "B4")
        )
        planes.append(((nir - red) / (nir + red)).astype("<f4"))
    np.testing.assert_array_equal(found["nd"].values, planes)
    assert f"computed  {len(indices)} slices: expression, each image by its system:index" in shown
    monthly = months.open(chunks=None)
    assert monthly.image_id.values.tolist() == ["2017-06", "2017-07"]
    parts = np.split(np.array(planes, float), [len(indices) - len(new)])
    np.testing.assert_allclose(monthly["nd"].values, [np.median(part, axis=0) for part in parts], rtol=1e-6)


# ---------------------------------------------------------------- the grammar applies


def listed(values):
    """Slices of a plan: id → names of its images."""
    return {
        part["id"]: [image["name"] for image in part["images"]]
        for part in downloader.plan(values).to_json()["slices"]
    }


def test_elements_are_chosen_as_images_are(emulator, tmp_path):
    def of(**source):
        return list(
            listed(
                values_of(
                    emulator, tmp_path / "m.zarr", ratio(keep=("system:time_start", "ORBIT")), source=source
                )
            )
        )

    assert of(start="2020-01-15", end="2020-02-02") == BOTH[2:5]
    assert of(months=[2]) == BOTH[4:]
    assert of(season="DJF", limit=2) == BOTH[:2]
    assert of(limit=1, order_by="-system:time_start") == BOTH[-1:]
    assert of(every="ORBIT", reduce="median")
    assert of(every="all", reduce="last") == ["all"]
    shown = downloader.plan(
        values_of(emulator, tmp_path / "m.zarr", ratio(), source={"min_cover": 0.6})
    ).to_json()
    counted = {one["id"]: one["covered"] for one in shown["shares"]}
    assert [part["id"] for part in shown["slices"]] == [name for name in BOTH if counted[name] >= 0.6]
    covered = np.isfinite(truth()).mean(axis=(1, 2))
    np.testing.assert_allclose([counted[name] for name in BOTH], covered, atol=0.02)
    assert 0 < len(shown["slices"]) < len(BOTH)


def test_months_of_masked_elements(emulator, tmp_path):
    """A rule on a band of the elements, a formula, and the mean of each month."""
    source = {
        "mask": {"band": "cloud", "bits": [0, 3]},
        "bands": [{"both": "nir + red"}],
        "every": "month",
        "reduce": "mean",
    }
    plain = {"result": "0", "values": {"0": passes(WITH_NIR)}}
    found = run(values_of(emulator, tmp_path / "m.zarr", plain, source=source)).open(chunks=None)
    stack = (layers("red", (0, 3)) + layers("nir", (0, 3)))[PLACES]
    assert found.image_id.values.tolist() == ["2020-01", "2020-02"]
    with pytest.warns(RuntimeWarning, match="empty slice"):
        wanted = [np.nanmean(part, axis=0) for part in (stack[:4], stack[4:])]
    np.testing.assert_allclose(found["both"].values, wanted, rtol=1e-6)


SCORES = "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED"


def test_elements_are_masked_by_their_partners(emulator, tmp_path):
    """A rule on another collection's image of the same index; it is frozen and compared as those of assets are."""
    span = call("DateRange", start="2017-06-01", end="2017-06-20")
    collection = call("ImageCollection.load", id=SURFACE)
    for condition in (
        call("Filter.dateRangeContains", leftValue=span, rightField="system:time_start"),
        call("Filter.equals", leftField="MGRS_TILE", rightValue="10SEG"),
    ):
        collection = call("Collection.filter", collection=collection, filter=condition)
    doubled = call(
        "Image.multiply",
        image1=call("Image.select", input=ELEMENT, bandSelectors=["B4"]),
        image2=call("Image.constant", value=2),
    )
    dated = call(
        "Element.copyProperties", destination=doubled, source=ELEMENT, properties=["system:time_start"]
    )
    rule = {"band": "cs_cdf", "of": SCORES, "below": 0.6}
    values = job(
        emulator, tmp_path / "m.zarr", source={"expression": mapped(collection, dated), "mask": rule, "dtype": "float32"}, region=REGION
    )  # fmt: skip
    found = run(values).open(chunks=None)
    assert found.sizes["time"] > 1
    for index, plane in zip(found.image_id.values, found["B4"].values, strict=True):
        clear = oracle_window(f"{PUBLIC}{SCORES}/{index}", "cs_cdf", *PART) >= 0.6
        red = oracle_window(f"{PUBLIC}{SURFACE}/{index}", "B4", *PART)
        np.testing.assert_array_equal(plane, np.where(clear, 2 * red.astype("<f4"), np.nan))
    touched = f"{PUBLIC}{SCORES}/{found.image_id.values[0]}"
    emulator.control("configure", {"assets": {touched: {"updateTime": "2031-05-06T07:08:09.5Z"}}})
    with pytest.raises(DriftError, match=rf"{touched.removeprefix(PUBLIC)}.updateTime: .*2031-05-06"):
        run(values)


def test_images_as_they_are_keep_names_types_and_gaps(emulator, tmp_path):
    """A collection that is only loaded: its elements are assets, one without a band."""
    source = {"bands": ["red", "nir"], "on_missing_band": "nodata"}
    plain = {"result": "0", "values": {"0": passes()}}
    values = values_of(
        emulator, tmp_path / "m.zarr", plain, source=source, mosaic={"nodata": {"red": 0, "nir": 0}}
    )
    assert listed(values) == {name: [f"{PUBLIC}{PASS}/{name}"] for name in PASSES}
    found = run(values).open(chunks=None, mask_and_scale=False)
    for band, kind in (("red", "<u2"), ("nir", "<i2")):
        same_bits(found[band].values, np.nan_to_num(layers(band)).astype(kind), band)


def test_composites_that_a_user_makes_need_a_grid_and_cover_it(emulator, tmp_path):
    """Two images reduced by the user's own graph, in a list: their place is their index."""
    composites = [
        call(
            "Element.set",
            object=call(
                "reduce.max", collection=call("Collection.filter", collection=passes(WITH_NIR), filter=one)
            ),
            key="system:time_start",
            value=time,
        )
        for one, time in (
            (until("2020-02-01"), 1_577_836_800_000),
            (call("Filter.not", filter=until("2020-02-01")), 1_580_515_200_000),
        )
    ]
    array = {"arrayValue": {"values": composites}}
    expression = {"result": "0", "values": {"0": call("ImageCollection.fromImages", images=array)}}
    values = values_of(emulator, tmp_path / "m.zarr", expression, source={"bands": ["red"]})
    with pytest.raises(
        JobError, match=r"grid: this expression has no pixel grid of its own .*resolution: 10}"
    ):
        run(values)
    transform = [20, 0, 560000, 0, -20, 4180000]
    values["grid"] = {"crs": "EPSG:32610", "transform": transform}
    values["mosaic"]["mask"] = "any"
    found = run(values).open(chunks=None, mask_and_scale=False)
    said = command("plan", write_job(tmp_path, values)).out
    assert "0, 1: no version known, so a change goes unnoticed" in said
    assert found.image_id.values.tolist() == ["0", "1"]
    assert [str(time)[:10] for time in found.time.values] == ["2020-01-01", "2020-02-01"]
    stack = layers("red")[PLACES]
    for index, part in enumerate((stack[:4], stack[4:])):
        seen = ~np.isnan(part).all(axis=0)
        same_bits(found["mask"].values[index], seen.astype("u1"), "mask")
        wanted = np.where(seen, np.nan_to_num(part, nan=-1).max(axis=0), 0).astype("<u2")
        same_bits(np.where(seen, found["red"].values[index], 0), wanted, "red")


def test_points_of_one_image_of_all_elements(emulator, tmp_path):
    (tmp_path / "points.csv").write_text("id,x,y\na,566000,4174000\nb,566200,4174200\n")
    region = {"points": {"file": str(tmp_path / "points.csv"), "chip": 8}, "crs": "EPSG:32610"}
    plain = {"result": "0", "values": {"0": passes(WITH_NIR)}}
    values = values_of(emulator, tmp_path / "m.zarr", plain, source={"bands": ["red"]}) | {"region": region}
    with pytest.raises(
        JobError, match=r"source.expression: computes an image collection; .*every: all and reduce"
    ):
        run(values)
    values["source"] |= {"every": "all", "reduce": "max"}
    found = run(values).open(chunks=None, mask_and_scale=False)
    stack = np.nan_to_num(layers("red")[PLACES], nan=0).max(axis=0)
    for index, (x, y) in enumerate(((566000, 4174000), (566200, 4174200))):
        column, row = (x - 560000) // 20 + 120 - 4, (4180000 - y) // 20 + 80 - 4
        same_bits(found["red"].values[index], stack[row : row + 8, column : column + 8].astype("<u2"), "red")


# ---------------------------------------------------------------- what changes


def test_a_change_of_an_image_behind_an_element_is_drift(emulator, tmp_path):
    """The element has no version of its own: it is that of the image of its index in the collection it is mapped from."""
    values = values_of(emulator, tmp_path / "m.zarr", ratio(until("2020-01-15")))
    run(values)
    touched = f"{PUBLIC}{PASS}/{BOTH[1]}"
    emulator.control("configure", {"assets": {touched: {"updateTime": "2031-05-06T07:08:09.5Z"}}})
    with pytest.raises(DriftError, match=rf"image {BOTH[1]}.updateTime: .*2031-05-06T07:08:09.5"):
        run(values)
    assert run(values, accept=["updates"]).requests == 0
    emulator.reset()
    emulator.control("configure", {"assets": {touched: {"updateTime": "2032-05-06T07:08:09.5Z"}}})
    report = run({**values, "source": {**values["source"], "on_update": "refetch"}})
    assert asked(emulator) == {BOTH[1]}
    np.testing.assert_array_equal(report.open(chunks=None)["nd"].values, truth()[:2])


def test_an_element_that_is_gone_keeps_its_slice(emulator, tmp_path):
    values = values_of(emulator, tmp_path / "m.zarr", ratio(until("2020-01-20")))
    run(values)
    said = []
    later = call(
        "Filter.dateRangeContains",
        leftValue=call("DateRange", start="2020-01-12", end="2020-02-02"),
        rightField="system:time_start",
    )
    report = run(
        values_of(emulator, tmp_path / "m.zarr", ratio(later)), on_event=lambda event: said.append(str(event))
    )
    found = report.open(chunks=None)
    assert found.image_id.values.tolist() == BOTH[:5]
    np.testing.assert_array_equal(found["nd"].values, truth()[:5])
    assert any("the expression's collection has it no more" in line for line in said)


# ---------------------------------------------------------------- refusals

FEATURE = call("Feature", metadata={"dictionaryValue": {"values": {"a": {"constantValue": 1}}}})
UNDATED = mapped(passes(), call("Image.select", input=call("Image.constant", value=1), bandSelectors=[0]))
TWICE = mapped(passes(), call("Element.set", object=ELEMENT, key="system:index", value="same"))
NOTHING = {"result": "0", "values": {"0": passes(call("Filter.equals", leftField="ORBIT", rightValue=-1))}}
FEATURES = {
    "result": "0",
    "values": {"0": call("Collection", features={"arrayValue": {"values": [FEATURE]}})},
}
ONE = {"result": "0", "values": {"0": call("Image.load", id=f"{PASS}/{BOTH[0]}")}}


@pytest.mark.parametrize(
    ("expression", "source", "says"),
    [
        (FEATURES, {}, "expression: computes FeatureCollection, and only an ee.Image or ee.ImageCollection has pixels"),
        (mapped(passes(), FEATURE), {}, "expression: computes a collection of Feature, and only images have pixels"),
        (NOTHING, {}, "expression: computes an empty image collection; loosen its filters"),
        (UNDATED, {}, "expression: computes 20200110T183000 without system:time_start.*copyProperties.*every: all with reduce"),
        (UNDATED, {"start": "2020-01-01", "end": "2020-02-01"}, "expression: computes 20200110T183000 without system:time_start"),
        (ratio(), {"start": "2021-01-01", "end": "2021-02-01"}, "expression: computes no image in the region and the period .*20200110T183000 of 2020-01-10T18:30:00.000Z. Widen region"),
        (TWICE, {}, "expression: computes two images whose system:index is same.*image.set"),
        (ratio(), {"filter": "ORBIT < 3"}, "filter: .*write it into the expression, as collection.filter"),
        (ratio(), {"scale": "catalog"}, "scale: .*write formulas in bands"),
        (ratio(), {"mask": "clouds"}, "mask: .*write a rule"),
        (ratio(), {"start": "2020-01-01"}, "end is needed too"),
        (ONE, {"every": "month", "reduce": "median"}, "every: goes with many images, and the expression computes one"),
        (ONE, {"limit": 3}, "limit: goes with many images"),
    ],
)  # fmt: skip
def test_what_is_refused_and_what_to_write(emulator, tmp_path, expression, source, says):
    with pytest.raises(JobError) as refused:
        downloader.plan(values_of(emulator, tmp_path / "m.zarr", expression, source=source))
    assert re.search(says, str(refused.value)), refused.value
    assert "\n" not in str(refused.value)
