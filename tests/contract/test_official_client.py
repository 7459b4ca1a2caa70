"""Contract §10, row 15: the official Python client, unmodified, where it is installed."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import pytest

from tests.oracle import PUBLIC, QUICKSTART, oracle_window

SCRIPT = """
import json, sys
import ee
from google.oauth2.credentials import Credentials
url, asset = sys.argv[1:]
ee.Initialize(credentials=Credentials("tok"), project="p-test-1", opt_url=url)
image = ee.Image(asset)
affine = dict(scaleX=10, shearX=0, translateX=499980, shearY=0, scaleY=-10, translateY=4200000)
grid = dict(affineTransform=affine, dimensions=dict(width=8, height=8), crsCode="EPSG:32610")
ask = dict(fileFormat="NUMPY_NDARRAY", grid=grid)
april = ee.ImageCollection("COPERNICUS/S2").filterDate("2017-04-01", "2017-05-01")
clear = april.filterBounds(ee.Geometry.Point([-122.085, 37.422])).filter(ee.Filter.lt("CLOUDY_PIXEL_PERCENTAGE", 10))
print(json.dumps({
    "id": ee.data.getAsset(asset)["id"],
    "listed": len(ee.data.listAssets("projects/earthengine-public/assets/COPERNICUS/S2")["assets"]),
    "pixels": ee.data.getPixels({**ask, "assetId": asset, "bandIds": ["B4"]})["B4"].tolist(),
    "computed": ee.data.computePixels({**ask, "expression": image.select("B4").add(1)})["B4"].tolist(),
    "number": ee.Number(1).add(2).getInfo(),
    "clear": clear.size().getInfo(),
    "band": image.select("B4").getInfo()["bands"][0]["id"],
    "thumbnail": image.getThumbURL({"bands": "B4,B3,B2", "min": 0, "max": 3000, "dimensions": 64}),
}))
"""


@pytest.mark.skipif(importlib.util.find_spec("ee") is None, reason="earthengine-api is not installed")
def test_row_015_official_client(api, emulator):
    asset = QUICKSTART.removeprefix(PUBLIC)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, emulator.url, asset],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    thumbnail = found.pop("thumbnail")
    native = oracle_window(QUICKSTART, "B4", 0, 0, 8, 8)
    assert found == {
        "id": asset,
        "listed": 2,
        "pixels": native.tolist(),
        "computed": (native + 1).tolist(),
        "number": 3,
        "clear": 2,
        "band": "B4",
    }
    assert api.client.get(thumbnail).content.startswith((b"\x89PNG", b"\xff\xd8\xff"))
