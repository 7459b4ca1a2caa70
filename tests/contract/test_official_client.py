"""Rows 15, 92 and 98 of tests/contract/acceptance.md: the official Python client, unmodified, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from earthengine_emulator import EmulatorProcess, arguments
from tests.contract.graphs import ID
from tests.oracle import PUBLIC, QUICKSTART, QUICKSTART_B, oracle_window

SCORES = "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED"

PREAMBLE = """
import json, random, sys, urllib.request
import ee
url, control, key, asset = sys.argv[1:]
account = json.load(open(key))["client_email"]
ee.Initialize(ee.ServiceAccountCredentials(account, key), project="p-test-1", opt_url=url)
image = ee.Image(asset)
names = ("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY")
grid = dict(
    affineTransform=dict(zip(names, (10, 0, 499980, 0, -10, 4200000))),
    dimensions=dict(width=8, height=8),
    crsCode="EPSG:32610",
)
ask = dict(fileFormat="NUMPY_NDARRAY", grid=grid)
out = {}
def computed(expression):
    found = ee.data.computePixels({**ask, "expression": expression})
    return {name: found[name].tolist() for name in found.dtype.names}
def magic(link):
    with urllib.request.urlopen(link) as answer:
        return answer.read(4).hex()
"""

SCRIPT = """
parent = "projects/earthengine-public/assets/COPERNICUS/S2"
april = dict(parent=parent, startTime="2017-04-01T00:00:00Z", endTime="2017-05-01T00:00:00Z")
series = ee.ImageCollection("COPERNICUS/S2")
clear = (
    series.filterDate("2017-04-01", "2017-05-01")
    .filterBounds(ee.Geometry.Point([-122.085, 37.422]))
    .filter(ee.Filter.lt("CLOUDY_PIXEL_PERCENTAGE", 10))
)
bright = clear.map(lambda one: one.select("B4").updateMask(one.select("B8").gt(2700)))
index = image.expression("(n - r) / (n + r)", {"n": image.select("B8"), "r": image.select("B4")})
box = ee.Geometry.Rectangle([-122.99, 37.9, -122.98, 37.91])
download = {"bands": ["B4"], "region": box, "scale": 10, "crs": "EPSG:32610"}
exact = {"crs": "EPSG:32610", "crs_transform": [10, 0, 500030, 0, -10, 4199900], "dimensions": [12, 9]}
shown = {"bands": "B4,B3,B2", "min": 0, "max": 3000, "dimensions": 64}
out.update(
    id=ee.data.getAsset(asset)["id"],
    listed=len(ee.data.listAssets(parent)["assets"]),
    a_page=sorted(ee.data.listAssets({"parent": parent, "pageSize": 1})),
    images=[one["name"] for one in ee.data.listImages(april)["images"]],
    pixels=ee.data.getPixels({**ask, "assetId": asset, "bandIds": ["B4"]})["B4"].tolist(),
    sum=computed(image.select("B4").add(1)),
    index=computed(index.rename("v")),
    median=computed(bright.median()),
    smooth=computed(image.select("B4").resample("bicubic").reproject("EPSG:32610", None, 10)),
    number=ee.Number(7).divide(2).getInfo(),
    clear=clear.size().getInfo(),
    clouds=clear.aggregate_array("CLOUDY_PIXEL_PERCENTAGE").getInfo(),
    bands=[band["id"] for band in image.getInfo()["bands"]],
    projection=image.select("B5").projection().getInfo(),
    features=[one["id"] for one in clear.getInfo()["features"]],
    mapped=[f["properties"]["c"] for f in clear.map(
        lambda one: ee.Feature(None, {"c": one.get("CLOUDY_PIXEL_PERCENTAGE")})).getInfo()["features"]],
    png=magic(image.getThumbURL({**shown, "format": "png"})),
    jpeg=magic(image.getThumbURL({**shown, "format": "jpg", "region": box})),
    npy=magic(image.getDownloadURL({**download, "format": "NPY"})),
    tiff=magic(image.getDownloadURL({**download, "format": "GEO_TIFF"})),
    zip=magic(image.getDownloadURL(download)),
    exact=list(ee.data.computePixels({
        "expression": image.select("B4").prepare_for_export(exact)[0], "fileFormat": "NUMPY_NDARRAY"})["B4"].tolist()),
)
"""

FUNCTIONS = """
red, nir = image.select("B4"), image.select("B8")
bright = nir.gt(2850)
both = series.filterDate("2017-04-01", "2017-05-01").select("B4")
surface = ee.ImageCollection("COPERNICUS/S2_SR_HARMONIZED").filter(ee.Filter.And(
    ee.Filter.date("2017-04-01", "2017-04-12"), ee.Filter.eq("MGRS_TILE", "10SEG"),
    ee.Filter.inList("SPACECRAFT_NAME", ["Sentinel-2A", "Sentinel-2B"]), ee.Filter.calendarRange(4, 5, "month"),
    ee.Filter.Not(ee.Filter.gt("CLOUDY_PIXEL_PERCENTAGE", 100)),
))
scores = ee.ImageCollection("GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED")
linked = surface.linkCollection(scores, ["cs_cdf"])
corner = ee.Geometry.Rectangle([499980, 4199920, 500060, 4200000], "EPSG:32610", False)
count = dict(geometry=corner, scale=10, crs="EPSG:32610", maxPixels=1e6)
out.update(
    where=computed(red.where(bright, image.select("B2"))),
    clamp=computed(red.clamp(1650, 1800)),
    remap=computed(red.mod(4).remap([0, 1], [10, 20], 5)),
    self_mask=computed(red.updateMask(bright.selfMask())),
    casts={name: computed(getattr(nir, name)()) for name in ("toByte", "toInt8", "toInt16", "toDouble", "float", "uint16")},
    percentile=computed(both.reduce(ee.Reducer.percentile([25, 75]))),
    to_bands=computed(both.toBands()),
    copied=ee.Image(red.copyProperties(image, ["CLOUDY_PIXEL_PERCENTAGE"])).get("CLOUDY_PIXEL_PERCENTAGE").getInfo(),
    counted=bright.selfMask().reduceRegion(ee.Reducer.count(), **count).getInfo(),
    linked=computed(linked.first().select("cs_cdf")),
    kept=computed(linked.map(lambda one: one.select("B4").updateMask(one.select("cs_cdf").gte(0.6))).count()),
    filtered=surface.aggregate_array("system:index").getInfo(),
)
"""

RETRIES = """
random.random = lambda: 0.001  # it sleeps random() * 2 ** n seconds between its tries
def tried(fault):
    body = json.dumps({"faults": [fault]}).encode()
    kind = {"Content-Type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(f"{control}/reset", b"{}", kind)).close()
    urllib.request.urlopen(urllib.request.Request(f"{control}/configure", body, kind)).close()
    try:
        ee.data.getPixels({**ask, "assetId": asset, "bandIds": ["B4"]})
        raised = None
    except ee.EEException as error:
        raised = str(error)
    with urllib.request.urlopen(f"{control}/requests") as answer:
        records = json.load(answer)["requests"]
    return raised, [(r["method"], r["status"]) for r in records]
out["for_ever"] = tried({"fault": "html-503"})
out["five"] = tried({"fault": "html-503", "times": 5})
out["refreshed"] = tried({"fault": "unauthenticated-401", "times": 1})
"""


def run(script, emulator):
    done = subprocess.run(
        [
            *(sys.executable, "-c", f"{PREAMBLE}{script}\nprint(json.dumps(out))"),
            *(emulator.url, emulator.control_url, str(emulator.key_file), ID),
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def found():
    """All that the client found in one process, an emulator to itself."""
    with EmulatorProcess(arguments()) as emulator:
        return run(SCRIPT + FUNCTIONS + RETRIES, emulator)


NATIVE = {name: oracle_window(QUICKSTART, name, 0, 0, 8, 8).astype(float) for name in ("B4", "B8")}
BEFORE = {name: oracle_window(QUICKSTART_B, name, 0, 0, 8, 8).astype(float) for name in ("B4", "B8")}


def test_row_015_metadata_and_listings(found):
    assert found["id"] == ID
    assert found["listed"] == 2
    assert found["a_page"] == ["assets", "nextPageToken"]
    assert found["images"] == [QUICKSTART_B, QUICKSTART]


def test_row_015_values_images_and_collections(found):
    ids = [QUICKSTART_B.removeprefix(PUBLIC), ID]
    assert (found["number"], found["clear"], found["clouds"]) == (3.5, 2, [4.3166, 0])
    assert (len(found["bands"]), found["features"], found["mapped"]) == (16, ids, [4.3166, 0])
    assert found["projection"] == {
        "type": "Projection",
        "crs": "EPSG:32610",
        "transform": [20, 0, 499980, 0, -20, 4200000],
    }


def test_row_015_pixels(found):
    assert found["pixels"] == NATIVE["B4"].tolist()
    assert found["sum"] == {"B4": (NATIVE["B4"] + 1).tolist()}
    nir, red = NATIVE["B8"], NATIVE["B4"]
    assert found["index"] == {"v": ((nir - red) / (nir + red)).tolist()}
    assert found["smooth"] == {"B4": NATIVE["B4"].tolist()}
    stack = np.stack([np.where(one["B8"] > 2700, one["B4"], np.nan) for one in (BEFORE, NATIVE)])
    some = ~np.isnan(stack).all(axis=0)
    assert found["median"] == {
        "B4": np.where(some, np.nanmedian(np.where(some, stack, 0), axis=0), 0).tolist()
    }
    assert found["exact"] == oracle_window(QUICKSTART, "B4", 5, 10, 12, 9).tolist()


def test_functions_of_everyday_scripts(found):
    """As the client writes them, against numpy."""
    red, nir, bright = NATIVE["B4"], NATIVE["B8"], NATIVE["B8"] > 2850
    assert 0 < bright.sum() < bright.size
    blue = oracle_window(QUICKSTART, "B2", 0, 0, 8, 8)
    assert found["where"] == {"B4": np.where(bright, blue, red).tolist()}
    assert found["clamp"] == {"B4": red.clip(1650, 1800).tolist()}
    assert found["remap"] == {"remapped": np.select([red % 4 == 0, red % 4 == 1], [10, 20], 5).tolist()}
    assert found["self_mask"] == {"B4": np.where(bright, red, 0).tolist()}
    casts = {"toByte": nir.clip(0, 255), "toInt8": nir.clip(-128, 127), "toInt16": nir, "toDouble": nir, "float": nir, "uint16": nir}  # fmt: skip
    assert found["casts"] == {name: {"B8": values.tolist()} for name, values in casts.items()}
    stack = np.stack([BEFORE["B4"], red])
    for percent in (25, 75):
        np.testing.assert_allclose(
            found["percentile"][f"B4_p{percent}"], np.percentile(stack, percent, axis=0)
        )
    before, now = QUICKSTART_B.rpartition("/")[2], QUICKSTART.rpartition("/")[2]
    assert found["to_bands"] == {f"{before}_B4": BEFORE["B4"].tolist(), f"{now}_B4": red.tolist()}
    assert (found["copied"], found["counted"]) == (0, {"B8": bright.sum()})
    scores = [oracle_window(f"{PUBLIC}{SCORES}/{index}", "cs_cdf", 0, 0, 8, 8) for index in found["filtered"]]
    assert found["filtered"] == [
        f"201704{day}T184921_201704{day}T184921_T10SEG" for day in ("01", "06", "11")
    ]
    assert found["linked"] == {"cs_cdf": scores[0].astype(float).tolist()}
    assert found["kept"] == {"B4": sum((one >= 0.6).astype(int) for one in scores).tolist()}


def test_row_015_thumbnails_and_downloads(found):
    assert found["png"] == b"\x89PNG".hex()
    assert found["jpeg"][:6] == b"\xff\xd8\xff".hex()
    assert (found["npy"], found["tiff"], found["zip"]) == (
        b"\x93NUM".hex(),
        b"II*\x00".hex(),
        b"PK\x03\x04".hex(),
    )


def test_row_092_the_official_client_tries_six_times(found):
    """And takes the reason phrase of an HTML page for the message (docs/contract.md §6.1)."""
    raised, tries = found["for_ever"]
    assert raised
    assert tries == [["assets.getPixels", 503]] * 6
    raised, tries = found["five"]
    assert raised is None
    assert tries == [["assets.getPixels", 503]] * 5 + [["assets.getPixels", 200]]


def test_row_098_the_official_client_refreshes_its_token(found):
    raised, tries = found["refreshed"]
    assert raised is None
    assert tries == [["assets.getPixels", 401], ["token", 200], ["assets.getPixels", 200]]
