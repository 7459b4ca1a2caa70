"""Tables of polygons, points and samples: against exactextract on GeoTIFFs painted by the oracle, and numpy."""

from __future__ import annotations

import json
import random
import signal

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pyproj
import pytest
import rasterio
import shapely
from exactextract import exact_extract

import downloader
from downloader.errors import IncompleteError, JobError, LockedError, MissingExtraError, RefusedError
from downloader.mosaic.storage.lock import FileLock
from downloader.tables import make as making
from downloader.tables import rows as table_rows
from tests.harness import cli, command, job, start, wait_until
from tests.oracle import PASSES, PUBLIC, oracle_valid, oracle_window

FOLDER = f"{PUBLIC}EMULATOR/PASSES/"
X, Y, PIXEL = 560000, 4180000, 20
LEFT, TOP, WIDTH, HEIGHT = -100, -60, 900, 700
REGION = {
    "bbox": [
        X + PIXEL * LEFT, Y - PIXEL * (TOP + HEIGHT), X + PIXEL * (LEFT + WIDTH), Y - PIXEL * TOP,
    ],
    "crs": "EPSG:32610",
}  # fmt: skip
NAMES = [name for name, (_, bands, _) in PASSES.items() if name < "20200120T1835"]
TO_LONLAT = pyproj.Transformer.from_crs("EPSG:32610", "EPSG:4326", always_xy=True)


@pytest.fixture(scope="module")
def series(emulator_process, tmp_path_factory):
    """A mosaic of four passes with masks, of whose polygons tables are made."""
    path = tmp_path_factory.mktemp("tables") / "series.zarr"
    source = {"images": [f"EMULATOR/PASSES/{name}" for name in NAMES], "bands": ["red", "nir"]}
    emulator_process.reset()
    values = job(emulator_process, path, source={**source, "on_missing_band": "nodata"}, region=REGION)
    values["mosaic"] |= {"mask": "per-band", "nodata": {"nir": -9999}}
    downloader.download(values, progress=False)
    return path


def painted(name, band):
    """(values, valid) of a slice, of the region's pixels."""
    (column, row), bands, _ = PASSES[name]
    plane, valid = (
        np.zeros((HEIGHT, WIDTH), {"red": "<u2", "nir": "<i2"}[band]),
        np.zeros((HEIGHT, WIDTH), bool),
    )
    if band not in bands.split():
        return plane, valid
    left, top = max(column, LEFT), max(row, TOP)
    right, bottom = min(column + 700, LEFT + WIDTH), min(row + 600, TOP + HEIGHT)
    here = np.s_[top - TOP : bottom - TOP, left - LEFT : right - LEFT]
    part = (left - column, top - row, right - left, bottom - top)
    plane[here] = oracle_window(FOLDER + name, band, *part)
    valid[here] = oracle_valid(FOLDER + name, band, *part)
    return plane, valid


def raster(path, name, band):
    """A GeoTIFF of a slice, in which −1 stands for what is not valid."""
    plane, valid = painted(name, band)
    profile = {
        "driver": "GTiff", "width": WIDTH, "height": HEIGHT, "count": 1, "dtype": "float64", "nodata": -1e9,
        "crs": "EPSG:32610",
        "transform": rasterio.Affine(PIXEL, 0, X + PIXEL * LEFT, 0, -PIXEL, Y - PIXEL * TOP),
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(np.where(valid, plane.astype("f8"), -1e9), 1)
    return path


def fields(count=40, seed=1):
    """Polygons of all kinds over the region: with holes, of several parts, over its edge, outside, and none."""
    rng = random.Random(seed)
    shapes = []
    for n in range(count):
        at = X + PIXEL * (LEFT + rng.uniform(0, WIDTH)), Y - PIXEL * (TOP + rng.uniform(0, HEIGHT))
        shape = shapely.Point(at).buffer(rng.uniform(3, 2500), quad_segs=rng.choice([1, 3, 16]))
        if n % 5 == 1:
            shape = shape.difference(shapely.Point(at).buffer(40))
        if n % 5 == 2:
            shape = shape.union(shapely.box(at[0] + 3000, at[1], at[0] + 3333, at[1] + 777))
        shapes.append(shape)
    shapes += [shapely.box(0, 0, 10, 10), shapely.box(X - 9000, Y - 9000, X + 400, Y - 400), None]
    columns = {"crop": [f"crop {n % 3}" for n in range(len(shapes))], "ha": np.arange(len(shapes)) / 4}
    return gpd.GeoDataFrame(columns, geometry=shapes, crs="EPSG:32610")


def expected(gdf, folder, name, band, ops):
    """Exactextract's own answer on the GeoTIFF, by place."""
    there = gdf[~gdf.geometry.isna()]
    found = exact_extract(
        raster(folder / f"{name}_{band}.tif", name, band), there, ops, output="pandas", include_cols=[]
    )
    return found.set_index(there.index)


def test_polygons_by_dates_are_exactextracts_on_geotiffs_of_the_same_pixels(series, tmp_path):
    gdf = fields()
    gdf.to_file(tmp_path / "fields.gpkg")
    stats = ["mean", "median", "p10", "min", "max", "std", "count", "majority"]
    made = downloader.table(series, tmp_path / "t.parquet", by=tmp_path / "fields.gpkg", stats=stats)
    assert (made.rows, made.places, made.outside) == (4 * len(gdf), len(gdf), 2)
    assert str(made).endswith("2 of the places lie outside the mosaic")
    frame = pd.read_parquet(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(frame, made.to_pandas())
    assert set(frame.image_id.str.rpartition("/")[2]) == set(NAMES)
    # Weights are singles in exactextract, whichever way the pixels come.
    ops = ["mean", "median", "quantile(q=0.1)", "min", "max", "stdev", "count", "majority"]
    named = dict(
        zip(stats, ["mean", "median", "quantile_10", "min", "max", "stdev", "count", "majority"], strict=True)
    )
    compared = 0
    for name in NAMES:
        rows = frame[frame.image_id.str.endswith(name)].reset_index(drop=True)
        assert rows.place.tolist() == list(range(1, len(gdf) + 1))
        assert rows.crop.tolist() == gdf.crop.tolist()
        assert (rows.time == pd.Timestamp(name, tz="UTC")).all()
        for band in ("red", "nir"):
            wanted = expected(gdf, tmp_path, name, band, ops)
            for stat, own in named.items():
                found = rows[f"{band}_{stat}"].fillna(0 if stat == "count" else np.nan)
                np.testing.assert_allclose(
                    found[wanted.index],
                    wanted[own].astype(float),
                    rtol=2e-5,
                    atol=2e-3,
                    err_msg=f"{name} {band} {stat}",
                )
            area = gdf.geometry.area[wanted.index] / PIXEL**2
            np.testing.assert_allclose(
                rows[f"{band}_valid"][wanted.index],
                np.clip(wanted["count"].astype(float) / area, 0, 1),
                atol=1e-6,
            )
            compared += int((wanted["count"] > 0).sum())
            assert rows[f"{band}_mean"].isna()[40]
            assert rows[f"{band}_valid"][40] == 0, "outside the mosaic"
            assert rows[f"{band}_valid"].iloc[-1] == 0, "without a geometry"
    assert compared > 150
    assert frame[frame.image_id.str.endswith("20200120T183000")].nir_valid.max() == 0, (
        "the image lacks the band"
    )
    units = {field.name: field.metadata for field in pq.read_schema(tmp_path / "t.parquet")}
    assert units["red_valid"] == units["red_count"] == {b"units": b"1"}


def test_every_kind_of_file_gives_the_same_table(series, tmp_path):
    gdf = fields(12, seed=4).dropna()
    lonlat = gdf.to_crs("EPSG:4326")
    made = downloader.table(series, tmp_path / "frame.parquet", by=gdf).to_pandas()
    gdf.to_file(tmp_path / "f.gpkg")
    gdf.to_file(tmp_path / "f.shp")
    gdf.to_parquet(tmp_path / "f.parquet")
    lonlat.to_file(tmp_path / "f.geojson", driver="GeoJSON")
    for name in ("f.gpkg", "f.shp", "f.parquet"):
        again = downloader.table(series, tmp_path / "again.parquet", by=tmp_path / name).to_pandas()
        pd.testing.assert_frame_equal(made, again)
    again = downloader.table(series, tmp_path / "again.parquet", by=str(tmp_path / "f.geojson")).to_pandas()
    np.testing.assert_allclose(again.red_mean, made.red_mean, rtol=2e-3)
    only = downloader.table(series, tmp_path / "again.parquet", by=gdf.geometry).to_pandas()
    assert list(only) == ["place", "time", "image_id", "red_mean", "red_valid", "nir_mean", "nir_valid"]


def test_points_are_their_pixels(series, tmp_path):
    rng = np.random.default_rng(5)
    columns, rows = rng.integers(0, WIDTH, 60), rng.integers(0, HEIGHT, 60)
    x = X + PIXEL * (LEFT + columns + rng.random(60) * 0.98 + 0.01)
    y = Y - PIXEL * (TOP + rows + rng.random(60) * 0.98 + 0.01)
    lon, lat = TO_LONLAT.transform(x, y)
    pd.DataFrame({"name": [f"p{n}" for n in range(60)], "Lon": lon, "Lat": lat}).to_csv(
        tmp_path / "p.csv", index=False
    )
    made = cli("table", series, "--by", tmp_path / "p.csv", "-o", tmp_path / "t.csv")
    assert made.status == 0, made
    frame = pd.read_csv(tmp_path / "t.csv")
    assert len(frame) == 240
    for name in NAMES:
        here = frame[frame.image_id.str.endswith(name)]
        for band in ("red", "nir"):
            plane, valid = painted(name, band)
            wanted = np.where(valid, plane, np.nan)[rows, columns]
            np.testing.assert_array_equal(here[f"{band}_mean"], wanted)
            np.testing.assert_array_equal(here[f"{band}_valid"], valid[rows, columns])
    # On the line between two pixels a point belongs to the right and lower one, as a sample's does.
    edge = gpd.GeoDataFrame(geometry=[shapely.Point(X + PIXEL * 10, Y - PIXEL * 20)], crs="EPSG:32610")
    found = downloader.table(series, tmp_path / "e.parquet", by=edge).to_pandas()
    assert found.red_mean[2] == painted(NAMES[2], "red")[0][20 - TOP, 10 - LEFT]


def test_long_rows_and_fractions_of_classes(series, tmp_path):
    gdf = fields(6, seed=8).dropna()
    wide = downloader.table(series, tmp_path / "w.parquet", by=gdf, stats=["mean", "p90"]).to_pandas()
    options = {"by": gdf, "layout": "long", "bands": ["red"]}
    long = downloader.table(series, tmp_path / "l.parquet", stats=["mean", "p90"], **options).to_pandas()
    assert list(long)[-5:] == ["band", "statistic", "value", "valid", "units"]
    for stat in ("mean", "p90"):
        part = long[long.statistic == stat].reset_index(drop=True)
        np.testing.assert_array_equal(part.value, wide[f"red_{stat}"])
        np.testing.assert_array_equal(part.valid, wide.red_valid)
    small = gpd.GeoDataFrame(geometry=[shapely.box(X, Y - 95, X + 70, Y)], crs="EPSG:32610")
    options["by"] = small
    found = downloader.table(series, tmp_path / "f.csv", stats=["fractions", "count"], **options).to_pandas()
    plane, valid = painted(NAMES[2], "red")
    weights = np.outer([1, 1, 1, 1, 0.75], [1, 1, 1, 0.5])
    values = plane[-TOP : 5 - TOP, -LEFT : 4 - LEFT]
    assert valid[-TOP : 5 - TOP, -LEFT : 4 - LEFT].all()
    here = found[found.image_id.str.endswith(NAMES[2])]
    assert here[here.statistic == "count"].value.tolist() == pytest.approx([weights.sum()])
    shares = here[here.statistic == "fractions"]
    assert shares["class"].tolist() == np.unique(values).tolist()
    wanted = [weights[values == one].sum() / weights.sum() for one in np.unique(values)]
    np.testing.assert_allclose(shares.value, wanted, rtol=1e-6)
    with pytest.raises(JobError, match=r"fractions has a row for each class found; add layout long"):
        downloader.table(series, tmp_path / "x.csv", stats=["fractions"])


def test_all_of_a_mosaic_is_one_place(series, tmp_path):
    made = downloader.table(series, tmp_path / "t.parquet", stats=["mean", "count"]).to_pandas()
    for k, name in enumerate(NAMES):
        plane, valid = painted(name, "red")
        assert made.red_mean[k] == pytest.approx(plane[valid].mean())
        assert made.red_count[k] == valid.sum()
        assert made.red_valid[k] == pytest.approx(valid.mean())


def test_a_table_of_one_image_has_its_time(make, tmp_path):
    whole = make("sharded", bands=("B4",))
    made = downloader.table(whole.path, tmp_path / "t.csv").to_pandas()
    assert [str(one) for one in made.time] == ["2017-04-30 19:03:51+00:00"]
    assert list(made.B4_valid) == [1]


@pytest.mark.parametrize("layout", ["wide", "long"])
def test_the_valid_share_alone(series, tmp_path, layout):
    told = downloader.table(series, tmp_path / "t.csv", stats=["valid"], bands=["red"], layout=layout)
    rows = told.to_pandas()
    if layout == "wide":
        shares = [painted(name, "red")[1].mean() for name in NAMES]
        np.testing.assert_allclose(rows.red_valid, shares, atol=1e-9)
    else:
        np.testing.assert_array_equal(rows.statistic, [])


def test_shapes_are_kept_as_geoparquet(series, tmp_path):
    gdf = fields(5).dropna()
    downloader.table(series, tmp_path / "t.geoparquet", by=gdf)
    found = gpd.read_parquet(tmp_path / "t.geoparquet")
    assert len(found) == 4 * len(gdf)
    assert found.crs == gdf.crs
    assert found.geometry[: len(gdf)].geom_equals(gdf.geometry, align=False).all()
    assert found.crop[: len(gdf)].tolist() == gdf.crop.tolist()


def test_a_column_of_the_places_gives_way(series, tmp_path):
    gdf = gpd.GeoDataFrame(
        {"time": ["noon"], "red_mean": [7]}, geometry=[shapely.box(X, Y - 95, X + 70, Y)], crs="EPSG:32610"
    )
    found = downloader.table(series, tmp_path / "t.parquet", by=gdf).to_pandas()
    assert found.time_.tolist() == ["noon"] * 4
    assert found.red_mean_.tolist() == [7] * 4


def test_samples_are_places(emulator, tmp_path):
    rng = random.Random(3)
    rows = [(f"s{n}", rng.uniform(-122.9, -122.0), rng.uniform(37.05, 37.85), n / 2) for n in range(9)]
    lines = ["id,lon,lat,age", *(",".join(map(str, row)) for row in rows), "far,0,0,9"]
    (tmp_path / "points.csv").write_text("\n".join(lines) + "\n")
    source = {"asset": "COPERNICUS/S2/20170430T190351_20170430T190351_T10SEG", "bands": ["B4", "B5"]}
    region = {"points": {"file": str(tmp_path / "points.csv"), "chip": 8}}
    with pytest.raises(IncompleteError) as caught:
        downloader.download(job(emulator, tmp_path / "s.zarr", source=source, region=region), progress=False)
    report = caught.value.report
    with pytest.raises(IncompleteError, match="2 of 20 tiles are not stored"):
        report.table(tmp_path / "t.parquet")
    made = report.table(tmp_path / "t.geoparquet", stats=["mean", "max"], missing="mask")
    assert (made.rows, made.outside, made.empty) == (10, 0, 1)
    assert str(made).endswith("1 of the samples has no image")
    found = gpd.read_parquet(tmp_path / "t.geoparquet")
    chips = report.open_tree(chunks=None, missing="ignore")
    assert found.sample_id.tolist() == [*(f"s{n}" for n in range(9)), "far"]
    assert found.age.tolist()[:3] == [0, 0.5, 1]
    for band, group in (("B4", "10m"), ("B5", "20m")):
        pixels = chips[group][band].values[:9].astype("f8") * chips[group][band].attrs.get("scale_factor", 1)
        np.testing.assert_allclose(found[f"{band}_mean"][:9], pixels.mean((1, 2)))
        np.testing.assert_allclose(found[f"{band}_max"][:9], pixels.max((1, 2)))
        assert found[f"{band}_valid"].tolist() == [1] * 9 + [0]
    assert found.geometry[0].x == pytest.approx(rows[0][1])
    with pytest.raises(JobError, match="holds samples, each of which is a place; leave it out"):
        report.table(tmp_path / "x.csv", by=tmp_path / "points.csv", missing="mask")


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of one slice and eight places."""
    monkeypatch.setattr(table_rows, "_RUN_BYTES", 1)
    monkeypatch.setattr(table_rows, "_PART_VALUES", 32)


def test_parts_of_any_size_give_the_same_rows(series, tmp_path, small_parts, monkeypatch):
    gdf = fields(20, seed=2)
    parts = downloader.table(series, tmp_path / "a.parquet", by=gdf, stats=["mean", "std"]).to_pandas()
    monkeypatch.undo()
    whole = downloader.table(series, tmp_path / "b.parquet", by=gdf, stats=["mean", "std"]).to_pandas()
    pd.testing.assert_frame_equal(parts, whole)


def test_a_stopped_table_continues_and_another_one_starts_over(series, tmp_path, small_parts, monkeypatch):
    gdf = fields(20, seed=2)
    out = tmp_path / "t.parquet"
    out.write_text("old")
    summed = []
    real = table_rows.summarise
    monkeypatch.setattr(table_rows, "summarise", lambda *given: summed.append(1) or real(*given))
    request = making.TableRequest(series, out, gdf)

    def stop(done, _):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        making.make(request, stop)
    assert out.read_text() == "old", "no half of it under its name"
    assert len(summed) == 5
    damaged = sorted((tmp_path / ".t.parquet.parts").glob("*.parquet"))[1]
    damaged.write_bytes(damaged.read_bytes()[:-9])
    seen = []
    making.make(request, lambda *told: seen.append(told))
    total = seen[-1][1]
    assert seen == [(n + 1, total) for n in range(total)]
    assert len(summed) == 5 + 1 + total - 5, "the damaged one and what was missing"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.parquet"]
    assert len(pd.read_parquet(out)) == 4 * len(gdf)
    with pytest.raises(KeyboardInterrupt):
        making.make(request, stop)
    summed.clear()
    making.make(making.TableRequest(series, out, gdf, stats=("max",)), lambda *_: None)
    assert len(summed) == total, "parts of another table are of no use"


def test_a_killed_command_continues(series, tmp_path):
    gdf = fields(20, seed=2)
    gdf.to_file(tmp_path / "f.gpkg")
    arguments = ("table", series, "--by", tmp_path / "f.gpkg", "-o", tmp_path / "t.csv")
    process = start(*arguments)
    parts = tmp_path / ".t.csv.parts"
    wait_until(parts.exists, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    ended = cli(*arguments)
    assert ended.status == 0, ended
    wanted = downloader.table(series, tmp_path / "w.csv", by=gdf).to_pandas()
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "t.csv", parse_dates=["time"]), wanted)
    assert not parts.exists()


def test_two_of_one_name_are_refused(series, tmp_path):
    (tmp_path / ".t.csv.parts").mkdir()
    lock = FileLock(tmp_path / ".t.csv.parts/lock", "t.csv")
    lock.acquire()
    with pytest.raises(LockedError, match=r"t\.csv: another run is writing it"):
        downloader.table(series, tmp_path / "t.csv")
    lock.release()
    assert downloader.table(series, tmp_path / "t.csv").rows == 4


def test_wrong_values_are_answered_with_their_fix(series, tmp_path, monkeypatch):
    gdf = fields(3).dropna()
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "plain.csv").write_text("a,b\n1,2\n")
    (tmp_path / "text.csv").write_text("lon,lat\nx,y\n")
    (tmp_path / "swapped.csv").write_text("lon,lat\n,37.9\n37.9,-121.85\n")
    (tmp_path / "broken.geojson").write_text("{")
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "plain.parquet")
    gdf.iloc[:0].to_file(tmp_path / "empty.gpkg")
    lines = gpd.GeoDataFrame(geometry=[shapely.LineString([(X, Y), (X + 9, Y)])], crs="EPSG:32610")
    for out, options, problem in (
        ("t.xlsx", {}, r"name a \.parquet, \.geoparquet .* or \.csv file"),
        ("folder.csv", {}, "is a folder; name a file"),
        (series / "t.csv", {}, "lies inside the mosaic"),
        ("t.csv", {"stats": ["mode"]}, "'mode' is none of mean, median"),
        ("t.csv", {"stats": ["p101"]}, "'p101' is none of"),
        ("t.csv", {"stats": []}, "names no statistic"),
        ("t.csv", {"by": gdf.assign(tags=[["a"]] * len(gdf))}, "column 'tags' holds lists or records"),
        ("t.csv", {"by": tmp_path / "swapped.csv"}, "row 2: latitude -121.85 is beyond 90 degrees"),
        ("t.csv", {"bands": ["blue"]}, "has no band 'blue'; its bands are red"),
        ("t.csv", {"bands": []}, "names no band"),
        ("t.csv", {"layout": "tall"}, "layout: 'tall' is none of wide, long"),
        ("t.csv", {"missing": "ignore"}, "missing: 'ignore' is none of raise, mask"),
        ("t.csv", {"by": tmp_path / "no.gpkg"}, "there is no file .*no.gpkg"),
        ("t.csv", {"by": 7}, "7 is no file and no GeoDataFrame"),
        ("t.csv", {"by": tmp_path / "plain.csv"}, "needs numbers in lon and lat"),
        ("t.csv", {"by": tmp_path / "text.csv"}, "needs numbers in lon and lat"),
        ("t.csv", {"by": tmp_path / "plain.parquet"}, "is Parquet without geometry"),
        ("t.csv", {"by": tmp_path / "broken.geojson"}, "cannot be read"),
        ("t.csv", {"by": tmp_path / "empty.gpkg"}, "holds no place"),
        ("t.csv", {"by": gdf.set_crs(None, allow_override=True)}, "says no CRS"),
        ("t.csv", {"by": lines}, "feature 1 of the GeoDataFrame is a LineString"),
        ("s3://b/t.csv", {}, "a table is written to a disk"),
    ):
        with pytest.raises(JobError, match=problem):
            downloader.table(series, out if "://" in str(out) else tmp_path / out, **options)
    assert not list(tmp_path.glob(".t.csv*"))
    with pytest.raises(RefusedError, match="is not a mosaic"):
        downloader.table(tmp_path / "nothing", tmp_path / "t.csv")
    assert command("table", series, "-o", tmp_path / "t.csv", "--stats", "mode").status == 2
    monkeypatch.setitem(__import__("sys").modules, "exactextract", None)
    for module in ("make", "rows", "sheet", "zonal"):
        monkeypatch.delitem(__import__("sys").modules, f"downloader.tables.{module}")
    with pytest.raises(MissingExtraError, match=r"pip install 'earthengine-downloader\[tables\]'"):
        downloader.table(series, tmp_path / "t.csv")


def test_the_command_says_what_it_wrote(series, tmp_path):
    fields(3).dropna().to_file(tmp_path / "f.gpkg")
    ended = command("table", series, "--by", tmp_path / "f.gpkg", "-o", tmp_path / "t.parquet", "--json")
    assert json.loads(ended.out)["rows"] == 4 * 5
    ended = command("table", series, "--by", tmp_path / "f.gpkg", "-o", tmp_path / "t.parquet")
    assert ended.out.startswith(f"{tmp_path / 't.parquet'}: 20 rows of 5 places, ")


def test_chunks_of_several_slices_give_the_same_rows(emulator, series, tmp_path):
    source = {"images": [f"EMULATOR/PASSES/{name}" for name in NAMES], "bands": ["red", "nir"]}
    values = job(
        emulator, tmp_path / "deep.zarr", source={**source, "on_missing_band": "nodata"}, region=REGION
    )
    values["mosaic"] |= {"mask": "per-band", "nodata": {"nir": -9999}, "chunks": {"time": 3}}
    downloader.download(values, progress=False)
    gdf = fields(12, seed=6)
    deep = downloader.table(tmp_path / "deep.zarr", tmp_path / "a.parquet", by=gdf, stats=["mean", "p90"])
    plain = downloader.table(series, tmp_path / "b.parquet", by=gdf, stats=["mean", "p90"])
    pd.testing.assert_frame_equal(deep.to_pandas(), plain.to_pandas())
