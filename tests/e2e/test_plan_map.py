"""`downloader plan --map`: what is drawn is what a run would fetch, and what is there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import zarr
from PIL import Image

import downloader
from downloader.model.grid import Window
from downloader.report.html import plan_map, plan_map_cells
from downloader.report.html.plan_map import panels
from downloader.report.html.plan_map_cells import KINDS
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
    return {KINDS[kind]: count for kind, count in panel.counts}


def triangle(emulator, path, **sections):
    return job(emulator, path, region={"geometry": TRIANGLE, "crs": "EPSG:32610"}, **sections)


def test_a_new_plan_a_begun_one_and_one_that_is_done(emulator, tmp_path):
    path = tmp_path / "m.zarr"
    values = triangle(emulator, path, request={"tiles": 1}, limits={"max_requests": 5, "concurrency": 1})
    locator, new = mapped(downloader.survey(values))
    assert locator.title == "Where the region lies"
    assert len(locator.footprint) == len(locator.region) == 1
    assert set(flat(new)) == {"todo", "outside_region"}
    tiles = downloader.plan(values).count_tiles()
    assert told(new)["todo"] == flat(new).count("todo") == tiles
    with pytest.raises(downloader.StoppedError):
        downloader.download(values, progress=False)
    _, begun = mapped(downloader.survey(values))
    coverage = zarr.open_array(str(path / "coverage"), mode="r")[:]
    assert kinds(begun) == [[OF_COVERAGE[state] for state in row] for row in coverage.tolist()]
    assert (told(begun)["stored"], told(begun)["todo"]) == (5, tiles - 5)
    values["limits"] = {}
    downloader.download(values, progress=False)
    _, done = mapped(downloader.survey(values))
    assert set(flat(done)) == {"stored", "outside_region"}


def test_failed_tiles_are_told_apart(emulator, tmp_path):
    emulator.control(
        "configure", {"faults": [{"fault": "bad-request-400", "covers": [300, 300], "above_pixels": 1}]}
    )
    values = job(emulator, tmp_path / "m.zarr", region=window(0, 0, 700, 600), request={"tiles": 1})
    with pytest.raises(downloader.IncompleteError):
        downloader.download(values, progress=False)
    _, found = mapped(downloader.survey(values))
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
    preview = downloader.survey(values)
    monkeypatch.setattr(plan_map, "_MOST_CELLS", 3)
    _, exact = mapped(preview)
    monkeypatch.setattr(plan_map_cells, "_EXACT", 0)
    _, quick = mapped(preview)
    assert exact.note == "A cell stands for 2 × 2 tiles."
    assert kinds(quick) == kinds(exact)
    assert ("part" in flat(exact)) is stored


def test_a_plan_of_a_billion_tiles_is_drawn(emulator, tmp_path):
    values = job(emulator, tmp_path / "m.zarr", region=window(0, 0, 700, 600))
    preview = downloader.survey(values)
    (group,) = preview.plan.groups
    side = 256 * 31_623
    large = replace(
        group,
        lattice=replace(group.lattice, width=side, height=side),
        window=Window(0, 0, side, side),
        tiling=replace(group.tiling, width=side, height=side, shard=8),
        extents=(Window(0, 0, side // 2, side),),
    )
    *_, found = mapped(replace(preview, plan=replace(preview.plan, groups=(large,))))
    assert found.cells.shape == (124, 124)
    assert kinds(found)[0] == ["todo"] * 62 + ["outside_image"] * 62


def test_samples_lie_by_longitude_and_latitude(emulator, tmp_path):
    (tmp_path / "points.csv").write_text("lon,lat\n-122.8,37.8\n-122.3,37.3\n-122.2,37.2\n0,0\n")
    source = {"asset": "COPERNICUS/S2/20170430T190351_20170430T190351_T10SEG", "bands": ["B4"]}
    region = {"points": {"file": str(tmp_path / "points.csv"), "chip": 32}}
    values = job(emulator, tmp_path / "m.zarr", source=source, region=region)
    (new,) = mapped(downloader.survey(values))
    assert told(new) == {"todo": 3, "failed": 1}
    rows, columns = np.nonzero(new.cells == KINDS.index("todo"))
    assert len(rows) >= 3
    assert rows[0] <= rows[-1]
    assert columns[0] <= columns[-1], "north-west to south-east"
    with pytest.raises(downloader.IncompleteError):
        downloader.download(values, progress=False)
    (done,) = mapped(downloader.survey(values))
    assert told(done) == {"stored": 3, "failed": 1}


def test_another_crs_has_a_bent_footprint(emulator, tmp_path):
    values = job(
        emulator, tmp_path / "m.zarr", region={"bbox": [-123.3, 36.7, -121.7, 38.2]},
        grid={"crs": "EPSG:4326", "resolution": 0.0005},
    )  # fmt: skip
    *_, found = mapped(downloader.survey(values))
    assert "outside_image" in flat(found)
    (ring,) = found.footprint
    assert len(ring) == 65
    assert ring.min() > 0, "the whole image lies in the region"


def test_on_the_command_line(emulator, tmp_path):
    file = write_job(tmp_path, triangle(emulator, tmp_path / "m.zarr"))
    said = cli("plan", file, "--map", tmp_path / "p.png", "--json")
    assert said.status == 0, said
    assert said.document["groups"], "standard output stays one document"
    assert "p.png: where the region lies, tiles" in said.err
    with Image.open(tmp_path / "p.png") as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(100_000)}
    assert {(0xE3, 0xA1, 0x3B), (0xEE, 0xF1, 0xF4)} <= colours, "tiles to come, and what lies outside"
    page = cli("plan", file, "--map", tmp_path / "p.html")
    assert page.status == 0, page
    assert "to be fetched: " in (tmp_path / "p.html").read_text()
    for name, words in (
        ("p.jpg", ".png or .html"),
        ("no/p.png", "cannot be written"),
        ("m.zarr/p.png", "inside"),
    ):
        wrong = cli("plan", file, "--map", tmp_path / name)
        assert wrong.status == 2, wrong
        assert words in wrong.err
