"""Polygons as samples, end to end: pixels against the oracle, `inside` against rasterio, tables against exactextract."""

from __future__ import annotations

import json
import random

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import pytest
import rasterio
import shapely
import zarr
from exactextract import exact_extract
from rasterio.features import geometry_mask

import downloader
from downloader.errors import DriftError, IncompleteError, JobError
from downloader.mosaic.verify.verify import verify
from tests.harness import cli, getpixels, job, same_bits, write_job
from tests.oracle import PASSES, PUBLIC, QUICKSTART, oracle_valid, oracle_window

SCENE = QUICKSTART.removeprefix(PUBLIC)
LEFT, TOP = 499980, 4200000
TO_LONLAT = pyproj.Transformer.from_crs("EPSG:32610", "EPSG:4326", always_xy=True)


def scattered(count=12, seed=1, largest=400, span=80_000):
    """Polygons in the quickstart's scene: round ones, with holes, of two parts."""
    rng = random.Random(seed)
    shapes = []
    for n in range(count):
        x, y = LEFT + rng.uniform(5000, span), TOP - rng.uniform(5000, span)
        radius = rng.uniform(4, largest / 2)
        shape = shapely.Point(x, y).buffer(radius, quad_segs=rng.choice([1, 2, 8]))
        if n % 4 == 1:
            shape = shape.difference(shapely.Point(x + radius / 2, y).buffer(radius / 4))
        if n % 4 == 2:
            shape = shape.union(shapely.box(x + 100, y, x + 200, y + 50))
        shapes.append(shape)
    columns = {"crop": [f"crop {n % 3}" for n in range(count)], "größe": np.arange(count) / 4}
    return gpd.GeoDataFrame(columns, geometry=shapes, crs="EPSG:32610")


def fields_job(emulator, folder, fields, **sections):
    sections["region"] = {"fields": fields} | sections.get("region", {})
    sections.setdefault("source", {"asset": SCENE, "bands": ["B2", "B4"]})
    return job(emulator, folder / "fields.zarr", **sections)


def boxed(shape, resolution=10, left=LEFT, top=TOP):
    """(column, row, width, height) of the pixels that a polygon touches."""
    west, south, east, north = shape.bounds
    column, row = int((west - left) // resolution), int((top - north) // resolution)
    return (
        column,
        row,
        int(np.ceil((east - left) / resolution)) - column,
        int(np.ceil((top - south) / resolution)) - row,
    )


def test_each_field_is_its_box_and_a_mask(emulator, tmp_path):
    gdf = scattered()
    gdf.to_file(tmp_path / "fields.gpkg")
    source = {"asset": SCENE, "bands": ["B2", "B5"]}
    report = downloader.download(
        fields_job(emulator, tmp_path, str(tmp_path / "fields.gpkg"), source=source), progress=False
    )
    tree = report.open_tree(chunks=None)
    for group, band, size in (("10m", "B2", 10), ("20m", "B5", 20)):
        found = tree[group]
        boxes = [boxed(shape, size) for shape in gdf.geometry]
        side = max(max(width, height) for _, _, width, height in boxes)
        assert found[band].shape == found.inside.shape == (len(gdf), side, side)
        assert found.inside.dtype == bool
        assert set(found.data_vars) == {band}
        for n, (shape, (column, row, width, height)) in enumerate(zip(gdf.geometry, boxes, strict=True)):
            wanted = np.zeros((side, side), "u2")
            wanted[:height, :width] = oracle_window(QUICKSTART, band, column, row, width, height)
            same_bits(found[band].values[n], wanted, f"{band} of {n}")
            corner = [size, 0, LEFT + size * column, 0, -size, TOP - size * row]
            assert found["transform"].values[n].tolist() == corner
            inside = geometry_mask(
                [shape], (side, side), rasterio.Affine(*corner[:3], *corner[3:]), invert=True
            )
            np.testing.assert_array_equal(found.inside.values[n], inside, err_msg=f"{group} {n}")
    found = tree["10m"]
    assert found.crop.values.tolist() == gdf.crop.tolist()
    assert found["größe"].values.tolist() == gdf["größe"].tolist()
    points = shapely.points(
        *TO_LONLAT.transform(*shapely.get_coordinates(gdf.geometry.representative_point()).T)
    )
    np.testing.assert_allclose(found.lon, shapely.get_x(points))
    np.testing.assert_allclose(found.lat, shapely.get_y(points))
    asked = sorted(tuple(one["window"]) for one in getpixels(emulator))
    wanted = [boxed(shape, size) for size in (10, 20) for shape in gdf.geometry]
    assert asked == sorted(wanted), "what is left of a chip is not asked for"
    assert verify(report.mosaic).is_clean
    again = downloader.download(
        fields_job(emulator, tmp_path, str(tmp_path / "fields.gpkg"), source=source), progress=False
    )
    assert again.requests == 0


X, Y, PIXEL = 560000, 4180000, 20
FOLDER = f"{PUBLIC}EMULATOR/PASSES/"
RED = sorted(name for name, (_, bands, _) in PASSES.items() if "red" in bands.split())


def over_time(emulator, folder, fields, region=None, mosaic=None, **source):
    values = {"collection": "EMULATOR/PASSES", "start": "2020-01-01", "end": "2020-03-01", "bands": ["red"]}
    made = fields_job(emulator, folder, fields, source=values | source, region=region or {})
    made["mosaic"] |= {"mask": "per-band", **(mosaic or {})}
    return made


def scattered_passes(count=40, seed=2):
    """Polygons over the passes, some of which reach over their edges."""
    rng = random.Random(seed)
    shapes = []
    for n in range(count):
        at = X + PIXEL * rng.uniform(-200, 900), Y - PIXEL * rng.uniform(20, 700)
        shape = shapely.Point(at).buffer(rng.uniform(8, 350), quad_segs=rng.choice([1, 2, 8]))
        if n % 4 == 1:
            shape = shape.union(shapely.box(at[0] + 200, at[1], at[0] + 260, at[1] + 90))
        shapes.append(shape)
    names = [f"field {n}" for n in range(count)]
    return gpd.GeoDataFrame(
        {"id": names, "crop": [n % 3 for n in range(count)]}, geometry=shapes, crs="EPSG:32610"
    )


def images_of(shape, names=RED):
    """The images whose grid holds the field's inner point, by time."""
    at = shape.representative_point()
    column, row = (at.x - X) / PIXEL, (Y - at.y) / PIXEL
    found = []
    for name in names:
        left, top = PASSES[name][0]
        if left <= column < left + 700 and top <= row < top + 600:
            found.append(name)
    return found


def geotiff(path, name, band="red"):
    """An image of the passes as a GeoTIFF, in which −1 stands for what is not valid."""
    left, top = PASSES[name][0]
    plane = oracle_window(FOLDER + name, band, 0, 0, 700, 600).astype("f8")
    valid = oracle_valid(FOLDER + name, band, 0, 0, 700, 600)
    transform = rasterio.Affine(PIXEL, 0, X + PIXEL * left, 0, -PIXEL, Y - PIXEL * top)
    profile = {"driver": "GTiff", "width": 700, "height": 600, "count": 1, "dtype": "float64", "nodata": -1}
    with rasterio.open(path, "w", **profile, crs="EPSG:32610", transform=transform) as file:
        file.write(np.where(valid, plane, -1), 1)
    return path


def test_a_table_of_fields_by_dates_is_exactextracts_on_geotiffs_of_the_same_pixels(emulator, tmp_path):
    gdf = scattered_passes()
    gdf.to_parquet(tmp_path / "fields.parquet")
    report = downloader.download(
        over_time(emulator, tmp_path, str(tmp_path / "fields.parquet")), progress=False
    )
    made = report.table(tmp_path / "t.geoparquet", stats=["mean", "max", "count"])
    images = [images_of(shape) for shape in gdf.geometry]
    without = sum(not one for one in images)
    assert (made.rows, made.outside, made.empty) == (sum(map(len, images)), 0, without)
    assert without
    assert max(map(len, images)) == 7
    assert f"{without} of the samples ha" in str(made)
    rows = gpd.read_parquet(tmp_path / "t.geoparquet")
    assert rows.crs == gdf.crs
    at = 0
    tiffs = {name: geotiff(tmp_path / f"{name}.tif", name) for name in RED}
    wanted = {
        name: exact_extract(path, gdf, ["mean", "max", "count"], output="pandas")
        for name, path in tiffs.items()
    }
    for n, (shape, own) in enumerate(zip(gdf.geometry, images, strict=True)):
        for name in own:
            row, told = rows.iloc[at], wanted[name].iloc[n]
            assert (row.sample_id, row.crop) == (gdf.id[n], gdf.crop[n])
            assert row.image_id == f"EMULATOR/PASSES/{name}"
            assert row.geometry.equals(shape)
            np.testing.assert_allclose(
                [row.red_mean, row.red_max], [told["mean"], told["max"]], rtol=2e-6, err_msg=f"{n} {name}"
            )
            np.testing.assert_allclose(row.red_count, told["count"], rtol=1e-5, atol=1e-5)
            share = told["count"] / (shape.area / PIXEL**2)
            np.testing.assert_allclose(row.red_valid, share, atol=1e-5)
            at += 1
    assert at == len(rows)


def test_fields_grow_and_changed_ones_are_refused(emulator, tmp_path):
    gdf = scattered_passes(9)
    gdf = gdf.iloc[gdf.geometry.area.argsort()[::-1]].reset_index(drop=True).to_crs("EPSG:4326")
    end = {"end": "2020-01-20T18:33:00"}
    values = over_time(emulator, tmp_path, gdf[:6], mosaic={"profile": "plain"}, **end)
    first = downloader.download(values, progress=False)
    before = first.open(chunks=None).inside.values
    again = over_time(emulator, tmp_path, gdf, mosaic={"profile": "plain"}, **end)
    report = downloader.download(again, progress=False)
    found = report.open(chunks=None)
    assert found.sizes["sample"] == 9
    np.testing.assert_array_equal(found.inside.values[:6], before)
    assert found.inside.values[6:].any((1, 2)).sum() == (found.image_id.values[6:, 0] != "").sum() > 0
    assert verify(report.mosaic).is_clean
    moved = gdf.copy()
    moved.loc[2, "geometry"] = shapely.affinity.translate(moved.geometry[2], 1e-5, 0)
    with pytest.raises(DriftError, match=r"points\[3\].*polygon"):
        downloader.download(
            over_time(emulator, tmp_path, moved, mosaic={"profile": "plain"}, **end), progress=False
        )
    for change in ({"buffer": 5}, {"all_touched": True}):
        wider = over_time(emulator, tmp_path, gdf, region=change, mosaic={"profile": "plain"}, **end)
        with pytest.raises(DriftError, match=r"field 1: .*polygon"):
            downloader.download(wider, progress=False)


def test_a_field_larger_than_the_chip_fails_and_the_others_do_not(emulator, tmp_path):
    gdf = gpd.GeoDataFrame(
        {"id": ["small", "large"]},
        geometry=[shapely.box(X + 2001, Y - 2999, X + 2100, Y - 2900), shapely.box(X, Y - 3000, X + 1000, Y)],
        crs="EPSG:32610",
    )
    (tmp_path / "fields.geojson").write_text(gdf.to_crs("EPSG:4326").to_json())
    fields = {"file": str(tmp_path / "fields.geojson"), "chip": 16}
    with pytest.raises(IncompleteError) as caught:
        downloader.download(over_time(emulator, tmp_path, fields), progress=False)
    report = caught.value.report
    assert "feature 2: its box of " in str(report)
    found = report.open(chunks=None, missing="ignore")
    assert found.inside.values.any((1, 2)).tolist() == [True, False]
    table = report.table(tmp_path / "t.csv", missing="mask").to_pandas()
    assert table[table.sample_id == "large"].red_valid.tolist() == [0] * len(images_of(gdf.geometry[1]))


def test_one_large_field_is_no_accident(emulator, tmp_path):
    gdf = gpd.GeoDataFrame(
        geometry=[shapely.box(X, Y - 99, X + 99, Y), shapely.box(X, Y - 9000, X + 12000, Y)], crs="EPSG:32610"
    )
    with pytest.raises(
        JobError, match=r"feature 2: the field takes 600 pixels a side, and all samples .*write chip: 600"
    ):
        downloader.download(over_time(emulator, tmp_path, gdf), progress=False)
    told = downloader.plan(over_time(emulator, tmp_path, {"features": gdf, "chip": 600}))
    small, large = (len(images_of(shape)) for shape in gdf.geometry)
    wanted = 3 * (small * 5 * 5 + large * 600 * 450)
    assert told.plan.estimate().disk_bytes == wanted, "what is left of a chip is not asked for"


def test_edges_are_drawn_in_and_touched_pixels_taken(emulator, tmp_path):
    shape = shapely.box(LEFT + 5003, TOP - 5204, LEFT + 5207, TOP - 5001)
    gdf = gpd.GeoDataFrame(geometry=[shape], crs="EPSG:32610")
    path = gdf.to_file(tmp_path / "f.gpkg") or str(tmp_path / "f.gpkg")
    for n, (buffer, touched) in enumerate([(-20, False), (15, True)]):
        values = fields_job(emulator, tmp_path, path, region={"buffer": buffer, "all_touched": touched})
        values["mosaic"]["path"] = str(tmp_path / f"{n}.zarr")
        found = downloader.download(values, progress=False).open(chunks=None)
        wider = shape.buffer(buffer)
        column, row, width, height = boxed(wider)
        transform = rasterio.Affine(10, 0, LEFT + 10 * column, 0, -10, TOP - 10 * row)
        side = max(width, height)
        inside = geometry_mask([wider], (side, side), transform, all_touched=touched, invert=True)
        np.testing.assert_array_equal(found.inside.values[0], inside)


def test_the_nearest_image_and_a_computed_one(emulator, tmp_path):
    gdf = scattered_passes(5)
    gdf["date"] = "2020-01-16"
    values = over_time(emulator, tmp_path, gdf, pick="nearest")
    try:
        report = downloader.download(values, progress=False)
    except IncompleteError as error:
        report = error.report
    found = report.open(chunks=None, missing="ignore")
    for n, shape in enumerate(gdf.geometry):
        own = images_of(shape)
        nearest = (
            min(own, key=lambda name: abs(np.datetime64(pd.Timestamp(name)) - np.datetime64("2020-01-16")))
            if own
            else ""
        )
        assert found.image_id.values[n] == (f"EMULATOR/PASSES/{nearest}" if own else "")
    values = over_time(emulator, tmp_path, gdf, every="all", reduce="max", bands=["red"])
    values["mosaic"]["path"] = str(tmp_path / "max.zarr")
    grid = {"crs": "EPSG:32610", "resolution": 20}
    found = downloader.download({**values, "grid": grid}, progress=False).open(chunks=None)
    assert found.red.dims == ("sample", "y", "x")
    assert found.inside.values.any((1, 2)).all()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{}", "fields.geojson is no FeatureCollection; write one feature with a polygon for each sample"),
        ('{"type": "FeatureCollection", "features": []}', "fields.geojson holds no field; write a feature with a polygon"),
        (
            {"type": "Point", "coordinates": [1, 2]},
            "fields.geojson, feature 1: is Point, and needs to be a Polygon or MultiPolygon",
        ),
        (None, "fields.geojson, feature 1: is no geometry, and needs"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}, "feature 1: its geometry is no GeoJSON"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [2, 2], [0, 0]]]}, "feature 1: its polygon has no area"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [0, 200], [2, 2], [0, 0]]]}, "is no place on Earth"),
    ],
)  # fmt: skip
def test_wrong_files_are_answered_with_their_fix(emulator, tmp_path, content, said):
    text = content
    if not isinstance(content, str):
        feature = {"type": "Feature", "properties": {}, "geometry": content}
        text = json.dumps({"type": "FeatureCollection", "features": [feature]})
    (tmp_path / "fields.geojson").write_text(text)
    with pytest.raises(JobError) as caught:
        downloader.plan(fields_job(emulator, tmp_path, str(tmp_path / "fields.geojson")))
    assert said in str(caught.value)


def test_a_file_that_is_not_there_and_a_buffer_that_leaves_nothing(emulator, tmp_path):
    with pytest.raises(JobError, match=r"region\.fields\.file: there is no file .*none\.gpkg"):
        downloader.plan(fields_job(emulator, tmp_path, str(tmp_path / "none.gpkg")))
    with pytest.raises(
        JobError, match="feature 1: its polygon: nothing is left of it after a buffer of -500"
    ):
        downloader.plan(fields_job(emulator, tmp_path, scattered(1), region={"buffer": -500}))


def test_all_that_reads_a_mosaic_knows_fields(emulator, tmp_path):
    gdf = scattered_passes(6)
    gdf.to_crs("EPSG:4326").to_file(tmp_path / "fields.geojson")
    values = over_time(emulator, tmp_path, "fields.geojson")
    path = write_job(tmp_path, values)
    mosaic = tmp_path / "fields.zarr"
    assert "6 samples of 4 steps" in cli("plan", path).out
    assert cli("plan", path, "--map", tmp_path / "plan.geojson").status == 0
    drawn = gpd.read_file(tmp_path / "plan.geojson")
    drawn = drawn[drawn.kind == "sample"]
    assert (
        shapely.area(
            shapely.symmetric_difference(drawn.geometry.to_crs(gdf.crs).values, gdf.geometry.values)
        ).max()
        < 1
    )
    assert cli("run", path, "-q").status == 0
    assert "in 6 samples" in cli("status", mosaic).out
    assert cli("preview", mosaic, "-o", tmp_path / "p.png").status == 0
    compared = cli("verify", path, "--resample", 99)
    assert compared.status == 0, compared
    (mosaic / "inside" / "c" / "0" / "0" / "0").unlink()
    assert cli("verify", mosaic).status == 3
    assert cli("verify", path, "--repair").status == 0
    group = zarr.open_group(mosaic, mode="r")
    assert group["inside"].metadata.dimension_names == ("sample", "y", "x")
    found = downloader.open(mosaic, chunks=None)
    found.isel(sample=slice(2)).to_netcdf(tmp_path / "f.nc")
    number = 0 if found.image_id.values[0, 0] else found.sizes["step"]
    exported = cli("export", mosaic, "--slice", number, "-o", tmp_path / "one.tif")
    assert exported.status == 0, exported
    with rasterio.open(tmp_path / "one.tif") as file:
        shape = gdf.geometry[0 if number == 0 else 1]
        column, row, width, height = boxed(shape, PIXEL, X, Y)
        assert file.shape == (height, width), "its own box"
        assert file.transform[:6] == (PIXEL, 0, X + PIXEL * column, 0, -PIXEL, Y - PIXEL * row)
        same_bits(
            file.read(1), found.red.values.reshape(-1, *found.red.shape[2:])[number, :height, :width], "tif"
        )


def test_fields_open_before_they_are_there(emulator, tmp_path):
    gdf = scattered_passes(6)
    values = over_time(emulator, tmp_path, gdf)
    found = downloader.open(values, chunks=None, progress=False)
    n = next(n for n, shape in enumerate(gdf.geometry) if images_of(shape))
    column, row, width, height = boxed(gdf.geometry[n], PIXEL, X, Y)
    name = images_of(gdf.geometry[n])[0]
    whole = oracle_window(FOLDER + name, "red", 0, 0, 700, 600)
    left, top = column - PASSES[name][0][0], row - PASSES[name][0][1]
    wanted = whole[max(top, 0) : top + height, max(left, 0) : left + width]
    np.testing.assert_array_equal(
        found.red[n, 0].values[:height, :width][max(-top, 0) :, max(-left, 0) :][
            : wanted.shape[0], : wanted.shape[1]
        ],
        wanted,
    )
    assert found.inside.values.any((1, 2)).all()
