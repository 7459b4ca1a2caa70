"""STAC documents of mosaics: valid by the specification's and the extensions' own schemas, and true of the pixels."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pyproj
import pystac
import pytest
import shapely
import zarr
from jsonschema import Draft7Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

import downloader
from downloader.model.crs import Crs
from downloader.model.grid import AffineTransform, PixelGrid, Window
from tests.harness import command
from tests.interop.test_export import make
from tests.mosaics import day, one_group, series

SCHEMAS = {
    document["$id"].rstrip("#"): document
    for document in (
        json.loads(file.read_text("utf-8")) for file in (Path(__file__).parent / "schemas").glob("*.json")
    )
}


def elsewhere(uri: str) -> Resource:
    """The schema of what the extensions refer to elsewhere: PROJ's JSON, which is never written, and GeoJSON."""
    return DRAFT7.create_resource({"not": {}} if "projjson" in uri else {"type": "object"})


def validated(document: dict, extensions: int = 3) -> pystac.STACObject:
    """The object of a document that all of its schemas accept: pystac's own of the specification, and the extensions'.

    Samples have no grid that the projection extension could tell.
    """
    found = pystac.read_dict({**json.loads(json.dumps(document)), "stac_extensions": []})
    assert isinstance(found, pystac.Item | pystac.Collection)
    assert found.validate()
    assert len(document["stac_extensions"]) == extensions
    for uri in document["stac_extensions"]:
        Draft7Validator(SCHEMAS[uri], registry=Registry(retrieve=elsewhere)).validate(document)
    return found


def test_the_schemas_can_refuse() -> None:
    for uri, wrong in (
        ("projection/v2.0.0", {"proj:shape": "10"}),
        ("raster/v1.1.0", {"raster:bands": [{"data_type": "uint17"}]}),
    ):
        (name,) = (name for name in SCHEMAS if uri in name)
        document = {"type": "Feature", "stac_extensions": [name], "properties": {}, "assets": {"a": wrong}}
        assert not Draft7Validator(SCHEMAS[name], registry=Registry(retrieve=elsewhere)).is_valid(document)


async def test_one_image_is_an_item(tmp_path: Path) -> None:
    plan = await make(tmp_path / "m.zarr", nodata={"B2": 7, "B3": 7})
    file = tmp_path / "m.stac.json"
    document = downloader.stac(tmp_path / "m.zarr", file)
    assert json.loads(file.read_text("utf-8")) == document
    item = validated(document)
    assert isinstance(item, pystac.Item)
    assert document["properties"]["datetime"] == "2017-04-30T19:03:51Z"
    asset = document["assets"]["zarr"]
    assert zarr.open_group(file.parent / asset["href"], mode="r")["B2"].shape == (600, 700)
    assert asset["proj:code"] == "EPSG:32610"
    assert asset["proj:shape"] == [600, 700]
    assert asset["proj:transform"] == [10, 0, 500980, 0, -10, 4198000]
    bands = asset["raster:bands"]
    assert [(one["name"], one["data_type"], one["nodata"]) for one in bands] == [
        ("B2", "uint16", 7),
        ("B3", "uint16", 7),
    ]
    assert [link["href"] for link in document["links"] if link["rel"] == "derived_from"] == [
        "https://earthengine.googleapis.com/v1/projects/earthengine-public/assets/TEST/IMAGE"
    ]
    grid = plan.groups[0].grid
    to_degrees = pyproj.Transformer.from_crs(32610, 4326, always_xy=True)
    outline = shapely.geometry.shape(document["geometry"])
    for column, row in ((0, 0), (grid.width, grid.height), (350, 300)):
        assert outline.distance(shapely.Point(to_degrees.transform(*grid.transform.at(column, row)))) < 1e-6
    outside = to_degrees.transform(*grid.transform.at(-5, 300))
    assert outline.distance(shapely.Point(outside)) > 1e-6
    assert document["bbox"] == pytest.approx(list(outline.bounds))


async def test_a_series_is_a_collection_with_a_cube(tmp_path: Path) -> None:
    await make(tmp_path / "s.zarr", series([day(6), day(3), day(9)]))
    document = downloader.stac(tmp_path / "s.zarr")
    collection = validated(document)
    assert isinstance(collection, pystac.Collection)
    assert document["extent"]["temporal"]["interval"] == [["2017-04-03T19:03:51Z", "2017-04-09T19:03:51Z"]]
    cube = document["cube:dimensions"]
    assert list(cube) == ["time", "x", "y"]
    stored = np.asarray(zarr.open_group(tmp_path / "s.zarr", mode="r")["time"][...]).astype("datetime64[us]")
    assert cube["time"]["values"] == [f"{one}Z" for one in stored.astype("datetime64[s]")]
    assert cube["x"]["extent"] == [500980, 507980]
    assert cube["y"]["extent"] == [4192000, 4198000]
    assert (cube["x"]["step"], cube["y"]["step"], cube["x"]["reference_system"]) == (10, -10, 32610)
    assert document["cube:variables"]["B3"]["dimensions"] == ["time", "y", "x"]
    assert [link["title"] for link in document["links"] if link["rel"] == "derived_from"] == [
        "TEST/06",
        "TEST/03",
        "TEST/09",
    ]
    assert document["description"] == "TEST: 3 slices of 3 images"


async def test_groups_are_assets_and_180_degrees_is_crossed(tmp_path: Path) -> None:
    lattice = PixelGrid(Crs("EPSG:4326"), AffineTransform(0.01, 0, 179.0, 0, -0.01, 10.0), 300, 200)
    await make(tmp_path / "m.zarr", one_group(lattice=lattice, window=Window(0, 0, 300, 200), name="1000m"))
    document = downloader.stac(tmp_path / "m.zarr")
    validated(document)
    assert list(document["assets"]) == ["1000m"]
    assert document["assets"]["1000m"]["href"] == f"{tmp_path / 'm.zarr'}/1000m"
    west, south, east, north = document["bbox"]
    assert (west, south, east, north) == pytest.approx((179, 8, -178, 10))
    assert document["geometry"]["type"] == "MultiPolygon"


async def test_the_command(tmp_path: Path) -> None:
    await make(tmp_path / "m.zarr")
    done = await asyncio.to_thread(command, "stac", tmp_path / "m.zarr")
    assert done.out == f"{tmp_path / 'm.stac.json'}: Item m\n"
    validated(json.loads((tmp_path / "m.stac.json").read_text("utf-8")))
    shown = await asyncio.to_thread(command, "stac", tmp_path / "m.zarr", "--json")
    assert shown.document["assets"]["zarr"]["href"] == str(tmp_path / "m.zarr")
    inside = await asyncio.to_thread(command, "stac", tmp_path / "m.zarr", "-o", tmp_path / "m.zarr/x.json")
    assert (inside.status, "inside the mosaic" in inside.err) == (2, True)
    assert (await asyncio.to_thread(command, "stac", tmp_path / "nothing")).status == 5
