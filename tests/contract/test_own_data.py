"""Local data as assets: folders of GeoTIFFs as collections, sidecars, pyramids by policy, Zarr stores."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
import zarr

from earthengine_emulator import EmulatorProcess, arguments
from tests.contract.conftest import Api, ends, window_of
from tests.contract.graphs import array, call
from tests.oracle import PUBLIC

CRS = rasterio.CRS.from_epsg(32610)
SHAPE = (48, 64)
LEFT, TOP = 500000, 4100000
CODES = np.random.default_rng(7)
DAYS = ("20200105", "20200106", "20200110")
PLANES = {
    day: {
        "red": CODES.integers(1, 3000, SHAPE).astype("u2"),
        "class": CODES.integers(1, 4, SHAPE).astype("u1"),
    }
    for day in DAYS
}


def geotiff(path, bands, nodata=None, tags=None):
    """A file of bands of one type each; types are promoted as GDAL asks."""
    dtype = np.result_type(*bands.values())
    profile = {
        "driver": "GTiff",
        "width": SHAPE[1],
        "height": SHAPE[0],
        "count": len(bands),
        "dtype": dtype,
        "crs": CRS,
        "transform": rasterio.Affine(10, 0, LEFT, 0, -10, TOP),
        "nodata": nodata,
    }
    with rasterio.open(path, "w", **profile) as file:
        for i, (name, plane) in enumerate(bands.items(), 1):
            file.write(plane.astype(dtype), i)
            file.set_band_description(i, name)
        file.update_tags(**(tags or {}))


def zarr_store(path, *, times=None):
    """A store as CF and GDAL write it: grid_mapping, GeoTransform, and perhaps a time axis."""
    root = zarr.create_group(str(path), zarr_format=3)
    reference = root.create_array("spatial_ref", shape=(), dtype="i4")
    reference.attrs["crs_wkt"] = CRS.to_wkt()
    reference.attrs["GeoTransform"] = f"{LEFT} 10 0 {TOP} 0 -10"
    lead, axes = ((), []) if times is None else ((len(times),), ["time"])
    for name, dtype in (("red", "u2"), ("class", "u1")):
        stored = root.create_array(
            name,
            shape=(*lead, *SHAPE),
            chunks=(*(1 for _ in lead), 16, 16),
            dtype=dtype,
            dimension_names=[*axes, "y", "x"],
        )
        stored.attrs["grid_mapping"] = "spatial_ref"
        if name == "class":
            stored.attrs["flag_values"] = [1, 2, 3]
        else:
            stored.attrs["_FillValue"] = 5
        planes = np.stack([PLANES[day][name] for day in DAYS])
        stored[:] = planes[0] if times is None else planes
    if times is not None:
        axis = root.create_array("time", shape=lead, dtype="i8", dimension_names=["time"])
        axis.attrs["units"] = "days since 2020-01-01"
        axis[:] = times


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    base = tmp_path_factory.mktemp("own")
    series = base / "series"
    series.mkdir()
    for day in DAYS:
        geotiff(
            series / f"scene_{day}.tif", PLANES[day], tags={"CLOUDS": DAYS.index(day) * 10, "SENSOR": "X-1"}
        )
    (series / "collection.json").write_text(
        json.dumps({"properties": {"title": "Three days"}, "bands": {"class": {"pyramidingPolicy": "MODE"}}})
    )
    (series / f"scene_{DAYS[1]}.json").write_text(
        json.dumps(
            {
                "startTime": "2020-01-06T10:30:00Z",
                "endTime": "2020-01-06T10:31:00Z",
                "properties": {"CLOUDS": 55, "note": "told beside"},
                "pyramidingPolicy": "SAMPLE",
            }
        )
    )
    geotiff(base / "single.tif", PLANES[DAYS[0]], nodata=5)
    zarr_store(base / "flat.zarr")
    zarr_store(base / "deep.zarr", times=[4, 5, 9])
    rasters = {
        "mine/single": base / "single.tif",
        "mine/flat": base / "flat.zarr",
        "projects/p-test-1/assets/deep": base / "deep.zarr",
    }
    with EmulatorProcess(
        arguments(rasters=rasters, folders={"mine/series": series}, tokens={"tok": "p-test-1"}, strict=False)
    ) as emulator:
        made = Api(emulator)
        yield made
        made.client.close()


SERIES = f"{PUBLIC}mine/series"


def test_a_folder_is_a_collection_in_order_of_time(api):
    collection = api.get(f"/v1/{SERIES}").json()
    assert (collection["type"], collection["properties"]) == ("IMAGE_COLLECTION", {"title": "Three days"})
    images = api.get(f"/v1/{SERIES}:listAssets").json()["assets"]
    assert [one["id"] for one in images] == [f"mine/series/scene_{day}" for day in DAYS]
    assert [one["startTime"] for one in images] == [
        "2020-01-05T00:00:00Z",
        "2020-01-06T10:30:00Z",
        "2020-01-10T00:00:00Z",
    ]
    assert images[0]["properties"] == {"CLOUDS": 0, "SENSOR": "X-1", "system:index": f"scene_{DAYS[0]}"}
    assert images[1]["endTime"] == "2020-01-06T10:31:00Z"
    assert images[1]["properties"]["CLOUDS"] == 55
    assert images[1]["properties"]["note"] == "told beside"


def test_it_can_be_filtered_and_composed(api):
    found = api.get(
        f'/v1/{SERIES}:listAssets?filter=startTime >= "2020-01-06" AND properties.CLOUDS < 30'
    ).json()
    assert [one["id"] for one in found["assets"]] == [f"mine/series/scene_{DAYS[2]}"]
    where = window_of(api.get(f"/v1/{SERIES}/scene_{DAYS[0]}").json(), "red", 0, 0, SHAPE[1], SHAPE[0])
    middle = array(
        api, call("reduce.median", collection=call("ImageCollection.load", id="mine/series")), where
    )
    np.testing.assert_array_equal(middle["red"], np.median([PLANES[day]["red"] for day in DAYS], axis=0))


def pixels(api, name, scale=10):
    where = {
        "affineTransform": {"scaleX": scale, "scaleY": -scale, "translateX": LEFT, "translateY": TOP},
        "dimensions": {"width": SHAPE[1] * 10 // scale, "height": SHAPE[0] * 10 // scale},
        "crsCode": "EPSG:32610",
    }
    return api.npy(name, grid=where)


def children(plane):
    """The four children of every pixel of the next level."""
    return np.stack([plane[j::2, i::2] for j in (0, 1) for i in (0, 1)])


def commonest(stack):
    """The commonest of four, the first of them on a tie."""
    votes = np.stack([(stack == one).sum(axis=0) for one in stack])
    return np.take_along_axis(stack, votes.argmax(axis=0)[None], axis=0)[0]


def test_pixels(api):
    for day in DAYS:
        found = pixels(api, f"{SERIES}/scene_{day}")
        for band in ("red", "class"):
            np.testing.assert_array_equal(found[band], PLANES[day][band])


@pytest.mark.parametrize("kind", ["tif", "zarr"])
def test_stores_and_files_give_the_same(api, kind):
    name = f"{PUBLIC}mine/{'single' if kind == 'tif' else 'flat'}"
    asset = api.get(f"/v1/{name}").json()
    bands = {band["id"]: band for band in asset["bands"]}
    assert bands["red"]["grid"]["crsCode"] == "EPSG:32610"
    assert bands["red"]["missingData"] == {"values": [5]}
    found, plane = pixels(api, name), PLANES[DAYS[0]]
    np.testing.assert_array_equal(found["red"], np.where(plane["red"] == 5, 0, plane["red"]))
    np.testing.assert_array_equal(
        found["class"], plane["class"] if kind == "zarr" else np.where(plane["class"] == 5, 0, plane["class"])
    )


def test_a_store_with_a_time_axis_is_a_collection(api):
    name = "projects/p-test-1/assets/deep"
    images = api.get(f"/v1/{name}:listAssets").json()["assets"]
    assert [one["startTime"] for one in images] == [f"2020-01-{day}T00:00:00Z" for day in ("05", "06", "10")]
    assert [band["pyramidingPolicy"] for band in images[0]["bands"]] == ["MODE", "MEAN"]
    for day, image in zip(DAYS, images, strict=True):
        assert image["name"] == f"{name}/{day}T000000"
        found = pixels(api, image["name"])
        np.testing.assert_array_equal(found["class"], PLANES[day]["class"])


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """An image wide enough for a pyramid, each of its bands with another policy, and a nodata value."""
    base = tmp_path_factory.mktemp("wide")
    random = np.random.default_rng(3)
    planes = {
        name: random.integers(0, 9, (300, 520)).astype("u2") for name in ("mean", "sample", "mode", "max")
    }
    profile = {
        "driver": "GTiff",
        "width": 520,
        "height": 300,
        "count": 4,
        "dtype": "uint16",
        "crs": CRS,
        "transform": rasterio.Affine(10, 0, LEFT, 0, -10, TOP),
        "nodata": 0,
    }
    with rasterio.open(base / "wide.tif", "w", **profile) as file:
        for i, (name, plane) in enumerate(planes.items(), 1):
            file.write(plane, i)
            file.set_band_description(i, name)
    policies = {name: {"pyramidingPolicy": name} for name in planes}
    (base / "wide.json").write_text(json.dumps({"bands": policies}))
    with EmulatorProcess(
        arguments(rasters={"mine/wide": base / "wide.tif"}, tokens={"tok": "p-test-1"}, strict=False)
    ) as emulator:
        made = Api(emulator)
        yield made, planes
        made.client.close()


def test_coarser_requests_read_the_pyramid_of_the_policy(wide):
    """Masked children do not count: nodata is 0 here, so that about one in nine is masked."""
    api, planes = wide
    asset = api.get(f"/v1/{PUBLIC}mine/wide").json()
    assert [band["pyramidingPolicy"] for band in asset["bands"]] == ["MEAN", "SAMPLE", "MODE", "MAX"]
    where = {
        "affineTransform": {"scaleX": 20, "scaleY": -20, "translateX": LEFT, "translateY": TOP},
        "dimensions": {"width": 260, "height": 150},
    }
    found = api.npy(f"{PUBLIC}mine/wide", grid=where)
    four = {name: children(plane) for name, plane in planes.items()}
    count = (four["mean"] > 0).sum(axis=0)
    mean = np.floor(four["mean"].sum(axis=0) / np.maximum(count, 1) + 0.5)
    np.testing.assert_array_equal(found["mean"], mean)
    np.testing.assert_array_equal(found["sample"], four["sample"][0])
    np.testing.assert_array_equal(found["max"], four["max"].max(axis=0))
    whole = (four["mode"] > 0).all(axis=0)
    np.testing.assert_array_equal(found["mode"][whole], commonest(four["mode"])[whole])


@pytest.mark.parametrize(
    ("sidecar", "says"),
    [
        ("{", "single.json"),
        ('{"start": 3}', "unknown key 'start'"),
        ('{"pyramidingPolicy": "AVERAGE"}', "must be one of MEAN"),
        ('{"startTime": "yesterday"}', "yesterday"),
        ("[]", "one JSON object"),
    ],
)
def test_sidecars_that_cannot_be_followed(tmp_path, capsys, sidecar, says):
    geotiff(tmp_path / "single.tif", PLANES[DAYS[0]])
    (tmp_path / "single.json").write_text(sidecar)
    assert ends(arguments(rasters={"a": tmp_path / "single.tif"})) == 2
    assert says in capsys.readouterr().err


def test_folders_and_stores_that_hold_nothing(tmp_path):
    from earthengine_emulator import LaunchError

    with pytest.raises(LaunchError, match="no GeoTIFF"):
        EmulatorProcess(arguments(folders={"a": tmp_path}))
    zarr.create_group(str(tmp_path / "empty.zarr"))
    with pytest.raises(LaunchError, match="no array"):
        EmulatorProcess(arguments(rasters={"a": tmp_path / "empty.zarr"}))
