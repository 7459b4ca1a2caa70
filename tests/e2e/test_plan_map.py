"""`downloader plan --map`: what is drawn is what a run would fetch, and what is there."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyproj
import pytest
import shapely
import zarr

import downloader
from downloader.model.grid import Window
from downloader.report import plan_map
from downloader.report.plan_map import KINDS, panels
from tests.harness import cli, job, window, write_job

TRIANGLE = {"type": "Polygon", "coordinates": [[[500000, 4200000], [515000, 4200000], [500000, 4190000], [500000, 4200000]]]}  # fmt: skip
OF_COVERAGE = {0: "todo", 1: "stored", 2: "outside_region", 3: "outside_image", 4: "failed"}


def mapped(found):
    return panels(found.plan, found.target)


def kinds(panel) -> list[list[str]]:
    return [[KINDS[kind] for kind in row] for row in panel.cells.tolist()]


def flat(panel) -> list[str]:
    return [kind for row in kinds(panel) for kind in row]


def told(panel) -> dict[str, int | None]:
    return {entry.kind: entry.count for entry in panel.legend if not entry.kind.startswith("line")}


def triangle(emulator, path, **sections):
    return job(emulator, path, region={"geometry": TRIANGLE, "crs": "EPSG:32610"}, **sections)


def test_a_new_plan_a_begun_one_and_one_that_is_done(emulator, tmp_path):
    path = tmp_path / "m.zarr"
    values = triangle(emulator, path, request={"tiles": 1}, limits={"max_requests": 5, "concurrency": 1})
    locator, new = mapped(downloader.plan(values))
    assert locator.title == "Where the region lies"
    assert len(locator.rings["footprint"]) == len(locator.rings["ground"]) == 1
    assert set(flat(new)) == {"todo", "outside_region"}
    tiles = downloader.plan(values).plan.count_tiles()
    assert told(new)["todo"] == flat(new).count("todo") == tiles
    with pytest.raises(downloader.StoppedError):
        downloader.download(values, progress=False)
    _, begun = mapped(downloader.plan(values))
    coverage = zarr.open_array(str(path / "coverage/tiles"), mode="r")[:]
    assert kinds(begun) == [[OF_COVERAGE[state] for state in row] for row in coverage.tolist()]
    assert (told(begun)["stored"], told(begun)["todo"]) == (5, tiles - 5)
    values["limits"] = {}
    downloader.download(values, progress=False)
    _, done = mapped(downloader.plan(values))
    assert set(flat(done)) == {"stored", "outside_region"}


def test_failed_tiles_are_told_apart(emulator, tmp_path):
    emulator.control(
        "configure", {"faults": [{"fault": "bad-request-400", "covers": [300, 300], "above_pixels": 1}]}
    )
    values = job(emulator, tmp_path / "m.zarr", region=window(0, 0, 700, 600), request={"tiles": 1})
    with pytest.raises(downloader.IncompleteError):
        downloader.download(values, progress=False)
    _, found = mapped(downloader.plan(values))
    assert kinds(found)[1][1] == "failed"
    assert told(found) == {"stored": 8, "failed": 1}


@pytest.mark.parametrize("stored", [False, True])
def test_of_many_tiles_cells_say_the_same(emulator, tmp_path, monkeypatch, stored):
    """The quick way, which asks the region once for all cells, against the one that looks at every tile."""
    values = triangle(emulator, tmp_path / "m.zarr", source={"asset": "COPERNICUS/S2/20170430T190351_20170430T190351_T10SEG", "bands": ["B2"]})  # fmt: skip
    if stored:
        values["limits"] = {"max_requests": 3, "concurrency": 1}
        values["request"] = {"tiles": 1}
        with pytest.raises(downloader.StoppedError):
            downloader.download(values, progress=False)
    preview = downloader.plan(values)
    monkeypatch.setattr(plan_map, "MOST_CELLS", 3)
    _, exact = mapped(preview)
    monkeypatch.setattr(plan_map, "_EXACT", 0)
    _, quick = mapped(preview)
    assert exact.note == "A cell stands for 2 × 2 tiles."
    assert kinds(quick) == kinds(exact)
    assert ("part" in flat(exact)) is stored


def test_a_plan_of_a_billion_tiles_is_drawn(emulator, tmp_path):
    values = job(emulator, tmp_path / "m.zarr", region=window(0, 0, 700, 600))
    preview = downloader.plan(values)
    (group,) = preview.plan.groups
    side = 256 * 31_623
    large = replace(
        group,
        lattice=replace(group.lattice, width=side, height=side),
        window=Window(0, 0, side, side),
        tiling=replace(group.tiling, width=side, height=side, shard=8),
        extents=((Window(0, 0, side // 2, side),),),
    )
    *_, found = mapped(replace(preview, plan=replace(preview.plan, groups=(large,))))
    assert found.cells.shape == (124, 124)
    assert kinds(found)[0] == ["todo"] * 62 + ["outside_image"] * 62


def test_samples_lie_by_longitude_and_latitude(emulator, tmp_path):
    (tmp_path / "points.csv").write_text("lon,lat\n-122.8,37.8\n-122.3,37.3\n-122.2,37.2\n0,0\n")
    source = {"asset": "COPERNICUS/S2/20170430T190351_20170430T190351_T10SEG", "bands": ["B4"]}
    region = {"points": {"file": str(tmp_path / "points.csv"), "chip": 32}}
    values = job(emulator, tmp_path / "m.zarr", source=source, region=region)
    (new,) = mapped(downloader.plan(values))
    assert told(new) == {"todo": 3, "failed": 1}
    rows, columns = np.nonzero(new.cells == KINDS.index("todo"))
    assert len(rows) >= 3
    assert rows[0] <= rows[-1]
    assert columns[0] <= columns[-1], "north-west to south-east"
    with pytest.raises(downloader.IncompleteError):
        downloader.download(values, progress=False)
    (done,) = mapped(downloader.plan(values))
    assert told(done) == {"stored": 3, "failed": 1}


def test_another_crs_has_a_bent_footprint(emulator, tmp_path):
    values = job(
        emulator, tmp_path / "m.zarr", region={"bbox": [-123.3, 36.7, -121.7, 38.2]},
        grid={"crs": "EPSG:4326", "resolution": 0.0005},
    )  # fmt: skip
    *_, found = mapped(downloader.plan(values))
    assert "outside_image" in flat(found)
    (ring,) = found.rings["footprint"]
    assert len(ring) == 65
    assert ring.min() > 0, "the whole image lies in the region"


def test_on_the_command_line(emulator, tmp_path):
    file = write_job(tmp_path, triangle(emulator, tmp_path / "m.zarr"))
    said = cli("plan", file, "--map", tmp_path / "p.html", "--json")
    assert said.status == 0, said
    assert said.document["groups"], "standard output stays one document"
    assert "p.html: where the region lies, tiles" in said.err
    assert "to be fetched: " in (tmp_path / "p.html").read_text()
    for name, words in (
        ("p.png", ".html or .geojson"),
        ("no/p.html", "cannot be written"),
        ("m.zarr/p.html", "inside"),
    ):
        wrong = cli("plan", file, "--map", tmp_path / name)
        assert wrong.status == 2, wrong
        assert words in wrong.err


def test_geojson_covers_what_is_fetched(emulator, tmp_path):
    """Read with shapely alone: the tiles to fetch hold the whole region, and nothing lies outside the window."""
    file = write_job(tmp_path, triangle(emulator, tmp_path / "m.zarr"))
    assert cli("plan", file, "--map", tmp_path / "p.geojson").status == 0
    document = json.loads((tmp_path / "p.geojson").read_text())
    assert document["type"] == "FeatureCollection"
    by_kind = {}
    for feature in document["features"]:
        by_kind.setdefault(feature["properties"]["kind"], []).append(feature)
    assert set(by_kind) == {"tiles", "region", "image"}
    tiles = {f["properties"]["state"]: shapely.geometry.shape(f["geometry"]) for f in by_kind["tiles"]}
    assert set(tiles) == {"todo", "outside_region"}
    to_utm = pyproj.Transformer.from_crs(4326, 32610, always_xy=True).transform
    todo = shapely.transform(tiles["todo"], to_utm, interleaved=False)
    region = shapely.geometry.shape(TRIANGLE)
    assert todo.buffer(0.1).contains(region)
    assert todo.area == pytest.approx(downloader.plan(file).plan.count_tiles() * 2560**2, rel=0.1)
    (image,) = by_kind["image"]
    footprint = shapely.transform(shapely.geometry.shape(image["geometry"]), to_utm, interleaved=False)
    assert footprint.symmetric_difference(shapely.box(499980, 4090200, 609780, 4200000)).area < 1e5


def test_samples_as_geojson(emulator, tmp_path):
    (tmp_path / "points.csv").write_text("lon,lat\n-122.8,37.8\n0,0\n")
    source = {"asset": "COPERNICUS/S2/20170430T190351_20170430T190351_T10SEG", "bands": ["B4"]}
    region = {"points": {"file": str(tmp_path / "points.csv"), "chip": 32}}
    preview = downloader.plan(job(emulator, tmp_path / "m.zarr", source=source, region=region))
    preview.map(tmp_path / "p.geojson")
    first, second = json.loads((tmp_path / "p.geojson").read_text())["features"]
    assert first["geometry"] == {"type": "Point", "coordinates": [-122.8, 37.8]}
    assert (first["properties"]["state"], first["properties"]["problem"]) == ("todo", "")
    assert second["properties"]["state"] == "failed"
    assert second["properties"]["problem"]


def test_a_preview_shows_itself_as_the_command_does(emulator, tmp_path):
    values = triangle(emulator, tmp_path / "m.zarr")
    preview = downloader.plan(values)
    assert cli("plan", write_job(tmp_path, values)).out == f"{preview}\n"
    assert len(repr(preview)) < 200
    assert f"{preview.plan.count_tiles()} tiles in" in repr(preview)
